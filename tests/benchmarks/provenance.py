"""Where a measurement comes from: the machine, and the commit of a checkout."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """Processor, cores, and the versions that computed."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    processor = named[1] if named else platform.machine()
    return (
        f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {version('torch')}"
    )


def commit_of(checkout: Path) -> str:
    """Short hash, with ``+`` where files differ from it; ``unknown`` outside a repository."""
    try:
        found = _git(checkout, "rev-parse", "--short", "HEAD")
        return f"{found}+" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else found
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
