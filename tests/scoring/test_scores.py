"""Means and standard errors in one pass, against numpy; the scores' JSON and back."""

import json
from math import isnan, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vitq_core as vq
from vitq_core.scoring.scores import Importance, Tally

finite = st.floats(0, 1e6, width=32)
scores = st.lists(finite, min_size=1, max_size=40)


def cut(values: list, sizes: list[int]) -> list[list]:
    """``values`` in pieces of at most ``sizes``, the last one repeated."""
    pieces, start = [], 0
    while start < len(values):
        size = sizes[min(len(pieces), len(sizes) - 1)]
        pieces.append(values[start : start + size])
        start += size
    return pieces


# -- the tally -----------------------------------------------------------------------------------------
@settings(max_examples=150)
@given(scores, st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 3))
def test_any_split_gives_numpys_mean_and_standard_error(values: list, sizes: list, stop: int) -> None:
    """Also when the state goes through JSON in between."""
    tally = Tally()
    for index, piece in enumerate(cut(values, sizes)):
        tally.add({"a": torch.tensor(piece)})
        if index == stop:
            tally = Tally(json.loads(json.dumps(tally.state)))
    expected = np.array(values, np.float64)
    assert tally.pictures == len(values)
    assert tally.mean("a") == pytest.approx(expected.mean(), rel=1e-9, abs=1e-12)
    if len(values) == 1:
        assert isnan(tally.standard_error("a"))
    else:
        error = expected.std(ddof=1) / len(values) ** 0.5
        assert tally.standard_error("a") == pytest.approx(error, rel=1e-6, abs=1e-9 * expected.max())


def test_a_small_spread_on_a_large_mean_is_not_lost() -> None:
    """A sum of squares would give 0 or less here."""
    values = 1e6 + np.arange(64) * 1e-3
    tally = Tally()
    for piece in np.split(values, 8):
        tally.add({"a": torch.from_numpy(piece)})
    assert tally.standard_error("a") == pytest.approx(values.std(ddof=1) / 8, rel=1e-6)


def test_the_state_does_not_grow() -> None:
    tally, sizes = Tally(), set()
    for _ in range(5):
        tally.add({"a": torch.rand(100), "b": torch.rand(100)})
        sizes.add(sum(map(len, tally.state.values())))
    assert sizes == {6}


def test_layers_keep_their_order_and_maps_are_apart() -> None:
    tally = Tally()
    tally.add({"b": torch.ones(2), "map": torch.zeros(2), "a": torch.tensor([1.0, 3.0])})
    result = tally.result("fisher", ["a", "b"])
    assert list(result.layer_scores.items()) == [("a", 2.0), ("b", 1.0)]
    assert result.standard_errors == {"a": 1.0, "b": 0.0}
    assert result.attention_scores == {"map": 0.0}
    assert (result.source, result.pictures) == ("fisher", 2)


def test_a_state_is_taken_by_value() -> None:
    state = {"a": [2, 1.0, 0.5]}
    Tally(state).add({"a": torch.ones(3)})
    assert state == {"a": [2, 1.0, 0.5]}


# -- importance ----------------------------------------------------------------------------------------
def importance(**changes: object) -> Importance:
    values = {
        "source": "relevance",
        "pictures": 5,
        "layer_scores": {"a": 1.0, "b": 3.0, "c": 4.0},
        "standard_errors": {"a": 0.5, "b": 0.3, "c": 0.8},
        "attention_scores": {"m": 2.0},
    }
    return Importance(**{**values, **changes})


def test_relative_importance_adds_up_to_one() -> None:
    assert importance().relative == {"a": 0.125, "b": 0.375, "c": 0.5}
    nothing = importance(layer_scores={"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0})
    assert nothing.relative == dict.fromkeys("abcd", 0.25)


def test_relative_error_is_the_median_share() -> None:
    assert importance().relative_error == pytest.approx(0.2)  # of 0.5, 0.1 and 0.2
    assert importance(layer_scores={"a": 0.0, "b": 3.0, "c": 0.0}).relative_error == pytest.approx(0.1)
    assert isnan(importance(layer_scores={"a": 0.0}).relative_error)


def test_reads_as_a_mapping_and_does_not_change() -> None:
    found = importance()
    assert found["layer_scores"] is found.layer_scores and found.as_dict()["pictures"] == 5
    with pytest.raises(AttributeError):
        found.pictures = 6


names = st.sampled_from(["head", "blocks.0.attn.qkv", 'größe "x"\n', ""])


@settings(max_examples=80)
@given(
    st.sampled_from(["relevance", "fisher"]),
    st.integers(1, 10**9),
    st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    st.dictionaries(names, finite, max_size=2),
)
def test_comes_back_equal_from_json(source: str, pictures: int, layers: dict, maps: dict) -> None:
    found = Importance(source, pictures, layers, {name: abs(score) for name, score in layers.items()}, maps)
    again = Importance.from_json(found.to_json())
    assert again == found
    assert list(again.layer_scores) == list(layers)


def test_a_single_pictures_unknown_errors_are_null_in_json(tmp_path) -> None:
    found = importance(pictures=1, standard_errors=dict.fromkeys("abc", nan))
    assert json.loads(found.to_json())["standard_errors"] == dict.fromkeys("abc")
    found.save(tmp_path / "scores.json")
    again = Importance.load(tmp_path / "scores.json")
    assert all(isnan(error) for error in again.standard_errors.values()) and list(again.standard_errors)
    assert again.layer_scores == found.layer_scores and isnan(again.relative_error)
    assert vq.Importance is Importance


GOOD = json.loads(importance().to_json())


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "null", '"relevance"', "{}", importance().to_json()[:-20]),
        *(json.dumps({k: v for k, v in GOOD.items() if k != name}) for name in GOOD),
        json.dumps({**GOOD, "unheard_of": 1}),
        *(
            json.dumps({**GOOD, name: broken})
            for name in ("layer_scores", "standard_errors", "attention_scores")
            for broken in (None, 3, [1.0], "a", {"a": "x"}, {"a": [1]})
        ),
        json.dumps({**GOOD, "layer_scores": {"a": None}}),
    ],
)
def test_text_that_is_no_importance_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="this is not stored importance"):
        Importance.from_json(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((text, "the text is damaged or not JSON") for text in ("{", "no table", "[" * 100_000)),
        *((text, r"scores and standard errors must be \{layer: number\}.*") for text in ("[]", "3", "null")),
        (json.dumps({**GOOD, "layer_scores": {"a": "x"}}), r"scores and standard errors must be .*"),
        (json.dumps({**GOOD, "pictures": 0}), "source must be a name and pictures a whole number above 0"),
    ],
)
def test_damaged_text_is_refused_without_pythons_words(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^this is not stored importance: {reason}$"):
        Importance.from_json(text)


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for name in ("nowhere.json", ".", "bytes"):
        with pytest.raises(ValueError, match="importance cannot be read from"):
            Importance.load(tmp_path / name)


@pytest.mark.parametrize("cut", [0, 1, 17, 40])
def test_two_tallies_merged_are_one_of_both_streams(cut: int) -> None:
    values = np.random.default_rng(0).normal(1e3, 1e-2, (40, 2))
    parts = [Tally(), Tally()]
    for tally, rows in zip(parts, (values[:cut], values[cut:]), strict=True):
        for piece in np.array_split(rows, 3):
            if len(piece):
                tally.add({"a": torch.from_numpy(piece[:, 0]), "b": torch.from_numpy(piece[:, 1])})
    first, other = parts
    before = json.dumps(other.state)
    first.merge(other)
    assert first.pictures == 40 and json.dumps(other.state) == before
    for column, name in enumerate("ab"):
        assert first.mean(name) == pytest.approx(values[:, column].mean(), rel=1e-12)
        error = values[:, column].std(ddof=1) / 40**0.5
        assert first.standard_error(name) == pytest.approx(error, rel=1e-6)  # 1e3 beside 1e-2
