"""What exports are worth: how fast they are, and how near to the model that was simulated, beside what the
runtimes' own quantizers make. Rows that are in ``--results`` are not measured again.

    python -m tests.benchmarks.exports --rows speed
    python -m tests.benchmarks.exports --rows demo-vit
    python -m tests.benchmarks.exports --rows cifar10-vit --data cifar10.zip
    python -m tests.benchmarks.exports --rows vit-small-14 --weights FILE.safetensors --data PICTURES.zip
    python -m tests.benchmarks.exports --rows demo-sam
    python -m tests.benchmarks.exports --print

Speed: DeiT-Small's shape with random weights, W8/A8, all in the same rounds. Nearness: the recipes below at
W8/A8, in their integer forms, calibrated on 32 pictures; the others' quantizers on the same ones. NNCF
(`pip install nncf`) is needed here alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime.quantization as ort
import openvino
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import vitq_core as vq
from vitq_core.experiment.prompted import judging_questions, quantize_on_scenes
from vitq_core.exporters.base import Call
from vitq_core.exporters.graphs import graphs_of
from vitq_core.exporters.onnx.runtime import answered, session

from .cells import Bench, save, stacked
from .features import EveryThirdJudges
from .features import load as load_features
from .markdown import table

RESULTS = Path(__file__).parents[2] / "docs" / "exports.json"
FORMATS = ("onnx", "openvino", "packed")
RECIPES = ("minmax", "repq", "vitq")
ORT, NNCF = "ONNX Runtime's own quantizer", "NNCF, by OpenVINO"
BATCHES, THREADS, ROUNDS = (1, 8), (1, 2), 15
PICTURES, JUDGED, JUDGED_SCENES = 32, 1000, 50
SMALL = {"embed_dim": 384, "depth": 12, "num_heads": 6}  # DeiT-Small


# -- the runtimes' own quantizers ------------------------------------------------------------------------
class Reader(ort.CalibrationDataReader):
    def __init__(self, images: Tensor) -> None:
        self._batches: Iterator[Tensor] = iter(images.split(8))

    def get_next(self) -> dict | None:
        batch = next(self._batches, None)
        return None if batch is None else {"pictures": batch.numpy()}


def write_float(result: vq.QuantizeResult, path: Path) -> None:
    simulation = result.model.vitq
    vq.EXPORTERS["onnx"].write_float(graphs_of(simulation, simulation.plain_model())[0], path)


def by_onnx_runtime(result: vq.QuantizeResult, images: Tensor, folder: Path) -> Path:
    """``quantize_static`` with its own settings for transformers: a scale for each row of the weights."""
    plain, prepared, path = (folder / name for name in ("float.onnx", "prepared.onnx", "ort.onnx"))
    write_float(result, plain)
    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    ort.quantize_static(
        str(prepared), str(path), Reader(images), per_channel=True, weight_type=ort.QuantType.QInt8,
        activation_type=ort.QuantType.QUInt8, quant_format=ort.QuantFormat.QDQ,
    )  # fmt: skip
    return path


def by_nncf(result: vq.QuantizeResult, images: Tensor, folder: Path) -> openvino.Model:
    import nncf

    plain = folder / "float.onnx"
    if not plain.exists():
        write_float(result, plain)
    data = nncf.Dataset([batch.numpy() for batch in images.split(8)])
    return nncf.quantize(
        openvino.Core().read_model(plain), data, model_type=nncf.ModelType.TRANSFORMER,
        subset_size=-(-len(images) // 8),
    )  # fmt: skip


def run_openvino(model: openvino.Model, threads: int) -> Call:
    settings = {"INFERENCE_PRECISION_HINT": "f32"} | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return lambda images: (torch.from_numpy(compiled(np.ascontiguousarray(images.numpy()))[0].copy()),)


def run_onnx(path: Path, threads: int) -> Call:
    return partial(answered, session(path, threads))


def rivals(result: vq.QuantizeResult, images: Tensor, folder: Path) -> dict[str, Callable[[int], Call]]:
    """{name: threads → what answers pictures}."""
    return {
        ORT: partial(run_onnx, by_onnx_runtime(result, images, folder)),
        NNCF: partial(run_openvino, by_nncf(result, images, folder)),
    }


# -- rows ------------------------------------------------------------------------------------------------
def speed(_: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    model = VisionTransformer(**SMALL).eval()
    images = torch.randn(8, 3, 224, 224)
    result = vq.quantize(model, images, vq.recipe("minmax", 8, 8))
    with tempfile.TemporaryDirectory() as folder:
        certificates = [vq.export(result, Path(folder) / name, name, images) for name in FORMATS]
        report = vq.measure_speed(
            result, certificates, BATCHES, THREADS, ROUNDS, also=rivals(result, images, Path(folder))
        )
        sizes = {vq.EXPORTERS[found.format].title: found.bytes / 1e6 for found in certificates}
        sizes[ORT] = (Path(folder) / "ort.onnx").stat().st_size / 1e6
        kernels = {
            vq.EXPORTERS[found.format].title: [found.kernels, found.promised] for found in certificates
        }
    return {**report.to_json(), "megabytes": sizes, "kernels": kernels}


def classifier(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    data = arguments.data if name.startswith("cifar") else None
    bench = Bench(name, argparse.Namespace(data=data, limit=arguments.limit or JUDGED, calibration=PICTURES))
    held = bench.source.held_out(arguments.limit or JUDGED)
    labels = torch.tensor([sample.label for sample in held])
    return nearness(bench.model, bench.images(0), stacked(bench.model, held), labels)


def features(arguments: argparse.Namespace) -> dict[str, Any]:
    model = load_features(arguments.weights)
    source = EveryThirdJudges(arguments.data, model)
    images, judged = (
        stacked(model, samples) for samples in (source.calibration(PICTURES, 0), source.held_out(PICTURES))
    )
    return nearness(model, images, judged, None)


def masks(arguments: argparse.Namespace) -> dict[str, Any]:
    """demo-sam: how near the files are, and how fast the encoder is in each; the last recipe is timed."""
    model, found = vq.load_model("demo-sam"), {}
    for name in RECIPES:
        recipe = vq.integer_form(vq.recipe(name, 8, 8, effort="none"))
        result = quantize_on_scenes(model, recipe, PICTURES)
        with tempfile.TemporaryDirectory() as folder:
            certificates = [
                vq.export(
                    result, Path(folder) / format, format,
                    judging_questions(model, arguments.limit or JUDGED_SCENES),
                )
                for format in FORMATS
            ]  # fmt: skip
            found[name] = {"certificates": [each.to_json() for each in certificates]}
            if name == RECIPES[-1]:
                found["speed"] = vq.measure_speed(result, certificates, (1,), THREADS, ROUNDS).to_json()
        print(name, json.dumps(found[name]), flush=True)
    return found


def nearness(model: vq.Model, images: Tensor, judged: Tensor, labels: Tensor | None) -> dict[str, Any]:
    """Of each recipe what its simulation gives, and each format, against the simulation; of the rivals what
    they give. Both against full precision too."""
    found: dict[str, Any] = {}
    batches = [
        (part, None if labels is None else labels[index * 32 : index * 32 + 32])
        for index, part in enumerate(judged.split(32))
    ]
    plain = answers(model.module, batches)
    result = None
    for name in RECIPES:
        result = vq.quantize(model, images, vq.integer_form(vq.recipe(name, 8, 8, effort="none")))
        simulated = answers(result.model, batches)
        row = {"simulated": judge(simulated, plain, labels)}
        with tempfile.TemporaryDirectory() as folder:
            for format in FORMATS:
                certificate = vq.export(result, Path(folder) / format, format, batches)
                run = vq.EXPORTERS[format].runner(certificate.path)
                judged = judge(answers(first(run), batches), plain, labels)
                row[vq.EXPORTERS[format].title] = {**judged, "certificate": certificate.to_json()}
        found[name] = row
        print(name, json.dumps(row), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, opened in rivals(result, images, Path(folder)).items():
            found[name] = judge(answers(first(opened(0)), batches), plain, labels)
            print(name, json.dumps(found[name]), flush=True)
    return found


def first(run: Call) -> Callable[[Tensor], Tensor]:
    return lambda images: run(images)[0]


def answers(run: Callable[[Tensor], Tensor], batches: Sequence[tuple[Tensor, Any]]) -> Tensor:
    with torch.inference_mode():
        return torch.cat([run(images).detach().float() for images, _ in batches])


def judge(given: Tensor, plain: Tensor, labels: Tensor | None) -> dict[str, Any]:
    """Against full precision: the mean and the least cosine; of a classifier accuracy and agreement."""
    cosines = torch.cosine_similarity(given.double(), plain.double())
    found = {"n": len(given), "cosine": float(cosines.mean()), "least": float(cosines.min())}
    if labels is not None:
        best = given.argmax(1)
        found["top1"] = float((best == labels).double().mean())
        found["agreement"] = float((best == plain.argmax(1)).double().mean())
    return found


ROWS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "speed": speed,
    "demo-vit": partial(classifier, "demo-vit"),
    "cifar10-vit": partial(classifier, "cifar10-vit"),
    "vit-small-14": features,
    "demo-sam": masks,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=["speed", "demo-vit"])
    parser.add_argument("--data", help="folder or zip of photographs")
    parser.add_argument("--weights", help="of timm's vit_small_patch14_dinov2")
    parser.add_argument("--limit", type=int, help=f"pictures that judge (default: {JUDGED:,})")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--print", action="store_true", help="only print what was measured")
    arguments = parser.parse_args()
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    for name in () if arguments.print else arguments.rows:
        if name not in results:
            results[name] = ROWS[name](arguments)
            save(results, arguments.results)
    print(page(results))


# -- tables ----------------------------------------------------------------------------------------------
def page(results: dict) -> str:
    parts = [_speeds(results["speed"])] if "speed" in results else []
    parts += [_nearness(name, found) for name, found in results.items() if name not in ("speed", "demo-sam")]
    parts += [_masks(results["demo-sam"])] if "demo-sam" in results else []
    return "\n\n".join(parts)


def _masks(found: dict) -> str:
    lines = []
    for name, row in found.items():
        for each in row["certificates"] if name != "speed" else ():
            kernels = "–" if each["kernels"] is None else f"{each['kernels']} of {each['promised']}"
            title, size = vq.EXPORTERS[each["format"]].title, f"{each['bytes'] / 1e6:.1f} MB"
            near = [f"{each[key]:.5f}" for key in ("cosine", "own_cosine")]
            lines.append([f"{name}, {title}", f"{each['agreement_iou']:.4f}", *near, size, kernels])
    count = found[RECIPES[0]]["certificates"][0]["n"]
    heads = ["IoU with the simulation's masks", "least cosine with it", "simulation with itself", "file"]
    near = table(["W8/A8", *heads, "integer products"], lines)
    speed = _speeds({**found["speed"], "megabytes": {}, "kernels": {}})
    return f"**demo-sam**, {count} prompts\n\n{near}\n\nIts encoder, `{RECIPES[-1]}`:\n\n{speed}"


def _speeds(found: dict) -> str:
    """Times as fast as PyTorch in 32 bits, by medians; batch and threads in the head."""
    rows: dict[str, dict[tuple, dict]] = {}
    for row in found["speeds"]:
        rows.setdefault(row["what"], {})[row["batch"], row["threads"]] = row
    cells = sorted({cell for row in rows.values() for cell in row}, key=lambda cell: (cell[1], cell[0]))
    base = next(iter(rows.values()))
    lines = []
    for what, row in rows.items():
        ratios = [
            f"{base[cell]['median'] / row[cell]['median']:.2f} ({1000 * row[cell]['median']:.0f} ms, "
            f"{1000 * row[cell]['low']:.0f}–{1000 * row[cell]['high']:.0f})"
            for cell in cells
        ]
        lines.append([what, *ratios, *_costs(found, what)])
    heads = [f"batch {batch}, {threads} thread{'s' * (threads > 1)}" for batch, threads in cells]
    return table(["times as fast as PyTorch", *heads, "loading, memory", "file", "integer products"], lines)


def _costs(found: dict, what: str) -> list[str]:
    """Loading and memory, the file's size, the products that run with integers."""
    loading = next((row for row in found["loading"] if row["what"] == what), None)
    megabytes, kernels = (found[name].get(what) for name in ("megabytes", "kernels"))
    return [
        "–" if loading is None else f"{loading['seconds']:.1f} s, {loading['megabytes']:.0f} MB",
        "–" if megabytes is None else f"{megabytes:.1f} MB",
        "–" if kernels is None or kernels[0] is None else f"{kernels[0]} of {kernels[1]}",
    ]


def _nearness(name: str, found: dict) -> str:
    lines = []
    for row, held in found.items():
        formats = held if "simulated" in held else {"": held}
        for format, figures in formats.items():
            title = f"{row}, {format}" if format else row
            shares = [_share(figures.get(key)) for key in ("top1", "agreement")]
            cosines = [f"{figures[key]:.5f}" for key in ("cosine", "least")]
            lines.append([title, *shares, *cosines, *_certified(figures.get("certificate"))])
    count = next(iter(found.values()))
    count = count.get("simulated", count)["n"]
    heads = ["right", "as full precision", "cosine with it", "least", "least with the simulation"]
    heads += ["simulation with itself", "as the simulation"]
    return f"**{name}**, {count} pictures\n\n" + table(["W8/A8", *heads], lines)


def _certified(certificate: dict | None) -> list[str]:
    if certificate is None:
        return ["–", "–", "–"]
    cosines = [f"{certificate[key]:.5f}" for key in ("cosine", "own_cosine")]
    return [*cosines, _share(certificate["agreement"])]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
