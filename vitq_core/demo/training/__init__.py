"""What only trains the bundled models."""
