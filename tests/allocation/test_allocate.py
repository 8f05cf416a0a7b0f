"""``allocate_bits`` on real models: the report of what was quantized keeps the budgets."""

import re
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq


@pytest.fixture
def model(tiny) -> nn.Module:
    """One block: eight layers."""
    return tiny()


@pytest.fixture
def scores(model, images) -> vq.Importance:
    return vq.importance(model, images)


def fingerprint(model: nn.Module) -> list:
    parts: list = [(n, id(p), p._version, p.requires_grad, p.tolist()) for n, p in model.named_parameters()]
    parts += [(n, type(m), m.training, sorted(vars(m))) for n, m in model.named_modules()]
    return parts + [list(m._forward_hooks) + list(m._forward_pre_hooks) for m in model.modules()]


# -- the budgets are kept ------------------------------------------------------------------------------
BUDGETS = [
    {"avg_weight_bits": 3.3},
    {"avg_act_bits": 4.7},
    {"size_mb": 0.006},
    {"gbops": 0.0004},
    {"avg_weight_bits": 4, "avg_act_bits": 4},
    {"size_mb": 0.0055, "gbops": 0.0004, "avg_act_bits": 5, "avg_weight_bits": 4.2},
]


@pytest.mark.parametrize("limits", BUDGETS, ids=lambda limits: "+".join(limits))
def test_the_report_is_within_every_budget(model, images, scores, limits: dict[str, float]) -> None:
    table = vq.allocate_bits(scores, model, "budget", images=images, **limits)
    result = vq.quantize(model, images, vq.recipe("lrp", bits=table))
    assert result.bits == table
    for name, limit in limits.items():
        assert result.report[name] <= limit * (1 + 1e-9)
    rises = [result.report[name] / limit for name, limit in limits.items()]
    assert max(rises) > 0.85, "the room there is gets used"
    if "avg_act_bits" not in limits and "gbops" not in limits:
        assert result.report.avg_act_bits > 7, "what has no limit is as good as can be"


RULES = {str(recipe.rules): name for name, recipe in vq.RECIPES.items()}  # one recipe for each set of them


@pytest.mark.parametrize("recipe", list(RULES.values()))
def test_noise_of_every_recipe_will_do(model, images, scores, recipe: str) -> None:
    limits = {"avg_weight_bits": 4, "avg_act_bits": 4}
    table = vq.allocate_bits(scores, model, "budget", images=images, recipe=recipe, **limits)
    cost = vq.table_cost(table, model)
    assert 3.5 < cost.avg_weight_bits <= 4 and 3.5 < cost.avg_act_bits <= 4


def test_crl_makes_the_noise_by_default(model, images, scores) -> None:
    options = {"images": images, "avg_weight_bits": 4, "avg_act_bits": 4}
    table = vq.allocate_bits(scores, model, "budget", **options)
    assert table == vq.allocate_bits(scores, model, "budget", recipe=vq.recipe("crl", 6, 3), **options)
    assert table != vq.allocate_bits(scores, model, "budget", recipe="minmax", **options)


def test_importance_decides(model, images, scores) -> None:
    options = {"images": images, "avg_weight_bits": 4, "avg_act_bits": 4}
    only = {name: float(name == "blocks.0.mlp.fc1") for name in scores.layer_scores}
    table = vq.allocate_bits(only, model, "budget", **options)
    assert table["blocks.0.mlp.fc1"] == (8, 8)
    nothing = vq.allocate_bits(dict.fromkeys(only, 0.0), model, "budget", **options)
    equal = vq.allocate_bits(dict.fromkeys(only, 1.0), model, "budget", **options)
    assert nothing == equal != table


def test_a_layer_without_importance_is_not_starved_where_there_is_room(model, images, scores) -> None:
    some = {name: 0.0 if "fc" in name else score for name, score in scores.layer_scores.items()}
    table = vq.allocate_bits(some, model, "budget", images=images, avg_weight_bits=8)
    assert {weight for weight, _ in table.values()} == {8, None}


def test_the_nearest_budget_is_named_and_works(model, images, scores) -> None:
    for name in ("avg_weight_bits", "avg_act_bits", "size_mb", "gbops"):
        with pytest.raises(ValueError, match=f"{name}=1e-05 cannot be met") as caught:
            vq.allocate_bits(scores, model, "budget", images=images, **{name: 1e-5})
        named = float(re.search(r"comes to ([0-9.e-]+);", str(caught.value))[1])
        table = vq.allocate_bits(scores, model, "budget", images=images, **{name: named})
        assert vq.table_cost(table, model)[name] <= named


# -- pictures ------------------------------------------------------------------------------------------
def test_batches_with_labels_will_do_and_no_more_are_read_than_needed(model, pictures, scores) -> None:
    images, read = pictures(model, 40), []

    def loader() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in images.split(8):
            read.append(len(batch))
            yield batch, torch.zeros(len(batch))

    table = vq.allocate_bits(scores, model, "budget", images=loader(), avg_weight_bits=4)
    assert sum(read) == 32
    assert table == vq.allocate_bits(scores, model, "budget", images=images, avg_weight_bits=4)


def test_a_model_of_any_size_asks_for_pictures(tiny, images) -> None:
    model = tiny(dynamic_img_size=True)
    scores = vq.importance(model, images)
    with pytest.raises(ValueError, match="pictures of any size: give images"):
        vq.allocate_bits(scores, model)
    assert len(vq.allocate_bits(scores, model, images=images)) == len(scores.layer_scores)


# -- progress ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("policy", "limits", "least"), [("paper", {}, 2), ("budget", {"size_mb": 0.01}, 10)])
def test_progress_rises_and_the_model_is_as_it_was(
    model, images, scores, policy: str, limits: dict, least: int
) -> None:
    model.train()
    before, heard = fingerprint(model), []
    report = {"progress": lambda *said: heard.append(said[0])}
    vq.allocate_bits(scores, model, policy, images=images, **limits, **report)
    assert fingerprint(model) == before
    assert heard == sorted(heard) and len(heard) >= least and heard[0] == 0 and heard[-1] == 1


@pytest.mark.parametrize(("policy", "limits", "calls"), [("paper", {}, 1), ("budget", {"size_mb": 1}, 5)])
def test_cancelled_the_model_is_as_it_was(
    model, images, scores, policy: str, limits: dict, calls: int
) -> None:
    before, asked = fingerprint(model), []
    cancel = {"cancel": lambda: asked.append(1) or len(asked) == calls}
    with pytest.raises(vq.Cancelled):
        vq.allocate_bits(scores, model, policy, images=images, **limits, **cancel)
    assert fingerprint(model) == before


@pytest.mark.parametrize("policy", ["paper", "budget"])
def test_what_cannot_report_is_refused(model, images, scores, policy: str) -> None:
    with pytest.raises(ValueError, match="progress must be a function"):
        vq.allocate_bits(scores, model, policy, images=images, progress="loud")


def test_settings_are_given_by_name(model, scores) -> None:
    """The fourth of fourteen arguments says nothing to a reader."""
    with pytest.raises(TypeError, match="positional"):
        vq.allocate_bits(scores, model, "paper", 4)


# -- errors --------------------------------------------------------------------------------------------
OF_THE_OTHER = [
    *(("paper", name, 4) for name in ("avg_weight_bits", "avg_act_bits", "size_mb", "gbops")),
    ("paper", "recipe", "crl"),
    *(
        ("budget", name, value)
        for name, value in (("base_bits", 4), ("first_blocks", 0), ("reductions", False))
    ),
]


@pytest.mark.parametrize(("policy", "name", "value"), OF_THE_OTHER)
def test_an_option_of_the_other_policy_is_named(model, images, scores, policy, name, value) -> None:
    other = {"paper": "budget", "budget": "paper"}[policy]
    options = {"images": images, "avg_act_bits": 4} if policy == "budget" else {}
    with pytest.raises(
        ValueError, match=f"^{name} does nothing with policy='{policy}'; .* policy='{other}'$"
    ):
        vq.allocate_bits(scores, model, policy, **{**options, name: value})


def test_a_budget_needs_a_limit_and_pictures(model, images, scores) -> None:
    with pytest.raises(
        ValueError, match="needs at least one of avg_weight_bits, avg_act_bits, size_mb, gbops"
    ):
        vq.allocate_bits(scores, model, "budget", images=images)
    with pytest.raises(ValueError, match="measures output error: give it images"):
        vq.allocate_bits(scores, model, "budget", avg_weight_bits=4)


BAD = {
    "policy": (lambda m, x, s: (s, m, "papper"), {}, "unknown policy 'papper'; available: paper, budget"),
    "no policy": (lambda m, x, s: (s, m, None), {}, "unknown policy None; available: paper, budget"),
    "no scores": (lambda m, x, s: (None, m), {}, r"relevance or importance returned, .* got NoneType"),
    "a list": (lambda m, x, s: (list(s.layer_scores), m), {}, "must be what relevance .* got list"),
    "swapped": (lambda m, x, s: (m, s), {}, "takes a model of load_model or an nn.Module, got Importance"),
    "no model": (lambda m, x, s: (s, "demo-vit"), {}, "takes a model of load_model or an nn.Module, got str"),
    "missing": (
        lambda m, x, s: ({k: v for k, v in s.layer_scores.items() if k != "head"}, m),
        {},
        "the importance lacks 1 of the model's 8 layers, first 'head'",
    ),
    "unknown": (lambda m, x, s: ({**s.layer_scores, "tail": 1.0}, m), {}, "does not have: 'tail'"),
    "no number": (
        lambda m, x, s: ({**s.layer_scores, "head": "1"}, m),
        {},
        "importance of 'head' must be a n",
    ),
    "nan": (
        lambda m, x, s: ({**s.layer_scores, "head": torch.nan}, m),
        {},
        "importance of 'head' .* got nan",
    ),
    "infinite": (lambda m, x, s: ({**s.layer_scores, "head": torch.inf}, m), {}, "of 'head' .* got inf"),
    "negative": (lambda m, x, s: ({**s.layer_scores, "head": -0.1}, m), {}, "at least 0, got -0.1"),
    "true": (lambda m, x, s: ({**s.layer_scores, "head": True}, m), {}, "importance of 'head' .* got True"),
    "recipe": (
        lambda m, x, s: (s, m, "budget"),
        {"recipe": "rebq"},
        "unknown recipe 'rebq'; available: adfq",
    ),
    "a number": (lambda m, x, s: (s, m, "budget"), {"recipe": 4}, "recipe"),
    "no pictures": (lambda m, x, s: (s, m, "budget"), {"images": []}, "no pictures: give at least one"),
    "integers": (
        lambda m, x, s: (s, m, "budget"),
        {"images": torch.zeros(2, 3, 16, 16, dtype=torch.uint8)},
        "preprocessed floats",
    ),
    "size": (
        lambda m, x, s: (s, m, "budget"),
        {"images": torch.zeros(2, 3, 8, 8)},
        r"pictures of \(3, 16, 16\)",
    ),
    "paper size": (lambda m, x, s: (s, m), {"images": torch.zeros(2, 3, 8, 8)}, r"pictures of \(3, 16, 16\)"),
}


@pytest.mark.parametrize(("make", "options", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_a_sentence(model, images, scores, make, options: dict, sentence: str) -> None:
    arguments = make(model, images, scores)
    if "budget" in arguments:
        options = {"images": images, "avg_act_bits": 4, **options}
    with pytest.raises(ValueError, match=sentence) as caught:
        vq.allocate_bits(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_no_family_is_a_sentence(scores) -> None:
    with pytest.raises(vq.VitqError, match="no model family knows Linear"):
        vq.allocate_bits(scores, nn.Linear(2, 2))


@pytest.mark.parametrize("policy", ["paper", "budget"])
def test_a_quantized_model_is_given_bits_or_refused(model, images, scores, policy: str) -> None:
    result = vq.quantize(model, images, "percentile")
    options = {"images": images, "avg_act_bits": 4} if policy == "budget" else {}
    try:
        table = vq.allocate_bits(scores, result, policy, **options)
    except (ValueError, vq.VitqError) as error:
        assert "quantized" in str(error)
    else:
        assert table == vq.allocate_bits(scores, model, policy, **options)
