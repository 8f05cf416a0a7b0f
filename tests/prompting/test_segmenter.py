"""Masks are the package's own, bit for bit, whoever else asks and whatever the picture is stored as."""

import gc
import io
import threading
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

import vitq_core as vq
from tests import sam as tiny
from tests.nasty import sentence
from vitq_core.common.errors import NotFinite
from vitq_core.common.sam_shape import VIT_B
from vitq_core.graph.sam.family import SegmentAnything
from vitq_core.prompting import EmbeddingCache, Prompt, Segmenter

# The layout of the published ones (window 14, padded) on less of everything.
LIKE_VIT_B = replace(
    VIT_B, width=48, depth=3, heads=3, global_blocks=(2,), img_size=256, prompt_dim=32, decoder_mlp=64
)
CLICK, OTHER = Prompt(((48, 54),), (1,)), Prompt(((100, 20),), (1,))
BOX = Prompt(box=(12, 18, 90, 81))


@pytest.fixture(scope="module")
def sam() -> Sam:
    return tiny.tiny_sam().requires_grad_(False)


@pytest.fixture
def segmenter(sam: Sam) -> Segmenter:
    return Segmenter(sam)


def picture(seed: int = 0, height: int = 90, width: int = 120) -> Image.Image:
    return Image.fromarray(tiny.picture(seed, height, width))


def prompt_of(given: dict) -> Prompt:
    """From the arguments of the package's ``predict``."""
    return Prompt(given.get("point_coords", ()), given.get("point_labels", ()), given.get("box"))


@pytest.mark.parametrize("many", [True, False, None])
@pytest.mark.parametrize("shape", [tiny.TINY, LIKE_VIT_B], ids=["tiny", "like vit_b"])
def test_it_answers_exactly_as_the_package(shape, many: bool | None) -> None:
    sam = tiny.tiny_sam(shape)
    segmenter, predictor = Segmenter(sam), SamPredictor(sam)
    for height, width in ((90, 120), (130, 70), (300, 333)):
        image = tiny.picture(1, height, width)
        predictor.set_image(image)
        given = tiny.prompts(height, width)
        answers = segmenter.segment(
            Image.fromarray(image), [prompt_of(each) for each in given.values()], many
        )
        for (name, each), answer in zip(given.items(), answers, strict=True):
            multimask = name in ("point", "corner") if many is None else many
            masks, ious, low_res = predictor.predict(**each, multimask_output=multimask)
            assert np.array_equal(answer.masks, masks), name
            assert np.array_equal(answer.ious, ious) and np.array_equal(answer.low_res, low_res), name
            assert answer.masks.shape == (3 if multimask else 1, height, width)
            assert answer.chosen == ious.argmax() and np.array_equal(answer.mask, masks[ious.argmax()])


def test_a_mask_is_built_on_as_in_the_package(sam: Sam, segmenter: Segmenter) -> None:
    predictor = SamPredictor(sam)
    predictor.set_image(tiny.picture(0))
    opened = segmenter.opened(picture())
    first = opened.answer(CLICK)
    previous = first.low_res[first.chosen][None]
    again = opened.answer(Prompt(((48, 54), (80, 70)), (1, 0)), previous=previous)
    expected = predictor.predict(
        np.array([[48, 54], [80, 70]]), np.array([1, 0]), mask_input=previous, multimask_output=False
    )
    assert np.array_equal(again.low_res, expected[2])


def test_a_model_and_its_module_are_taken_and_no_classifier(sam: Sam) -> None:
    class Holder:
        module = sam

    first, second = (Segmenter(model).segment(picture(), [CLICK])[0] for model in (sam, Holder()))
    assert np.array_equal(first.low_res, second.low_res)
    for model in (torch.nn.Linear(2, 2), "demo-vit", None):
        with pytest.raises(ValueError, match="Segmenter takes"):
            Segmenter(model)


def test_a_model_rewritten_for_quantizing_answers_as_before(sam: Sam, segmenter: Segmenter) -> None:
    rewritten = deepcopy(sam)
    SegmentAnything().rewrite(rewritten)
    for prompt in (CLICK, BOX):
        (before,), (after,) = (
            each.segment(picture(), [prompt]) for each in (segmenter, Segmenter(rewritten))
        )
        assert np.abs(before.low_res - after.low_res).max() < 1e-5


# 1. Orientation


def test_a_turned_photograph_is_asked_and_answered_upright(segmenter: Segmenter) -> None:
    upright = picture(0, 90, 120)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    turned = Image.open(file)
    assert turned.size == (90, 120)
    actual, expected = (segmenter.segment(each, [CLICK])[0] for each in (turned, upright))
    assert actual.masks.shape == (3, 90, 120)
    assert np.array_equal(actual.low_res, expected.low_res)


# 2. Coordinates


def test_a_click_is_where_it_is_whatever_the_size_of_the_picture() -> None:
    """The prompt encoder is told the place in its own frame, whose longer side has 128 pixels."""
    sam = tiny.tiny_sam()
    seen = []
    sam.prompt_encoder.register_forward_pre_hook(
        lambda module, args, given: seen.append(given["points"][0]), with_kwargs=True
    )
    for height, width in ((90, 120), (4000, 6000), (40, 30)):
        Segmenter(sam).segment(Image.new("RGB", (width, height)), [Prompt(((width / 4, height / 2),), (1,))])
        scale = 128 / max(height, width)
        assert torch.allclose(seen[-1], torch.tensor([[[width / 4, height / 2]]]) * scale, atol=0.5)


# 3. Shape extremes


@pytest.mark.parametrize("size", [(1, 1), (1, 256), (256, 1), (2, 400), (1000, 7)])
def test_small_and_narrow_pictures_work(size: tuple[int, int], segmenter: Segmenter) -> None:
    (answer,) = segmenter.segment(Image.new("RGB", size, "red"), [Prompt(((0, 0),), (1,))])
    assert answer.masks.shape == (3, size[1], size[0])


@pytest.mark.parametrize("size", [(1, 600), (600, 1), (1, 257)])
def test_a_picture_of_which_nothing_would_be_left_is_refused(size, segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match=rf"{size[0]}×{size[1]} pixels is too narrow .* 256 times") as caught:
        segmenter.segment(Image.new("RGB", size), [Prompt(((0, 0),), (1,))])
    sentence(caught.value)


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "I;16", "CMYK", "P", "1"])
def test_every_mode_is_taken(mode: str, segmenter: Segmenter) -> None:
    grey = np.arange(90 * 120).reshape(90, 120)
    stored = Image.fromarray(grey.astype(np.uint16)) if mode == "I;16" else picture().convert(mode)
    (answer,) = segmenter.segment(stored, [CLICK])
    assert answer.masks.shape == (3, 90, 120)


def test_white_is_behind_what_can_be_seen_through(segmenter: Segmenter) -> None:
    clear, white = Image.new("RGBA", (40, 30), (9, 9, 9, 0)), Image.new("RGB", (40, 30), "white")
    first, second = (segmenter.segment(each, [Prompt(((5, 5),), (1,))])[0] for each in (clear, white))
    assert np.array_equal(first.low_res, second.low_res)


def test_what_is_no_picture_is_refused(segmenter: Segmenter) -> None:
    file = io.BytesIO()
    picture(0, 400, 400).save(file, "JPEG")
    broken = Image.open(io.BytesIO(file.getvalue()[:3000]))
    for given in (np.zeros((4, 4, 3), np.uint8), None, "cat.jpg", broken):
        with pytest.raises(ValueError) as caught:
            segmenter.segment(given, [CLICK])
        sentence(caught.value)


# 4. Bad prompts


def test_a_bad_prompt_is_refused_before_anything_is_encoded(segmenter: Segmenter) -> None:
    for prompts in ([], None, CLICK, [CLICK, Prompt()], [Prompt(((120, 5),), (1,))], ["click"]):
        with pytest.raises(ValueError) as caught:
            segmenter.segment(picture(), prompts)
        sentence(caught.value)
    with pytest.raises(ValueError, match="multimask"):
        segmenter.opened(picture()).answer(CLICK, multimask="yes")
    assert segmenter.cache.encodings == 1


def test_minus_points_alone_are_answered(segmenter: Segmenter) -> None:
    assert segmenter.segment(picture(), [Prompt(((48, 54),), (0,))])[0].masks.shape == (3, 90, 120)


# 5. Several objects


def test_another_object_leaves_the_first_ones_mask_as_it_is(segmenter: Segmenter) -> None:
    (alone,) = segmenter.segment(picture(), [CLICK])
    for others in ([OTHER], [OTHER, BOX], [BOX, Prompt(((3, 3), (50, 60)), (1, 0))] * 3):
        answers = segmenter.segment(picture(), [CLICK, *others])
        assert len(answers) == 1 + len(others)
        assert np.array_equal(answers[0].masks, alone.masks)
        assert np.array_equal(answers[0].low_res, alone.low_res)
    assert not np.array_equal(answers[1].low_res, alone.low_res)


def test_a_batch_of_the_package_gives_the_same_to_rounding_but_not_bit_for_bit(
    sam: Sam, segmenter: Segmenter
) -> None:
    """Why every prompt is decoded alone."""
    points = np.random.default_rng(0).uniform(0, 90, (7, 2))
    answers = segmenter.segment(picture(), [Prompt((point,), (1,)) for point in points])
    predictor = SamPredictor(sam)
    predictor.set_image(tiny.picture(0))
    moved = torch.tensor(predictor.transform.apply_coords(points, (90, 120)), dtype=torch.float)
    _, _, batched = predictor.predict_torch(moved[:, None], torch.ones(7, 1, dtype=torch.int))
    alone = np.stack([answer.low_res for answer in answers])
    assert np.abs(batched.numpy() - alone).max() < 1e-5


# 6. Two visitors


def test_two_who_ask_at_once_see_nothing_of_each_other(sam: Sam) -> None:
    segmenter, start, seen = Segmenter(sam), threading.Barrier(4), {}
    asked = {seed: Prompt(((10 + 20 * seed, 40),), (1,)) for seed in range(4)}

    def ask(seed: int) -> None:
        start.wait()
        seen[seed] = [segmenter.segment(picture(seed), [asked[seed]])[0] for _ in range(3)]

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, answers in seen.items():
        (expected,) = Segmenter(sam).segment(picture(seed), [asked[seed]])
        assert all(np.array_equal(answer.low_res, expected.low_res) for answer in answers)
    assert segmenter.cache.encodings == 4


def test_the_callers_mode_is_not_in_what_is_kept(sam: Sam, segmenter: Segmenter) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (inside,) = segmenter.segment(picture(), [CLICK])
    assert np.array_equal(inside.low_res, Segmenter(sam).segment(picture(), [CLICK])[0].low_res)
    assert not segmenter.opened(picture()).embedding.is_inference()


# 7. One encoding


def test_the_second_click_runs_no_encoder(sam: Sam) -> None:
    calls = []
    handle = sam.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    segmenter = Segmenter(sam)
    segmenter.segment(picture(), [CLICK])
    segmenter.segment(picture(), [OTHER, BOX])
    segmenter.segment(picture().convert("RGBA"), [OTHER])  # the same pixels, stored otherwise
    assert len(calls) == segmenter.cache.encodings == 1
    segmenter.segment(picture(1), [CLICK])
    segmenter.segment(picture(0, 120, 90), [CLICK])
    handle.remove()
    assert len(calls) == segmenter.cache.encodings == 3


def test_a_smaller_frame_has_smaller_masks_of_the_same_embedding(segmenter: Segmenter) -> None:
    opened = segmenter.opened(picture(0, 300, 400))
    reduced = opened.reduced(200)
    assert reduced.size == (150, 200) and opened.size == (300, 400)
    large, small = opened.answer(Prompt(((160, 180),), (1,))), reduced.answer(Prompt(((80, 90),), (1,)))
    np.testing.assert_allclose(small.ious, large.ious, atol=1e-5)
    np.testing.assert_allclose(small.low_res, large.low_res, atol=1e-4)
    assert (large.masks[:, ::2, ::2] == small.masks).mean() > 0.95
    assert opened.reduced(4000).size == (300, 400)
    assert reduced.embedding is opened.embedding
    with pytest.raises(ValueError, match="longest"):
        opened.reduced(0)


def test_pictures_of_the_same_bytes_and_another_shape_differ(segmenter: Segmenter) -> None:
    for size in ((40, 30), (30, 40)):
        segmenter.segment(Image.new("RGB", size), [Prompt(((5, 5),), (1,))])
    assert segmenter.cache.encodings == 2


def test_models_that_share_a_cache_share_no_embedding(sam: Sam) -> None:
    cache, other = EmbeddingCache(), tiny.tiny_sam(seed=5)
    first, second = Segmenter(sam, cache), Segmenter(other, cache)
    assert not np.array_equal(*(each.segment(picture(), [CLICK])[0].low_res for each in (first, second)))
    again = Segmenter(sam, cache).segment(picture(), [CLICK])[0]
    assert np.array_equal(again.low_res, first.segment(picture(), [CLICK])[0].low_res)
    assert cache.encodings == 2
    Segmenter(sam, cache, identity=("demo-sam", 4, 4)).segment(picture(), [CLICK])
    assert cache.encodings == 3


def test_a_model_in_the_place_of_one_that_is_gone_is_another(sam: Sam) -> None:
    cache = EmbeddingCache()
    for seed in range(4):
        Segmenter(tiny.tiny_sam(seed=seed), cache).segment(picture(), [CLICK])
        gc.collect()
    assert cache.encodings == 4


# 8. Silent collapse


def test_numbers_that_are_none_are_reported_and_not_kept() -> None:
    sam = tiny.tiny_sam()
    with torch.no_grad():
        sam.image_encoder.neck[0].weight[0] = float("nan")
    segmenter = Segmenter(sam)
    with pytest.raises(NotFinite, match=r"embedding .* NaN") as caught:
        segmenter.segment(picture(), [CLICK])
    assert isinstance(caught.value, vq.VitqError) and len(segmenter.cache) == 0
    sam = tiny.tiny_sam()
    with torch.no_grad():
        sam.mask_decoder.iou_prediction_head.layers[0].weight[0] = float("inf")
    with pytest.raises(NotFinite, match="answer"):
        Segmenter(sam).segment(picture(), [CLICK])
