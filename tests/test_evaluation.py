"""Evaluation counts right, streams, leaves modules as they were and says what is wrong with its inputs."""

import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from vitq_core.common.errors import Cancelled, VitqError
from vitq_core.evaluation import Evaluation, evaluate
from vitq_core.models import wrap_model
from vitq_core.tasks import TASKS

from .sam import records, tiny_sam


class Readout(nn.Module):
    """Logits are the first `classes` pixels: what a picture says is known."""

    def __init__(self, classes: int, factor: float = 1.0) -> None:
        super().__init__()
        self.classes, self.scale = classes, nn.Parameter(torch.tensor(factor))
        self.frozen = nn.Dropout(0.9)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.scale * x.flatten(1)[:, : self.classes])


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40)
@given(count=st.integers(1, 30), classes=st.integers(1, 12), batch=st.integers(1, 9), seed=st.integers(0, 99))
def test_agrees_with_a_naive_count(count: int, classes: int, batch: int, seed: int) -> None:
    images = pictures(count, seed)
    labels = torch.randint(-1, classes, (count,), generator=torch.Generator().manual_seed(seed))
    module, reference = Readout(classes), Readout(classes, -0.5)
    result = evaluate(module, DataLoader(TensorDataset(images, labels), batch), reference)
    logits = images.flatten(1)[:, :classes].double()
    theirs = -0.5 * logits
    ranked = logits.argsort(dim=1, descending=True).tolist()
    known = [(order, label) for order, label in zip(ranked, labels.tolist(), strict=True) if label >= 0]
    kl = nn.functional.kl_div(logits.log_softmax(1), theirs.softmax(1), reduction="batchmean")
    assert result.n == count
    assert result.agreement == (logits.argmax(1) == theirs.argmax(1)).double().mean()
    assert result.kl == pytest.approx(float(kl), abs=1e-5)
    if not known:
        assert result.top1 is result.top5 is None
        return
    assert result.top1 == pytest.approx(sum(order[0] == label for order, label in known) / len(known))
    assert result.top5 == pytest.approx(sum(label in order[:5] for order, label in known) / len(known))


def test_images_alone_give_agreement_but_no_accuracy() -> None:
    module = Readout(7)
    for loader in ([pictures(3), pictures(2)], pictures(5), iter([pictures(5)])):
        result = evaluate(module, loader, reference=module)
        known = {name: value for name, value in result.items() if value is not None}
        assert known == {"n": 5, "agreement": 1.0, "kl": 0.0}
    assert evaluate(module, pictures(5)).agreement is None


def test_a_tensor_of_everything_goes_through_in_batches() -> None:
    sizes = []
    module = Readout(3)
    module.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    assert evaluate(module, pictures(150)).n == 150 and max(sizes) == 64


def test_reads_as_attributes_and_as_a_mapping() -> None:
    result = evaluate(Readout(3), [(pictures(4), torch.zeros(4, dtype=torch.long))])
    assert isinstance(result, Evaluation) and result["n"] == result.n == 4
    assert list(result) == list(result.keys()) and list(result)[:5] == [
        "top1",
        "top5",
        "n",
        "agreement",
        "kl",
    ]
    others = ["cosine", "token_cosine", "class_token_cosine", "min_cosine"]
    others += ["iou", "best_iou", "iou_error", "agreement_iou", "changed_choices"]
    assert list(result)[5:] == [*others, "labelled"] and result.labelled == 4
    assert [result[name] for name in others] == [None] * 9, "a classifier has no cosines and no masks"
    assert dict(result) == result.as_dict() and "top1" in result and "top2" not in result
    assert result.top5 == 1.0  # of three classes, all are among the first five
    with pytest.raises(KeyError, match="no field 'top2'; available: top1"):
        result["top2"]


def test_takes_models_as_well_as_modules() -> None:
    model = wrap_model(Readout(3), size=4)
    assert evaluate(model, [pictures(2)], reference=model).agreement == 1.0
    with pytest.raises(ValueError, match=r"evaluate takes a model of load_model or an nn.Module, got str"):
        evaluate("demo-vit", [pictures(2)])


@pytest.mark.parametrize("fails", [False, True])
def test_modes_of_every_part_are_restored(fails: bool) -> None:
    module = Readout(3).train()
    module.frozen.eval()
    batches = [pictures(2), torch.full((1, 3, 4, 4), torch.nan)] if fails else [pictures(2)]
    try:
        evaluate(module, batches, reference=module)
    except ValueError:
        assert fails
    assert module.training and not module.frozen.training


def test_reports_progress_and_stops_when_told() -> None:
    seen: list[tuple[float | None, str]] = []
    evaluate(Readout(3), [pictures(2), pictures(3)], progress=lambda *report: seen.append(report))
    assert seen == [(0.5, "2 pictures evaluated"), (1.0, "5 pictures evaluated")]
    evaluate(Readout(3), iter([pictures(2)]), progress=lambda *report: seen.append(report))
    assert seen[-1][0] is None
    event = threading.Event()
    taken = []

    def loader() -> Iterator[Tensor]:
        for index in range(5):
            taken.append(index)
            yield pictures(1)

    def stop_after_two(fraction: float | None, message: str) -> None:
        if message.startswith("2"):
            event.set()

    with pytest.raises(Cancelled):
        evaluate(Readout(3), loader(), progress=stop_after_two, cancel=event)
    assert taken == [0, 1, 2]
    with pytest.raises(Cancelled):
        evaluate(Readout(3), [pictures(1)], cancel=lambda: True)


LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("loader", "sentence"),
    [
        ([], "nothing to evaluate"),
        ([torch.empty(0, 3, 4, 4)], "nothing to evaluate"),
        ([pictures(1)[0]], r"pictures must be a float tensor \[N, channels, .*, got \(3, 4, 4\)"),
        ([{"image": 1}], "pictures must be a float tensor .* got int"),
        (
            [{"x": pictures(1), "labels": 1}],
            "must hold its pictures as 'pixel_values' .* it has 'x', 'labels'",
        ),
        (5, "pictures must be a tensor or an iterable of batches, got int"),
        ([torch.full((1, 3, 4, 4), torch.inf)], "NaN or infinite"),
        ([(pictures(2), torch.tensor([0, 3]))], r"label 3 is outside the model's 3 classes \(0 to 2"),
        ([(pictures(2), torch.tensor([0, -2]))], "label -2 is outside"),
        ([(pictures(2), torch.tensor([0]))], "labels must be 2 class numbers"),
        ([(pictures(2), torch.tensor([0.0, 1.0]))], "labels must be 2 class numbers"),
    ],
)
def test_says_what_is_wrong_with_the_pictures(loader: list, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        evaluate(Readout(3), loader)


def test_says_what_is_wrong_with_the_modules() -> None:
    with pytest.raises(VitqError, match="the model gives outputs that are not finite"):
        evaluate(Readout(3, torch.nan), [pictures(2)])
    with pytest.raises(
        VitqError, match=r"the reference .* must give logits \[N, classes\], got \[2, 3, 4, 4\]"
    ):
        evaluate(Readout(3), [pictures(2)], reference=nn.Identity())
    with pytest.raises(ValueError, match="the model has 3 classes but the reference has 4"):
        evaluate(Readout(3), [pictures(2)], reference=Readout(4))


def test_a_quantized_module_is_audited_on_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    audited = []
    monkeypatch.setattr(
        "vitq_core.evaluation.audit", lambda module, images: audited.append((module, len(images)))
    )
    module = Readout(3)
    evaluate(module, [pictures(2), pictures(1)])
    assert audited == []
    module.vitq = object()
    evaluate(module, [pictures(2), pictures(1)], reference=Readout(3))
    evaluate(Readout(3), [pictures(1)], reference=module)
    assert audited == [(module, 2), (module, 1)]


def test_nothing_is_kept_from_batch_to_batch() -> None:
    import weakref

    alive: list[weakref.ref] = []

    def loader() -> Iterator[Tensor]:
        for seed in range(6):
            images = pictures(2, seed)
            alive.append(weakref.ref(images))
            yield images
            del images
            assert sum(ref() is not None for ref in alive) <= 2

    evaluate(Readout(3), loader())


# Segment Anything


RECORDS, SEGMENTATION = records(3), TASKS["segmentation"]


@pytest.fixture(scope="module")
def sam() -> nn.Module:
    return tiny_sam().requires_grad_(False)


@pytest.fixture(scope="module")
def chosen(sam: nn.Module) -> list[Tensor]:
    """Of each picture the masks that the model chooses, at the picture's original size."""
    with torch.no_grad():
        outputs = [SEGMENTATION.measured(sam, SEGMENTATION.collate(record)) for record in RECORDS]
    return [each["masks"][torch.arange(len(each["chosen"])), each["chosen"]] for each in outputs]


LOADERS = {
    "singly": (lambda x: x, lambda masks: masks),
    "in lists": (lambda x: [x[:2], x[2:]], lambda masks: [masks[:2], masks[2:]]),
    "once": (lambda x: iter([[], x]), lambda masks: iter([[], masks])),
}


@pytest.mark.parametrize("name", LOADERS)
def test_masks_are_compared_with_the_right_ones(sam: nn.Module, chosen: list[Tensor], name: str) -> None:
    loader, beside = LOADERS[name]
    assert [mask.shape[1:] for mask in chosen] == [record["original_size"] for record in RECORDS]
    result = evaluate(sam, loader(RECORDS), reference=sam, masks=beside(chosen))
    assert result.n == sum(map(len, chosen)) == 6
    assert result.iou == result.best_iou == result.agreement_iou == 1.0 and result.changed_choices == 0.0
    assert result.iou_error >= 0 and result.top1 is result.cosine is None
    opposite = evaluate(sam, loader(RECORDS), masks=beside([~mask for mask in chosen]))
    assert opposite.iou == 0.0 and opposite.agreement_iou is None
    unjudged = evaluate(sam, loader(RECORDS), reference=sam)
    assert unjudged.iou is None and unjudged.agreement_iou == 1.0


def test_some_pictures_may_have_no_right_masks(sam: nn.Module, chosen: list[Tensor]) -> None:
    masks = [~chosen[0], None, chosen[2]]
    expected = len(chosen[2]) / (len(chosen[0]) + len(chosen[2]))
    assert evaluate(sam, RECORDS, masks=masks).iou == pytest.approx(expected)
    assert evaluate(sam, [RECORDS], masks=[masks]).iou == pytest.approx(expected)


BESIDE = "masks must be a list beside each list of pictures"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (lambda masks: masks[:2], BESIDE),
        (lambda masks: [], BESIDE),
        (lambda masks: [*masks, masks[0]], BESIDE),
        (lambda masks: [masks[0], masks[1][:1], masks[2]], r"masks must be \[2, \d+, \d+\], one for each"),
        (lambda masks: [masks[0][:, 1:], *masks[1:]], r"masks must be \[1, \d+, \d+\], one for each prompt"),
        (lambda masks: 5, "an iterable of batches, got int"),
    ],
)
def test_masks_that_do_not_fit_are_a_sentence(sam, chosen, given, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        evaluate(sam, RECORDS, masks=given(chosen))
    if sentence == BESIDE:
        with pytest.raises(ValueError, match=sentence):
            evaluate(sam, [RECORDS], masks=[given(chosen)])


def test_masks_are_for_segment_anything_alone() -> None:
    with pytest.raises(ValueError, match="masks are for Segment Anything; this model's task is classif"):
        evaluate(Readout(3), [pictures(2)], masks=[[]])
