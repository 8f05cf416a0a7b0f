"""The page that writes a run as a file for other programs, and proves what it wrote."""
