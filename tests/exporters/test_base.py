"""What every format owes: a file, a certificate that is true, a sentence for what is no result."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch

import vitq_core as vq
from tests.widening import mostly_wide
from vitq_core.exporters.base import EXPORTERS, Written
from vitq_core.publishing.folder import exported


@pytest.fixture(params=EXPORTERS)
def exporter(request: pytest.FixtureRequest):
    return EXPORTERS[request.param]


@pytest.fixture
def result(model, images) -> vq.QuantizeResult:
    return vq.quantize(model, images, vq.recipe("minmax", 8, 8))


@pytest.fixture
def written_once(exporter, tmp_path, monkeypatch) -> None:
    """Each result is written once, and its files are copied after that: torch takes seconds to record one."""
    really, written = exporter.write, {}

    def write(result: vq.QuantizeResult, folder: Path) -> Written:
        if id(result) not in written:
            kept = tmp_path / f"written {len(written)}"
            kept.mkdir()
            written[id(result)] = really(result, kept)
        whole = written[id(result)]
        shutil.copytree(whole.path.parent, folder, dirs_exist_ok=True)
        return replace(whole, path=folder / whole.path.name)

    monkeypatch.setattr(exporter, "write", write)


def test_it_is_registered_under_its_name_and_says_what_it_is(exporter) -> None:
    assert EXPORTERS[exporter.name] is exporter
    assert exporter.title and exporter.summary.endswith(".")
    assert exporter.missing() == []


def test_three_lines_load_what_was_published(exporter) -> None:
    lines = exporter.lines("user/name", exporter.files[0]).splitlines()
    assert len(lines) == 3 and '"user/name"' in lines[-1]
    compile("\n".join(lines), "lines", "exec")


def test_what_is_no_result_is_a_sentence(exporter, model, tmp_path) -> None:
    with pytest.raises(ValueError, match="export takes what quantize returned, got VisionTransformer"):
        vq.export(model, tmp_path / "other", exporter.name)
    assert not (tmp_path / "other").exists()


def test_the_certificate_says_what_lies_in_the_folder(exporter, result, images, tmp_path) -> None:
    heard: list[float] = []
    labels = torch.tensor([0, 1, 2, 3, 4, -1])
    found = vq.export(
        result, tmp_path / "out", exporter.name, [(images, labels)], lambda share, _: heard.append(share)
    )
    assert heard == sorted(heard) and heard[-1] == 1
    parts = (found.path.name, *exporter.parts_of(found.path.name))
    data = b"".join((tmp_path / "out" / name).read_bytes() for name in parts)
    assert (found.path.parent, found.bytes) == (tmp_path / "out", len(data))
    assert found.sha256 == sha256(data).hexdigest() and found.format == exporter.name
    stored = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert vq.Certificate.from_json(stored, tmp_path / "out") == found
    assert exporter.title and (tmp_path / "out" / "README.md").read_text().startswith("# A quantized")
    assert exported(tmp_path / "out").certificate == found
    beside = {"README.md", "certificate.json"}
    assert {path.name for path in found.path.parent.iterdir()} - beside <= {*exporter.files}
    assert found.n == 6 and found.packed == 0 and found.fp32_bytes > found.bytes // 100
    with torch.no_grad():
        right = result(images).argmax(1)[:5] == labels[:5]
    assert found.simulated_accuracy == pytest.approx(float(right.float().mean()))


def test_the_file_answers_as_the_certificate_says(exporter, result, images, tmp_path) -> None:
    found = vq.export(result, tmp_path / "out", exporter.name, images)
    task = result.model.vitq.prepared.task
    given = exporter.load(found.path, task)(task.collate(images))
    with torch.no_grad():
        expected = task.run(result.model, task.collate(images))
    differences = [float((given[name] - expected[name]).abs().max()) for name in given]
    assert max(differences) == pytest.approx(found.max_difference, abs=1e-6)
    assert 0.99 < found.cosine <= 1 and found.agreement == 1


def test_the_packed_file_answers_the_pictures_that_were_given(
    exporter, result, images, tmp_path, monkeypatch
) -> None:
    """Not others: a packed file that answers these otherwise must not pass for the same."""
    wrong = vq.quantize(result.model.vitq.plain_model(), images, vq.recipe("minmax", 2, 8))
    monkeypatch.setattr("vitq_core.exporters.export.load_quantized", lambda folder: wrong)
    found = vq.export(result, tmp_path / "out", exporter.name, images)
    with torch.no_grad():
        expected = float((wrong(images) - result(images)).abs().max())
    assert found.packed == pytest.approx(expected) and expected > 0.1


@pytest.mark.usefixtures("written_once")
@pytest.mark.parametrize("when", ["written", "compared", "moved"])
@pytest.mark.parametrize("exporter", mostly_wide(EXPORTERS, "packed", "onnx"), indirect=True)
def test_broken_off_the_folder_is_as_it_was(exporter, result, images, tmp_path, monkeypatch, when) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "out"
    vq.export(result, folder, exporter.name, images)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    broken = {
        "written": (exporter, "write"), "compared": (exporter, "load"), "moved": (os, "replace"),
    }[when]  # fmt: skip
    monkeypatch.setattr(*broken, fails)
    with pytest.raises(vq.StorageError, match="cannot be written"):
        vq.export(result, folder, exporter.name, images)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(vq.StorageError):
        vq.export(result, tmp_path / "fresh", exporter.name, images)
    assert not (tmp_path / "fresh").exists()


@pytest.mark.usefixtures("written_once")
@pytest.mark.parametrize("exporter", mostly_wide(EXPORTERS, "packed", "onnx"), indirect=True)
def test_wherever_it_is_broken_off_no_two_exports_are_mixed(
    exporter, result, model, images, tmp_path, monkeypatch
) -> None:
    """What is to be loaded is all old, all new or not there, at every move and after one that fails."""
    folder, really = tmp_path / "out", os.replace
    main = vq.export(result, folder, exporter.name, images).path.name
    names = (main, *exporter.parts_of(main))
    old = {name: (folder / name).read_bytes() for name in names}

    def kinds() -> list[bool]:
        """Of the files that are there, whether each is an old one; nothing where none can be loaded."""
        there = [name for name in names if (folder / name).exists()]
        assert main not in there or len(there) == len(names)
        return [(folder / name).read_bytes() == old[name] for name in there] if main in there else []

    other = vq.quantize(model, images, vq.recipe("minmax", 6, 8))
    for last in itertools.count():
        moves = iter(range(last))

        def refused_once(source: Path, target: Path, moves: Iterator[int] = moves) -> None:
            if folder in (Path(source).parent, Path(target).parent):
                assert len({*kinds()}) <= 1
                if next(moves, None) is None:
                    monkeypatch.setattr(os, "replace", really)  # the disk refuses once
                    raise OSError(28, "No space left on device")
            really(source, target)

        monkeypatch.setattr(os, "replace", refused_once)
        try:
            vq.export(other, folder, exporter.name, images)
        except vq.StorageError:
            assert len({*kinds()}) == 1
        else:
            break
    assert last >= len(names) and not any(kinds())


def test_cancelled_nothing_is_there(exporter, result, images, tmp_path) -> None:
    asked: list[int] = []
    with pytest.raises(vq.Cancelled):
        vq.export(
            result, tmp_path / "out", exporter.name, images, cancel=lambda: asked.append(1) or len(asked) > 1
        )
    assert not (tmp_path / "out").exists()


def test_without_pictures_random_ones_are_compared_and_it_says_so(exporter, result, tmp_path) -> None:
    found = vq.export(result, tmp_path / "out", exporter.name)
    assert found.n == 8 and any("random" in sentence for sentence in found.sentences)
    assert found.accuracy is None


def test_unknown_formats_and_missing_packages_are_sentences(result, tmp_path, exporter, monkeypatch) -> None:
    with pytest.raises(ValueError, match="unknown format 'gguf'; available: "):
        vq.export(result, tmp_path / "out", "gguf")
    if exporter.needs:
        monkeypatch.setattr(type(exporter), "needs", {"a-runtime": "no_such_module"})
        with pytest.raises(vq.VitqError, match=r"a-runtime, not installed here: pip install a-runtime"):
            vq.export(result, tmp_path / "out", exporter.name)
