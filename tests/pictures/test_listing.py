"""A folder and a zip of it hold the same pictures, and whatever is left out is counted and said."""

import os
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures.test_folder import encoded
from vitq_core.pictures import PictureFolder
from vitq_core.pictures.archive import CLOSED, LINKED, NOWHERE, TWICE, Archive, Folder, open_storage
from vitq_core.pictures.preprocess import Preprocessing

TINY = Preprocessing(size=8, crop_pct=1.0)
DOT = encoded(Image.new("RGB", (4, 3), "red"))
JPEG = encoded(Image.new("RGB", (4, 3), "red"), "JPEG")


def written(path: Path, files: dict[str, bytes], kind: str) -> Path:
    """A folder of `files`, or a zip of them."""
    if kind == "zip":
        with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path.with_suffix(".zip")
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


both = pytest.mark.parametrize("kind", ["folder", "zip"])


@both
def test_pictures_are_told_by_ending_or_else_by_their_first_bytes(tmp_path: Path, kind: str) -> None:
    named = ["1.JPG", "2.jfif", "3.jpe", "4.jpeg", "5.dib", "6", "7.photo", "IMG.2024-05-01"]
    files = {f"cat/{name}": JPEG for name in named}
    others = {
        "notes.txt": b"x",
        "cat/list.XYZ": b"BMW",
        "cat/README": b"P6 is",
        "cat/b.txt": b"",
        "c/d.rar": b"Rar!",
    }
    folder = PictureFolder(written(tmp_path / "box", files | others, kind), TINY, labels=["cat", "dog"])
    assert sorted(folder.files) == sorted((name, 0) for name in files)
    assert folder.skipped == 5
    assert folder.left_out.sentences() == [
        "5 files are no pictures that can be read and were not used "
        "(2 .txt, 1 .rar, 1 .xyz, 1 without an ending). archives: unpack them first."
    ]


@both
def test_what_systems_leave_is_not_used_and_said(tmp_path: Path, kind: str) -> None:
    files = {
        "cat/1.png": DOT, "dog/1.png": DOT, "cat/@eaDir/1.png/THUMB.jpg": JPEG, "#recycle/2.png": DOT,
        "__MACOSX/cat/._1.png": b"", "cat/.ipynb_checkpoints/3.png": DOT, "cat/Thumbs.db": b"",
        ".DS_Store": b"", "cat/.DS_Store": b"", "cat/._1.png": b"", "cat/._2.png": b"",
    }  # fmt: skip
    folder = PictureFolder(written(tmp_path / "box", files, kind), TINY)
    assert [name for name, _ in folder.files] == ["cat/1.png", "dog/1.png"]
    assert folder.skipped == 0
    assert folder.left_out.system == Counter(
        {
            "@eaDir": 1,
            "#recycle": 1,
            "__MACOSX": 1,
            ".ipynb_checkpoints": 1,
            "Thumbs.db": 1,
            ".DS_Store": 2,
            "._*": 2,
        }
    )
    (said,) = folder.left_out.sentences()
    assert said.startswith("Made by systems and not used: ") and ".DS_Store (2), ._* (2)" in said


@both
@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, r"^box has no pictures in it$"),
        ({".bee/1.png": DOT}, r"^box has no pictures in it\. Made by systems and not used: \.bee\.$"),
        ({"a.txt": b"x"}, r"^box has 1 file, which is no picture that can be read \(1 \.txt\)$"),
        ({"a.DCM": bytes(128) + b"DICM", "b.dcm": b""}, r"2 files.*\(2 \.dcm\)\. DICOM: export .* PNG$"),
        (
            {"data_batch_1": b"\x80\x02}q", "batches.meta": b"\x80\x02}q"},
            r"1 without an ending.*pickles: .*folder for each class$",
        ),
        ({"x.npy": b"\x93NUMPY"}, r"NumPy arrays: save every picture as PNG$"),
    ],
)  # fmt: skip
def test_a_folder_without_pictures_says_what_is_in_it(tmp_path, kind, files, sentence) -> None:
    (tmp_path / "box").mkdir()
    storage = open_storage(written(tmp_path / "box", files, kind), "box")
    with pytest.raises(ValueError, match=sentence):
        PictureFolder(storage, TINY)


def test_links_to_class_folders_are_followed_once_and_not_in_circles(tmp_path: Path) -> None:
    shelf, real = tmp_path / "shelf", tmp_path / "elsewhere"
    written(real, {"cat/1.png": DOT, "dog/1.png": DOT}, "folder")
    written(shelf, {"fox/1.png": DOT}, "folder")
    for name in ("cat", "dog"):
        (shelf / name).symlink_to(real / name)
    (real / "cat" / "again").symlink_to(shelf)
    (shelf / "zoo").symlink_to(real / "cat")
    (shelf / "up").symlink_to(tmp_path)
    (shelf / "all").symlink_to("/")
    (shelf / "alias").symlink_to(shelf / "fox")
    (shelf / "processes").symlink_to("/proc")
    (shelf / "gone.png").symlink_to(tmp_path / "gone.png")
    folder = Folder(shelf)
    assert folder.names() == ["cat/1.png", "dog/1.png", "fox/1.png"]
    assert sorted(folder.left_out.sentences(), reverse=True) == [
        f"Not used: 6 × {LINKED}.",
        f"Not used: 1 × {NOWHERE}.",
    ]


def test_doubled_links_do_not_multiply(tmp_path: Path) -> None:
    """Each of 20 folders has two links to the next one: a million paths."""
    for depth in range(20):
        (tmp_path / "real" / str(depth)).mkdir(parents=True)
        for side in "ab":
            (tmp_path / "real" / str(depth) / side).symlink_to(tmp_path / "real" / str(depth + 1))
    (tmp_path / "real" / "20").mkdir()
    (tmp_path / "real" / "20" / "1.png").write_bytes(DOT)
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "0").symlink_to(tmp_path / "real" / "0")
    assert len(Folder(tmp_path / "shelf").names()) == 1


def test_a_folder_that_may_not_be_opened_is_counted(tmp_path: Path, monkeypatch) -> None:
    written(tmp_path, {"cat/1.png": DOT, "secret/1.png": DOT}, "folder")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)
    folder = Folder(tmp_path)
    assert folder.names() == ["cat/1.png"]
    assert folder.left_out.unreachable == {CLOSED: 1}


CAFE = "café"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("label", ["NFC", "NFD"])
@both
def test_accents_are_the_same_in_either_form(tmp_path: Path, kind: str, form: str, label: str) -> None:
    name, labels = unicodedata.normalize(form, CAFE), [unicodedata.normalize(label, CAFE), "dog"]
    path = written(tmp_path / "box", {f"{name}/1.png": DOT, "dog/1.png": DOT}, kind)
    assert sorted(y for _, y in PictureFolder(path, TINY, labels=labels).files) == [0, 1]
    assert CAFE in PictureFolder(path, TINY).classes
    assert len(PictureFolder(path, TINY, split=unicodedata.normalize(label, CAFE))) == 1


@both
def test_two_folders_of_one_name_in_two_forms_are_one_class(tmp_path: Path, kind: str) -> None:
    names = {unicodedata.normalize(form, CAFE) for form in ("NFC", "NFD")}
    files = {f"{name}/{i}.png": DOT for i, name in enumerate(names)} | {"dog/1.png": DOT}
    folder = PictureFolder(written(tmp_path / "box", files, kind), TINY)
    assert folder.classes == [CAFE, "dog"] or folder.classes == ["dog", CAFE]
    assert len({label for _, label in folder.files}) == 2


def test_backslashes_between_folders_are_slashes_where_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for names in (("data\\cat\\1.png", "data\\dog\\1.png"), (".\\cat\\1.png", ".\\dog\\1.png")):
        _raw_zip(path, {name.encode(): 0 for name in names})
        assert PictureFolder(path, TINY, labels=["cat", "dog"]).files == [("cat/1.png", 0), ("dog/1.png", 1)]
    _raw_zip(path, {b"cat/a\\b.png": 0, b"./dog//1.png": 0})
    assert Archive(path).names() == ["cat/a\\b.png", "dog/1.png"]
    assert Archive(path).read("dog/1.png") == DOT


def test_names_that_are_utf8_without_saying_so_are_read_as_such(tmp_path: Path) -> None:
    """As macOS writes them; DOS letters stay what they are."""
    path = tmp_path / "a.zip"
    _raw_zip(path, {unicodedata.normalize("NFD", "café/1.png").encode(): 0, b"caf\x82/2.png": 0})
    folder = PictureFolder(path, TINY, labels=[CAFE])
    assert [label for _, label in folder.files] == [0, 0]


def _raw_zip(path: Path, names: dict[bytes, int]) -> None:
    """With exactly these bytes as names: they are put in place of others of their length."""
    with zipfile.ZipFile(path, "w") as archive:
        for index, name in enumerate(names):
            archive.writestr(f"{index}" * len(name), DOT)
    data = path.read_bytes()
    for index, name in enumerate(names):
        data = data.replace(f"{index}".encode() * len(name), name)
    path.write_bytes(data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_in_a_zip_twice_counts_once_and_is_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for data in (b"old", DOT):
            archive.writestr("cat/1.png", data)
    folder = PictureFolder(tmp_path / "a.zip", TINY, labels=["cat"])
    assert len(folder) == 1 and folder.picture(0).size == (4, 3)
    assert folder.left_out.unreachable == {TWICE: 1}
