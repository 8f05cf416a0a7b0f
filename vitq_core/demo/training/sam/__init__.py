"""Trains the bundled Segment Anything, ``demo-sam``, on scenes."""
