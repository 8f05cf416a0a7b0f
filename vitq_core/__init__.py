"""VitQ's engine: quantize vision transformers after training, measure what that costs, save the result.

import vitq_core as vq
model = vq.load_model("demo-vit")
result = vq.quantize(model, images, vq.recipe("repq", weight_bits=4, act_bits=4))

The public names are those of `public.py`, which is imported when the first of them is asked for: a command
line that only prints its help does not wait for torch.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _is_module(name):
        return import_module(f"{__name__}.{name}")
    public = import_module(f"{__name__}.public")
    globals().update({each: getattr(public, each) for each in public.__all__}, __all__=public.__all__)
    if name not in globals():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


def _is_module(name: str) -> bool:
    place = Path(__file__).parent / name
    return place.is_dir() or place.with_suffix(".py").is_file()


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
