"""What lies in a folder or zip: the pictures, and whatever is left out, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ..common.words import readable
from .kinds import ENDINGS, HEAD, TEXTS, ending_of, is_readable, kind_of, what_to_do

OFTEN = 500  # files or entries of folders from one call of `heard` to the next
SHOWN = 4  # endings and names in a sentence

Heard = Callable[[int], None]  # told how many files were found so far; what it raises ends the looking

# What systems and programs leave beside pictures: thumbnails, recycle bins, databases.
_SYSTEM = frozenset(
    (
        "@eadir", "@tmp", "@__thumb", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "thumbs.db",
        "ehthumbs.db", "desktop.ini", "system volume information", "lost+found", "__pycache__", "icon\r",
    )
)  # fmt: skip


def system_part(name: str) -> str | None:
    """The part of a path that a system made (`.DS_Store`, `._picture.jpg`, `__MACOSX`, `@eaDir`), or None."""
    return next((part for part in name.split("/") if _is_system(part)), None)


def is_hidden(name: str) -> bool:
    """Whether a system made it, or keeps it from being seen."""
    return system_part(name) is not None


def _is_system(part: str) -> bool:
    return part.startswith((".", "__MACOSX")) or part.casefold() in _SYSTEM


@dataclass(frozen=True)
class LeftOut:
    """`others`: {(ending, kind by its first bytes or None): files that are no pictures that can be read};
    `system`: {name: how many}; `unreachable`: {what they are: how many}.
    """

    others: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    system: Counter[str] = field(default_factory=Counter)
    unreachable: Counter[str] = field(default_factory=Counter)

    def sentences(self) -> list[str]:
        """What was left out and why, for people."""
        said, count = [], self.others.total()
        if count:
            files = "1 file is no picture that can be read and was" if count == 1 else (
                f"{count} files are no pictures that can be read and were"
            )  # fmt: skip
            said.append(f"{files} not used ({self.endings()}).{self.advice()}")
        if self.system:
            said.append(f"Made by systems and not used: {_listed(self.system)}.")
        said += [f"Not used: {n} × {what}." for what, n in self.unreachable.items()]
        return said

    def endings(self) -> str:
        """`3 .txt, 1 without an ending`."""
        endings: Counter[str] = Counter()
        for (ending, _), count in self.others.items():
            endings[ending or "without an ending"] += count
        return ", ".join(f"{n} {ending}" for ending, n in _first(endings))

    def advice(self) -> str:
        """What to do with them, where that is known."""
        advised = {kind: advice for _, kind in self.others if (advice := what_to_do(kind))}
        return "".join(f" {kind}: {advice}." for kind, advice in sorted(advised.items()))


class Listing:
    """A folder or zip; the ways into it are Folder's and Archive's.

    Names are relative, with forward slashes. `name`: what sentences call it.
    """

    name: str

    def __init__(self) -> None:
        self._names: list[str] | None = None
        self._pictures: list[str] | None = None
        self.left_out = LeftOut()

    def names(self, heard: Heard | None = None) -> list[str]:
        """Every file that no system made, sorted; looked for once."""
        if self._names is None:
            self.left_out = LeftOut()
            self._names = sorted(self._find(heard or _nobody))
        return self._names

    def pictures(self, heard: Heard | None = None) -> list[str]:
        """Those that are pictures: by their ending, or else by their first bytes; found out once.

        `left_out` says what the others are.
        """
        if self._pictures is None:
            names, heard = self.names(heard), heard or _nobody
            self.left_out.others.clear()
            self._pictures = [name for i, name in enumerate(names) if self._is_picture(i, name, heard)]
        return self._pictures

    def _is_picture(self, index: int, name: str, heard: Heard) -> bool:
        if index % OFTEN == 0:
            heard(index)
        ending = ending_of(name)
        if ending in ENDINGS:
            return True
        kind = None if ending in TEXTS else kind_of(self.head(name))
        if is_readable(kind):
            return True
        self.left_out.others[ending, kind] += 1
        return False

    def head(self, name: str) -> bytes:
        """The first HEAD bytes of a file; none where it cannot be read."""
        raise NotImplementedError

    def _find(self, heard: Heard) -> list[str]:
        raise NotImplementedError


def _nobody(found: int) -> None:
    return None


def _first(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent, the rest together."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ranked[SHOWN:])
    return ranked[:SHOWN] + ([("others", rest)] if rest else [])


def _listed(names: Counter[str]) -> str:
    return ", ".join(f"{readable(name)} ({n})" if n > 1 else readable(name) for name, n in _first(names))


__all__ = ["HEAD", "OFTEN", "Heard", "LeftOut", "Listing", "is_hidden", "system_part"]
