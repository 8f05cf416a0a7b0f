"""What every task keeps to, on a model that it knows: new entries of ``TASKS`` need a model here, no test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.tasks import TASKS, Evaluation, Outputs, Task, task_of
from vitq_core.tasks.base import UNKNOWN

from ..conftest import build, random_pictures
from ..sam import TINY, tiny_sam


@dataclass(frozen=True)
class Example:
    """``model(**options)``: a tiny one; ``batches``: five of two rows of outputs; ``other``: options of one
    that answers with something of another width; ``keyword``: of the model's first argument, None where the
    task itself goes through it."""

    model: Callable[..., nn.Module]
    batches: Callable[[Task, nn.Module], list[Batch]]
    other: dict[str, Any]
    keyword: str | None = "x"


def in_pairs(task: Task, module: nn.Module) -> list[Batch]:
    return [task.collate(part) for part in random_pictures(module, 10).split(2)]


def asked_twice(task: Task, module: nn.Module) -> list[Batch]:
    """A random picture each, with two clicks for two objects."""
    found = []
    for number in range(5):
        (record,) = task.example((3, 128, 128), 1).args[0]
        generator = torch.Generator().manual_seed(number)
        clicks = 128 * torch.rand(2, 1, 2, generator=generator)
        image = 255 * torch.rand(record["image"].shape, generator=generator)
        asked = {"image": image, "point_coords": clicks, "point_labels": torch.ones(2, 1)}
        found.append(task.collate([{**record, **asked}]))
    return found


EXAMPLES = {
    "classification": Example(partial(build, depth=2), in_pairs, {"embed_dim": 32, "num_classes": 4}),
    "features": Example(partial(build, depth=2, num_classes=0), in_pairs, {"embed_dim": 32}),
    "segmentation": Example(tiny_sam, asked_twice, {"shape": replace(TINY, img_size=256)}, keyword=None),
}


@pytest.fixture(params=sorted(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    return TASKS[request.param]


@pytest.fixture
def example(task: Task) -> Example:
    assert task.name in EXAMPLES, f"give the contract test an example of task {task.name}"
    return EXAMPLES[task.name]


@pytest.fixture
def module(example: Example) -> nn.Module:
    return example.model()


@pytest.fixture
def batches(task: Task, example: Example, module: nn.Module) -> list[Batch]:
    """Five, each of two pictures, or of one that is asked twice."""
    return example.batches(task, module)


def answers(task: Task, module: nn.Module, batch: Batch) -> Outputs:
    with torch.no_grad():
        return task.run(module, batch)


def floats(outputs: Outputs) -> Outputs:
    """Those that a loss or a gradient may touch: not which of several answers was chosen."""
    return {name: part for name, part in outputs.items() if part.is_floating_point()}


def altered(module: nn.Module) -> nn.Module:
    """The same model, a bit off."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(
                0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.ndim))
            )
    return module


def test_names(task: Task) -> None:
    assert TASKS[task.name] is task and UNKNOWN in TASKS


def test_a_model_is_of_one_task(task: Task, module: nn.Module) -> None:
    assert [other.name for other in TASKS.values() if other.matches(module)] == [task.name]
    assert task_of(module) is task


def test_what_a_caller_says_of_a_model_wins(task: Task, module: nn.Module, example: Example) -> None:
    other = next(name for name in sorted(TASKS) if name != task.name)
    model = vq.wrap_model(module)
    assert model.info.task == task.name
    renamed = replace(model, info=replace(model.info, task=other))
    assert task_of(module, renamed).name == task_of(module, module, None, renamed).name == other
    assert task_of(module, None, module) is task


def test_outputs_are_named_tensors_with_a_row_for_each_picture(task, module, batches) -> None:
    for part in answers(task, module, batches[0]).values():
        assert isinstance(part, Tensor) and len(part) == 2 and torch.isfinite(part).all()


def test_a_model_is_left_as_it_was(task, module, batches) -> None:
    before = [(name, id(part), sorted(vars(part))) for name, part in module.named_modules()]
    answers(task, module, batches[0])
    assert before == [(name, id(part), sorted(vars(part))) for name, part in module.named_modules()]


def test_arguments_and_keywords_reach_the_model(task, module, batches, example) -> None:
    if example.keyword is None:
        pytest.skip("the task goes through the pictures itself")
    images = batches[0].args[0]
    expected = answers(task, module, batches[0])
    found = answers(task, module, Batch((), {example.keyword: images}))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(task, module, batches, value: float) -> None:
    batch = batches[0].with_pictures([torch.full_like(pixels, value) for pixels in batches[0].pictures])
    with pytest.raises(vq.VitqError, match="the reference gives outputs that are not finite"):
        task.run(module, batch, "the reference")


@pytest.mark.parametrize("answer", [None, "cat", (torch.zeros(2, 3),), torch.zeros(3)])
def test_what_is_no_answer_is_refused(task: Task, answer: object) -> None:
    with pytest.raises(vq.VitqError, match=r"the twin .*must give"):
        task.outputs(answer, "the twin")


def test_shares_add_up_to_one(task, module, batches) -> None:
    outputs = answers(task, module, batches[0])
    shares = task.shares(outputs, task.targets(outputs, None))
    assert shares.keys() <= outputs.keys()
    total = sum(part.flatten(1).double().sum(1) for part in shares.values())
    torch.testing.assert_close(total, torch.ones(2, dtype=torch.float64))


def test_shares_are_what_each_number_adds_to_the_objective(task, module, batches) -> None:
    """Output times gradient, of the whole."""
    outputs = answers(task, module, batches[0])
    for part in floats(outputs).values():
        part.requires_grad_()
    targets = task.targets(outputs, None)
    shares = task.shares(outputs, targets)
    parts = [outputs[name] for name in shares]
    found = torch.autograd.grad(task.objective(outputs, targets).sum(), parts)
    products = [(part * gradient).detach() for part, gradient in zip(parts, found, strict=True)]
    total = sum(product.flatten(1).sum(1) for product in products)
    for share, product in zip(shares.values(), products, strict=True):
        torch.testing.assert_close(share, product / total.reshape(-1, *[1] * (product.ndim - 1)))


def test_the_objective_is_a_number_for_each_picture_alone(task, module, batches) -> None:
    outputs = answers(task, module, batches[0])
    both = task.objective(outputs, task.targets(outputs, None))
    assert both.shape == (2,) and both[0] != both[1]
    one = {name: part[1:] for name, part in outputs.items()}
    torch.testing.assert_close(task.objective(one, task.targets(one, None)), both[1:])


def test_draws_follow_the_seed(task, module, batches) -> None:
    outputs = answers(task, module, Batch.joined(batches))
    draws = [task.sample(outputs, torch.Generator().manual_seed(seed)) for seed in (0, 0, *range(1, 9))]
    assert len(draws[0]) == 10 and torch.equal(*draws[:2])
    assert any(not torch.equal(*pair) for pair in pairwise(draws[1:]))
    assert task.likelihood(outputs, draws[0]).shape == (10,)


def test_no_pictures_are_nothing_to_evaluate(task: Task) -> None:
    with pytest.raises(ValueError, match="there is nothing to evaluate"):
        task.metrics().result()


def streamed(task: Task, module: nn.Module, twin: nn.Module, batches: list[Batch]):
    metrics = task.metrics()
    for batch in batches:
        metrics.add(answers(task, module, batch), None, answers(task, twin, batch))
    return metrics


def alike(found: Evaluation, expected: Evaluation) -> None:
    for name, value in expected.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name
        else:
            assert found[name] == value, name


@pytest.mark.parametrize("cut", range(6))
def test_two_halves_merged_are_the_whole(task, module, example, batches, cut: int) -> None:
    twin = altered(example.model())
    first, rest = (streamed(task, module, twin, part) for part in (batches[:cut], batches[cut:]))
    first.merge(rest)
    whole = streamed(task, module, twin, batches)
    assert first.n == 10
    alike(first.result(), whole.result())
    assert sum(value is not None for value in whole.result().values()) > 1


def test_sums_go_through_text_and_merge_in_any_order(task, module, example, batches) -> None:
    """What another process has counted comes as JSON: counts to the last digit, means but for rounding."""
    twin = altered(example.model())
    parts = [streamed(task, module, twin, [batch]) for batch in batches]
    found = []
    for order in (parts, parts[::-1]):
        whole = task.metrics()
        for part in order:
            other = task.metrics()
            other.restore(json.loads(json.dumps(part.state())))
            assert other.state() == part.state()
            whole.merge(other)
        found.append(whole.result())
    expected = streamed(task, module, twin, batches).result()
    for each in found:
        assert (each.n, each.labelled, each.top1, each.agreement, each.min_cosine) == (
            expected.n, expected.labelled, expected.top1, expected.agreement, expected.min_cosine,
        )  # fmt: skip
        alike(each, expected)


def test_sums_of_another_task_are_refused(task) -> None:
    with pytest.raises(ValueError, match="another task"):
        task.metrics().restore({"n": 3})


def test_merging_keeps_what_only_one_has_compared(task, module, batches) -> None:
    alone, compared = task.metrics(), streamed(task, module, module, batches[:2])
    alone.add(answers(task, module, batches[4]), None, None)
    alone.merge(compared)
    found, expected = alone.result(), compared.result()
    assert found.n == 6
    alike(replace(found, n=4), expected)


def test_the_loss_is_the_less_the_nearer_and_a_mean_over_pictures(task, module, batches) -> None:
    given = answers(task, module, Batch.joined(batches))
    noise = {
        name: torch.randn(part.shape, generator=torch.Generator().manual_seed(1))
        for name, part in floats(given).items()
    }
    near, far = (
        {**given, **{name: given[name] + size * part for name, part in noise.items()}} for size in (0.1, 1.0)
    )
    losses = [float(task.loss(answer, given)) for answer in (given, near, far)]
    assert losses[0] == pytest.approx(0, abs=1e-6) and losses == sorted(losses) and losses[1] < losses[2] / 2

    def of(rows: slice) -> float:
        return float(task.loss(*({name: part[rows] for name, part in x.items()} for x in (far, given))))

    assert losses[2] == pytest.approx(0.3 * of(slice(3)) + 0.7 * of(slice(3, None)), rel=1e-5)
    assert float(task.loss({name: 0 * part for name, part in given.items()}, given)) > losses[1]


def test_a_model_can_learn_by_the_loss(task, module, example, batches) -> None:
    """A step against the gradient makes it less."""
    expected, twin = answers(task, module, batches[0]), altered(example.model())
    loss = task.loss(task.run(twin, batches[0]), expected)
    loss.backward()
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-4 * parameter.grad)
    assert float(task.loss(answers(task, twin, batches[0]), expected)) < loss.item()


def test_a_reference_of_another_width_is_a_sentence(task, module, example, batches) -> None:
    other = example.model(**example.other)
    with pytest.raises(ValueError, match="the reference"):
        streamed(task, module, other, batches)


def test_a_picture_is_answered(task, module, example) -> None:
    if example.keyword is None:
        pytest.skip("a picture alone asks nothing")
    model, picture = vq.wrap_model(module, mean=(0.5,) * 3, std=(0.5,) * 3), Image.new("RGB", (40, 30), "red")
    module.train()
    with torch.no_grad():
        expected = task.run(model.module.eval(), Batch((model.preprocess(picture)[None],)))
    module.train()
    assert str(model.predict(picture)) == str(task.present(expected, None))
    assert module.training, "as it was"
    with pytest.raises(ValueError, match="predict takes a PIL picture, got str"):
        model.predict("cat.png")


def test_a_picture_alone_is_no_question_to_a_promptable_model() -> None:
    model = vq.wrap_model(tiny_sam())
    with pytest.raises(ValueError, match="SamPredictor"):
        model.predict(Image.new("RGB", (40, 30), "red"))
