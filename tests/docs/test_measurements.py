"""The measurements on the pages are those that the stored files give; links and paths on the pages exist."""

import importlib.util
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
    assert {path.stem for path in (ROOT / "docs").glob("*.json")} == set(measurements.TABLES)


def test_every_cell_of_the_decisions_has_a_title() -> None:
    shown = measurements.decisions()
    assert all(title in shown for title in measurements.FORMER.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")}
    paths = set(re.findall(r"`((?:vitq_core|ui|tests|docs|assets)/[\w./-]+)`", text))
    missing = [link for link in links if link and not (page.parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert not missing
