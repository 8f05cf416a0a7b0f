"""Recipes ``lrp`` and ``lrp-budget`` from end to end: the bits they choose, on what, and what they report."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.quantized.audit import audit

both = pytest.mark.parametrize("name", ["lrp", "lrp-budget"])


@pytest.fixture
def model(tiny, request) -> nn.Module:
    """Deep enough that the paper's policy has blocks to lower; the budget policy needs none."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    return tiny(depth=1 if parameters.get("name") == "lrp-budget" else 4)


def fingerprint(model: nn.Module) -> list:
    parts: list = [(n, id(p), p._version, p.requires_grad, p.tolist()) for n, p in model.named_parameters()]
    parts += [(n, type(m), m.training, sorted(vars(m))) for n, m in model.named_modules()]
    return parts + [list(m._forward_hooks) + list(m._forward_pre_hooks) for m in model.modules()]


def allocated(name: str, scores: object, model: nn.Module, images: Tensor, weight: int, act: int) -> dict:
    if name == "lrp":
        return vq.allocate_bits(scores, model, images=images, base_bits=(weight, act), first_blocks=1)
    limits = {"avg_weight_bits": weight, "avg_act_bits": act}
    return vq.allocate_bits(scores, model, "budget", images=images, **limits)


def without_picture(result: vq.QuantizeResult) -> float:
    """The average activation bits, but for the picture's 8."""
    rows = [row for row in result.report.sites if row.tensor != "weight" and row.role != "image"]
    return sum(row.bits * row.macs for row in rows) / sum(row.macs for row in rows)


# -- the bits ------------------------------------------------------------------------------------------
@both
@pytest.mark.parametrize(("weight", "act", "count"), [(3, 6, 6), (4, 4, 40)])
def test_bits_are_those_of_the_relevance_of_the_calibration_pictures(
    model, pictures, monkeypatch, name: str, weight: int, act: int, count: int
) -> None:
    """Forty pictures are more than calibration takes at once."""
    images, source, ranked = pictures(model, count), vq.SOURCES["relevance"], []
    scores = source.scores
    monkeypatch.setattr(source, "scores", lambda *call: ranked.append(call[1]) or scores(*call))
    options = {"first_blocks": 1} if name == "lrp" else {}  # with two of four there is nothing to choose
    result = vq.quantize(model, images, vq.recipe(name, weight, act, **options))
    assert torch.equal(torch.cat(ranked), images)
    expected = allocated(name, vq.relevance(model, images, batch_size=16), model, images, weight, act)
    assert result.bits == expected == dict(result.recipe.bits)
    assert result.report.pictures == count
    assert len({bits for bits in result.bits.values() if bits[0]}) > 2, "mixed"


def test_averages_stay(model, images) -> None:
    lrp = vq.quantize(model, images, "lrp")
    assert lrp.report.avg_weight_bits == pytest.approx(4)
    assert without_picture(lrp) == pytest.approx(4)
    assert lrp.report.recipe == "lrp" and lrp.bits["patch_embed.proj"] == (4, 8)
    budget = vq.quantize(model, images, "lrp-budget").report
    assert 3.9 < budget.avg_weight_bits <= 4 and 3.9 < budget.avg_act_bits <= 4


@both
def test_a_loader_of_batches_is_calibrated_as_one_tensor(model, pictures, spill, name: str) -> None:
    images = pictures(model, 40)
    batches = ((batch, torch.zeros(len(batch))) for batch in images.split(7))
    assert vq.quantize(model, batches, name).bits == vq.quantize(model, images, name).bits


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("name", ["lrp-budget"])
def test_a_budget_may_leave_no_choice(model, images, name: str, bits: int) -> None:
    result = vq.quantize(model, images, vq.recipe("lrp-budget", bits, bits))
    report = result.report
    if bits == 2:
        assert set(result.bits.values()) == {(2, 2), (None, 2)}
    assert report.avg_weight_bits <= bits and report.avg_act_bits <= bits


@pytest.mark.parametrize(("weight", "act"), [(8, 8), (2, 2), (4, 8), (2, 4)])
def test_the_papers_policy_says_where_it_has_no_room(model, images, weight: int, act: int) -> None:
    with pytest.raises(
        ValueError, match=r"one bit up and down, .* base must be 3 to 7 bits, got [28]; .*budget"
    ):
        vq.quantize(model, images, vq.recipe("lrp", weight, act))


# -- a user's table ------------------------------------------------------------------------------------
@both
def test_a_complete_table_is_used_as_it_is(model, images, monkeypatch, name: str) -> None:
    table = {
        layer: (None if weight is None else 2 + index % 7, 8 - index % 5)
        for index, (layer, (weight, _)) in enumerate(vq.quantize(model, images, "minmax").bits.items())
    }
    for source in vq.SOURCES.values():
        monkeypatch.setattr(source, "scores", lambda *_: pytest.fail("nothing needs to be ranked"))
    result = vq.quantize(model, images, vq.recipe(name, bits=table))
    assert result.bits == table == dict(result.recipe.bits)
    plain = vq.quantize(model, images, vq.recipe("crl", bits=table))
    with torch.no_grad():
        assert torch.equal(result(images), plain(images)), "beside the bits it is CRL"


@both
def test_a_table_for_some_layers_or_others_is_refused(model, images, name: str) -> None:
    table = dict(vq.quantize(model, images, "minmax").bits)
    before = fingerprint(model)
    for bits, sentence in (
        (
            {"head": (4, 4)},
            f"recipe '{name}' lacks {len(table) - 1} of the model's {len(table)} layers, first 'patch_em",
        ),
        ({**table, "tail": (4, 4)}, f"recipe '{name}' names a layer that the model does not have: 'tail'"),
        ({**table, "head": (None, 4)}, "weight bits of 'head' must be a whole number from 2 to 8, got None"),
    ):
        with pytest.raises(ValueError, match=sentence):
            vq.quantize(model, images, vq.recipe(name, bits=bits))
    assert fingerprint(model) == before


# -- options -------------------------------------------------------------------------------------------
def test_first_blocks_and_reductions_move_bits(model, images) -> None:
    def shifts(**options: object) -> list[list[int]]:
        bits = vq.quantize(model, images, vq.recipe("lrp", **options)).bits
        kinds = ("attn.qkv", "attn.matmul1", "attn.matmul2", "attn.proj", "mlp.fc1", "mlp.fc2")
        return [[bits[f"blocks.{block}.{kind}"][1] - 4 for kind in kinds] for block in range(4)]

    assert shifts() == [[1] * 6, [1] * 6, [-1] * 6, [-1] * 6]
    one = shifts(first_blocks=1)
    assert one[0] == [1] * 6 and [sum(kind) for kind in zip(*one[1:], strict=True)] == [-1] * 6
    assert shifts(reductions=False) == [[1] * 6, [1] * 6, [0] * 6, [0] * 6]
    assert shifts(first_blocks=4) == [[0] * 6] * 4, "nothing is left to pay for it"


@both
def test_the_source_of_importance_decides(model, images, name: str) -> None:
    """At one first block, so that there is something to choose."""
    options = {"first_blocks": 1} if name == "lrp" else {}
    tables = {}
    for source in vq.SOURCES:
        recipe = vq.recipe(name, importance=source, **options)
        tables[source] = vq.quantize(model, images, recipe).bits
        scores = vq.importance(model, images, source)
        if name == "lrp":
            assert tables[source] == vq.allocate_bits(scores, model, first_blocks=1)
        else:
            assert tables[source] == allocated(name, scores, model, images, 4, 4)
    assert tables["relevance"] != tables["sqnr"] and tables["relevance"] != tables["fisher"]


@both
def test_unknown_importance_is_refused(model, images, name: str) -> None:
    with pytest.raises(
        ValueError, match="unknown importance source 'magic'; available: fisher, relevance, sqnr"
    ):
        vq.quantize(model, images, vq.recipe(name, importance="magic"))
    with pytest.raises(ValueError, match="importance must be the name of a source, got None"):
        vq.recipe(name, importance=None)


@pytest.mark.parametrize("value", [-1, 5, True, 1.5, "2"])
def test_first_blocks_that_there_are_not_are_refused(model, images, value: object) -> None:
    with pytest.raises(ValueError, match="first_blocks must be a whole number"):
        vq.quantize(model, images, vq.recipe("lrp", first_blocks=value))


@pytest.mark.parametrize("value", [1, 0, None, "no"])
def test_reductions_are_yes_or_no(value: object) -> None:
    with pytest.raises(ValueError, match="reductions must be True or False"):
        vq.recipe("lrp", reductions=value)


@pytest.mark.parametrize("option", ["first_blocks", "reductions"])
def test_the_budget_has_no_first_blocks(option: str) -> None:
    with pytest.raises(ValueError, match=f"option '{option}' does nothing in recipe 'lrp-budget'; .*: lrp$"):
        vq.recipe("lrp-budget", **{option: 1})


# -- the run -------------------------------------------------------------------------------------------
@both
@pytest.mark.parametrize("count", [6, 40])
def test_progress_rises_to_1_and_the_model_is_as_it_was(
    model, pictures, spill, name: str, count: int
) -> None:
    model.train()
    images, heard = pictures(model, count), []
    before, given = fingerprint(model), images.clone()
    vq.quantize(model, images, name, progress=lambda *said: heard.append(said))
    assert fingerprint(model) == before and torch.equal(images, given)
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and heard[-1] == (1.0, "Quantized")
    assert "Ranking the layers" in {message for _, message in heard}


@both
@pytest.mark.parametrize("where", ["Ranking", "Measuring rounding noise", "Measuring weights"])
def test_cancelled_anywhere_the_model_is_as_it_was(model, images, name: str, where: str) -> None:
    if name == "lrp" and where == "Measuring rounding noise":
        pytest.skip("measures none")
    before, heard = fingerprint(model), []
    with pytest.raises(vq.Cancelled, match="unchanged"):
        vq.quantize(
            model,
            images,
            name,
            progress=lambda fraction, message: heard.append(message),
            cancel=lambda: heard and heard[-1].startswith(where),
        )
    assert heard[-1].startswith(where)
    assert fingerprint(model) == before


@both
def test_comes_back_bit_exact_with_its_table(model, images, tmp_path, name: str) -> None:
    result = vq.quantize(model, images, vq.recipe(name, 4, 5, importance="fisher"))
    vq.save_quantized(result, tmp_path / "saved")
    loaded = vq.load_quantized(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(loaded(images), result(images))
    assert loaded.bits == result.bits
    assert loaded.recipe == result.recipe and dict(loaded.recipe.bits) == result.bits
    again = vq.quantize(model, images, vq.Recipe.from_json(loaded.recipe.to_json()))
    with torch.no_grad():
        assert torch.equal(again(images), result(images)), "the stored recipe makes the same model"


# -- every kind of model -------------------------------------------------------------------------------
def deeper(model: nn.Module) -> nn.Module:
    """Three blocks, the later ones a little different from the first."""
    for seed in (1, 2):
        block = deepcopy(model.blocks[0])
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.mul_(1 + 0.3 * torch.rand(parameter.shape, generator=generator))
        model.blocks.append(block)
    return model


def test_every_kind_of_model(mixture, pictures) -> None:
    """tests/test_pipeline.py does both recipes on one block; here there are some to lower."""
    images = pictures(mixture, 2)
    model = deeper(mixture)
    if mixture(images).ndim != 2:
        for name in ("lrp", "lrp-budget"):
            with pytest.raises(vq.VitqError, match=r"must give logits \[N, classes\], got \[2, "):
                vq.quantize(model, images, name)
        return
    result = vq.quantize(model, images, "lrp")
    audit(result.model, Batch((images,)))
    assert result.report.avg_weight_bits <= 4 + 1e-12
    assert without_picture(result) <= 4 + 1e-12
    assert {act for layer, (_, act) in result.bits.items() if layer.startswith("blocks.")} == {3, 4, 5}


@both
@pytest.mark.parametrize("kind", ["swiglu", "gated", "glu"])
def test_layers_that_read_one_tensor_keep_the_same_bits(tiny, pictures, name: str, kind: str) -> None:
    from timm.layers import GluMlp, SwiGLU

    options = {
        "swiglu": {"mlp_layer": SwiGLU, "act_layer": "silu"},
        "gated": {"gated": True, "qkv_bias": False},
        "glu": {"mlp_layer": GluMlp, "proj_bias": False},
    }[kind]
    depth = 3 if name == "lrp" else 1
    model = tiny(depth=depth, **options)
    images = pictures(model, 4)
    result = vq.quantize(model, images, name)
    for block in range(depth):
        acts = {
            layer.rpartition(".")[2]: act
            for layer, (_, act) in result.bits.items()
            if f"blocks.{block}." in layer
        }
        if kind == "swiglu":
            assert acts["fc1_g"] == acts["fc1_x"]
        if kind == "gated":
            assert acts["gate"] == acts["qkv"]
    for rows in _same_input(result):
        assert len({row.bits for row in rows}) == 1


def _same_input(result: vq.QuantizeResult) -> list[list]:
    layers = result.model.vitq.layers
    shared = [row for row in result.report.sites if row.tensor == "input" and layers[row.layer].shares_input]
    parts: dict[str, list] = {}
    for row in shared:
        parts.setdefault(row.layer.rpartition(".")[0], []).append(row)
    return list(parts.values())
