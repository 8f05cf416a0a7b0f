"""Segment Anything's files: the published ones, what a file's weights are, and the `Sam` they make."""
