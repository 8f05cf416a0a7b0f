"""What is done to a model, one step each."""
