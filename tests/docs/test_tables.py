"""The tables on the pages are those that the stored measurements give; the README is for newcomers."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)


@pytest.mark.parametrize("path", tables.PAGES, ids=lambda path: path.name)
def test_the_page_has_the_table_of_the_stored_measurements(path: Path) -> None:
    text = path.read_text()
    assert tables.MARKED.search(text) and tables.filled(text, tables.PAGES[path]) == text


def test_every_file_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    named = {part.split(")")[0] for part in text.split("](")[1:]} | {
        part for part in text.split("`") if part.startswith(("vitq_core/", "ui/"))
    }
    missing = [name for name in named if not name.startswith("http") and not (ROOT / name).exists()]
    assert not missing
