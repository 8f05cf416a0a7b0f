"""Every source file is in the repository: a pattern of `.gitignore` must not swallow a package."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from .imports import ROOT

FOLDERS = ("vitq_core", "ui", "tests", "docs", "assets")


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="this is no clone, or git is missing"
)
def test_no_source_file_is_ignored() -> None:
    command = [
        "git",
        "-c",
        f"safe.directory={ROOT}",
        "ls-files",
        "--others",
        "--ignored",
        "--exclude-standard",
    ]
    listed = subprocess.run(
        [*command, *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [name for name in listed if "__pycache__/" not in name] == []
