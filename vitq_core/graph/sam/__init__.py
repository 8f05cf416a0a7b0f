"""Segment Anything: the ``segment-anything`` package's ``Sam``.

Not registered yet: the engine must first take batches of pictures with prompts.
"""
