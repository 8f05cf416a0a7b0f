"""The measurements on the pages are those that the stored files give; links and paths on the pages exist."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
spec = importlib.util.spec_from_file_location("measurements", ROOT / "docs" / "measurements.py")
measurements = importlib.util.module_from_spec(spec)
spec.loader.exec_module(measurements)


def test_the_committed_page_is_what_the_command_gives() -> None:
    assert (ROOT / "docs" / "measurements.md").read_text("utf-8") == measurements.page()


def test_the_readme_has_the_table_of_the_stored_measurements() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert measurements.MARKED.search(text) and measurements.readme(text) == text


def test_every_stored_file_has_its_table() -> None:
    assert {path.stem for path in (ROOT / "docs").glob("*.json")} <= set(measurements.TABLES)
    assert all(f"[[{name}]]" in measurements.TEMPLATE for name in measurements.TABLES | measurements.FIGURES)


RUNS = {
    "processes": {
        "machine": "a machine",
        "commit": "abc",
        "load": 1.0,
        "models": {
            "tiny": {
                "start": 3.6,
                "join": 0.4,
                "together": 0.1,
                "merge": 0.05,
                "evaluate": 8,
                "importance": 4,
                "rounds": {
                    "evaluate": {"1": [0.5, 1.0, 0.9], "2": [0.25, 0.45, 0.6]},
                    "importance": {"1": [3.6, 3.6, 3.6], "2": [1.8, 1.8, 1.8]},
                },
            }
        },
    },
    "deletion": {"tiny": {"n": 200, "steps": 16, "areas": {"heat map": {"area": 0.313, "error": 0.026}}}},
    "blocks": {
        "tiny": {
            "n": 500,
            "top1": 0.93,
            "blocks": [
                {"block": "blocks.0", "agreement": 0.4, "top1": 0.38, "kl": 1.2345},
                {"block": "blocks.1", "agreement": 0.97, "top1": 0.92, "kl": 0.01},
            ],
        }
    },
    "error_sources": {
        "n": 32,
        "seed": 0,
        "loud": 0.01,
        "recipes": {
            "4/4": {
                name: {
                    f"blocks.{index}": {
                        "all": error * (1 + index),
                        "class_token": error / 2,
                        "loud_tokens": error,
                        "size_in_loud_tokens": 0.3,
                        "error_in_loud_tokens": error,
                        "size_in_loud_channels": 0.9,
                        "error_in_loud_channels": 0.1,
                    }
                    for index in range(2)
                }
                for name, error in {"minmax": 0.4, "vitq": 0.02}.items()
            }
        },
    },
    "side_by_side": {
        "tiny": {
            "heat map": {
                "all": {"share": 0.76, "error": 0.037, "n": 200},
                "seen": {"share": 0.847, "error": 0.048, "n": 88},
            }
        }
    },
    "speed": {
        "about": {"commit": "aaa", "against": "bbb", "machine": "Xeon", "rounds": 3, "threads": 1, "seed": 1},
        "measured": {"start": {"this": [2.0, 1.0, 3.0], "other": [1.0, 1.0, 2.0], "ratios": [2.0, 1.0, 1.5]}},
    },
    "memory": {
        "runs": [{"limit_mb": 1500, "at_start": 742, "warm": 800, "megabytes": {"12": 1337}, "kept": 9}],
    },
    "ideas": {
        "tiny": {
            "learned W3/A3 seed 0": {"kl": 0.06, "top1": 0.8, "n": 500, "iterations": 60},
            "learned W3/A3 seed 1": {"kl": 0.04, "top1": 0.9, "n": 500, "iterations": 60},
            "answers W3/A3 seed 0": {"kl": 0.0123, "top1": 0.81, "n": 500, "iterations": 60},
            "answers-standard W3/A3 seed 0": {"kl": 0.02, "top1": 0.82, "n": 500, "iterations": 30},
            "answers W2/A4 seed 0": {"kl": 0.5, "top1": 0.7, "n": 500, "iterations": 60},
        },
        "tower": {"joint W4/A4 seed 0": {"token_cosine": 0.95, "class_token_cosine": 0.9601, "n": 32}},
    },
    "mutation": {
        "about": {"commit": "aaa", "machine": "Xeon", "seed": 0, "mutants": 40},
        "targets": {"packing": {"one": "killed", "two": "survived", "new": "killed"}},
        "before": {"about": {"commit": "bbb"}, "targets": {"packing": {"one": "killed", "two": "killed"}}},
    },
}
SHOWN = {
    "processes": [
        "| tiny | evaluation | 8 | 900.0 ms | 450.0 ms | 2.00 (1.50 to 2.22) |",
        # 3.6 s · 50,000 = 50 h; an eighth, and a start, joining and eight merges of 0.1 s; four nodes of 64
        "| tiny | importance | 50,000 | 50.0 h (50.0 h) | 6.25 h (6.25 h) | 0.78 h (3.14 h) |",
        "Commit abc.",
    ],
    "deletion": ["| tiny | 200 | +0.313 ± 0.026 |"],
    "blocks": [
        "**tiny**: top-1 93.0% of 500 held-out pictures",
        "| `blocks.0` | 40.0% | 38.0% | 1.234 |",
        "Blocks with an agreement of 97% or more: 1 of 2.",
    ],
    "error_sources": [
        "W4/A4:",
        "| after | `minmax` | `vitq` |",
        "| blocks.1 | 80.0% / 20.0% | 4.0% / 1.0% |",
        "| loud tokens | 30% | 40% | 2% |",
        "Pictures judged: 32; seed 0.",
    ],
    "side_by_side": ["| tiny | heat map | 76.0% ± 3.7% of 200 pictures | 84.7% ± 4.8% of 88 pictures |"],
    "speed": ["| start | 2.00 s | 1.00 s | 1.50 (1.00 to 2.00) |", "Commit aaa against bbb, 3 pairs"],
    "memory": [
        "| limit, MB | at start | with the model | 12 results | kept |",
        "| 1,500 | 742 | 800 | 1,337 | 9 |",
    ],
    "ideas": [
        "**tiny**, KL, top-1, of seed 0; 1; pictures judged: 500; iterations of a unit: 30, 60:",
        "|  | W3/A3 | W2/A4 |",
        "| `vitq` as it was, learned, quick effort | 60.0, 80.0%; 40.0, 90.0% |  |",
        "(GLF-Q), quick effort; taken out | 12.3, 81.0% | 500.0, 70.0% |",
        "(GLF-Q), standard effort; taken out | 20.0, 82.0% |  |",
        "**tower**, cosine of patches / class token, of seed 0; pictures judged: 32:",
        "the default now | 0.950 / 0.960 |",
    ],
    "mutation": ["| packing | 2 of 3 | 2 of 2 | 1 and 2 of 2 |", "Commit aaa against bbb", "seed 0"],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_stored_later_appears(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "DOCS", tmp_path)
    assert measurements.TABLES[name]() == "Not measured for this version."
    (tmp_path / f"{name}.json").write_text(json.dumps(RUNS[name]))
    shown = measurements.TABLES[name]()
    assert all(part in shown for part in SHOWN[name])


def test_only_seeds_that_every_recipe_has_are_compared() -> None:
    def row(recipe: str, bits: int, seed: int, cosine: float) -> dict:
        same = {"weight_bits": bits, "act_bits": bits, "effort": "none", "n": 32}
        cosines = dict.fromkeys(measurements.features.PAGE_COLUMNS, cosine)
        return {"recipe": recipe, "seed": seed, **same, **cosines}

    both = [row(name, 4, seed, 0.1 * (seed + 1)) for name in ("one", "two") for seed in (0, 1)]
    assert "| `one` |  |  | 0.150 |  |" in measurements.features.readme(both)
    for more in (row("one", 8, 0, 0.9), row("three", 4, 0, 0.9)):  # seed 1 lacks a width, or a recipe
        shown = measurements.features.readme([*both, more])
        assert "0.150" not in shown and "0.100" in shown
        assert "seeds: 0." in measurements.features.page([*both, more])


def test_a_mutation_run_without_an_earlier_one_is_shown() -> None:
    run = {**RUNS["mutation"], "before": None}
    assert "| packing | 2 of 3 |  |  |" in measurements.mutation.page(run)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")}
    paths = set(re.findall(r"`((?:vitq_core|ui|tests|docs|assets)/[\w./-]+)`", text))
    missing = [link for link in links if link and not (page.parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert not missing
