"""What a model is for, and how its answers are measured."""
