"""What a run learns: the choice of how much, and what came of it."""
