"""Behind the second page: scores of layers, bits for them, and where models look, without any component."""
