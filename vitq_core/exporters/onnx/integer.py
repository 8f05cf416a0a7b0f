"""What formats of integer runtimes share: which models they take, the recorded graph, what to say of it."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...common.errors import VitqError
from ...common.modes import evaluating
from ...common.quiet import quiet
from ...common.words import brief, counted
from ...quantized.result import QuantizeResult
from ..about import about
from ..base import Written
from ..graph_format import GraphFormat
from ..graphs import Graph, graphs_of
from ..grids import changes
from .recorded import OPSET, recorded

if TYPE_CHECKING:
    from onnx import ModelProto

NO_KERNEL = 8  # bits below which no kernel of the runtimes is faster
ROLES = {
    "post_softmax": "attention values",
    "post_gelu": "outputs of GELU",
    "post_layernorm": "outputs of norms",
    "post_relu": "outputs of ReLU",
}


class IntegerFormat(GraphFormat):
    """A format of a runtime that multiplies codes: every tensor must be evenly spaced. ``containers``: in how
    many bits its files can store weights, ascending; ``apart``: as :func:`recorded` has it."""

    containers: tuple[int, ...]
    apart = False

    def check(self, result: QuantizeResult) -> None:
        super().check(result)
        simulation = result.model.vitq
        if count := len(simulation.between):
            raise VitqError(
                f"recipe {result.recipe.name!r} also quantizes {counted(count, 'tensor')} between layers, "
                f"for which files of {self.title} have no place here; the formats 'packed' and 'torch' hold "
                "them, and integer_form(recipe) leaves them in floating point"
            )
        off = Counter(site.role for site in simulation.sites() if not simulation.quantizer(site).on_grid)
        if off:
            raise VitqError(
                f"recipe {result.recipe.name!r} quantizes {_sites(off)} by rules that are not evenly spaced, "
                "so no runtime can compute with their integers; its integer form, integer_form(recipe), has "
                "those tensors at 8 bits, evenly spaced"
            )

    def write(self, result: QuantizeResult, folder: Path) -> Written:
        from .graph import integer_products, without_notes

        simulation, nodes, paths = result.model.vitq, 0, []
        module, grids = recorded(simulation, self.apart)
        for graph in graphs_of(simulation, module):
            model = exported(graph)
            nodes += len(integer_products(model))
            without_notes(model)
            paths.append(folder / f"{graph.name}{self.suffixes[0]}")
            self.save(model, paths[-1], about(result))
        said = (*changes(grids), *widths(result, self.containers))
        return Written(paths[0], nodes, len(simulation.layers), said)

    @abstractmethod
    def save(self, model: ModelProto, path: Path, said: dict[str, Any]) -> None:
        """Write a graph, and into it what it says of itself."""


def exported(graph: Graph) -> ModelProto:
    """As ONNX. Raises VitqError for a forward that torch cannot record, or only for so many pictures."""
    with quiet("torch.onnx"), torch.inference_mode(False), torch.no_grad(), evaluating(graph.module):
        try:
            program = torch.onnx.export(
                graph.module, tuple(graph.inputs.values()), dynamo=True, opset_version=OPSET, verbose=False,
                input_names=[*graph.inputs], output_names=[*graph.outputs], dynamic_shapes=graph.lengths,
            )  # fmt: skip
        except Exception as error:  # of torch's exporter, which has no common class for them
            raise VitqError(f"torch cannot record what this model computes: {brief(error)}") from error
    model = program.model_proto
    for given, lengths in zip(model.graph.input, graph.lengths, strict=True):
        if any(not given.type.tensor_type.shape.dim[axis].dim_param for axis in lengths):
            raise VitqError(
                f"what this model computes depends on the number of {given.name}, so no file can hold it"
            )
    return model


def widths(result: QuantizeResult, containers: tuple[int, ...]) -> list[str]:
    """What fewer than eight bits are worth in a runtime. ``containers``: in how many bits its files can store
    weights, ascending."""
    weights = {weight for weight, _ in result.bits.values() if weight is not None}
    said = []
    if any(bits < NO_KERNEL for bits in weights):
        held = {bits: next(size for size in containers if bits <= size) for bits in sorted(weights)}
        stored = [f"{bits} bits as {size}" for bits, size in held.items() if bits != size]
        kept = f", {', '.join(stored)} bits" if stored else ""
        said.append(f"Smaller, not faster: the runtime multiplies bytes, whatever the bits of weights{kept}.")
    if any(act < NO_KERNEL for _, act in result.bits.values()):
        said.append(
            "Activations of fewer than 8 bits are computed as bytes that use only some of their values."
        )
    return said


def _sites(off: Counter[str]) -> str:
    named = [counted(count, "tensor") + f" of {ROLES.get(role, role)}" for role, count in off.items()]
    return " and ".join(named)
