"""`python docs/measurements.py` writes docs/measurements.md and the README's table from the JSON files beside it."""
# ruff: noqa: E501 -- rows of tables and commands cannot be broken

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))  # as a script, only docs/ is on the path

from tests.benchmarks import accuracy, mixed_precision, reconstruction  # noqa: E402

WIDTHS = ("8/8", "6/6", "4/4")  # of features.json
README_COLUMNS = ("token_cosine", "class_cosine")
PAGE_COLUMNS = ("token_cosine", "token_min", "class_cosine", "class_min")
MARKED = re.compile(r"(<!-- features -->\n).*?(<!-- end -->)", re.DOTALL)
CELL = re.compile(r"(?P<row>.+) W\d+/A\d+ (?:seed|calibration) (?P<seed>\d+)")
FORMER = {  # rows of decisions.json that today's tables no longer have
    "no-choice": "without the choice among quantizers at each site",
    "no-drop": "without QDrop",
    "rotated": "with the rotation of queries, keys and values",
}

TEMPLATE = """\
# Measurements

`python docs/measurements.py` writes this page; edit the script, not the page. The tables come from the JSON
files beside it. **No stored file:** marks figures that stand in no file here: either the command named with
them measures them anew, or nothing does any more.

## Features of a real ViT-S/14

`vit_small_patch14_dinov2` at 224 pixels without a head, weights fine-tuned by their author for saliency. 64
COCO photographs in the order of their names, every second one calibrates, the others judge; seed 0, nothing
learned. Cosine with full precision: patch tokens mean / minimum over pictures and patches / class token
mean / minimum. `lrp` at 8 bits is refused: its policy has no ninth bit to give.

    python -m tests.benchmarks.features --weights vit_small_patch14_dinov2.safetensors --data coco96.zip

[[features]]

The papers' order (RepQ < CRL < ADFQ) appears at W4/A4. `vitq` is last at W8/A8 and behind the published
methods at W6/A6: its weight ranges of least tensor error cut the few weights that large activations meet,
which no small model shows.

## Accuracy

Calibration alone (`effort="none"`; with reconstruction: below). Top-1 in percent (in brackets: the share of
predictions that agree with full precision), calibrated on 32 pictures of the training distribution with
seed 0, every layer at the bits named except the picture itself (8 bits). Simulated; one calibration set, so
differences below the sampling error (95 %: ±0.9 points at 97 % of 1,000 pictures, ±0.8 at 75 % of 10,000,
±1.9 of 2,000) say nothing. Sizes count the tensors that `save_quantized` writes (of the first recipe
measured; the others differ by less than 0.05 MB); headers and the description add about 0.1 MB.

    python -m tests.benchmarks.accuracy --models demo-vit demo-vit-outliers --limit 1000
    python -m tests.benchmarks.accuracy --models cifar10-vit --data cifar10.zip
    python -m tests.benchmarks.accuracy --models cifar10-vit-outliers --data cifar10.zip --limit 2000

[[accuracy]]

What the tables say:

- On the plain models every method is fine at 8 and 6 bits, and the newer ones differ little at 4: small
  models have no outliers to fight.
- With ImageNet-like channel spread one scale per layer (`minmax`, `percentile`) falls to chance at W4/A4,
  and RepQ-ViT recovers: the papers' picture.
- `crl` and `adfq` lose to `repq` on the `-outliers` twins. The spread was put in by dividing weight
  columns, and these two leave (part of) that inverse spread in the weights. **No stored file:** on 300
  scenes `crl` reaches 98.3 at W8/A4 but 90.0 at W4/A8, so its weights are what fails (`python -m
  tests.benchmarks.accuracy --models demo-vit-outliers --recipes crl --widths 8/4 4/8 --limit 300 --results
  /tmp/why.json`). `adfq` also pays 4.55 effective bits there for the outliers it keeps. ImageNet models
  have outliers without that inverse spread, so this order need not hold for them.
- `adfq` here is its quantizers only.

## Mixed precision

CRL's quantizers, calibration pictures of seed 0, only the table of bits differs; ± is the deviation over
shuffled tables (their number in brackets). Averages are weight / activation bits as the report counts them.
95 % sampling error: ±0.9 points at 97 % of 1,000 pictures, ±1.9 at 75 % of 2,000 (rows saw the same
pictures).

    python -m tests.benchmarks.mixed_precision --models demo-vit --limit 1000
    python -m tests.benchmarks.mixed_precision --models cifar10-vit --data cifar10.zip --limit 2000

[[mixed_precision]]

What the tables say:

- **Relevance carries information where blocks differ.** demo-vit was grown from four blocks to twelve and
  three of four blocks do little: relevance finds them. At W3/A3 `lrp` gains 13 points over `crl` at the
  same averages, and its own bits dealt to other blocks lose 17: 90.1 against 59.9 ± 16.0 (best of ten:
  78.7).
- **On cifar10-vit the paper's policy loses to `crl`** (W4/A4 71.5 against 74.8, W3/A3 52.9 against 59.4),
  though it beats its shuffled control at W3/A3 (41.2 ± 6.5). Raising is not what hurts (75.5 and 68.8
  without reductions): with six blocks, two raised ones must be paid for by lowering a third of the network,
  where the paper's twelve pay with a sixth, and all six are needed. Scores from 1,024 pictures, from Fisher
  information or from noise do no better there, so it is the policy, not the ranking.
- **The budget policy gains on both**: W3/A3 76.8 → 95.7 and 59.4 → 69.1, W4/A4 95.8 → 97.6 and 74.8 → 75.7,
  with operations up by 1 to 9 %. Noise alone ("equally important") gives part of it; relevance adds 8.5 and
  1.4 points at W3/A3.
- The score itself, a mean of (G⊙R)⁺, is too steep a weight on cifar10-vit ("weighed by the mean score
  itself": below `crl` at W4/A4). Its product with the number of outputs, under a root, is what `lrp-budget`
  uses. The form was chosen on these very models (**no stored file, no command:** nine forms tried on the
  two, in one-off scripts that are not kept), so expect less elsewhere.
- `lrp-budget`'s bits shuffled: measured at W4/A4 only (ten tables on demo-vit, five on cifar10-vit): 93.1 ±
  1.5 and 75.1 ± 0.4 against 97.6 and 75.7.
- **Fisher information ranks as well or better** (demo-vit W3/A3 97.4): `vq.recipe("lrp-budget",
  importance="fisher")`.

**Deletion test. No stored file:** the commands measure these figures anew (`python -m
tests.benchmarks.deletion`, for the second model with `--models cifar10-vit --data cifar10.zip`; 200
held-out pictures, 16 steps): painting over the most relevant patches first lowers the predicted class's
probability faster than random orders. Area between the curves, ± 95 %: demo-vit +0.313 ± 0.026 by heat map,
+0.191 ± 0.031 by pixel map; cifar10-vit +0.126 ± 0.015 and +0.016 ± 0.012; the least relevant first −0.249
± 0.025 and −0.077 ± 0.014. Only the heat maps tell classes apart (`python -m
tests.benchmarks.side_by_side`: demo-vit, the middles of two scenes side by side, asked for the class of
each). The asked-for half holds more of the heat map in 76.0 ± 3.7 % of the questions about 200 pictures, in
84.7 ± 4.8 % where the model has both classes among its five best (88 pictures); of the pixel map in 50.7 ±
2.5 % and 50.0 ± 4.2 %: chance. The scenes keep the size they were trained at. **No stored file, no
command:** squeezed into half the width, where demo-vit hardly knows them, it was 63 % (56 % where drawn
that small).

## Reconstruction and `vitq`

All rows of a seed are calibrated on the same 512 pictures, `adfq` and `vitq` reconstructed on them with the
standard effort. Top-1 in percent (agreement with full precision), mean ± standard deviation over seeds 0,
1, 2; bits: average weight bits / activation bits with kept outliers counted in. 95 % sampling error of
10,000 pictures: ±0.8 points.

    python -m tests.benchmarks.reconstruction --models cifar10-vit --data cifar10.zip --seeds 0 1 2
    python -m tests.benchmarks.reconstruction --models demo-vit --limit 1000 --seeds 0 1 2
    python -m tests.benchmarks.reconstruction --table parts --models cifar10-vit --data cifar10.zip

[[reconstruction]]

What the tables say (sampling error of demo-vit's 1,000 scenes: ±0.9 points at 97 %, ±2.9 at 65 %):

- **Reconstruction is worth most where it hurts most**: on cifar10-vit `adfq` gains 0.5 points at W4/A4, 9.2
  at W3/A3 and 12.9 at W2/A4 over its calibrated self, on demo-vit 0.7, 15.2 and 25.8; in all 18 runs every
  module ended below its start.
- `adfq` without reconstruction is not above `repq` everywhere: on cifar10-vit 74.2 against 74.3 at W4/A4
  (with the higher agreement) and 59.5 against 60.7 at W2/A4, on demo-vit 76.6 against 78.4 at W3/A3. Its
  scale per patch is what costs: with `repq`'s LayerNorm inputs in its place it reaches 74.3 (agreement
  92.4), 61.4 and 60.6 with seed 0 (`--table parts`; `repq` 74.5 (90.9), 60.5, 61.3). These models have
  hardly any outliers (effective bits 4.01), so channels, which `repq` tells apart, differ more than patches
  do. Its log quantizer after GELU gains 0.0 (agreement 1.1), 3.3 and 0.5 points there.
- **`vitq` is above every other method at every setting**: on cifar10-vit within 0.5 (W4/A4), 1.4 (W3/A3)
  and 1.2 (W2/A4) points of full precision, on demo-vit within 0.1, 0.5 and 0.5. Calibrated alone it is the
  best calibrated row but at W2/A4: ranges of least error shrink the weights, which only learning makes up
  for. At W4/A4 most rows are within the sampling error of each other in top-1. On demo-vit, above 2 bits,
  learning changes nothing beyond the sampling error: `vitq` 97.8 and 97.4, calibrated alone 97.9 and 97.7
  (agreement 99.8 and 99.3, 99.8 and 98.9).
- Learning is no substitute for bits where they matter: on demo-vit at W3/A3 `lrp-budget`, calibrated in
  seconds, beats `adfq` with reconstruction (96.3 against 91.8).
- **No stored file:** bfloat16 on a processor without units for it takes 1.36 times the processor time and
  ends with the same errors (mean log ratio −0.098 against −0.097, 64 scenes, `repq` with 12 iterations:
  `make benchmarks`), so by default it is used only where there are such units.

**What each ingredient of `vitq` is worth**: one part left out or exchanged at a time, standard effort,
2,000 test pictures, seed 0. KL: of the answers from full precision's, in thousandths of a nat, which tells
more than top-1 (±1.9 points). Between calibration sets (seeds 0, 1, 2 of 10,000 pictures above) the KL of
`vitq` at W3/A3 varies by ±1.5, so **differences below about 2 say nothing** (the stored cells give ±1.1).

    python -m tests.benchmarks.reconstruction --table ablation --models cifar10-vit --data cifar10.zip --limit 2000 --widths 3
    python -m tests.benchmarks.reconstruction --table ablation --models cifar10-vit --data cifar10.zip --limit 2000 --widths 2/4 --rows all no-finish
    python -m tests.benchmarks.reconstruction --table calibrating --models cifar10-vit --data cifar10.zip --limit 2000 --seeds 0 1 2    # the same with nothing learned

[[ablation]]

- Worth their place beyond the noise: reconstruction, bits by the budget policy from Fisher information
  (equal bits double the divergence, bits by relevance add two fifths), ranges of least error, fitted log
  bases, a log quantizer after GELU; whole blocks in place of modules just so. ReLU in place of GELU loses
  by more than the noise; the other things tried change nothing that can be shown.
- Why the rest stayed, and what went: [decisions](decisions.md); the cells behind it are the tables of
  "Decisions" below.
- The tables of this section were measured before the last speed-ups of learning, but for `vitq` in both
  forms and the ablation. Calibrated rows (`repq`, `adfq`, all widths, seed 0) were measured again after
  them and are the same to the last digit.

**Parts of `adfq`**, calibrated alone:

[[parts]]

**What the quick effort gives** (calibrated and learned on 128 pictures; cifar10-vit with seeds 0, 1, 2,
QDrop with 0 alone; the last stage only at 2-bit weights: above, all eight runs undid it, which left the
same model after 1.39 times the time: median over `seconds` in `docs/quick.json`, 1.08 to 1.68):

    python -m tests.benchmarks.reconstruction --table quick --calibration 128 --models cifar10-vit --data cifar10.zip --limit 2000 --seeds 0 1 2
    python -m tests.benchmarks.reconstruction --table quick --calibration 128 --models demo-vit --limit 1000 --rows quick finish no-finish calibrated

[[quick]]

## Decisions

What [decisions](decisions.md) compares, measured at two older commits with the `ablation` and `calibrating`
commands above, from `docs/decisions.json`. Titles say what the row leaves out of or adds to the `vitq` of
that commit (`1ed6f16`: with a choice among quantizers at each site and QDrop, without the rotation).

[[decisions]]

## Speed and memory

**No stored file:** `make benchmarks` measures these figures anew. Two shared, noisy cores of a Xeon with
AVX-512, ratios measured side by side in one run (the last line drives a real Chromium):

| what | measured | asked |
|---|---|---|
| calibrating `repq` W4/A4 on 32 pictures, DeiT-Small shape | 5.0 forward passes of the same pictures (median of 3, 4.4 to 6.6) | ≤ 8 |
| simulated forward, DeiT-Small shape, batch of 32 | 1.43 full-precision ones (`minmax`), 1.42 (`percentile`) (medians of 5, 1.2 to 1.7) | ≤ 1.4 |
| peak memory of calibrating, 64 → 1,024 pictures | 849 → 908 MB (109 MB of activations between two blocks; width 192, 96×96) | no growth |
| relevance of 16 pictures, DeiT-Small shape | 2.43 times forward plus backward of the same batch (median of 5, 2.08 to 3.05, nothing else running) | ≤ 3 |
| memory per picture of relevance, DeiT-Small shape | 2.88 times training's (194 and 67 MB; 2.71 in another run) | ≤ 3 |
| an iteration of reconstruction on a module, batch of 32, in training steps of that module | demo-vit: `vitq` block 1.43; `repq` attention 1.48, MLP 1.34; `adfq` attention 1.55, MLP 1.44 (medians of 3, 1.13 to 1.91; two runs before gave `adfq`'s attention 1.74 and 1.76). DeiT-Small shape: 1.14 to 1.44 | ≤ 1.6: `adfq`'s attention, with a scale for every patch, is at the mark |
| quick effort on demo-vit, 128 pictures, W4/A4 | `adfq` 39 and 40 s, `vitq` 55 and 40 s (two runs) | < 60 s |
| peak memory of reconstructing demo-vit with 64, 512, 1,024 pictures | 1,004, 1,221, 1,415 MB (49 MB of activations between two blocks) | reported |
| W4/A4 run on demo-vit, 32 pictures | 2.9 s | < 5 s |
| process start to a quantized result in the browser | 19.8 s and 20.4 s in two runs, 9 s of them after the click | ≤ 20 s |

**No stored file, no command:** the simulated forward misses its mark by as much as the machine's noise: on
one thread, in processor time, `repq` and `crl` cost 1.35 to 1.44 and `adfq` about 1.56 (4 blocks); `adfq`,
with its comparisons for outliers, misses it clearly.

## What the studio's process holds

Resident megabytes after ever more different results of `demo-vit`, with a limit that is never reached and
with one that is. A run in progress may take more; the limit counts after it.

    python -m tests.benchmarks.memory

[[memory]]
"""


def page() -> str:
    """The whole of docs/measurements.md."""
    return re.sub(r"\[\[(\w+)\]\]", lambda found: TABLES[found[1]](), TEMPLATE)


def readme(text: str) -> str:
    """`text` with the README's table between its marks."""
    return MARKED.sub(lambda found: f"{found[1]}{features(README_COLUMNS)}\n{found[2]}", text)


def stored(name: str) -> dict | list:
    return json.loads((DOCS / f"{name}.json").read_text())


def features(columns: tuple[str, ...]) -> str:
    """A line for every recipe, a column for every width; cosines in the order of `columns`."""
    cells: dict[str, dict[str, str]] = {}
    for row in stored("features"):
        cosines = " / ".join(f"{row[name]:.3f}" for name in columns) if "token_cosine" in row else "refused"
        cells.setdefault(row["recipe"], {})[f"{row['weight_bits']}/{row['act_bits']}"] = cosines
    head = "| recipe | " + " | ".join("W{}/A{}".format(*width.split("/")) for width in WIDTHS) + " |"
    lines = [
        f"| `{name}` | " + " | ".join(found.get(width, "") for width in WIDTHS) + " |"
        for name, found in cells.items()
    ]
    return "\n".join([head, "|---" * (len(WIDTHS) + 1) + "|", *lines])


def features_with_sizes() -> str:
    """The table, then its seeds and sample sizes."""
    rows = stored("features")
    sizes, seeds = (_numbers(row[name] for row in rows if name in row) for name in ("n", "seed"))
    return f"{features(PAGE_COLUMNS)}\n\nPictures judged: {sizes}; seeds: {seeds}."


def by_model(name: str, table: Callable[[str, dict], str]) -> str:
    """A table for every model of a file, each with the seeds it was measured with."""
    models = sorted(stored(name).items())
    return "\n\n".join(f"{table(model, cells)}\n\n{seeds_of(cells)}" for model, cells in models)


def seeds_of(cells: Mapping[str, Mapping]) -> str:
    """The calibration seeds of a model's cells, and how many cells there are."""
    found = [match["seed"] for key in cells if (match := CELL.match(key))]
    return f"Calibration seeds: {_numbers(int(seed) for seed in found)}; cells: {len(found)}."


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(f"{value:,}" for value in sorted(set(values)))


def of_reconstruction(name: str) -> str:
    return by_model(name, lambda model, cells: reconstruction.markdown({model: cells}, name))


def decisions() -> str:
    """Top-1 (agreement) and divergence of every row at the older commits."""
    parts = []
    for title, models in stored("decisions").items():
        parts.append(f"### {title[0].upper()}{title[1:]}")
        parts += [f"{_former(model, cells)}\n\n{seeds_of(cells)}" for model, cells in models.items()]
    return "\n\n".join(parts)


def _former(model: str, cells: Mapping[str, Mapping]) -> str:
    rows: dict[str, dict[str, list[Mapping]]] = {}
    for key, cell in cells.items():
        if match := CELL.match(key):
            rows.setdefault(match["row"], {}).setdefault(key.split()[1], []).append(cell)
    widths = sorted({width for found in rows.values() for width in found}, reverse=True)
    base = cells["float"]
    titles = {name: row.title for name, row in reconstruction.ABLATION.items()} | FORMER
    lines = [
        f"**{model}**: full precision {base['top1']:.1%} of {base['n']:,} held-out pictures",
        "",
        "| | " + " | ".join(f"{width} | KL" for width in widths) + " |",
        "|---|" + "---|---|" * len(widths),
    ]
    for name in sorted(rows, key=list(titles).index):
        shown = [
            f"{reconstruction.accuracy(found)} | {reconstruction.divergence(found)}" if found else " | "
            for found in (rows[name].get(width, []) for width in widths)
        ]
        lines.append(f"| {titles[name]} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def memory() -> str:
    """A row for each limit."""
    runs = stored("memory")["runs"]
    counts = list(runs[0]["megabytes"])
    heads = ["limit, MB", "at start", "with the model", *(f"{count} results" for count in counts), "kept"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for run in runs:
        cells = [run[name] for name in ("limit_mb", "at_start", "warm")]
        cells += [*(run["megabytes"][count] for count in counts), run["kept"]]
        lines.append(f"| {' | '.join(f'{cell:,}' for cell in cells)} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "features": features_with_sizes,
    "accuracy": lambda: by_model("accuracy", accuracy.table),
    "mixed_precision": lambda: by_model("mixed_precision", mixed_precision.table),
    "reconstruction": lambda: of_reconstruction("reconstruction"),
    "parts": lambda: of_reconstruction("parts"),
    "ablation": lambda: of_reconstruction("ablation"),
    "quick": lambda: of_reconstruction("quick"),
    "decisions": decisions,
    "memory": memory,
}


if __name__ == "__main__":
    (DOCS / "measurements.md").write_text(page(), encoding="utf-8")
    (ROOT / "README.md").write_text(readme((ROOT / "README.md").read_text("utf-8")), encoding="utf-8")
