"""b-bit codes in a byte stream: eight codes take b bytes, the first in the lowest bits (little-endian).

Eight codes are one 64-bit word, a byte each. Packing pushes neighbours together in lanes of 8, 16 and 32
bits, so that three steps on whole words take the place of one step for each code.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

GROUP = 8  # codes; b bits each, so every group is a whole number of bytes
WORD = "<u8"
LANES = (8, 16, 32)  # bits
BLOCK = 1 << 15  # words worked on at a time: they stay in the processor's cache


def packed_bytes(codes: int, bits: int) -> int:
    """Bytes that ``codes`` codes of ``bits`` bits take."""
    return -(-codes // GROUP) * bits


def pack(codes: Tensor, bits: int) -> Tensor:
    """Integer ``codes`` in 0..2^bits − 1, any shape → uint8 [packed_bytes]. ValueError for a larger code."""
    flat = codes.flatten().cpu().numpy()
    if flat.size and not 0 <= flat.min() <= flat.max() < 2**bits:
        raise ValueError(f"codes from {flat.min()} to {flat.max()} do not fit {bits} bits")
    packed = np.empty((packed_bytes(flat.size, bits) // bits, bits), np.uint8)
    for start in range(0, len(packed), BLOCK):
        rows = packed[start : start + BLOCK]
        octets = np.zeros(len(rows) * GROUP, np.uint8)
        piece = flat[start * GROUP : (start + BLOCK) * GROUP]
        octets[: piece.size] = piece
        rows[:] = _together(octets.view(WORD), bits).view(np.uint8).reshape(-1, GROUP)[:, :bits]
    return torch.from_numpy(packed.reshape(-1))


def unpack(packed: Tensor, bits: int, shape: tuple[int, ...]) -> Tensor:
    """The int32 codes of :func:`pack` in ``shape``. Raises ValueError if the stream has another length."""
    count = prod(shape)
    if packed.numel() != packed_bytes(count, bits):
        raise ValueError(f"{packed.numel()} bytes cannot hold {count} codes of {bits} bits")
    stream, codes = packed.cpu().numpy().reshape(-1, bits), np.empty(count, np.int32)
    for start in range(0, len(stream), BLOCK):
        rows = stream[start : start + BLOCK]
        octets = np.zeros((len(rows), GROUP), np.uint8)
        octets[:, :bits] = rows
        piece = codes[start * GROUP : (start + BLOCK) * GROUP]
        piece[:] = _apart(octets.reshape(-1).view(WORD), bits).view(np.uint8)[: piece.size]
    return torch.from_numpy(codes).reshape(shape)


def _together(words: np.ndarray, bits: int) -> np.ndarray:
    """A code in the low bits of each byte → all eight codes in the low 8·bits bits of their word."""
    for lane in LANES:
        low = _low_bits(lane, bits)
        words = (words & low) | ((words >> np.uint64(lane - bits * lane // 8)) & ~low)
    return words


def _apart(words: np.ndarray, bits: int) -> np.ndarray:
    """What :func:`_together` was given."""
    for lane in reversed(LANES):
        low = _low_bits(lane, bits)
        words = (words & low) | ((words << np.uint64(lane - bits * lane // 8)) & (low << np.uint64(lane)))
    return words


def _low_bits(lane: int, bits: int) -> np.uint64:
    """Of every second lane of so many bits, those that its lane / 8 codes fill."""
    ones = (1 << bits * lane // 8) - 1
    return np.uint64(sum(ones << start for start in range(0, 64, 2 * lane)))
