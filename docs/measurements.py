"""`python docs/measurements.py` writes docs/measurements.md and the README's table from the JSON files here.

In docs/measurements.template `[[name]]` stands for what `TABLES` or `FIGURES` here make of a file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))  # as a script, only docs/ is on the path

from tests.benchmarks import (  # noqa: E402
    accuracy,
    block_deletion,
    features_ablation,
    mixed_precision,
    mutation,
    reconstruction,
    side_by_side,
    speed_ratios,
)

WIDTHS = ("8/8", "6/6", "4/4", "3/3")  # of features.json
README_COLUMNS = ("token_cosine",)
PAGE_COLUMNS = ("token_cosine", "token_min", "class_cosine", "class_min")
MARKED = re.compile(r"(<!-- features -->\n).*?(<!-- end -->)", re.DOTALL)
CELL = re.compile(r"(?P<row>.+) W\d+/A\d+ (?:seed|calibration) (?P<seed>\d+)")
FORMER = {  # rows of decisions.json that today's tables no longer have
    "no-crl": "without CRL: one scale per layer",
    "no-choice": "without the choice among quantizers at each site",
    "no-drop": "without QDrop",
    "rotated": "with the rotation of queries, keys and values",
}

TEMPLATE = (DOCS / "measurements.template").read_text("utf-8")


def page() -> str:
    """The whole of docs/measurements.md."""
    return re.sub(r"\[\[(\w+)\]\]", lambda found: (TABLES | FIGURES)[found[1]](), TEMPLATE)


def readme(text: str) -> str:
    """`text` with the README's table between its marks."""
    return MARKED.sub(lambda found: f"{found[1]}{features(README_COLUMNS)}\n{found[2]}", text)


def stored(name: str) -> dict | list:
    return json.loads((DOCS / f"{name}.json").read_text())


def if_stored(name: str, shown: Callable[[dict], str]) -> str:
    """What ``shown`` makes of a file that need not be there."""
    return shown(stored(name)) if (DOCS / f"{name}.json").exists() else "Not measured for this version."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def features(columns: tuple[str, ...], effort: str = "none") -> str:
    """A line for every recipe, a column for every width; means over seeds in the order of `columns`."""
    cells: dict[str, dict[str, list[dict]]] = {}
    for row in stored("features"):
        if row["effort"] == effort:
            width = f"{row['weight_bits']}/{row['act_bits']}"
            cells.setdefault(row["recipe"], {}).setdefault(width, []).append(row)
    head = ("recipe", *("W{}/A{}".format(*width.split("/")) for width in WIDTHS))
    lines = [
        (f"`{name}`", *(_cosines(found.get(width, []), columns) for width in WIDTHS))
        for name, found in cells.items()
    ]
    return table(head, lines)


def _cosines(rows: Sequence[Mapping], columns: tuple[str, ...]) -> str:
    measured = [row for row in rows if "token_cosine" in row]
    if not measured:
        return "refused" if rows else ""
    return " / ".join(f"{mean(row[name] for row in measured):.3f}" for name in columns)


def features_with_sizes() -> str:
    """A table for every effort with its seeds, the largest deviation over them and the sample sizes."""
    parts = []
    for effort in ("none", "quick", "standard"):
        rows = [row for row in stored("features") if row["effort"] == effort and "n" in row]
        if rows:
            sizes, seeds = (_numbers(row[name] for row in rows) for name in ("n", "seed"))
            about = f"Pictures judged: {sizes}; seeds: {seeds}{_deviations(rows)}."
            parts.append(f"`effort={effort!r}`:\n\n{features(PAGE_COLUMNS, effort)}\n\n{about}")
    return "\n\n".join(parts)


def parts_of_features() -> str:
    """A line for every row that was measured."""
    titles = {name: row.title for name, row in features_ablation.ROWS.items()}
    found = sorted(stored("features_ablation"), key=lambda row: list(titles).index(row["row"]))
    lines = [
        [titles[row["row"]], "W{weight_bits}/A{act_bits}".format(**row), _cosines([row], PAGE_COLUMNS)]
        for row in found
    ]
    return table(["", "bits", "cosines"], lines)


def error_sources(run: dict) -> str:
    """For each width a row for every block: its error by each recipe, of all tokens / of class tokens; then
    where the error of the last block lies."""
    parts = []
    for width, recipes in run["recipes"].items():
        heads = [f"`{name}`" for name in recipes]
        blocks = next(iter(recipes.values()))
        errors = [
            [
                block,
                *(
                    f"{found[block]['all']:.1%} / {found[block]['class_token']:.1%}"
                    for found in recipes.values()
                ),
            ]
            for block in blocks
        ]
        last = list(blocks)[-1]
        shares = [
            [where.replace("_", " "), f"{blocks[last][f'size_in_{where}']:.0%}"]
            + [f"{found[last][f'error_in_{where}']:.0%}" for found in recipes.values()]
            for where in ("loud_tokens", "loud_channels")
        ]
        parts += [
            "W{}/A{}".format(*width.split("/")) + ":",
            table(["after", *heads], errors),
            f"After `{last}`, the loudest {run['loud']:.0%} have of the squares, and of each recipe's error:",
            table(["", "the squares themselves", *heads], shares),
        ]
    return "\n\n".join([*parts, f"Pictures judged: {run['n']}; seed {run['seed']}."])


def _deviations(rows: Sequence[Mapping]) -> str:
    """Over seeds, of the mean cosine of patches, the largest at each width."""
    found: dict[str, list[float]] = {}
    for width, _, group in _grouped(rows):
        if len(group) > 1:
            found.setdefault(width, []).append(stdev(row["token_cosine"] for row in group))
    said = ", ".join(f"{max(values):.3f} at W{width}" for width, values in found.items())
    return f"; largest deviation of the patches' mean over them: {said}" if said else ""


def _grouped(rows: Sequence[Mapping]) -> list[tuple[str, str, list[Mapping]]]:
    """(width, recipe, rows of all seeds)."""
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for row in rows:
        key = f"{row['weight_bits']}/A{row['act_bits']}", row["recipe"]
        groups.setdefault(key, []).append(row)
    return [(*key, group) for key, group in groups.items()]


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


def top1(name: str, model: str, key: str) -> str:
    """Percent of a cell."""
    return f"{100 * stored(name)[model][key]['top1']:.1f}"


def kl_deviation() -> float:
    """Of `vitq` at W3/A3 on cifar10-vit over its calibration sets, thousandths of a nat."""
    cells = stored("reconstruction")["cifar10-vit"]
    return stdev(1000 * cell["kl"] for key, cell in cells.items() if key.startswith("vitq W3/A3 "))


def changes() -> str:
    """A row for each part, a column for each commit: the KL's change, in how many runs it is higher."""
    commits = {title: shifts(models) for title, models in stored("decisions").items()}
    titles = {name: row.title for name, row in reconstruction.ABLATION.items()} | FORMER
    names = [name for name in titles if any(name in found for found in commits.values())]
    heads = [
        title.replace("ablation", "learned").replace("calibrating", "calibrated alone") for title in commits
    ]
    rows = [[titles[name], *(_range(found.get(name, [])) for found in commits.values())] for name in names]
    return table(["", *heads], rows)


def shifts(models: Mapping[str, Mapping]) -> dict[str, list[float]]:
    """{row: percent by which its KL is above that of `vitq`, one for each model, width and seed}."""
    found: dict[str, list[float]] = {}
    for cells in models.values():
        for key, cell in cells.items():
            row, _, of = key.partition(" ")
            if row != "all" and f"all {of}" in cells:
                found.setdefault(row, []).append(100 * (cell["kl"] / cells[f"all {of}"]["kl"] - 1))
    return found


def _range(percents: Sequence[float]) -> str:
    if not percents:
        return ""
    if len(percents) == 1:
        return f"{signed(percents[0])} (1 run)"
    higher = sum(percent > 0 for percent in percents)
    return f"{signed(min(percents))} to {signed(max(percents))}; higher in {higher} of {len(percents)} runs"


def signed(percent: float) -> str:
    return f"{percent:+.1f} %".replace("-", "−")


def deletion(run: dict) -> str:
    models = sorted(run.items())
    orders = list(models[0][1]["areas"])
    rows = [[model, str(found["n"]), *map(_area, found["areas"].values())] for model, found in models]
    return table(["model", "pictures", *orders], rows)


def _area(found: Mapping[str, float]) -> str:
    return f"{found['area']:+.3f} ± {found['error']:.3f}".replace("-", "−")


def blocks(run: dict) -> str:
    """For each model what it answers without each of its blocks."""
    return "\n\n".join(
        f"**{model}**: top-1 {found['top1']:.1%} of {found['n']:,} held-out pictures\n\n"
        f"{block_deletion.table(found)}"
        for model, found in sorted(run.items())
    )


def halves(run: dict) -> str:
    rows = [
        [model, name, *(side_by_side.describe(**figures) for figures in shares.values())]
        for model, maps in run.items()
        for name, shares in maps.items()
    ]
    return table(["model", "map", "all", f"both classes among the model's {side_by_side.BEST} best"], rows)


def speed(run: dict) -> str:
    about = run["about"]
    rows = [[title, *_times(title, found)] for title, found in run["measured"].items()]
    shown = table(["what", "now", "before", "ratio"], rows)
    return (
        f"{shown}\n\nCommit {about['commit']} against {about['against']}, {about['rounds']} pairs of "
        f"processes, {about['threads']} thread, pictures of seed {about['seed']}. {about['machine']}."
    )


def _times(title: str, found: dict[str, list[float]]) -> list[str]:
    now, before = (speed_ratios.spoken(title, median(found[name])) for name in ("this", "other"))
    ratios = found["ratios"]
    return [now, before, f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]


def memory(run: dict) -> str:
    """A row for each limit."""
    counts = list(run["runs"][0]["megabytes"])
    heads = ["limit, MB", "at start", "with the model", *(f"{count} results" for count in counts), "kept"]
    rows = []
    for limit in run["runs"]:
        cells = [limit[name] for name in ("limit_mb", "at_start", "warm")]
        cells += [*(limit["megabytes"][count] for count in counts), limit["kept"]]
        rows.append([f"{cell:,}" for cell in cells])
    return table(heads, rows)


def mutants(run: dict) -> str:
    """Killed of those tried, now and before; then of the mutants that both runs tried."""
    before = (run["before"] or {}).get("targets", {})
    rows = [_killed(name, found, before.get(name, {})) for name, found in run["targets"].items()]
    about, then = run["about"], (run["before"] or {}).get("about")
    against = f" against {then['commit']}" if then else ""
    shown = table(["module", "killed now", "killed before", "of the same mutants, now and before"], rows)
    return (
        f"{shown}\n\nCommit {about['commit']}{against}, at most {about['mutants']} mutants a module, "
        f"seed {about['seed']}. {about['machine']}."
    )


def _killed(name: str, now: dict[str, str], before: dict[str, str]) -> list[str]:
    def killed(found: dict[str, str], of: Iterable[str]) -> int:
        return sum(found[mutant] == mutation.KILLED for mutant in of)

    shared = now.keys() & before.keys()
    both = f"{killed(now, shared)} and {killed(before, shared)} of {len(shared)}" if shared else ""
    old = f"{killed(before, before)} of {len(before)}" if before else ""
    return [name, f"{killed(now, now)} of {len(now)}", old, both]


TABLES: dict[str, Callable[[], str]] = {
    "features": features_with_sizes,
    "features_ablation": parts_of_features,
    "error_sources": lambda: if_stored("error_sources", error_sources),
    "accuracy": lambda: by_model("accuracy", accuracy.table),
    "mixed_precision": lambda: by_model("mixed_precision", mixed_precision.table),
    "reconstruction": lambda: of_reconstruction("reconstruction"),
    "parts": lambda: of_reconstruction("parts"),
    "ablation": lambda: of_reconstruction("ablation"),
    "quick": lambda: of_reconstruction("quick"),
    "decisions": decisions,
    "deletion": lambda: if_stored("deletion", deletion),
    "blocks": lambda: if_stored("blocks", blocks),
    "side_by_side": lambda: if_stored("side_by_side", halves),
    "speed": lambda: if_stored("speed", speed),
    "memory": lambda: if_stored("memory", memory),
    "mutation": lambda: if_stored("mutation", mutants),
}
FIGURES: dict[str, Callable[[], str]] = {  # in sentences, and tables made of a file that has another one
    "changes": changes,
    "kl_deviation": lambda: f"{kl_deviation():.1f}",
    "kl_noise": lambda: f"{2 * kl_deviation():.0f}",
    "crl_weights_wide": lambda: top1("accuracy", "demo-vit-outliers", "crl W8/A4 seed 0"),
    "crl_weights_narrow": lambda: top1("accuracy", "demo-vit-outliers", "crl W4/A8 seed 0"),
    "adfq_bits": lambda: "{effective_act_bits:.2f}".format(
        **stored("accuracy")["demo-vit-outliers"]["adfq W4/A4 seed 0"]
    ),
}


if __name__ == "__main__":
    (DOCS / "measurements.md").write_text(page(), encoding="utf-8")
    (ROOT / "README.md").write_text(readme((ROOT / "README.md").read_text("utf-8")), encoding="utf-8")
