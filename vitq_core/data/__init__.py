"""Pictures as callers give them, and activations that spill to disk."""
