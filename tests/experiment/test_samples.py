"""Where pictures come from."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ui.parts.settings import RunSettings
from ui.parts.user_sources import choose_source
from vitq_core.demo.training.tasks import HELD_OUT_SEED, TRAIN_SEED
from vitq_core.experiment.folders import folder_source, separate_source, upload_source
from vitq_core.experiment.measure import usable
from vitq_core.experiment.samples import Photographs, Scenes, builtin_source, package_photographs


def pixels(samples) -> list[bytes]:
    return [sample.read().tobytes() for sample in samples]


def test_scenes_share_no_picture_with_each_other_or_with_the_training():
    scenes = Scenes(64)
    calibration, held_out = scenes.calibration(4, seed=0), scenes.held_out(4)
    assert not set(pixels(calibration)) & set(pixels(held_out))
    assert TRAIN_SEED != HELD_OUT_SEED
    assert all(sample.label is not None for sample in held_out)


def test_another_seed_draws_other_scenes_and_the_same_seed_the_same():
    scenes = Scenes(64)
    first = pixels(scenes.calibration(2, seed=0))
    assert pixels(scenes.calibration(2, seed=0)) == first
    assert pixels(scenes.calibration(2, seed=1)) != first


def test_a_model_without_pictures_of_its_own_gets_photographs_and_a_warning(tiny_model):
    source = builtin_source(tiny_model)
    assert isinstance(source, Photographs)
    assert "another domain" in source.warning
    samples = source.held_out(12)
    assert len(samples) == 12
    assert {sample.label for sample in samples} == {None}
    assert not set(pixels(samples)) & set(pixels(source.calibration(12, seed=0)))


def test_photographs_are_listed_once_each():
    contents = [path.read_bytes() for path in package_photographs()]
    assert len(contents) == len(set(contents)) > 0


def test_class_folders_give_labels_and_halves_share_nothing(tiny_model, folder):
    source = folder_source(tiny_model, folder)
    calibration, held_out = source.calibration(100, seed=0), source.held_out(100)
    assert len(calibration) == len(held_out) == 4
    assert not {s.name for s in calibration} & {s.name for s in held_out}
    assert {tiny_model.labels[s.label] for s in held_out} == {"bee", "fox"}
    assert source.warning == ""


def test_train_and_test_parts_are_used_as_such(tiny_model, tmp_path, picture_folder):
    picture_folder(tmp_path / "train", ["ant", "dog"], each=3)
    picture_folder(tmp_path / "test", ["ant", "dog"], each=1)
    source = folder_source(tiny_model, tmp_path)
    assert len(source.calibration(100, seed=0)) == 6
    assert len(source.held_out(100)) == 2
    assert "test part" in source.about


def test_two_folders_are_used_whole_each_for_its_own_purpose(tiny_model, tmp_path, picture_folder):
    names = list(tiny_model.labels[:2])
    calibrating, judging = (picture_folder(tmp_path / part, names, each=3) for part in ("a", "b"))
    source = separate_source(tiny_model, calibrating, judging)
    assert len(source.calibration(99, 0)) == len(source.held_out(99)) == 6
    assert {sample.label for sample in source.held_out(99)} == {0, 1}
    assert "a to calibrate" in source.about and "b held out" in source.about and not source.warning
    unknown = separate_source(tiny_model, picture_folder(tmp_path / "zoo", ["zebra", "yak"], each=2), judging)
    assert "unlabelled" in unknown.warning and unknown.key != source.key


def test_unknown_classes_count_as_unlabelled_with_a_warning(tiny_model, tmp_path, picture_folder):
    source = folder_source(tiny_model, picture_folder(tmp_path / "zoo", ["zebra", "yak"], each=2))
    assert {sample.label for sample in source.held_out(10)} == {None}
    assert "only agreement" in source.warning


def test_a_zip_is_read_like_a_folder(tiny_model, folder, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    source = choose_source(tiny_model, RunSettings("m", "repq", pictures="uploads", uploads=(archive,)))
    assert len(source.held_out(100)) == 4


def test_uploads_are_pictures_or_one_zip(tiny_model, folder, tmp_path):
    files = sorted(folder.glob("*/*.png"))
    assert len(upload_source(tiny_model, files).held_out(100)) == 4
    only = upload_source(tiny_model, files[:1])
    assert pixels(only.held_out(5)) == pixels(only.calibration(5, seed=0))
    assert "one picture that it was calibrated on" in only.warning
    assert not upload_source(tiny_model, files[:2]).warning
    with pytest.raises(ValueError, match="either one"):
        upload_source(tiny_model, [*files, tmp_path / "more.zip"])


def test_nobody_names_folders_on_a_public_server(tiny_model, folder, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    settings = RunSettings("m", "repq", pictures="folder", folder=str(folder))
    with pytest.raises(ValueError, match="public server"):
        choose_source(tiny_model, settings)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_pictures_is_refused(tiny_model, tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=name):
        folder_source(tiny_model, tmp_path / name)


def test_a_folder_is_called_what_the_person_typed(tiny_model, tmp_path, picture_folder, monkeypatch):
    home = picture_folder(tmp_path / "root", ["bee"], each=2)
    monkeypatch.setenv("HOME", str(home))
    asked = RunSettings("m", "repq", pictures="folder", folder="~")
    assert choose_source(tiny_model, asked).about.startswith("~: half of its pictures")
    shutil.move(home / "bee", home / ".bee")
    with pytest.raises(
        ValueError, match=r"^~ has no pictures in it\. Made by systems and not used: \.bee\.$"
    ):
        choose_source(tiny_model, asked)


def test_a_folder_is_listed_once_however_its_parts_are_called(
    tiny_model, tmp_path, picture_folder, monkeypatch
):
    for part in ("train", "validation"):  # what is tried last
        picture_folder(tmp_path / "parts" / part, ["ant", "dog"], each=1)
    listed, scandir = [], os.scandir
    monkeypatch.setattr("os.scandir", lambda path: listed.append(Path(path)) or scandir(path))
    assert "validation part" in folder_source(tiny_model, tmp_path / "parts").about
    assert listed.count(tmp_path / "parts") == 1


BROKEN = "is not a picture in a format that can be read"


@pytest.fixture
def mixed(tmp_path) -> list[Path]:
    """Two pictures, and two files that only look like some."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (9, 9), "red").save(folder / name)
    for name in ("c.png", "d.png"):
        (folder / name).write_text("no picture")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (3, 2, 1, 0)])
def test_uploads_are_halved_after_they_were_read(tiny_model, mixed, order):
    source = upload_source(tiny_model, [mixed[index] for index in order])
    parts = source.held_out(9), source.calibration(9, 0)
    assert sorted(sample.name for part in parts for sample in part) == ["a.png", "b.png"]
    assert [len(part) for part in parts] == [1, 1]
    assert source.warning.startswith("2 of 4 pictures could not be read and were left out: ")
    assert f"c.png {BROKEN}" in source.warning and f"d.png {BROKEN}" in source.warning
    assert usable(source.held_out(9)).unread == []


def test_unreadable_pictures_of_a_folder_are_left_out_before_it_is_halved(tiny_model, mixed):
    source = folder_source(tiny_model, mixed[0].parent)
    assert len(source.held_out(9)) == len(source.calibration(9, 0)) == 1
    assert "2 of 4 pictures could not be read" in source.warning


def test_where_nothing_can_be_read_every_reason_is_said(tiny_model, mixed):
    for source in (lambda: upload_source(tiny_model, mixed[2:]), lambda: _only(tiny_model, mixed)):
        with pytest.raises(ValueError, match=rf"c\.png {BROKEN}.*; d\.png {BROKEN}"):
            source()


def _only(model, mixed):
    for path in mixed[:2]:
        path.unlink(missing_ok=True)
    return folder_source(model, mixed[0].parent)


def test_of_many_pictures_not_all_are_read_first(tiny_model, mixed, monkeypatch):
    monkeypatch.setattr("vitq_core.experiment.folders.TRIED", 3)
    source = upload_source(tiny_model, mixed)
    assert source.warning == "" and usable([*source.held_out(9), *source.calibration(9, 0)]).unread


def test_what_is_left_out_of_a_folder_is_said(tiny_model, folder):
    (folder / "notes.txt").touch()
    (folder / "bee" / "@eaDir").mkdir()
    source = folder_source(tiny_model, folder)
    assert "1 file is no picture that can be read and was not used (1 .txt)." in source.about
    assert "Made by systems and not used: @eaDir." in source.about


@pytest.mark.parametrize(("train", "test"), [("Training", "Testing"), ("TRAIN", "dev"), ("valid", "test")])
def test_parts_in_any_spelling_are_used_as_such(tiny_model, tmp_path, picture_folder, train, test):
    picture_folder(tmp_path / train, ["ant", "dog"], each=3)
    picture_folder(tmp_path / test, ["ant", "dog"], each=1)
    picture_folder(tmp_path / "more", ["ant"], each=1)
    source = folder_source(tiny_model, tmp_path)
    assert (len(source.calibration(100, seed=0)), len(source.held_out(100))) == (6, 2)
    assert {sample.label for sample in source.held_out(100)} == {0, 3}
    assert f"its {train} part to calibrate, its {test} part held out. Not used: more." in source.about


def test_a_table_of_labels_labels_the_pictures_of_a_folder(tiny_model, tmp_path, picture_folder):
    flat = picture_folder(tmp_path, ["all"], each=4) / "all"
    (flat / "labels.csv").write_text("file,label\n0.png,bee\n1.png,fox\n2.png,zebra\n")
    source = folder_source(tiny_model, flat)
    samples = [*source.held_out(9), *source.calibration(9, 0)]
    assert {sample.name: sample.label for sample in samples} == {
        "0.png": 1, "1.png": 5, "2.png": None, "3.png": None,
    }  # fmt: skip
    assert "1 picture with labels that are none of the model's: 'zebra'." in source.about


def test_a_name_that_is_no_text_is_shown_with_question_marks(tiny_model, tmp_path):
    """As an old disk has them; the picture is read all the same."""
    for name in (b"bee/caf\xe9.png", b"bee/2.png", b"fox/1.png", b"fox/2.png"):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            Image.new("RGB", (9, 9)).save(file, "PNG")
    source = folder_source(tiny_model, tmp_path)
    samples = [*source.held_out(9), *source.calibration(9, 0)]
    (old,) = {sample.name for sample in samples if "caf" in sample.name}
    assert old == "bee/caf?.png"
    assert len(usable(samples).samples) == len(samples)
