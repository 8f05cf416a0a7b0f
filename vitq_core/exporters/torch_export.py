"""``model.pt2``: the simulation as ``torch.export`` records it; PyTorch runs it without VitQ, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import VitqError
from ..common.modes import evaluating
from ..common.quiet import quiet
from ..common.words import brief
from ..graph.site import INPUT, OUTPUT, SECOND
from ..quantized.between import NAME, quantize_given, quantize_output
from ..quantized.result import QuantizeResult
from ..quantized.simulation import Simulation, quantize_inputs
from ..quantizers import Kept, Quantizer
from .about import about
from .base import EXPORTERS, Call, Written, by_torch
from .graph_format import GraphFormat
from .graphs import Graph, graphs_of

ABOUT = "vitq.json"  # in the file
FLOATS = "Codes are rounded to and looked up in the graph, but multiplied as floats: exact, not faster."


class TorchExport(GraphFormat):
    name = "torch"
    title = "PyTorch"
    aim = "For PyTorch"
    summary = "For PyTorch without VitQ, every recipe, bit for bit as the simulation; not faster."
    suffixes = (".pt2",)
    opening = "torch.export.load({path}).module()"
    calling = "output = model(pictures)  # float32 [N, C, H, W], prepared as the model expects"
    library = "pytorch"

    def write(self, result: QuantizeResult, folder: Path) -> Written:
        simulation = result.model.vitq
        programs = {each.name: _program(each) for each in graphs_of(simulation, _coded(simulation))}
        _check_rounded(programs.values(), simulation)
        paths = [folder / f"{name}.pt2" for name in programs]
        for path, program in zip(paths, programs.values(), strict=True):
            self._save(program, path, about(result))
        return Written(paths[0], sentences=(FLOATS,))

    def runner(self, path: Path, threads: int = 0) -> Call:
        return by_torch(torch.export.load(path).module(), threads)

    def seal_graph(self, path: Path, certificate: dict[str, Any]) -> None:
        files = {ABOUT: ""}
        program = torch.export.load(path, extra_files=files)
        self._save(program, path, {**json.loads(files[ABOUT]), "certificate": certificate})

    @staticmethod
    def _save(program: torch.export.ExportedProgram, path: Path, said: dict[str, Any]) -> None:
        program._example_inputs = None  # which would be stored, and are as large as the model
        with quiet("torch.export"):
            torch.export.save(program, path, extra_files={ABOUT: json.dumps(said)})


EXPORTERS.register("torch")(TorchExport())


def _program(graph: Graph) -> torch.export.ExportedProgram:
    """Raises VitqError for a forward that torch cannot record."""
    inputs = tuple(graph.inputs.values())
    with quiet("torch.export"), torch.inference_mode(False), torch.no_grad(), evaluating(graph.module):
        try:
            return torch.export.export(graph.module, inputs, dynamic_shapes=graph.lengths, strict=False)
        except Exception as error:  # which have no common class
            raise VitqError(f"torch cannot record what this model computes: {brief(error)}") from error


class _CodedWeight(nn.Module):
    """The parametrization of a weight of which the file holds the codes."""

    def __init__(self, quantizer: Quantizer, weight: Tensor) -> None:
        super().__init__()
        self.quantizer = quantizer
        codes = quantizer.encode(weight)
        self.register_buffer("codes", codes.to(torch.uint8 if codes.max() < 2**8 else torch.int16))

    def forward(self, _: Tensor) -> Tensor:
        return self.quantizer.decode(self.codes.int())


def _through_codes(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Forward pre-hook: what the quantizers of the inputs do, by their formulas, which torch can record."""
    quantizers = layer.input_quantizers
    coded = [_coded_value(q, x) for q, x in zip(quantizers, inputs, strict=False)]
    return (*coded, *inputs[len(quantizers) :])


def _coded(simulation: Simulation) -> nn.Module:
    """A copy of the model that encodes and decodes in place of simulating both at once."""
    module = deepcopy(simulation.module)
    if hasattr(module, "vitq"):
        del module.vitq
    for name, described in simulation.layers.items():
        layer = module.get_submodule(name)
        hooks = layer._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if hook is quantize_inputs]:
            del hooks[key]
        layer.register_forward_pre_hook(_through_codes)
        if described.weight is not None:
            held = layer.parametrizations.weight
            held[0] = _CodedWeight(held[0].quantizer, held.original.detach())
            held.original = nn.Parameter(torch.empty(0), requires_grad=False)  # the file needs no second one
    for part in module.modules():
        if hasattr(part, NAME):
            _code_between(part)
    return module


def _code_between(part: nn.Module) -> None:
    """In place, of an operation that has quantizers between layers: the same by their formulas."""
    for hooks, hook, coded in (
        (part._forward_pre_hooks, quantize_given, _given_through_codes),
        (part._forward_hooks, quantize_output, _output_through_codes),
    ):
        for key in [key for key, own in hooks.items() if own is hook]:
            hooks[key] = coded


def _given_through_codes(part: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    held = getattr(part, NAME)
    named = zip((INPUT, SECOND), inputs, strict=False)
    coded = [_coded_value(held[name], x) if name in held else x for name, x in named]
    return (*coded, *inputs[len(coded) :])


def _output_through_codes(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return _coded_value(getattr(part, NAME)[OUTPUT], output)


def _coded_value(quantizer: Quantizer, x: Tensor) -> Tensor:
    return x if isinstance(quantizer, Kept) else quantizer.decode(quantizer.encode(x))


def _check_rounded(programs: Iterable[torch.export.ExportedProgram], simulation: Simulation) -> None:
    """Raises VitqError unless every site's codes are in the graphs: float arithmetic would pass for it."""
    codes = sum(
        node.op == "call_function" and node.target is torch.ops.aten.to.dtype and node.args[1] == torch.int32
        for program in programs for node in program.graph.nodes
    )  # fmt: skip
    sites = sum(not isinstance(simulation.quantizer(site), Kept) for site in simulation.sites())
    if codes < sites:
        raise VitqError(f"of {sites} quantized tensors the recorded graph rounds {codes}: it is not exported")
