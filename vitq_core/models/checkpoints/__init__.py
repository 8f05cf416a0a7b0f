"""Files of classifiers and feature models: which tensors they hold, and whether all of them are the model's."""
