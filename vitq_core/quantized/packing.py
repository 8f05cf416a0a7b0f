"""b-bit codes in a byte stream: eight codes take b bytes, the first in the lowest bits (little-endian)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GROUP = 8  # codes; b bits each, so every group is a whole number of bytes


def packed_bytes(codes: int, bits: int) -> int:
    """Bytes that ``codes`` codes of ``bits`` bits take."""
    return -(-codes // GROUP) * bits


def pack(codes: Tensor, bits: int) -> Tensor:
    """Integer ``codes`` in 0..2^bits − 1, any shape → uint8 [packed_bytes]. ValueError for a larger code."""
    flat = codes.flatten().cpu().numpy()
    if flat.size and not 0 <= flat.min() <= flat.max() < 2**bits:
        raise ValueError(f"codes from {flat.min()} to {flat.max()} do not fit {bits} bits")
    padded = np.zeros(-(-flat.size // GROUP) * GROUP, np.uint64)
    padded[: flat.size] = flat
    shifts = np.arange(GROUP, dtype=np.uint64) * np.uint64(bits)
    words = np.bitwise_or.reduce(padded.reshape(-1, GROUP) << shifts, axis=1)
    octets = words.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :bits]
    return torch.from_numpy(np.ascontiguousarray(octets).reshape(-1))


def unpack(packed: Tensor, bits: int, shape: tuple[int, ...]) -> Tensor:
    """The int32 codes of :func:`pack` in ``shape``. Raises ValueError if the stream has another length."""
    count = int(np.prod(shape))
    if packed.numel() != packed_bytes(count, bits):
        raise ValueError(f"{packed.numel()} bytes cannot hold {count} codes of {bits} bits")
    octets = np.zeros((packed.numel() // bits, 8), np.uint8)
    octets[:, :bits] = packed.cpu().numpy().reshape(-1, bits)
    words = octets.reshape(-1).view("<u8")[:, None]
    shifts = np.arange(GROUP, dtype=np.uint64) * np.uint64(bits)
    codes = (words >> shifts) & np.uint64(2**bits - 1)
    return torch.from_numpy(codes.reshape(-1)[:count].astype(np.int32)).reshape(shape)
