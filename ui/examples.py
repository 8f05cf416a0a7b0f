"""`python -m ui.examples` makes the runs that come with the studio, and stores them."""

from dataclasses import replace
from itertools import product

from .parts.examples import EXAMPLES, store_examples
from .parts.settings import RunSettings
from .tradeoffs.settings import BITS
from .workbench import Workbench

MODELS, METHODS = ("demo-vit", "demo-vit-outliers"), ("minmax", "repq", "vitq")


def main() -> None:
    bench, made = Workbench(), []
    for model, method, bits in product(MODELS, METHODS, BITS):
        settings = RunSettings(model, method, bits, bits)
        record = bench.quantize(settings).record.for_owner(EXAMPLES)
        made.append(replace(record, name=f"{settings.title} · example"))
        print(made[-1].name)
    store_examples(made[::-1])


if __name__ == "__main__":
    main()
