"""The first page: pick, quantize, compare."""
