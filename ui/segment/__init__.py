"""The third page: point at things in a picture, and see what two Segment Anything models take them for."""
