"""A long run on a page: its buttons, its line of state, its files."""
