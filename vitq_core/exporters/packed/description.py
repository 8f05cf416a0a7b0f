"""What a quantized model is beside its tensors: as JSON, and read back with every value checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import nn

from ...graph import FAMILIES
from ...graph.base import Family
from ...graph.site import Layer, Site
from ...models import Model, Preprocessing, wrap_model
from ...pictures.preprocess import LARGEST
from ...quantized.report import Report
from ...quantized.result import QuantizeResult
from ...quantized.simulation import Simulation
from ...recipes.recipe import Recipe
from ...tasks import TASKS, task_of
from ..about import origin
from .container import FORMAT
from .typed import typed

BITS = "bits"
BETWEEN = "between"  # the key of the sites between layers, where there are any
SAMPLE = 8  # pixels of a side of the picture that preprocessing is tried on


@dataclass(frozen=True)
class Description:
    """``quantizers``: the settings of each site's, bits among them."""

    family: Family
    config: dict[str, Any]
    recipe: Recipe
    input_size: tuple[int, int, int]
    layers: dict[str, Layer]
    between: tuple[Site, ...]
    quantizers: dict[str, dict[str, Any]]
    report: Report
    source: dict[str, Any] | None

    @property
    def sites(self) -> Iterator[Site]:
        for layer in self.layers.values():
            yield from layer.sites
        yield from self.between


def describe(result: QuantizeResult) -> dict[str, Any]:
    """JSON-ready. Bits are those of the recipe, and stand nowhere else."""
    simulation: Simulation = result.model.vitq
    report = asdict(result.report)
    report["sites"] = [_without_bits(row) for row in report["sites"]]
    settings = {str(site): simulation.quantizer(site).settings() for site in simulation.sites()}
    return {
        "format": FORMAT,
        "family": simulation.family.name,
        "config": simulation.family.config(simulation.module),
        "recipe": json.loads(result.recipe.to_json()),
        "input_size": list(simulation.input_size),
        "layers": [asdict(layer) for layer in simulation.layers.values()],
        **({BETWEEN: [asdict(site) for site in simulation.between]} if simulation.between else {}),
        "quantizers": {site: _without_bits(own) for site, own in settings.items()},
        "report": report,
        "source": None if result.source is None else _source(result.source),
    }


def _without_bits(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != BITS}


def _source(model: Model) -> dict[str, Any]:
    """What it takes to preprocess and label as the model that was quantized, and which one that was: of the
    hub, with the commit."""
    return {"labels": model.labels, "preprocessing": asdict(model.preprocessing), "from": origin(model)}


def parsed(data: dict[str, Any]) -> Description:
    """Of any readable format. Raises ValueError, LookupError or TypeError for what describes no model."""
    recipe = Recipe.from_json(json.dumps(data["recipe"]))
    listed = typed(tuple[Layer, ...], data["layers"], "layers")
    layers = {layer.name: layer for layer in listed}
    if len(layers) != len(listed) or any(s.module != each.name for each in listed for s in each.sites):
        raise ValueError("layers must each have a name and sites of their own")
    between = typed(tuple[Site, ...], data.get(BETWEEN, []), BETWEEN)
    if any(not site.between or not recipe.quantizes(site) for site in between):
        raise ValueError("the recipe does not quantize these tensors between layers")
    sites = [*(site for layer in listed for site in layer.sites), *between]
    bits = {str(site): recipe.use_for(site).bits for site in sites}
    _check_finite(data["config"], "config")
    return Description(
        family=FAMILIES[data["family"]],
        config=data["config"],
        recipe=recipe,
        input_size=_size(data["input_size"]),
        layers=layers,
        between=between,
        quantizers=_settings(data["quantizers"], bits),
        report=_report(data["report"], sites, bits),
        source=data["source"],
    )


def _size(value: Any) -> tuple[int, int, int]:
    size = typed(tuple[int, ...], value, "input_size")
    if len(size) != 3 or not all(0 < side <= LARGEST for side in size):
        raise ValueError(f"input_size must be channels, height and width up to {LARGEST}, got {size!r:.80}")
    return size


def _check_finite(value: Any, name: str) -> None:
    """JSON as Python reads it has NaN and infinity, which no architecture has."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        _check_finite(part, f"{name}.{key}")


def _settings(data: dict[str, Any], bits: dict[str, int]) -> dict[str, dict[str, Any]]:
    if data.keys() != bits.keys():
        raise ValueError("the quantizers are not those of the layers")
    return {site: _filled(data[site], site, width, "its quantizer") for site, width in bits.items()}


def _report(data: dict[str, Any], sites: list[Site], bits: dict[str, int]) -> Report:
    named = zip(data["sites"], map(str, sites), strict=True)
    rows = [_filled(row, site, bits[site], "the report") for row, site in named]
    report = typed(Report, {**data, "sites": rows}, "report")
    if [f"{row.layer}:{row.tensor}" for row in report.sites] != [str(site) for site in sites]:
        raise ValueError("the rows of the report are not those of the layers")
    if not (0 < report.size_mb < math.inf and 0 < report.fp32_size_mb < math.inf):
        raise ValueError("the sizes in the report must be above 0")
    return report


def _filled(values: dict[str, Any], site: str, width: int, where: str) -> dict[str, Any]:
    """With the recipe's bits. Raises ValueError where they hold others, as the first format may."""
    stored = values.get(BITS, width)
    if stored != width:
        raise ValueError(f"the recipe gives {site} {width} bits, {where} says {stored!r:.20}")
    return {**values, BITS: width}


def wrapped(module: nn.Module, source: dict[str, Any] | None) -> Model | None:
    """``module`` with the labels and the preprocessing of what was quantized. Raises ValueError or TypeError
    for those that do not fit it, or prepare no picture."""
    if source is None:
        return None
    if task_of(module) is TASKS["segmentation"]:
        made = wrap_model(module)  # Segment Anything says itself how pictures are prepared
    else:
        preprocessing = Preprocessing(**source["preprocessing"])
        _try(replace(preprocessing, size=(SAMPLE, SAMPLE)))
        made = wrap_model(module, source["labels"], size=preprocessing.size)
        made = replace(made, preprocessing=preprocessing)
    origin = source.get("from", made.info.source)
    return replace(made, info=replace(made.info, source=typed(str, origin, "source.from")))


def _try(preprocessing: Preprocessing) -> None:
    if not torch.isfinite(preprocessing(Image.new("RGB", (SAMPLE, SAMPLE)))).all():
        raise ValueError("its preprocessing makes numbers that are not finite")
