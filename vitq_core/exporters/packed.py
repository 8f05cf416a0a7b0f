"""A quantized model as a folder: ``model.safetensors`` with packed codes, ``vitq.json`` with the rest, and
``README.md``, which says how to load it.

Loading gives back the same model bit for bit. The folder holds no code: it names architectures of timm.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..common.batch import Batch
from ..common.errors import StorageError, VitqError
from ..common.files import given_path, replace_file
from ..common.modes import evaluating
from ..graph import FAMILIES
from ..graph.prepared import PreparedModel
from ..graph.site import Layer, Site
from ..models import Model, Preprocessing, wrap_model
from ..quantized.audit import audit
from ..quantized.packing import pack, unpack
from ..quantized.report import Report, SiteRow, StageRow, UnitRow
from ..quantized.result import QuantizeResult, layer_bits
from ..quantized.simulation import Simulation
from ..quantized.tensors import CODES, float_tensors
from ..recipes.recipe import Recipe
from ..tasks import TASKS, task_of
from .base import EXPORTERS

COMPARED = 8  # random pictures on which what was written is compared with the model
FORMAT = 2  # 1 kept bits in three places
READABLE = (1, FORMAT)
BITS = "bits"
WEIGHTS, DESCRIPTION, README = "model.safetensors", "vitq.json", "README.md"
LOADING = """# A quantized vision transformer

`model.safetensors` holds the packed low-bit weights, `vitq.json` everything else. These lines, run beside
this folder, load exactly this model again. Python finds `vitq_core` where `PYTHONPATH` names the folder of
VitQ Studio:

```python
import vitq_core as vq

quantized = vq.load_quantized({folder!a})
{call}
```
"""
WITH_PREPROCESS = "output = quantized(quantized.preprocess(picture)[None])  # picture: a PIL image"
WITH_PROMPTS = """from segment_anything import SamPredictor

predictor = SamPredictor(quantized.model)  # set_image(picture), then predict(point_coords, point_labels)"""
WITHOUT_PREPROCESS = "output = quantized(images)  # images: a tensor [N, {channels}, {height}, {width}]"
# What rebuilding from values that make no sense raises, timm's assertions included.
DAMAGE = (LookupError, TypeError, AttributeError, ValueError, RuntimeError, AssertionError, ArithmeticError)


@EXPORTERS.register("packed")
def save_quantized(result: QuantizeResult, folder: str | Path) -> Path:
    """Write ``result`` into ``folder`` (made if need be; its three files are replaced). Returns the folder.

    Raises VitqError for a model that cannot be rebuilt from its architecture, StorageError for a folder that
    cannot be written, ValueError for what is no result or names no folder.
    """
    if not isinstance(result, QuantizeResult):
        raise ValueError(f"save_quantized takes what quantize returned, got {type(result).__name__}")
    folder = given_path(folder, "folder", "folder")  # before the costly part
    simulation: Simulation = result.model.vitq
    pictures = simulation.prepared.task.example(simulation.input_size, COMPARED).on(result.model)
    audit(result.model, pictures)
    description = _describe(simulation, result)
    tensors = _stored(simulation)
    _check_same(result.model, _rebuild(deepcopy(description), dict(tensors)).model, pictures)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / WEIGHTS, lambda path: save_file(tensors, path))
        replace_file(folder / DESCRIPTION, lambda path: path.write_text(json.dumps(description, indent=1)))
        replace_file(folder / README, lambda path: path.write_text(_readme(result, folder.resolve().name)))
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or "the disk refused"
        raise StorageError(
            f"the quantized model cannot be written to {folder}: {error}",
            f"the quantized model cannot be written: {reason}",
        ) from error
    return folder


def load_quantized(folder: str | Path) -> QuantizeResult:
    """The result that :func:`save_quantized` wrote, its model ready to call.

    Raises VitqError for a folder without a quantized model, a damaged one, or one of a newer format,
    ValueError for what names no folder.
    """
    folder = given_path(folder, "folder", "folder")
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise VitqError(f"{folder} holds no quantized model: {name} is missing")
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        # In memory of their own: a product may round otherwise where a tensor begins as it does in the file.
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, SafetensorError) as error:
        raise VitqError(f"the quantized model in {folder} is damaged: {error}") from error
    try:
        return _rebuild(description, tensors)
    except DAMAGE as error:
        raise VitqError(f"the quantized model in {folder} is damaged: {error}") from error


def _readme(result: QuantizeResult, folder: str) -> str:
    simulation = result.model.vitq
    if simulation.prepared.task.chunk == 1:
        return LOADING.format(folder=folder, call=WITH_PROMPTS)
    channels, height, width = simulation.input_size
    bare = WITHOUT_PREPROCESS.format(channels=channels, height=height, width=width)
    return LOADING.format(folder=folder, call=bare if result.source is None else WITH_PREPROCESS)


def _check_same(module: nn.Module, rebuilt: nn.Module, pictures: Batch) -> None:
    """Raises VitqError where the architecture's description misses something that the model computes."""
    with torch.no_grad(), evaluating(module):
        answers = (tree_leaves(pictures.through(m)) for m in (module, rebuilt.to(pictures.device)))
        if not all(map(torch.equal, *answers)):
            raise VitqError(
                f"this model was altered after it was built, or its class {type(module).__name__} computes "
                "something of its own: rebuilt from timm's architecture and its weights it computes "
                "something else, so it cannot be saved"
            )


def _stored(simulation: Simulation) -> dict[str, Tensor]:
    tensors = float_tensors(simulation)
    for site in simulation.sites():
        quantizer = simulation.quantizer(site)
        tensors |= {f"{site}.{name}": tensor.clone() for name, tensor in quantizer.stored_tensors().items()}
    for layer in simulation.layers.values():
        if layer.weight is not None:
            quantizer, weight = simulation.quantizer(layer.weight), simulation.float_weight(layer.name)
            tensors[f"{layer.weight}.{CODES}"] = pack(quantizer.encode(weight.detach()), quantizer.bits)
    return tensors


def _describe(simulation: Simulation, result: QuantizeResult) -> dict[str, Any]:
    report = asdict(result.report)
    report["sites"] = [{k: v for k, v in row.items() if k != BITS} for row in report["sites"]]
    settings = {str(site): simulation.quantizer(site).settings() for site in simulation.sites()}
    return {
        "format": FORMAT,
        "family": simulation.family.name,
        "config": simulation.family.config(simulation.module),
        "recipe": json.loads(result.recipe.to_json()),
        "input_size": simulation.input_size,
        "layers": [asdict(layer) for layer in simulation.layers.values()],
        "quantizers": {site: {k: v for k, v in own.items() if k != BITS} for site, own in settings.items()},
        "report": report,
        "source": None if result.source is None else _source(result.source),
    }


def _source(model: Model) -> dict[str, Any]:
    """What it takes to preprocess and label as the model that was quantized, and which one that was: of the
    hub, with the commit."""
    return {"labels": model.labels, "preprocessing": asdict(model.preprocessing), "from": _origin(model)}


def _origin(model: Model) -> str:
    """How the folders of a machine lie is for nobody who gets the file."""
    source = model.info.source
    return Path(source).name if Path(source).is_absolute() else source


def _rebuild(description: dict[str, Any], tensors: dict[str, Tensor]) -> QuantizeResult:
    if description["format"] not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise VitqError(f"format {description['format']} is not known to this version, which reads {known}")
    family = FAMILIES[description["family"]]
    with torch.random.fork_rng(devices=[]):
        module = family.build(description["config"]).requires_grad_(False)
    recipe = Recipe.from_json(json.dumps(description["recipe"]))
    layers = {layer["name"]: _layer(layer) for layer in description["layers"]}
    prepared = PreparedModel(module, family, layers, tuple(description["input_size"]), task_of(module))
    simulation = Simulation(prepared, recipe)
    simulation.attach()
    _fill_bits(simulation, description)
    _restore_quantizers(simulation, description["quantizers"], tensors)
    _restore_weights(simulation, tensors)
    _restore_floats(simulation, tensors)
    module.eval().vitq = simulation
    source = _wrapped(module, description["source"])
    return QuantizeResult(module, layer_bits(simulation), _report(description["report"]), recipe, source)


def _fill_bits(simulation: Simulation, description: dict[str, Any]) -> None:
    """The recipe's bits into the settings and the report, in place. Raises ValueError where those say others.

    Before anything is restored: codes read with the wrong bits are another model.
    """
    bits = {str(site): simulation.quantizer(site).bits for site in simulation.sites()}
    rows = {f"{row['layer']}:{row['tensor']}": row for row in description["report"]["sites"]}
    for kept, what in ((description["quantizers"], "its quantizer"), (rows, "the report")):
        for site, width in bits.items():
            stored = kept[site].setdefault(BITS, width)
            if stored != width:
                raise ValueError(f"the recipe gives {site} {width} bits, {what} says {stored!r:.20}")


def _wrapped(module: nn.Module, source: dict[str, Any] | None) -> Model | None:
    if source is None:
        return None
    if task_of(module) is TASKS["segmentation"]:
        made = wrap_model(module)  # Segment Anything says itself how pictures are prepared
    else:
        preprocessing = Preprocessing(**source["preprocessing"])
        made = wrap_model(module, source["labels"], size=preprocessing.size)
        made = replace(made, preprocessing=preprocessing)
    return replace(made, info=replace(made.info, source=source.get("from", made.info.source)))


def _layer(data: dict[str, Any]) -> Layer:
    return Layer(**{**data, "sites": tuple(Site(**site) for site in data["sites"])})


def _report(data: dict[str, Any]) -> Report:
    lists = {name: tuple(data[name]) for name in ("kept_float", "kept_8bit")}
    lists["sites"] = tuple(SiteRow(**row) for row in data["sites"])
    lists["units"] = tuple(UnitRow(**{**row, "losses": tuple(row["losses"])}) for row in data["units"])
    lists["stages"] = tuple(StageRow(**row) for row in data.get("stages", ()))
    return Report(**{**data, **lists})


def _restore_quantizers(
    simulation: Simulation, settings: dict[str, dict], tensors: dict[str, Tensor]
) -> None:
    for site in simulation.sites():
        quantizer = simulation.quantizer(site)
        found = {name: tensors.pop(f"{site}.{name}") for name in quantizer.PARAMETERS}
        quantizer.restore({name: tensor.float() for name, tensor in found.items()}, settings[str(site)])


def _restore_weights(simulation: Simulation, tensors: dict[str, Tensor]) -> None:
    for layer in simulation.layers.values():
        if layer.weight is not None:
            quantizer, weight = simulation.quantizer(layer.weight), simulation.float_weight(layer.name)
            codes = unpack(tensors.pop(f"{layer.weight}.{CODES}"), quantizer.bits, tuple(weight.shape))
            weight.data = quantizer.decode(codes)
            simulation.simulated_weight(layer.name).refresh(weight)


def _restore_floats(simulation: Simulation, tensors: dict[str, Tensor]) -> None:
    missing = sorted(set(float_tensors(simulation)) - set(tensors))
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        _set(simulation.module.get_submodule(owner), leaf, tensor, name)


def _set(target: nn.Module, leaf: str, tensor: Tensor, name: str) -> None:
    """A parameter or buffer of ``target``; reparameterization may have added a bias that the build lacks."""
    known = {**target._buffers, **target._parameters}
    expected = target.weight[..., 0] if leaf == "bias" and known[leaf] is None else known[leaf]
    if tensor.shape != expected.shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)} in place of {tuple(expected.shape)}")
    if leaf in target._buffers:
        target._buffers[leaf] = tensor
    else:
        setattr(target, leaf, nn.Parameter(tensor, requires_grad=False))
