"""Every test of this folder has a home of its own and one thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def home(spill) -> Path:
    return spill


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So that a child process adds up in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def images(model, pictures) -> Tensor:
    return pictures(model, 16)
