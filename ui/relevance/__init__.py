"""The second page: which layers matter, bits for each, where the models look."""
