"""Pictures of a data set of the hub, from a server on 127.0.0.1, by programs that are told its address."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitq_core as vq
from vitq_core.experiment.folders import folder_source
from vitq_core.pictures import PictureFolder
from vitq_core.pictures.hub_pictures import _class_folder, names_dataset

from .dataset_server import COMMIT, DataSet, DatasetServer

datasets = pytest.importorskip("datasets")

NAMES = ["ant", "bee", "fox"]
PROGRAM = """
import json, sys, datasets, vitq_core as vq
from pathlib import Path
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0.1  # it waits 5 s at the end of every stream
for line in sys.stdin:
    asked = json.loads(line)
    said = []
    try:
        folder = vq.fetch_pictures(progress=lambda share, text: said.append(text), **asked)
        files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        print(json.dumps({"folder": str(folder), "files": files, "said": said}), flush=True)
    except Exception as error:
        print(json.dumps({"error": type(error).__name__, "said": str(error)}), flush=True)
"""


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8))


def parquet(count: int, features: dict, column: str = "image", **columns: list) -> bytes:
    rows = {column: [picture(seed) for seed in range(count)], **columns}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    file = io.BytesIO()
    made.to_parquet(file)
    return file.getvalue()


def labelled(count: int, hidden: bool = False) -> bytes:
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    return parquet(count, kinds, label=[-1 if hidden else number % 3 for number in range(count)])


def png(seed: int) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "PNG")
    return file.getvalue()


SETS = {
    "user/parts": DataSet(
        {
            "data/train-00000-of-00001.parquet": labelled(12),
            "data/validation-00000-of-00001.parquet": labelled(6),
        }
    ),
    "user/one": DataSet({"data/train-00000-of-00001.parquet": labelled(12)}),
    "user/unlabelled": DataSet(
        {"data/train-00000-of-00001.parquet": parquet(5, {"photo": datasets.Image()}, "photo")}
    ),
    "user/folder": DataSet(
        {f"{part}/{name}/{i}.png": png(i) for part in ("train", "test") for name in NAMES for i in range(2)}
    ),
    "user/words": DataSet({"data/train-00000-of-00001.parquet": b""}),
    "user/gated": DataSet({"data/train-00000-of-00001.parquet": labelled(3)}, gated=True),
    "user/broken": DataSet({"data/train-00000-of-00001.parquet": b"PAR1 and then nothing"}),
    "user/none": DataSet({"README.md": b"nothing here"}),
}


@pytest.fixture(scope="module")
def hub() -> Iterator[DatasetServer]:
    texts = io.BytesIO()
    datasets.Dataset.from_dict({"text": ["a", "b"]}).to_parquet(texts)
    SETS["user/words"].files["data/train-00000-of-00001.parquet"] = texts.getvalue()
    server = DatasetServer(SETS)
    yield server
    server.close()


@pytest.fixture(scope="module")
def fetch(hub: DatasetServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., dict]]:
    """Asks one program after the other line: importing the library takes seconds."""
    home = tmp_path_factory.mktemp("home")
    own = {"HF_ENDPOINT": hub.address, "VITQ_HOME": str(home), "HF_HOME": str(home / "hf"), "no_proxy": "*"}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, **own}, cwd=Path(__file__).parents[2],
    ) as program:  # fmt: skip

        def ask(dataset: str, **asked: object) -> dict:
            program.stdin.write(json.dumps({"dataset": dataset, **asked}) + "\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        yield ask
        program.stdin.close()


def test_parts_and_classes_are_folders_and_nothing_is_fetched_twice(fetch, hub: DatasetServer) -> None:
    found = fetch("user/parts", count=4)
    folder = Path(found["folder"])
    assert folder.name == f"{COMMIT[:12]}-4-0" and folder.parent.name == "user--parts"
    assert len(found["files"]) == 8
    assert {file.split("/")[0] for file in found["files"]} == {"train", "test"}
    assert {file.split("/")[1] for file in found["files"]} <= set(NAMES)
    assert any("Fetching pictures" in said for said in found["said"])
    before = len(hub.asked.resolved())
    assert fetch("hf://datasets/user/parts", count=4)["folder"] == found["folder"]
    by_page = fetch(f"https://huggingface.co/datasets/user/parts/tree/{COMMIT}", count=4)
    assert by_page["folder"] == found["folder"]
    assert len(hub.asked.resolved()) == before
    opened = vq.load_model("demo-vit")
    read = PictureFolder(folder, opened.preprocess, split="test")
    assert len(read) == 4 and set(read.labels) <= set(NAMES)
    pools = folder_source(opened, folder)
    assert len(pools.calibration(9, 0)) == len(pools.held_out(9)) == 4


def test_the_seed_chooses(fetch) -> None:
    first, same, other = (fetch("user/parts", count=5, seed=seed) for seed in (1, 1, 2))
    contents = [
        {(Path(each["folder"]) / file).read_bytes() for file in each["files"] if file.startswith("train")}
        for each in (first, same, other)
    ]
    assert contents[0] == contents[1] != contents[2]


def test_a_set_with_one_part_gives_twice_as_many(fetch) -> None:
    found = fetch("user/one", count=4)
    assert len(found["files"]) == 8 and {file.split("/")[0] for file in found["files"]} <= set(NAMES)
    assert len(fetch("user/one", count=100)["files"]) == 12


def test_pictures_without_labels_lie_flat(fetch) -> None:
    assert all("/" not in file for file in fetch("user/unlabelled", count=2)["files"])


def test_a_set_of_files_is_read_too(fetch) -> None:
    found = fetch("user/folder", count=6)
    assert len(found["files"]) == 12 and all(file.endswith(".png") for file in found["files"])
    first = Path(found["folder"]) / found["files"][0]
    assert first.read_bytes() in {png(0), png(1)}


@pytest.mark.parametrize(
    ("dataset", "error", "sentence"),
    [
        ("user/nobody", "VitqError", "there is no data set user/nobody on the Hugging Face hub"),
        ("user/parts@v9", "VitqError", "the data set user/parts has no such revision"),
        ("user/words", "VitqError", "it has no column of pictures, only text"),
        ("user/broken", "VitqError", "user/broken cannot be fetched: "),
        ("user/none", "VitqError", "user/none cannot be fetched: "),
        ("nonsense", "ValueError", "names no data set of the hub; it should look like user/name"),
        ("../x/y", "ValueError", "names no data set of the hub"),
    ],
)
def test_what_cannot_be_had_is_a_sentence(fetch, dataset: str, error: str, sentence: str) -> None:
    found = fetch(dataset)
    assert found["error"] == error and sentence in found["said"]


def test_terms_that_were_not_accepted_are_said(fetch) -> None:
    said = fetch("user/gated")
    assert said["error"] == "VitqError" and "user/gated asks for its terms to be accepted" in said["said"]


@pytest.mark.parametrize("count", [0, -1, 1.5, True, None])
def test_counts_are_whole_numbers(count: object) -> None:
    with pytest.raises(ValueError, match="count must be a whole number above 0"):
        vq.fetch_pictures("user/name", count=count)


def test_cancelling_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path))
    with pytest.raises(vq.Cancelled):
        vq.fetch_pictures("user/name", cancel=lambda: True)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("label", "folder"),
    [(1, "bee"), (-1, ""), (7, "7"), ("a/b\n", "a-b-"), ("..", ""), (None, ""), (True, ""), (1.5, "")],
)
def test_class_folders_are_names_that_a_folder_can_have(label: object, folder: str) -> None:
    assert _class_folder(label, NAMES) == folder


def test_what_is_meant_as_a_data_set() -> None:
    assert (
        names_dataset("http://www.hf.co/datasets/a/b")
        and names_dataset(" hf://datasets/user/name")
        and names_dataset("https://huggingface.co/datasets/a/b")
    )
    assert not any(map(names_dataset, ("user/name", "/data/pictures", "C:\\pictures", None, 3)))
