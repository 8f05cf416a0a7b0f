"""Ideas of the strongest published methods, each as one option of ``vitq``, beside ``vitq`` itself.

    python -m tests.benchmarks.ideas --models cifar10-vit --data cifar10.zip --limit 2000
    python -m tests.benchmarks.ideas --models demo-swin --limit 1000
    python -m tests.benchmarks.ideas --weights vit_small_patch14_dinov2.safetensors --data coco96.zip
    python -m tests.benchmarks.ideas --print

``--weights``: of the model of `features`, whose ``--data`` are photographs. All rows of a width and a seed
have the same pictures; those that learn also start from one calibrated model, and differ in learning alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.monitor import Monitor
from vitq_core.data.calibration_set import CalibrationPictures
from vitq_core.experiment.measure import Batches
from vitq_core.experiment.samples import Sample
from vitq_core.graph.site import Unit
from vitq_core.models import Model
from vitq_core.passes.reconstruct import learn_units, set_unit
from vitq_core.quantized.report import RECONSTRUCTED
from vitq_core.quantized.simulation import Simulation
from vitq_core.recipes.recipe import Recipe, Use
from vitq_core.recipes.schedule import EFFORTS
from vitq_core.reconstruction.state import RunState
from vitq_core.tasks import task_of

from . import cells as of_classes
from . import features as of_features
from .cells import parser_of, save, stacked, width
from .markdown import numbers, table
from .norm_ablation import residual_rotated
from .reconstruction import CALIBRATED, Change, Prepare, both, options, rules, same, settings, without
from .relu_ablation import with_relu

RESULTS = Path(__file__).parents[2] / "docs" / "ideas.json"
LEARNING = ("quick", "standard")
WIDTHS = ((4, 4), (3, 3), (2, 4))
TOWER = of_features.ARCHITECTURE
COSINES = ("token_cosine", "class_token_cosine")
EQUAL_BITS = both(without("compare_stages"), without("allocate_budget"))


def logarithms(search: str) -> Change:
    """How scale and base are found."""
    found = {"base": "fitted", "range": search}
    return rules(post_softmax=Use("log_sqrt2", found), post_gelu=Use("shift_log2", found))


BEFORE, TOGETHER = logarithms("least_error"), logarithms("joint")


class Idea(NamedTuple):
    title: str  # what the page calls it
    change: Change = same
    learns: bool = False
    prepare: Prepare | None = None


IDEAS = {
    "calibrated": Idea("`vitq` as it was, calibrated"),
    "joint": Idea("AdaLog's search of scale and base together: the default now", TOGETHER),
    "rotated": Idea("the residual stream rotated", prepare=residual_rotated),
    "relu": Idea("ReLU in place of GELU, the MLPs relearned (APHQ-ViT)", prepare=with_relu),
    "learned": Idea("`vitq` as it was, learned", learns=True),
    "perturbed": Idea(
        "errors weighed by the average perturbation Hessian (APHQ-ViT)",
        settings(weighting="perturbation"),
        learns=True,
    ),
}
# Of rows that can be measured at commit f134e6e and before; they lost, and are no longer in the engine.
TAKEN_OUT = {
    "low-rank": "errors by Fisher information of low rank and its diagonal (FIMA-Q)",
    "low-rank-slow": "the same (FIMA-Q) in a tenth of the steps' size",
    "answers": "the model's answers in a block's loss (GLF-Q)",
}


@dataclass
class Bench:
    """A model and what it is measured by, whatever its task."""

    model: Model
    calibration: Callable[[int, int], Sequence[Sample]]  # of so many, with a seed
    judging: Sequence[Sample]

    @classmethod
    def of(cls, model_id: str, arguments: argparse.Namespace) -> Bench:
        if model_id == TOWER:
            model = of_features.load(arguments.weights)
            source = of_features.EveryThirdJudges(arguments.data, model)
        else:
            model = vq.load_model(model_id)
            source = of_classes.source_of(model, arguments.data)
        return cls(model, source.calibration, source.held_out(arguments.limit or of_features.PICTURES))

    def images(self, count: int, seed: int) -> Tensor:
        return stacked(self.model, self.calibration(count, seed))

    def measured(self, module: nn.Module) -> dict:
        loader = Batches(self.judging, self.model.preprocess)
        found = vq.evaluate(module, loader, reference=self.model)
        names = COSINES if found.token_cosine is not None else ("top1", "agreement", "kl")
        return {name: found[name] for name in (*names, "n")}


class Start:
    """A calibrated ``vitq`` that every row which learns starts from."""

    def __init__(self, bench: Bench, images: Tensor, recipe: Recipe, seed: int) -> None:
        self._images, self._seed = images, seed
        self.result = vq.quantize(bench.model, images, CALIBRATED(recipe), seed=seed)
        self._simulation: Simulation = self.result.model.vitq
        self._before = {name: part.clone() for name, part in self.result.model.state_dict().items()}
        plain = vq.quantize(bench.model, images[:1], "minmax")
        self._fp_model = plain.model.vitq.fp_model()

    def learned(self, recipe: Recipe) -> tuple[nn.Module, dict]:
        """The model learned as ``recipe`` says, until the next one is; how many units were, and how long."""
        simulation, started = self._simulation, time.perf_counter()
        set_unit(simulation, Unit(""), self._before)
        simulation.recipe = replace(self.result.recipe, options=recipe.options)
        with (
            CalibrationPictures(self._images, task_of(self._fp_model).collate) as pictures,
            TemporaryDirectory() as folder,
            RunState(folder, {}) as state,
        ):
            found = learn_units(simulation, self._fp_model, pictures, Monitor(), self._seed, state)
        learned = sum(unit.outcome == RECONSTRUCTED for unit in found.units)
        seconds = round(time.perf_counter() - started, 1)
        return simulation.module, {"learned": learned, "units": len(found.units), "seconds": seconds}


@dataclass
class Table:
    """The rows of one model, width and seed."""

    bench: Bench
    bits: tuple[int, int]
    seed: int
    pictures: int
    effort: str
    iterations: int
    change: Change = same  # of every row

    def cell(self, name: str) -> dict:
        idea = IDEAS[name]
        recipe = idea.change(self._recipe)
        if not idea.learns:
            return self._calibrated(CALIBRATED(recipe), idea.prepare)
        learning = both(options(effort=self.effort), settings(iterations=self.iterations))
        module, found = self._start.learned(learning(recipe))
        return {**self.bench.measured(module), **found, "iterations": self.iterations}

    def _calibrated(self, recipe: Recipe, prepare: Prepare | None) -> dict:
        model = self.bench.model
        if prepare is not None:
            model = replace(model, module=prepare(model.module, self._images))
        result = vq.quantize(model, self._images, recipe, seed=self.seed)
        return {**self.bench.measured(result.model), "seconds": round(result.report.seconds, 1)}

    @property
    def _recipe(self) -> Recipe:
        """As ``vitq`` was when the ideas were tried."""
        return self.change(BEFORE(vq.recipe("vitq", *self.bits)))

    @cached_property
    def _images(self) -> Tensor:
        return self.bench.images(self.pictures, self.seed)

    @cached_property
    def _start(self) -> Start:
        return Start(self.bench, self._images, self._recipe, self.seed)


def main() -> None:
    arguments = parse()
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    for model_id in [] if arguments.print else arguments.models:
        bench, found = Bench.of(model_id, arguments), results.setdefault(model_id, {})
        for seed, bits in product(arguments.seeds, arguments.widths):
            change = EQUAL_BITS if model_id == TOWER else same
            effort = arguments.effort, arguments.iterations
            rows = Table(bench, bits, seed, arguments.calibration, *effort, change)
            for name in arguments.rows:
                key = f"{_row(name, effort[0])} W{bits[0]}/A{bits[1]} seed {seed}"
                if key not in found:
                    found[key] = rows.cell(name)
                    save(results, arguments.results)
                    print(model_id, key, found[key], flush=True)
    print(page(results))


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__, ["demo-swin"], RESULTS)
    parser.set_defaults(calibration=128)
    parser.add_argument("--weights", help=f"of {TOWER}, which is then the only model")
    parser.add_argument("--rows", nargs="+", choices=IDEAS, default=list(IDEAS))
    parser.add_argument("--widths", nargs="+", type=width, default=WIDTHS, help="4: W4/A4, 2/4: W2/A4")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--effort", choices=LEARNING, default=LEARNING[0])
    parser.add_argument("--iterations", type=int, help="of a unit; default: the effort's")
    arguments = parser.parse_args()
    arguments.iterations = arguments.iterations or EFFORTS[arguments.effort].iterations
    if arguments.weights:
        arguments.models, arguments.calibration = [TOWER], of_features.PICTURES
    return arguments


def page(results: Mapping[str, Mapping[str, Mapping]]) -> str:
    """A table for every model: a line for every idea, a column for every width."""
    return "\n\n".join(_table(model_id, cells) for model_id, cells in sorted(results.items()))


def _row(name: str, effort: str) -> str:
    """What a row is stored as."""
    learns = name in TAKEN_OUT or IDEAS[name].learns
    return name if not learns or effort == LEARNING[0] else f"{name}-{effort}"


def _title(name: str, effort: str) -> str:
    if name in TAKEN_OUT:
        return f"{TAKEN_OUT[name]}, {effort} effort; taken out"
    title = IDEAS[name].title
    return f"{title}, {effort} effort" if IDEAS[name].learns else title


def _table(model_id: str, cells: Mapping[str, Mapping]) -> str:
    names = [f"W{weight}/A{act}" for weight, act in WIDTHS if f" W{weight}/A{act} " in " ".join(cells)]
    rows = {_row(name, effort): _title(name, effort) for effort in LEARNING for name in [*IDEAS, *TAKEN_OUT]}
    lines = [
        [title, *(_shown(_of(cells, f"{row} {name} ")) for name in names)] for row, title in rows.items()
    ]
    lines = [line for line in lines if any(line[1:])]
    return f"**{model_id}**, {_about(cells)}:\n\n{table(['', *names], lines)}"


def _of(cells: Mapping[str, Mapping], begins: str) -> list[Mapping]:
    return [cell for key, cell in sorted(cells.items()) if key.startswith(begins)]


def _shown(cells: Sequence[Mapping]) -> str:
    """Patches / class token, or the divergence in thousandths of a nat and top-1; of each seed."""
    return "; ".join(map(_measured, cells))


def _measured(cell: Mapping) -> str:
    if "kl" in cell:
        return f"{1000 * cell['kl']:.1f}, {cell['top1']:.1%}"
    return " / ".join(f"{cell[name]:.3f}" for name in COSINES)


def _about(cells: Mapping[str, Mapping]) -> str:
    what = "KL, top-1" if any("kl" in cell for cell in cells.values()) else "cosine of patches / class token"
    judged = numbers(cell["n"] for cell in cells.values())
    iterations = numbers(cell["iterations"] for cell in cells.values() if "iterations" in cell)
    learned = f"; iterations of a unit: {iterations}" if iterations else ""
    seeds = "; ".join(sorted({key.rpartition(" ")[2] for key in cells}))
    return f"{what}, of seed {seeds}; pictures judged: {judged}{learned}"


if __name__ == "__main__":
    main()
