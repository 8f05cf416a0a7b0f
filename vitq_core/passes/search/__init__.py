"""Searches for scales by what they do to outputs: PTQ4ViT's, APQ-ViT's and the ranking pass's kernels."""
