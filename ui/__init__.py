"""The studio: a Gradio page on top of `vitq_core`. It holds no algorithm."""
