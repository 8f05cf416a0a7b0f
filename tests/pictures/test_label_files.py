"""Files of labels beside the pictures, or named: tables, JSON, lists of classes."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vitq_core.pictures import PictureFolder
from vitq_core.pictures.label_files import parse
from vitq_core.pictures.labels import checkpoint_labels
from vitq_core.pictures.preprocess import Preprocessing

TINY = Preprocessing(size=8, crop_pct=1.0)
LABELS = ["cat", "dog", "great dane"]


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Four pictures in a folder in a folder."""
    (tmp_path / "box" / "val").mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (4, 3)).save(tmp_path / "box" / "val" / f"{number}.png")
    return tmp_path / "box"


def labels_of(path: Path, **options) -> list[int]:
    return [label for _, label in PictureFolder(path, TINY, **options).files]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "file,label\n0.png,dog\n1.png,cat\n2.png,Great-Dane\n3.png,cat\n"),
        ("labels.csv", "0.png,dog\n1.png,cat\n2.png,Great_Dane\n3.png,cat"),
        ("labels.csv", "id;class;file\n7;dog;val/0.png\n7;cat;1.png\n7;great dane;2.png\n7;cat;3\n"),
        ("labels.csv", "\ufefffilename,label\n./0.png,1\nval\\1.png,0\n2,2\n3.png,0\n"),
        ("labels.tsv", "image\ttarget\n0.png\tdog\n1.png\tcat\n2.png\tgreat dane\n3.png\tcat\n"),
        ("labels.txt", "0.png 1\n1.png 0\n2.png 2\n3.png 0\n"),
        ("labels.json", json.dumps({"0.png": "dog", "1.png": 0, "2.png": "great dane", "3.png": "cat"})),
    ],
)
@pytest.mark.parametrize("place", ["", "val"])
def test_a_table_beside_the_pictures_labels_them(flat: Path, name: str, text: str, place: str) -> None:
    text = text.replace("val/", "").replace("val\\", "")
    (flat / place / name).write_text(text)
    folder = PictureFolder(flat, TINY, labels=LABELS)
    assert [label for _, label in folder.files] == [1, 0, 2, 0]
    assert folder.notes == []


def test_one_that_is_named_counts_in_place_of_the_one_that_is_found(flat: Path, tmp_path: Path) -> None:
    (flat / "labels.csv").write_text("0.png,dog\n")
    (tmp_path / "mine.csv").write_text("0.png,cat\n")
    assert labels_of(flat, labels=LABELS) == [1, -1, -1, -1]
    assert labels_of(flat, labels=LABELS, label_file=tmp_path / "mine.csv") == [0, -1, -1, -1]
    (tmp_path / "mine.csv").write_text("7.png,cat\n")
    with pytest.raises(ValueError, match=r"^mine.csv labels none of the pictures. 4 pictures of 4 not in"):
        PictureFolder(flat, TINY, label_file=tmp_path / "mine.csv")
    with pytest.raises(ValueError, match=r"gone\.csv is not there"):
        PictureFolder(flat, TINY, label_file=tmp_path / "gone.csv")


def test_what_fits_nothing_is_said_with_counts(flat: Path) -> None:
    (flat / "labels.csv").write_text("file,label\n0.png,dog\n1.png,zebra\n8.png,cat\n9.png,cat\n")
    folder = PictureFolder(flat, TINY, labels=LABELS)
    assert [label for _, label in folder.files] == [1, -1, -1, -1]
    assert folder.notes == [
        "2 pictures of 4 not in labels.csv: unlabelled.",
        "2 rows of labels.csv without a picture here.",
        "1 picture with labels that are none of the model's: 'zebra'.",
    ]


def test_one_about_other_files_leaves_the_folders_as_they_are(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 3)).save(tmp_path / name / "1.png")
    for text in ("file,label\n9.png,cat\n", "cat\ncat\n"):
        (tmp_path / "labels.csv").write_text(text)
        folder = PictureFolder(tmp_path, TINY, labels=LABELS)
        assert [label for _, label in folder.files] == [0, 1]
        assert "labels.csv" in folder.notes[0] and "not" in folder.notes[0].lower()
    (tmp_path / "labels.csv").write_text("cat/1.png,dog\n1.png,dog\n")  # 1.png: either
    assert labels_of(tmp_path, labels=LABELS) == [1, -1]


def test_imagenets_flat_folder_with_kaggles_table(tmp_path: Path) -> None:
    names = checkpoint_labels({}, 1000)
    for number in (1, 2):
        Image.new("RGB", (4, 3)).save(tmp_path / f"ILSVRC2012_val_0000000{number}.JPEG")
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01443537 85 1 499 272 \n"
        "ILSVRC2012_val_00000002,n01440764 1 2 3 4 n01440764 5 6 7 8 \n"
    )
    folder = PictureFolder(tmp_path, TINY, labels=names)
    assert [names[label] for _, label in folder.files] == ["goldfish", "tench"]


def test_a_list_of_classes_says_what_numbered_folders_are(tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 3)).save(tmp_path / name / "a.png")
    assert labels_of(tmp_path, labels=LABELS) == [0, 1]
    (tmp_path / "labels.txt").write_text("Great Dane\ncat\n")
    assert labels_of(tmp_path, labels=LABELS) == [2, 0]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.json", "{", "a.json is damaged"),
        ("a.json", "5", "must be {file: label}"),
        ("a.json", '{"a.png": {}}', "must be {file: label}"),
        ("a.txt", "cat\ndog\ncat\n", "names 'cat' more than once"),
        ("a.csv", "\n", "a.csv is empty"),
    ],
)
def test_a_file_that_is_neither_is_refused(name: str, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse(text, name)


def test_lists_of_classes() -> None:
    for name, text in (
        ("a.txt", "cat\ngreat dane\n"),
        ("a.json", '["cat", "great dane"]'),
        ("imagenet_class_index.json", '{"1": "great dane", "0": ["cat", "house cat"]}'),
    ):
        assert parse(text, name).classes == ("cat", "great dane")
