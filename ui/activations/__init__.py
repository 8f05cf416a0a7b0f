"""The page of activations: what the tensors of a layer look like, and what a quantizer makes of them."""
