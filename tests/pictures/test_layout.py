"""Where classes and parts begin, and what class a folder's name means."""

from pathlib import Path

import pytest
from PIL import Image

from vitq_core.pictures import PictureFolder
from vitq_core.pictures.labels import UnknownClasses, checkpoint_labels, class_indices, match_labels
from vitq_core.pictures.preprocess import Preprocessing
from vitq_core.pictures.splits import pair_among, part_of

TINY = Preprocessing(size=8, crop_pct=1.0)


def shelf(root: Path, *folders: str) -> Path:
    for name in folders:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (4, 3)).save(root / name / "1.png")
    return root


def test_numbered_folders_are_the_classes_of_their_numbers() -> None:
    names = [str(n) for n in range(12)]
    for labels, classes in ((None, None), (None, 12), ([f"label {n}" for n in range(12)], None)):
        assert class_indices(names, labels, classes) == {name: int(name) for name in names}
    assert class_indices(["007", "10"], None, 1000) == {"007": 7, "10": 10}
    assert class_indices(["2", "1"], ["1", "2"]) == {"1": 0, "2": 1}  # labels that are numbers themselves


@pytest.mark.parametrize(("names", "classes"), [(["1", "12"], 12), (["2023", "2024"], 10)])
def test_numbers_that_do_not_fit_are_refused(names: list[str], classes: int) -> None:
    for labels, count in ((None, classes), ([f"label {n}" for n in range(classes)], None)):
        with pytest.raises(
            UnknownClasses, match=rf"numbered {names[0]} to {names[1]}, .* 0 to {classes - 1};"
        ):
            class_indices(names, labels, count)
    with pytest.raises(UnknownClasses, match="classes 0 to 99999"):
        class_indices(["20240501", "1"])


def test_words_count_for_a_model_without_labels_only_where_there_are_as_many() -> None:
    assert class_indices(["b10", "b2", "a"], None, 3) == {"a": 0, "b2": 1, "b10": 2}
    with pytest.raises(UnknownClasses, match="does not name its 10 classes, and 2 class folders cannot tell"):
        class_indices(["cat", "dog"], None, 10)


def test_synsets_are_understood_wherever_their_name_is_a_label() -> None:
    imagenet = checkpoint_labels({}, 1000)
    assert match_labels(["n01440764", "n02012849"], imagenet) == {"n01440764": 0, "n02012849": 134}  # a crane
    some = ["goldfish, Carassius auratus", "tench", "unicorn"]
    assert match_labels(["n01440764", "n01443537", "Goldfish"], some) == {
        "n01440764": 1, "n01443537": 0, "Goldfish": 0,
    }  # fmt: skip
    assert match_labels(["n01443537"], ["n01443537", "n01440764"]) == {"n01443537": 0}
    with pytest.raises(UnknownClasses):  # a thousand other classes are not ImageNet's
        match_labels(["n01440764"], [f"bird {n}" for n in range(1000)])
    assert class_indices(["n01443537"], None, 1000) == {"n01443537": 1}


@pytest.mark.parametrize("name", ["great-dane", "Great Dane", "GREAT_DANE", " great  dane"])
def test_case_and_what_stands_between_words_do_not_count(name: str) -> None:
    assert match_labels([name], ["cat", "great dane"]) == {name: 1}


@pytest.mark.parametrize(
    ("folders", "pair"),
    [
        (("train", "test"), ("train", "test")),
        (("Testing", "Training"), ("Training", "Testing")),
        (("TRAIN", "val", "Test"), ("TRAIN", "Test")),
        (("training", "validation"), ("training", "validation")),
        (("valid", "test"), ("valid", "test")),
        (("train", "car"), None),
        (("train", "Training"), None),
    ],
)
def test_parts_are_told_by_one_table(folders: tuple[str, ...], pair: tuple[str, str] | None) -> None:
    assert pair_among(folders) == pair
    assert part_of("car") is None


@pytest.mark.parametrize("split", ["test", "Testing", "TESTING"])
def test_a_split_may_be_named_in_any_way(tmp_path: Path, split: str) -> None:
    shelf(tmp_path, "Training/cat", "Testing/cat", "Testing/dog")
    assert PictureFolder(tmp_path, TINY, split=split).classes == ["cat", "dog"]
    with pytest.raises(ValueError, match="holds Testing, Training; choose one of them as split"):
        PictureFolder(tmp_path, TINY)


def test_parts_are_no_classes_unless_the_model_has_such_labels(tmp_path: Path) -> None:
    shelf(tmp_path, "train", "test")
    assert len(PictureFolder(tmp_path, TINY, labels=["train", "test"]).classes) == 2
    shelf(tmp_path / "vehicles", "train", "car")
    assert PictureFolder(tmp_path / "vehicles", TINY, labels=["car", "train"]).classes == ["car", "train"]


def test_a_part_in_a_folder_of_its_own_name(tmp_path: Path) -> None:
    shelf(tmp_path, "train/train/cat", "train/train/dog", "test/test/cat")
    assert PictureFolder(tmp_path, TINY, split="train").classes == ["cat", "dog"]
