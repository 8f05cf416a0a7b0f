"""Files of classifiers and feature models: which tensors they hold, and whether all are the model's."""
