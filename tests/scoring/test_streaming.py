"""Importance over any number of pictures: one pass in pieces, constant memory, stopped and gone on with."""

import errno
import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from importlib import import_module
from math import isnan
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import vitq_core as vq
from vitq_core.scoring.scores import Tally


@pytest.fixture
def images(model, pictures) -> Tensor:
    return pictures(model, 12)


@pytest.fixture
def seen(monkeypatch) -> list[dict[str, Tensor]]:
    """The scores per picture that go into the tally, batch by batch."""
    found, add = [], Tally.add

    def spy(self: Tally, scores: dict[str, Tensor]) -> None:
        found.append(scores)
        add(self, scores)

    monkeypatch.setattr(Tally, "add", spy)
    return found


def cut_up(images: Tensor, sizes: list[int]) -> list[Tensor]:
    """Batches of these sizes, as far as the pictures go, and the rest."""
    ends = [min(sum(sizes[: index + 1]), len(images)) for index in range(len(sizes))]
    return [batch for batch in images.tensor_split(ends) if len(batch)]


def scored(seen: list[dict[str, Tensor]]) -> int:
    return sum(len(batch["head"]) for batch in seen)


def same(found: vq.Importance, expected: vq.Importance, rel: float = 1e-6) -> None:
    """``rel``: pictures in other batches differ by what single precision rounds."""
    assert (found.source, found.pictures) == (expected.source, expected.pictures)
    for name in ("layer_scores", "standard_errors", "attention_scores"):
        a, b = getattr(found, name), getattr(expected, name)
        assert list(a) == list(b)
        assert list(a.values()) == pytest.approx(list(b.values()), rel=rel, abs=1e-9, nan_ok=True)


# -- streaming -----------------------------------------------------------------------------------------
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    batch_size=st.integers(1, 6),
    source=st.sampled_from(["relevance", "fisher"]),
)
def test_any_split_gives_numpys_mean_and_standard_error(
    model, images, seen, sizes: list[int], batch_size: int, source: str
) -> None:
    whole = vq.importance(model, images, source)
    seen.clear()
    found = vq.importance(model, cut_up(images, sizes), source, batch_size=batch_size)
    assert max(len(batch["head"]) for batch in seen) <= batch_size
    for layer, mean in found.layer_scores.items():
        values = np.concatenate([batch[layer].double().numpy() for batch in seen])
        assert len(values) == len(images) == found.pictures
        assert mean == pytest.approx(values.mean(), rel=1e-6)
        error = values.std(ddof=1) / len(values) ** 0.5
        assert found.standard_errors[layer] == pytest.approx(error, rel=1e-6, abs=1e-12)
    same(found, whole, rel=1e-4)  # batches of other sizes are summed in another order, in single precision


@pytest.mark.parametrize("targets", [None, 3, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]])
def test_equals_the_scores_of_relevance(model, images, targets) -> None:
    found = vq.importance(model, images, targets=targets, batch_size=5)
    explained = vq.relevance(model, images, targets, batch_size=5)
    assert found.layer_scores == explained.layer_scores
    assert found == explained.importance
    if targets is not None:
        assert found != vq.importance(model, images, batch_size=5)


def test_targets_follow_the_pictures_through_batches(model, images) -> None:
    targets = torch.arange(12) % 5
    batches = [(images[:5], torch.zeros(5)), images[5:6], images[6:]]  # labels of a loader say nothing
    found = vq.importance(model, batches, targets=targets, batch_size=4)
    same(found, vq.importance(model, images, targets=targets), rel=1e-5)


def test_one_picture_has_no_standard_error(model, images) -> None:
    found = vq.importance(model, images[:1])
    assert found.pictures == 1
    assert all(isnan(error) for error in found.standard_errors.values())
    assert all(not isnan(score) for score in found.layer_scores.values())


def test_pictures_are_let_go_of(model) -> None:
    """Storage, not only tensors: each array lives as long as anything that looks into it."""
    alive: list[weakref.ref] = []
    most = 0

    def batches() -> Iterator[Tensor]:
        nonlocal most
        generator = np.random.default_rng(0)
        for _ in range(24):
            array = generator.standard_normal((2, 3, 16, 16), np.float32)
            alive.append(weakref.ref(array))
            most = max(most, sum(ref() is not None for ref in alive))
            yield torch.from_numpy(array)
            del array

    assert vq.importance(model, batches(), "fisher").pictures == 48
    assert most <= 4  # the first one, the one worked on, the new one


def test_the_model_is_as_it_was(model, images) -> None:
    model.train()
    before = {name: (id(p), p.requires_grad, p.clone()) for name, p in model.named_parameters()}
    for source in vq.SOURCES:
        vq.importance(model, images, source)
    assert all(module.training for module in model.modules())
    for name, p in model.named_parameters():
        assert (id(p), p.requires_grad) == before[name][:2] and torch.equal(p, before[name][2])
        assert p.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_progress_counts_pictures(model, images) -> None:
    heard: list[tuple[float, str]] = []
    vq.importance(model, images, "fisher", batch_size=5, progress=lambda *said: heard.append(said))
    assert [fraction for fraction, _ in heard[:4]] == pytest.approx([0, 5 / 12, 10 / 12, 1])
    assert heard[3][1] == "12 pictures seen" and heard[-1][0] == 1.0
    heard.clear()
    vq.importance(model, iter(images.split(5)), "fisher", progress=lambda *said: heard.append(said))
    assert [message for _, message in heard[1:4]] == [f"{n} pictures seen" for n in (5, 10, 12)]
    heard.clear()
    vq.importance(model, images.split(5), "fisher", progress=lambda *said: heard.append(said))
    assert [fraction for fraction, _ in heard] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])


# -- stopped and gone on with --------------------------------------------------------------------------
def stopper(calls: int) -> object:
    """Cancels when asked for the ``calls``-th time."""
    asked: list[int] = []
    return lambda: asked.append(1) or len(asked) >= calls


def states(path: Path) -> int:
    return max(count for count, _, _ in json.loads(path.read_text())["state"].values())


@pytest.mark.parametrize("source", list(vq.SOURCES))
def test_cancelled_in_the_middle_it_goes_on_from_there(model, images, seen, tmp_path, source: str) -> None:
    state = tmp_path / "state.json"
    expected = vq.importance(model, images, source, batch_size=2)
    seen.clear()
    with pytest.raises(vq.Cancelled):
        vq.importance(model, images, source, batch_size=2, state=state, cancel=stopper(4))
    assert scored(seen) == states(state) == 6
    seen.clear()
    heard: list[tuple[float, str]] = []
    found = vq.importance(
        model, images, source, batch_size=2, state=state, progress=lambda *said: heard.append(said)
    )
    assert scored(seen) == 6, "pictures seen before are not scored again"
    assert found == expected
    assert heard[0] == (0.5, "6 pictures seen") and heard[-1][0] == 1.0
    assert list(tmp_path.iterdir()) == [state]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 11), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3), data=st.data())
def test_goes_on_within_a_batch_with_other_batches(model, images, seen, tmp_path, cut, sizes, data) -> None:
    """An iterable is read anew; what was seen is passed over, however it is batched now; targets follow."""
    state = tmp_path / f"{data.draw(st.uuids())}.json"
    targets = torch.arange(12) % 5
    with pytest.raises(RuntimeError, match="loader"):
        vq.importance(model, broken(images[:cut]), "fisher", targets, state=state)
    assert states(state) == cut
    seen.clear()
    found = vq.importance(model, iter(cut_up(images, sizes)), "fisher", targets, batch_size=3, state=state)
    assert scored(seen) == 12 - cut
    same(found, vq.importance(model, images, "fisher", targets), rel=1e-5)


def broken(images: Tensor) -> Iterator[Tensor]:
    yield images
    raise RuntimeError("the loader broke")


def test_a_finished_run_is_read_not_repeated(model, images, seen, tmp_path) -> None:
    first = vq.importance(model, images, state=tmp_path / "state.json")
    seen.clear()
    assert vq.importance(model, images, state=str(tmp_path / "state.json")) == first
    assert seen == []


def test_more_pictures_than_last_time_add_to_it(model, images, seen, tmp_path) -> None:
    state = tmp_path / "state.json"
    vq.importance(model, images[:6], "fisher", state=state)
    seen.clear()
    found = vq.importance(model, images, "fisher", state=state)
    assert scored(seen) == 6 and found.pictures == 12 == states(state)
    same(found, vq.importance(model, images, "fisher"), rel=1e-5)


def test_the_state_is_saved_now_and_then(model, images, tmp_path, monkeypatch) -> None:
    """Not after every batch: that would take longer than the pictures; the last time in any case."""
    state, seen_by_loader = tmp_path / "state.json", []

    def batches() -> Iterator[Tensor]:
        for batch in images.split(3):
            seen_by_loader.append(states(state) if state.exists() else 0)
            yield batch

    vq.importance(model, batches(), "fisher", state=state)
    assert seen_by_loader == [0, 0, 0, 0] and states(state) == 12
    state.unlink()
    seen_by_loader.clear()
    monkeypatch.setattr(import_module("vitq_core.scoring.streaming"), "SAVE_EVERY", 0.0)
    vq.importance(model, batches(), "fisher", state=state)
    assert seen_by_loader == [0, 3, 6, 9]


KILLED = """
import os, signal, sys, torch
from importlib import import_module
sys.path.insert(0, sys.argv[2])
import vitq_core as vq
import_module("vitq_core.scoring.streaming").SAVE_EVERY = 0.0
model, images = torch.load(sys.argv[1] + "/given", weights_only=False)
def batches():
    for index, batch in enumerate(images.split(2)):
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch
vq.importance(model, batches(), state=sys.argv[1] + "/state")
"""


def test_killed_in_the_middle_it_goes_on_from_there(model, images, seen, tmp_path) -> None:
    torch.save((model, images), tmp_path / "given")
    root = str(Path(vq.__file__).parents[1])
    child = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), root], capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert states(tmp_path / "state") == 6
    found = vq.importance(model, images, batch_size=2, state=tmp_path / "state")
    assert scored(seen) == 6
    same(found, vq.importance(model, images, batch_size=2))


# -- states that do not fit ----------------------------------------------------------------------------
OTHERS = {
    "model": lambda model, images, tiny: ((tiny(seed=9, depth=2), images), {}),
    "one weight": lambda model, images, tiny: ((nudged(model), images), {}),
    "source": lambda model, images, tiny: ((model, images), {"source": "fisher"}),
    "targets": lambda model, images, tiny: ((model, images), {"targets": 1}),
    "first picture": lambda model, images, tiny: ((model, images.flip(0)), {}),
}


def nudged(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        model.blocks[1].mlp.fc1.weight[3, 3] += 1e-3
    return model


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_a_state_of_another_run_is_refused(model, images, tiny, tmp_path, make) -> None:
    state = tmp_path / "state.json"
    vq.importance(model, images[:4], state=state)
    before = state.read_text()
    arguments, options = make(model, images, tiny)
    with pytest.raises(vq.VitqError, match=r"state.json belongs to another run .* delete it or name another"):
        vq.importance(*arguments, state=state, **options)
    assert state.read_text() == before


def test_a_state_of_other_targets_is_refused_however_many_there_are(model, images, tmp_path) -> None:
    """torch prints the middle of a long tensor as dots."""
    many = images[:1].expand(1200, 3, 16, 16)
    targets = torch.zeros(1200, dtype=torch.long)
    state = tmp_path / "state.json"
    vq.importance(model, many, "fisher", targets, batch_size=1200, state=state)
    with pytest.raises(vq.VitqError, match="another run"):
        vq.importance(
            model, many, "fisher", targets.index_fill(0, torch.tensor([600]), 3), batch_size=1200, state=state
        )


def replaced(text: str, values: object) -> str:
    data = json.loads(text)
    return json.dumps({**data, "state": {**data["state"], "head": values}})


def without_head(text: str) -> str:
    data = json.loads(text)
    del data["state"]["head"]
    return json.dumps(data)


DAMAGES = {
    "empty": lambda text: "",
    "truncated": lambda text: text[: len(text) // 2],
    "not json": lambda text: "importance",
    "null": lambda text: "null",
    "a number": lambda text: "3",
    "a list": lambda text: "[]",
    "nothing in it": lambda text: "{}",
    "only a fingerprint": lambda text: json.dumps({"fingerprint": json.loads(text)["fingerprint"]}),
    "no table": lambda text: json.dumps({**json.loads(text), "state": [1, 2]}),
    "no state": lambda text: json.dumps({**json.loads(text), "state": None}),
    "two numbers": lambda text: replaced(text, [1, 2.0]),
    "words": lambda text: replaced(text, ["one", 2.0, 3.0]),
    "null inside": lambda text: replaced(text, [4, None, 0.0]),
    "a list inside": lambda text: replaced(text, [4, [1.0], 0.0]),
    "infinitely many": lambda text: replaced(text, [float("inf"), 0.2, 0.0]),
    "a layer missing": without_head,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_a_sentence(model, images, tmp_path, damage) -> None:
    state = tmp_path / "state.json"
    vq.importance(model, images[:4], "fisher", state=state)
    state.write_text(damage(state.read_text()))
    with pytest.raises(vq.VitqError, match=r"state.json holds no state of an importance run; delete it"):
        vq.importance(model, images, "fisher", state=state)


def test_bytes_and_folders_are_no_states(model, images, tmp_path) -> None:
    (tmp_path / "bytes").write_bytes(b"\x80\x00\xff")
    with pytest.raises(vq.VitqError, match="holds no state of an importance run"):
        vq.importance(model, images, "fisher", state=tmp_path / "bytes")
    for state in (tmp_path, "", 5):
        with pytest.raises(ValueError, match="state must be the name of a file, got"):
            vq.importance(model, images, "fisher", state=state)


def test_a_shorter_stream_than_was_seen_is_a_sentence(model, images, tmp_path) -> None:
    vq.importance(model, images, "fisher", state=tmp_path / "state")
    with pytest.raises(ValueError, match=r"only 2 pictures, fewer than the \d+ seen before"):
        vq.importance(model, iter([images[:2]]), "fisher", state=tmp_path / "state")


def test_a_folder_that_takes_no_file_is_a_sentence(model, images, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for where in ("nowhere/state", "file/state"):
        with pytest.raises(vq.VitqError, match=f"the state cannot be written to .*{where}: "):
            vq.importance(model, images[:2], "fisher", state=tmp_path / where)


def test_a_full_disk_is_a_sentence(model, images, tmp_path, monkeypatch) -> None:
    state = tmp_path / "state.json"
    vq.importance(model, images[:4], "fisher", state=state)
    before = state.read_text()

    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(vq.VitqError, match=r"the state cannot be written to .*: No space left on device"):
        vq.importance(model, images, "fisher", state=state)
    assert state.read_text() == before and list(tmp_path.iterdir()) == [state]


# -- unusable input ------------------------------------------------------------------------------------
BAD = {
    "source": (
        lambda x: ((x, "relevence"), {}),
        "unknown importance source 'relevence'; available: fisher, rel",
    ),
    "no source": (
        lambda x: ((x, None), {}),
        "unknown importance source None; available: fisher, relevance, sq",
    ),
    "batch size": (lambda x: ((x,), {"batch_size": 0}), "batch_size must be a whole number above 0, got 0"),
    "half a batch": (lambda x: ((x,), {"batch_size": 2.5}), "batch_size must be a whole number"),
    "no pictures": (lambda x: ((x[:0],), {}), "no pictures: give at least one"),
    "no batches": (lambda x: (([],), {}), "no pictures: give at least one"),
    "one picture": (lambda x: ((x[0],), {}), "must be a float tensor"),
    "size": (lambda x: ((x[..., :8],), {}), r"takes pictures of \(3, 16, 16\), got \(3, 16, 8\)"),
    "later size": (lambda x: (([x, x[..., :8]],), {}), r"takes pictures of \(3, 16, 16\), got \(3, 16, 8\)"),
    "integers": (lambda x: ((x.int(),), {}), "preprocessed floats"),
    "not a number": (lambda x: (([x, x * torch.nan],), {}), "NaN or infinite"),
    "class": (lambda x: ((x,), {"targets": 5}), "target class 5 is out of range: .* 0 to 4"),
    "too few": (lambda x: ((x,), {"targets": [1, 2]}), "one class for each of 12 pictures, got 2"),
    "too many": (lambda x: (([x],), {"targets": [1] * 13}), "13 targets but only 12 pictures"),
    "not enough": (lambda x: (([x],), {"targets": [1] * 11}), "more pictures than the 11 targets"),
    "half classes": (lambda x: ((x,), {"targets": 1.5}), "must be one class number"),
}


@pytest.mark.parametrize(("make", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_a_sentence(model, images, make, sentence: str) -> None:
    arguments, options = make(images)
    with pytest.raises(ValueError, match=sentence):
        vq.importance(model, *arguments, **options)


def test_models_that_cannot_be_explained_say_so(images, tiny) -> None:
    for what, error, sentence in (
        ("demo-vit", ValueError, "importance takes a model of load_model or an nn.Module, got str"),
        (torch.nn.Linear(2, 2), vq.VitqError, "no model family knows Linear"),
        (tiny(global_pool="", num_classes=3), vq.VitqError, r"must give logits .*, got \[12, 5, 3\]"),
    ):
        with pytest.raises(error, match=sentence):
            vq.importance(what, images)


@pytest.mark.parametrize("source", list(vq.SOURCES))
def test_an_empty_batch_changes_nothing(model, images, source: str) -> None:
    """A loader's filter may leave one."""
    found = vq.importance(model, [images[:6], images[:0], images[6:]], source)
    assert found == vq.importance(model, [images[:6], images[6:]], source)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_pictures_of_any_precision(model, images, kind: torch.dtype) -> None:
    found = vq.importance(model, images.to(kind), "fisher")
    same(found, vq.importance(model, images.to(kind).float(), "fisher"))
