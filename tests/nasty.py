"""Values that nobody should give and somebody will: each must end in one sentence."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vitq_core as vq

LONG = "a" * 400  # longer than a file's name may be

# No name, no number in any range, no table.
VALUES: dict[str, Any] = {
    "a list of one name": ["repq"],
    "a nested list": [[1, 2], [3]],
    "a dict": {"repq": 1},
    "an unhashable pair": ([], {}),
    "a set": {"repq"},
    "a fraction": 3.7,
    "not a number": float("nan"),
    "infinity": float("inf"),
    "a huge number": 10**400,
    "a negative number": -1,
    "bytes": b"repq",
    "an array": np.arange(3),
    "a tensor": torch.zeros(2),
    "an object": object(),
    "a class": dict,
}
TEXTS: dict[str, str] = {
    "empty": "",
    "spaces": "   ",
    "a long name": LONG,
    "a NUL byte": "a\0b",
    "another user's home": "~nosuchuser",
    "a surrogate": "\ud800",
    "control characters": "\n\t\x1b[0m",
}
# What JSON can carry, so what a program can send to the studio.
SENT = {name: value for name, value in VALUES.items() if isinstance(value, (list, dict, float, int))} | TEXTS
# Where a file or folder is named.
PATHS: dict[str, Any] = {
    **{name: VALUES[name] for name in ("a list of one name", "a dict", "bytes", "a fraction", "an array")},
    **{name: TEXTS[name] for name in ("spaces", "a long name", "a NUL byte", "another user's home")},
    "a long path": Path(LONG) / "b",
    "nothing": None,
}
INDICES: dict[str, Any] = {
    "far beyond": 10**6,
    "negative": -1,
    "a cell": [0, 1],
    "nothing": None,
    "text": "0",
    "a truth value": True,
    "a fraction": 0.5,
}
# Python's own words, which say nothing to a user.
PYTHONS = re.compile(
    r"unhashable|ambiguous|object has no attribute|not subscriptable|not iterable|embedded null|unexpected "
    r"keyword|argument must be|expected str|invalid literal|could not convert|unpack|unexpected [A-Z]\w*Error"
)


def named(values: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize` after the parameter's name."""
    return {"argvalues": list(values.values()), "ids": list(values)}


def sentence(error: BaseException | str) -> str:
    """The error's text, which is one of ours: of the right kind, of a length to read, not Python's own."""
    assert isinstance(error, (str, ValueError, vq.VitqError)), repr(error)
    said = str(error)
    assert said.strip() and len(said) < 700, said
    assert not PYTHONS.search(said), said
    return said
