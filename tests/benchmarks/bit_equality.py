"""Does this checkout compute, bit for bit, what another one computes? For changes that must move no figure.

    python -m tests.benchmarks.bit_equality --out before.json
    python -m tests.benchmarks.bit_equality --against before.json

Everything goes through ``vitq_core``'s public names, so the script runs unchanged while files move; to try
another checkout, run this file with that one's root as PYTHONPATH. One thread, seeded pictures: a second run
on the same machine gives the same file. Another processor or torch rounds differently: compare on one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import torch
from timm.layers import GluMlp, RmsNorm, SwiGLU
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import ParallelThingsBlock, ResPostBlock, VisionTransformer
from torch import Tensor, nn

import vitq_core as vq

SMALL = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2, "num_classes": 5}
TINY = {
    "class token": {"depth": 3},
    "average pooled": {"global_pool": "avg", "class_token": False},
    "attention pooled": {"global_pool": "map", "class_token": False},
    "registers": {"reg_tokens": 3, "no_embed_class": True, "init_values": 0.1},
    "query and key norm": {"qk_norm": True, "qkv_bias": False},
    "swiglu": {"mlp_layer": SwiGLU, "act_layer": "silu", "norm_layer": partial(RmsNorm, eps=1e-5)},
    "swiglu packed": {"mlp_layer": partial(GluMlp, gate_last=False), "act_layer": "silu"},
    "post norm": {"block_fn": ResPostBlock, "init_values": 0.5},
    "parallel": {"block_fn": partial(ParallelThingsBlock, num_parallel=3), "init_values": 0.2},
    "distilled": {"class": VisionTransformerDistilled},
}
BUNDLED = {"demo-vit": 64, "demo-vit-outliers": 64, "cifar10-vit": 32}  # name → picture size
WIDTHS = ((4, 4), (8, 8), (3, 5))
LEARNING = ("adfq", "vitq")
LEARN = {"iterations": 3, "batch_size": 8}
# Options of quantize that no recipe takes by itself: (recipe, options).
SETTINGS = (
    ("adfq", {"alpha": 2.0}),
    ("adfq", {"alpha_ratio": 0.01}),
    ("adfq", {"log_base": "fitted"}),
    ("repq", {"log_base": 1.7}),
    ("crl", {"clip_k": 1.5}),
    ("crl", {"collapse": True}),
    ("lrp", {"first_blocks": 1, "reductions": False}),
    ("lrp", {"importance": "sqnr"}),
    ("vitq", {"importance": "relevance"}),
)
LEARN_SETTINGS = (
    ("adfq", {**LEARN, "affine_lr": 1e-3, "weight_scales": True, "finish": 1.0}),
    ("vitq", {**LEARN, "weighting": "fisher", "drop": 0.5, "autocast": True}),
    ("repq", {**LEARN, "blocks": True, "kl_lambda": None}),
)
LIMITS = (
    {"avg_weight_bits": 4.0, "avg_act_bits": 4.5},
    {"avg_weight_bits": 3.5, "recipe": "adfq"},
    {"gbops": 0.7},  # of what 8 bits everywhere take
    {"size_mb": 0.8},
)
SHARES = ("gbops", "size_mb")
REFUSED = "refused"
Case = Callable[[], dict]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        os.environ["VITQ_HOME"] = home
        found = {name: outcome(case) for name, case in cases() if arguments.only in name}
    refused = [f"{name}: {case[REFUSED]}" for name, case in found.items() if REFUSED in case]
    seconds = time.perf_counter() - started
    print(f"{Path(vq.__file__).parent}: {len(found)} cases, {len(refused)} refused, {seconds:.0f} s")
    print("\n".join(refused))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.against:
        before = json.loads(arguments.against.read_text())
        sys.exit(report({name: case for name, case in before.items() if arguments.only in name}, found))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON with what was computed")
    parser.add_argument("--against", type=Path, help="an earlier JSON; any difference: exit code 1")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    arguments = parser.parse_args()
    if not (arguments.out or arguments.against):
        parser.error("give --out to keep what is computed, or --against to compare it")
    return arguments


def outcome(case: Case) -> dict:
    """What ``case`` computes, or why it cannot: a refusal is a result too, and must stay the same."""
    try:
        return case()
    except (ValueError, vq.VitqError) as error:
        return {REFUSED: str(error)}


def report(before: dict, found: dict) -> int:
    """Print every difference; the exit code."""
    lines = list(differences(before, json.loads(json.dumps(found)), ""))
    print("\n".join(lines) if lines else f"no difference in {len(before)} cases")
    return 1 if lines or not before else 0


def differences(before: object, found: object, where: str) -> Iterator[str]:
    """Lines ``where: before → found``; of dictionaries, for each entry."""
    if isinstance(before, dict) and isinstance(found, dict):
        for name in [*before, *(name for name in found if name not in before)]:
            yield from differences(before.get(name), found.get(name), f"{where} / {name}" if where else name)
    elif json.dumps(before) != json.dumps(found):  # two NaN are no difference
        yield f"{where}: {before!r:.200} → {found!r:.200}"


# -- the cases ------------------------------------------------------------------------------------------


def cases() -> Iterator[tuple[str, Case]]:
    """(name, what computes it), models made once and shared."""
    for name, options in TINY.items():
        module = tiny(**options)
        yield from of_model(f"tiny, {name}", module, pictures(32, 16), WIDTHS, WIDTHS)
    for name, size in BUNDLED.items():
        learned = WIDTHS[:1] if name.endswith("-outliers") else WIDTHS
        yield from of_model(name, vq.load_model(name), pictures(32, size), WIDTHS, learned)
    images = pictures(32, BUNDLED["cifar10-vit"])
    yield from of_settings("cifar10-vit", vq.load_model("cifar10-vit"), images)
    yield from of_settings("tiny, class token", tiny(**TINY["class token"]), pictures(32, 16))


def of_model(
    name: str, model: vq.Model | nn.Module, images: Tensor, widths: tuple, learned: tuple
) -> Iterator[tuple[str, Case]]:
    """Every recipe at ``widths``, those that learn at ``learned`` as well, and all that scores layers."""
    for recipe, width in product(vq.RECIPES, widths):
        yield quantizing(name, model, images, recipe, width, {"effort": "none"})
    for recipe, width in product(LEARNING, learned):
        yield quantizing(name, model, images, recipe, width, LEARN)
    yield f"{name}, relevance", partial(explained, model, images)
    for source in vq.SOURCES:
        yield f"{name}, importance by {source}", partial(scored, model, images, source)
    for options in ({}, {"base_bits": (5, 4), "first_blocks": 1}, {"reductions": False}):
        yield f"{name}, bits by paper {options}", partial(allotted, model, images, "paper", options)
    for options in LIMITS:
        yield f"{name}, bits by budget {options}", partial(allotted, model, images, "budget", options)
    yield f"{name}, evaluate", partial(evaluated, model, images)


def of_settings(name: str, model: vq.Model | nn.Module, images: Tensor) -> Iterator[tuple[str, Case]]:
    for recipe, options in SETTINGS:
        yield quantizing(name, model, images, recipe, (4, 4), {"effort": "none", **options})
    for recipe, options in LEARN_SETTINGS:
        yield quantizing(name, model, images, recipe, (3, 4), options)
    for recipe in vq.RECIPES:
        yield f"{name}, {recipe} saved and loaded", partial(saved, model, images, recipe)
    yield f"{name}, a table of bits", partial(by_table, model, images)
    if isinstance(model, vq.Model):
        yield f"{name}, preprocessing", partial(preprocessed, model)


def quantizing(
    name: str, model: vq.Model | nn.Module, images: Tensor, recipe: str, width: tuple, options: dict
) -> tuple[str, Case]:
    chosen = vq.recipe(recipe, *width, **options)
    shown = "" if options == {"effort": "none"} else f" {options}"
    return f"{name}, {recipe} W{width[0]}/A{width[1]}{shown}", partial(quantized, model, images, chosen)


# -- what is computed -----------------------------------------------------------------------------------


def quantized(model: vq.Model | nn.Module, images: Tensor, recipe: vq.Recipe) -> dict:
    return described(vq.quantize(model, images, recipe), images)


def described(result: vq.QuantizeResult, images: Tensor) -> dict:
    """Bits, each site's fitted buffers, the logits, and the report but for what a clock says."""
    simulation = result.model.vitq
    return {
        "bits": result.bits,
        "scales": {str(site): fitted(simulation.quantizer(site)) for site in simulation.sites()},
        "logits": digest(logits(result.model, images)),
        "report": timeless(result.report),
    }


def fitted(quantizer: nn.Module) -> str:
    """Of the buffers in their order, whatever they are called."""
    return digest(*(buffer for _, buffer in quantizer.named_buffers()))


def timeless(report: vq.Report) -> dict:
    fields = {name: value for name, value in report.items() if name not in ("seconds", "units", "sites")}
    rows = {f"{row.layer}:{row.tensor}": dict(row) for row in report.sites}
    units = [{name: value for name, value in row.items() if name != "seconds"} for row in report.units]
    return {**fields, "sites": rows, "units": units}


def explained(model: vq.Model | nn.Module, images: Tensor) -> dict:
    """The predictions explained with all their tensors, then one class for all."""
    found = vq.relevance(model, images[:16], batch_size=6, return_tensors=True)
    other = vq.relevance(model, images[:8], targets=1)
    return {
        "scores": dict(found.layer_scores),
        "importance": measured(found.importance),
        "heat maps": digest(found.heatmaps),
        "pixel maps": digest(found.pixel_maps),
        "targets": found.targets.tolist(),
        "tensors": {name: digest(*pair) for name, pair in found.tensors.items()},
        "one class": digest(other.heatmaps, other.pixel_maps),
    }


def scored(model: vq.Model | nn.Module, images: Tensor, source: str) -> dict:
    return measured(vq.importance(model, images, source, batch_size=12))


def measured(found: vq.Importance) -> dict:
    return {
        "pictures": found.pictures,
        "scores": dict(found.layer_scores),
        "standard errors": dict(found.standard_errors),
        "attention": dict(found.attention_scores),
    }


def allotted(model: vq.Model | nn.Module, images: Tensor, policy: str, options: dict) -> dict:
    """The table of bits and what it costs; SHARES of what 8 bits everywhere do."""
    scores = vq.importance(model, images[:8])
    if policy == "budget":
        most = vq.table_cost(dict.fromkeys(scores.layer_scores, (8, 8)), model, images)
        limits = {n: most[n] * limit if n in SHARES else limit for n, limit in options.items()}
        options = {"images": images, **limits}
    table = vq.allocate_bits(scores, model, policy, **options)
    return {"bits": table, "cost": dict(vq.table_cost(table, model, images))}


def evaluated(model: vq.Model | nn.Module, images: Tensor) -> dict:
    """Of a quantized model against its original, with labels."""
    result = vq.quantize(model, images, vq.recipe("repq", 3, 3))
    labels = torch.arange(len(images)) % 5
    batches = list(zip(images.split(12), labels.split(12), strict=True))
    return {
        "quantized": dict(vq.evaluate(result.model, batches, reference=model)),
        "original": dict(vq.evaluate(model, batches)),
        "without labels": dict(vq.evaluate(result.model, images, reference=model)),
    }


def saved(model: vq.Model | nn.Module, images: Tensor, recipe: str) -> dict:
    result = vq.quantize(model, images, vq.recipe(recipe, 3, 5, effort="none"))
    with tempfile.TemporaryDirectory() as folder:
        vq.save_quantized(result, folder)
        weights = [file.read_bytes() for file in sorted(Path(folder).glob("*.safetensors"))]
        loaded = vq.load_quantized(folder)
    content = [hashlib.sha256(data).hexdigest() for data in weights]
    return {"weights": content, "loaded": described(loaded, images)}


def by_table(model: vq.Model | nn.Module, images: Tensor) -> dict:
    """Layers at all widths in turn, read by a recipe that does not allocate."""
    layers = vq.importance(model, images[:2], "sqnr").layer_scores
    table = {name: (2 + i % 7, 2 + (3 * i) % 7) for i, name in enumerate(layers)}
    recipe = vq.recipe("percentile", bits=table)
    return {**quantized(model, images, recipe), "cost": dict(vq.table_cost(table, model, images))}


def preprocessed(model: vq.Model) -> dict:
    from PIL import Image

    pixels = torch.randint(0, 256, (90, 70, 3), generator=torch.Generator().manual_seed(5))
    picture = Image.fromarray(pixels.to(torch.uint8).numpy())
    return {"picture": digest(model.preprocess(picture)), "labels": model.labels}


# -- models, pictures, digests --------------------------------------------------------------------------


def tiny(**options: object) -> VisionTransformer:
    """In evaluation mode, every parameter random."""
    arguments = {**SMALL, "depth": 2, **options}
    module = arguments.pop("class", VisionTransformer)(**arguments)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(noise.mul(0.5).exp() if name.endswith("weight") else 0.3 * noise)
    return module.eval()


def pictures(count: int, size: int) -> Tensor:
    return torch.randn((count, 3, size, size), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(module: nn.Module, images: Tensor) -> Tensor:
    return module(images).float()


def digest(*tensors: Tensor) -> str:
    """Of shapes, types and every bit; half of a SHA-256 is plenty."""
    total = hashlib.sha256()
    for tensor in tensors:
        tensor = tensor.detach().cpu().contiguous()
        total.update(f"{list(tensor.shape)} {tensor.dtype} ".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:32]


if __name__ == "__main__":
    main()
