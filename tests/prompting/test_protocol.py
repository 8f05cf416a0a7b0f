"""The protocol's numbers are those of the package's predictor, asked one object at a time."""

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

import vitq_core as vq
from tests import sam as tiny
from tests.nasty import sentence
from tests.prompting.near import near_the_click
from vitq_core.common.masks import innermost, iou, tight_box
from vitq_core.prompting import KnownAnswers, Labelled, drawn_scenes, measure_prompts
from vitq_core.prompting.protocol import most_wrong

FIELDS = ("click_iou", "best_of_three_iou", "box_iou", "three_clicks_iou", "belief_error")


@pytest.fixture(scope="module")
def sam() -> Sam:
    return tiny.tiny_sam().requires_grad_(False)


@pytest.fixture(scope="module")
def other() -> Sam:
    return tiny.tiny_sam(seed=4).requires_grad_(False)


def pictures() -> list[Labelled]:
    return list(drawn_scenes(3, 100))


def naively(sam: Sam, labelled: Labelled, truth: np.ndarray) -> tuple[dict, dict]:
    """(values, chosen masks) of one object, with nothing but the package."""
    predictor = SamPredictor(sam)
    predictor.set_image(np.array(labelled.picture))
    points, labels = [innermost(truth)], [1]
    masks, ious, low_res = predictor.predict(np.array(points), np.array(labels))
    box, box_iou, _ = predictor.predict(box=np.array(tight_box(truth)), multimask_output=False)
    chosen, believed, best = {"click": masks[ious.argmax()], "box": box[0]}, [ious.max(), box_iou[0]], masks
    choice = ious.argmax()
    for _ in range(2):
        place, label = most_wrong(masks[ious.argmax()], truth)
        points.append(place)
        labels.append(label)
        masks, ious, low_res = predictor.predict(
            np.array(points), np.array(labels), mask_input=low_res[[ious.argmax()]], multimask_output=False
        )
    chosen["three_clicks"] = masks[0]
    true = {kind: iou(mask, truth) for kind, mask in chosen.items()}
    values = {f"{kind}_iou": value for kind, value in true.items()}
    values["best_of_three_iou"] = max(iou(mask, truth) for mask in best)
    values["belief_error"] = np.mean(np.abs([*believed, ious[0]] - np.array(list(true.values()))))
    return values, chosen | {"choice": choice}


def test_it_measures_what_the_package_answers(sam: Sam, other: Sam) -> None:
    found = measure_prompts(sam, iter(pictures()), reference=other)
    rows = []
    for labelled in pictures():
        for truth in labelled.masks:
            values, chosen = naively(sam, labelled, truth)
            _, theirs = naively(other, labelled, truth)
            values |= {f"{kind}_agreement": iou(chosen[kind], theirs[kind]) for kind in ("click", "box")}
            values["three_clicks_agreement"] = iou(chosen["three_clicks"], theirs["three_clicks"])
            values["changed_choice"] = chosen["choice"] != theirs["choice"]
            rows.append(values)
    assert (found.pictures, found.objects) == (3, len(rows))
    for name in (*FIELDS, "click_agreement", "box_agreement", "three_clicks_agreement", "changed_choice"):
        assert np.isclose(found[name].mean, np.mean([row[name] for row in rows])), name
        assert found[name].error is not None and found[name].error >= 0


def test_a_model_agrees_with_itself(sam: Sam) -> None:
    found = measure_prompts(sam, pictures(), reference=sam)
    for kind in ("click", "box", "three_clicks"):
        assert (found[f"{kind}_agreement"].mean, found[f"{kind}_agreement"].error) == (1, 0)
    assert found.changed_choice.mean == 0
    alone = measure_prompts(sam, pictures())
    assert [alone[name] for name in FIELDS] == [found[name] for name in FIELDS]
    assert alone.click_agreement is None and alone.changed_choice is None
    assert alone.best_of_three_iou.mean >= alone.click_iou.mean


def test_known_answers_stand_for_the_model_that_gave_them(sam: Sam, other: Sam) -> None:
    known = KnownAnswers()
    assert measure_prompts(other, pictures(), keep=known) == measure_prompts(other, pictures())
    found = measure_prompts(sam, pictures(), known)
    assert found == measure_prompts(sam, pictures(), other) and len(known) == found.objects


def test_known_answers_are_those_for_these_pictures(sam: Sam) -> None:
    known = KnownAnswers()
    measure_prompts(sam, pictures()[:2], keep=known)
    for others in (pictures(), pictures()[1:], list(drawn_scenes(1, 64))):
        with pytest.raises(ValueError, match="are those for other pictures"):
            measure_prompts(sam, others, known)


def test_the_most_wrong_is_the_largest_piece_of_what_is_missed_or_too_much() -> None:
    truth = np.zeros((20, 30), bool)
    truth[2:9, 2:9] = True
    assert most_wrong(truth, truth) is None
    assert most_wrong(np.zeros_like(truth), truth) == ((5, 5), 1)
    spilled = truth.copy()
    spilled[12:15, 20:23] = True
    assert most_wrong(spilled, truth) == ((21, 13), 0)
    spilled[2:4, 2:9] = False  # 14 pixels are missed, 9 too much
    assert most_wrong(spilled, truth)[1] == 1
    spilled[0, ::3] = True  # smaller pieces, met earlier
    assert most_wrong(spilled, truth) == ((2, 2), 1)
    spilled[12:18, 20:23] = True
    assert most_wrong(spilled, truth) == ((21, 13), 0)
    spilled[0], spilled[12:18, 20:23] = False, False
    spilled[::2, 15:25:2] = True  # 50 pixels too much, each alone
    assert most_wrong(spilled, truth)[1] == 1


def test_masks_are_compared_at_the_size_of_the_upright_picture() -> None:
    sam, upright = near_the_click(), Image.fromarray(tiny.picture(0, 300, 400))
    truth = np.zeros((300, 400), bool)
    truth[100:180, 120:200] = True
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    found = [measure_prompts(sam, [Labelled(each, [truth])]).click_iou for each in (upright, turned)]
    assert found[0] == found[1] and found[0].mean > 0.1 and found[0].error is None


def test_pictures_are_taken_one_at_a_time_and_those_without_objects_are_not_counted(sam: Sam) -> None:
    alive, told = [], []

    def one_by_one() -> Iterator[Labelled]:
        for labelled in pictures():
            alive.append(len(told))
            yield labelled
            yield Labelled(labelled.picture, [])

    found = measure_prompts(sam, one_by_one(), progress=lambda *each: told.append(each))
    assert alive == [0, 2, 4]  # the next is drawn once the last is done
    assert found.pictures == 3
    assert told[-1][1].startswith(f"Asked for {found.objects} objects in 3 pictures")


def test_it_stops_when_asked(sam: Sam) -> None:
    with pytest.raises(vq.Cancelled):
        measure_prompts(sam, pictures(), cancel=lambda: True)


def test_what_cannot_be_measured_is_a_sentence(sam: Sam) -> None:
    picture = Image.new("RGB", (20, 20))
    for given in ([], [Labelled(picture, [])], [picture], [Labelled(picture, [np.ones((9, 9), bool)])]):
        with pytest.raises(ValueError) as caught:
            measure_prompts(sam, given)
        sentence(caught.value)
    with pytest.raises(ValueError, match="takes a"):
        measure_prompts("demo-vit", pictures())
