"""Writing the folder of a quantized model."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...common.batch import Batch
from ...common.errors import StorageError, VitqError
from ...common.files import given_path, replace_file
from ...common.modes import evaluating
from ...common.words import brief
from ...quantized.audit import audit
from ...quantized.packing import pack
from ...quantized.result import QuantizeResult
from ...quantized.simulation import Simulation
from ...quantized.tensors import float_tensors
from .container import DESCRIPTION, README, TENSORS, WEIGHTS, Stored, listed, write
from .contents import codes_of
from .description import describe
from .readme import readme
from .rebuilding import DAMAGE, rebuild

COMPARED = 8  # random pictures on which what was written is compared with the model


def save_quantized(result: QuantizeResult, folder: str | Path) -> Path:
    """Write ``result`` into ``folder`` (made if need be; its three files are replaced). Returns the folder.

    Whenever a save is broken off, the folder holds the model that it held, or the new one. Raises
    VitqError for a model that cannot be rebuilt from its architecture, StorageError for a folder that cannot
    be written, ValueError for what is no result or names no folder.
    """
    if not isinstance(result, QuantizeResult):
        raise ValueError(f"save_quantized takes what quantize returned, got {type(result).__name__}")
    folder = given_path(folder, "folder", "folder")  # before the costly part
    simulation: Simulation = result.model.vitq
    pictures = simulation.prepared.task.example(simulation.input_size, COMPARED).on(result.model)
    audit(result.model, pictures)
    tensors = _tensors(simulation)
    description = {**describe(result), TENSORS: listed(tensors)}
    _check_same(result.model, _loaded(description, tensors), pictures)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # First what loading reads, in one step; the others are for people.
        replace_file(folder / WEIGHTS, lambda path: write(path, description, tensors))
        replace_file(folder / DESCRIPTION, lambda path: path.write_text(json.dumps(description, indent=1)))
        replace_file(folder / README, lambda path: path.write_text(readme(result, folder.resolve().name)))
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or "the disk refused"
        raise StorageError(
            f"the quantized model cannot be written to {folder}: {error}",
            f"the quantized model cannot be written: {reason}",
        ) from error
    return folder


def _loaded(description: dict[str, Any], tensors: dict[str, Tensor]) -> nn.Module:
    """What loading will give. Raises VitqError for what it would refuse."""
    try:
        return rebuild(deepcopy(description), Stored.of(tensors)).model
    except DAMAGE as error:
        raise VitqError(f"the model cannot be saved, as it could not be loaded: {brief(error)}") from error


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


def _tensors(simulation: Simulation) -> dict[str, Tensor]:
    """On the CPU, by their names in the file."""
    tensors = float_tensors(simulation)
    for site in simulation.sites():
        quantizer = simulation.quantizer(site)
        tensors |= {f"{site}.{name}": tensor for name, tensor in quantizer.stored_tensors().items()}
    for layer in simulation.layers.values():
        if layer.weight is not None:
            quantizer, weight = simulation.quantizer(layer.weight), simulation.float_weight(layer.name)
            tensors[codes_of(layer)] = pack(quantizer.encode(weight.detach()), quantizer.bits)
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}
