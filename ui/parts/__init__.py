"""What the pages are made of, unaware of events and of each other."""
