"""The studio: a Gradio page on top of `vitq_core`. It holds no algorithm."""

import os

# Read when torch is loaded. Threads that wait by spinning make a busy machine several times slower, and each
# of the server's threads brings its own team of them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
