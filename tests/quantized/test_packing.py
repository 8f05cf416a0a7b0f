"""Packed codes: nothing lost at any bits and length, the documented layout, damaged streams refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pairs import all_pairs, in_turn
from vitq_core.quantized.packing import BLOCK, pack, packed_bytes, unpack
from vitq_core.recipes.recipe import MAX_BITS, MIN_BITS

BITS = (MIN_BITS, 3, 4, MAX_BITS)  # codes that fill bytes and codes that lie across two
any_bits = pytest.mark.parametrize("bits", BITS)


def naive_pack(codes: list[int], bits: int) -> list[int]:
    """One long number, the first code in its lowest bits; every eight codes fill whole bytes."""
    number = sum(code << (bits * index) for index, code in enumerate(codes))
    return list(number.to_bytes(-(-len(codes) // 8) * bits, "little"))


@st.composite
def codes_and_bits(draw: st.DrawFn) -> tuple[list[int], int]:
    bits = draw(st.integers(MIN_BITS, MAX_BITS))
    return draw(st.lists(st.integers(0, 2**bits - 1), max_size=70)), bits


@settings(max_examples=200)
@given(codes_and_bits())
def test_packs_as_one_long_number_and_back(drawn: tuple[list[int], int]) -> None:
    codes, bits = drawn
    packed = pack(torch.tensor(codes, dtype=torch.int32), bits)
    assert packed.dtype == torch.uint8
    assert packed.tolist() == naive_pack(codes, bits)
    assert len(packed) == packed_bytes(len(codes), bits)
    assert unpack(packed, bits, (len(codes),)).tolist() == codes


@pytest.mark.parametrize(
    ("codes", "bits", "octets"),
    [((1, 2, 3, 4, 5, 6, 7, 8), 4, "21436587"), ((1, 2, 3, 4, 5, 6, 7, 0), 3, "d1581f")],
)
def test_the_examples_of_the_documentation(codes: tuple, bits: int, octets: str) -> None:
    """docs/packed_format.md."""
    assert bytes(pack(torch.tensor(codes), bits).tolist()).hex() == octets


def test_more_than_a_block_of_words_is_packed_piece_by_piece() -> None:
    codes = torch.arange(8 * BLOCK + 9) % 8
    packed = pack(codes, 3)
    assert torch.equal(unpack(packed, 3, tuple(codes.shape)), codes.int())
    assert torch.equal(packed[:3], packed[3 * BLOCK : 3 * BLOCK + 3])


@any_bits
def test_every_length_from_none_to_three_groups(bits: int) -> None:
    for length in range(26):
        codes = torch.full((length,), 2**bits - 1, dtype=torch.int32)  # all ones: padding would show
        assert torch.equal(unpack(pack(codes, bits), bits, (length,)), codes)


@pytest.mark.parametrize(
    ("bits", "shape", "dtype"),
    all_pairs(
        BITS,
        [(), (1,), (3, 5), (2, 3, 1, 7), (0,), (4, 0)],
        [torch.int32, torch.int64, torch.uint8],
    ),
)
def test_shapes_and_integer_types(bits: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    codes = torch.randint(2**bits, shape, generator=torch.Generator().manual_seed(bits)).to(dtype)
    unpacked = unpack(pack(codes, bits), bits, shape)
    assert unpacked.dtype == torch.int32
    assert unpacked.shape == shape
    assert torch.equal(unpacked, codes.int())


def test_a_transposed_tensor_is_packed_as_it_is_read() -> None:
    codes = torch.arange(12).reshape(3, 4).T
    assert torch.equal(unpack(pack(codes, 4), 4, (4, 3)), codes.int())


@any_bits
def test_takes_bits_per_code_and_less_than_a_group_more(bits: int) -> None:
    for codes in (0, 1, 7, 8, 9, 1000):
        assert 0 <= 8 * packed_bytes(codes, bits) - codes * bits < 8 * bits


@pytest.mark.parametrize(("bits", "code"), in_turn(BITS, [-1, 1, -(2**31), 2**31 - 1], times=2))
def test_codes_that_do_not_fit_are_refused(bits: int, code: int) -> None:
    code = 2**bits if code == 1 else code
    with pytest.raises(ValueError, match=f"codes from .* to .* do not fit {bits} bits"):
        pack(torch.tensor([0, code, 0]), bits)


@any_bits
def test_streams_of_another_length_are_refused(bits: int) -> None:
    packed = pack(torch.zeros(20, dtype=torch.int32), bits)
    for damaged in (packed[:-1], packed[:0], torch.cat((packed, packed[:1]))):
        with pytest.raises(ValueError, match=f"{len(damaged)} bytes cannot hold 20 codes of {bits} bits"):
            unpack(damaged, bits, (20,))
    with pytest.raises(ValueError, match="cannot hold 25 codes"):
        unpack(packed, bits, (5, 5))
