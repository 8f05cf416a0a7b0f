"""A sample of what tests/benchmarks/tampered.py tries: each kind twice."""

from pathlib import Path

from tests.benchmarks.tampered import KINDS, OTHER, REFUSED, SAME, Outcome, fault, page, summary, tried


def test_tampered_files_are_refused_or_give_the_same_outputs(tmp_path: Path) -> None:
    found = tried(2 * len(KINDS), seed=1, scratch=tmp_path)
    assert [(kind.title, model, wrong) for kind, model, each in found if (wrong := fault(kind, each))] == []
    refused = sum(outcome.what == REFUSED for *_, outcome in found)
    assert refused > len(found) / 2


def test_faults_are_found_and_shown() -> None:
    damaged, forged = (next(kind for kind in KINDS if kind.forged is value) for value in (False, True))
    wrong = [
        (damaged, Outcome(OTHER, 1, 1)),
        (forged, Outcome("raised KeyError: 'a'", 1, 1)),
        (forged, Outcome(SAME, 501, 1)),
    ]
    right = [
        (damaged, Outcome(REFUSED, 1, 1)),
        (forged, Outcome(OTHER, 1, 2.5)),
        (damaged, Outcome(SAME, 1, 1)),
    ]
    assert all(fault(*each) for each in wrong) and not any(fault(*each) for each in right)
    measured = summary([(kind, "vit", outcome) for kind, outcome in wrong + right])
    about = {"models": ["vit"], "seed": 0, "commit": "aaa", "machine": "Xeon"}
    shown = page({"about": about, **measured})
    assert f"| {damaged.title} | 1 | 1 | 0 | 1 |" in shown and "| **1** | **1** | **1** | **3** |" in shown
    assert "501 MB" in shown and "2.50 s" in shown
