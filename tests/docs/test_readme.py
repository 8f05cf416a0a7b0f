"""The README stays short, and the code on the pages runs as it stands there."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import vitq_core as vq
from vitq_core.demo import scenes

ROOT = Path(__file__).parents[2]
MOST_WORDS = 720
PICTURES = 4


def readme() -> str:
    """Without the front matter, which only Hugging Face Spaces reads."""
    return (ROOT / "README.md").read_text("utf-8").split("---\n", 2)[2]


def test_the_readme_is_short() -> None:
    assert len(readme().split()) <= MOST_WORDS


def test_the_readme_has_a_row_for_every_recipe() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| [^|]+ \|$", readme(), re.MULTILINE)
    assert sorted(rows) == sorted(vq.RECIPES)


@pytest.mark.parametrize("page", ["README.md", "docs/engine.md"])
def test_the_code_on_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks in their order, as one program; not what learns for minutes, which other tests do, nor what
    needs a bundled model whose weights are not there."""
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    missing = [name for name in ("demo-sam",) if name not in {info.id for info in vq.list_models()}]
    program = "\n".join(
        block for block in blocks if "standard" not in block and not any(name in block for name in missing)
    )
    names: dict[str, object] = {}
    exec(compile(program, page, "exec"), names)
    assert names["result"].report.size_mb < names["result"].report.fp32_size_mb


def test_what_a_contributor_is_told_works(tmp_path: Path) -> None:
    """In a process of its own: what it registers is no recipe of ours."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    certificate = json.loads((tmp_path / "signs" / "certificate.json").read_text())
    assert (certificate["format"], certificate["max_difference"]) == ("pickled", 0)


def photographs(folder: Path) -> None:
    """What the pages call ``photos.zip`` and ``held-out``: drawn scenes, in folders by class."""
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for index in range(PICTURES):
            drawn = scenes.scene(index)
            path = folder / "held-out" / scenes.LABELS[drawn.label] / f"{index}.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(drawn.image).save(path)
            archive.write(path, path.name)
