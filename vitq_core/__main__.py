"""`python -m vitq_core` is the command line `vitq`."""

from .cli import main

if __name__ == "__main__":
    main()
