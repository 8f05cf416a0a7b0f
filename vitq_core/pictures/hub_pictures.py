"""Pictures of a data set on the Hugging Face hub, as an ordinary folder: a part of it, streamed and kept."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import Cancelled, StorageError, VitqError
from ..common.home import WEEK, forget_abandoned, vitq_home
from ..common.monitor import Monitor, Progress
from ..common.words import brief
from .splits import pair_among, part_of

FETCHED = 1024  # pictures of each part
BUFFER = 2048  # encoded pictures among which the stream is shuffled; a set sorted by class needs many
LONGEST = 120  # letters of a class's or file's name
MEANT = re.compile(r"hf://datasets/|https?://(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/")
ADDRESS = re.compile(
    rf"(?:{MEANT.pattern}|datasets/)?"
    r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<at>[\w./-]+)|/tree/(?P<tree>[\w./%-]+))?/?"
)
NEEDED = "pictures of the hub need the datasets library: pip install datasets"


class Named(NamedTuple):
    repo: str
    revision: str | None


def names_dataset(text: object) -> bool:
    """Whether this is meant as a data set of the hub, and not as a folder."""
    return isinstance(text, str) and MEANT.match(text.strip()) is not None


def fetch_pictures(
    dataset: str,
    count: int = FETCHED,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: object = None,
) -> Path:
    """A folder with pictures of a data set of the Hugging Face hub, for `PictureFolder` and the studio.

    `dataset`: `user/name`, `hf://datasets/user/name` or the address of its page, each with `@revision` or
    without. `count` pictures of its train and of its test part are streamed in an order that `seed` draws,
    within a window of 2,048; of a set with one part twice as many. They lie in folders by their classes where
    it has any, and stay in `VITQ_HOME/datasets` under the set's commit: nothing is fetched twice.
    Needs the `datasets` library. Raises ValueError for what names no data set, VitqError for one that cannot
    be had or holds no pictures, Cancelled.
    """
    named = _named(dataset)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count must be a whole number above 0, got {count!r:.80}")
    monitor = Monitor(progress, cancel)
    kept = vitq_home() / "datasets" / named.repo.replace("/", "--")
    with _in_words(named.repo):
        return _fetched(named, kept, count, seed, monitor)


def _named(dataset: object) -> Named:
    found = ADDRESS.fullmatch(dataset.strip()) if isinstance(dataset, str) else None
    if found is None:
        raise ValueError(f"{dataset!r:.80} names no data set of the hub; it should look like user/name")
    return Named(found["repo"], found["at"] or found["tree"])


def _fetched(named: Named, kept: Path, count: int, seed: int, monitor: Monitor) -> Path:
    monitor.report(0.0, f"Looking up {named.repo}")
    commit = _commit(named, kept)
    folder = kept / f"{commit[:12]}-{count}-{seed}"
    if folder.is_dir():
        return folder
    kept.mkdir(parents=True, exist_ok=True)
    forget_abandoned(kept, "making-*", WEEK)
    making = Path(tempfile.mkdtemp(prefix="making-", dir=kept))
    try:
        _write(named.repo, commit, making, count, seed, monitor)
        making.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process was faster
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _commit(named: Named, kept: Path) -> str:
    """What the revision means now; without the hub, what was fetched last."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return HfApi().dataset_info(named.repo, revision=named.revision).sha
    except (OSError, OfflineModeIsEnabled) as error:
        here = sorted(kept.glob("*-*-*"), key=lambda folder: folder.stat().st_mtime)
        if getattr(error, "response", None) is not None or not here:
            raise
        return here[-1].name.partition("-")[0]


def _write(repo: str, commit: str, root: Path, count: int, seed: int, monitor: Monitor) -> None:
    """Pictures of the parts that are used; of a set with one part, without a folder for that."""
    streams = _streams(repo, commit)
    pair = pair_among(streams)
    if pair is None:
        name = next((each for each in streams if part_of(each) == "train"), next(iter(streams)))
        parts = {"": (streams[name], 2 * count)}
    else:
        parts = dict(zip(("train", "test"), ((streams[each], count) for each in pair), strict=True))
    for place, (part, (stream, wanted)) in enumerate(parts.items()):
        own = monitor.part(place / len(parts), (place + 1) / len(parts))
        if not _write_part(stream, root / part, wanted, seed, own):
            raise VitqError(f"the {part or 'only'} part of {repo} holds no pictures")


def _streams(repo: str, commit: str) -> Mapping[str, Any]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise VitqError(NEEDED) from error
    return load_dataset(repo, revision=commit, streaming=True)


def _write_part(stream: Any, folder: Path, wanted: int, seed: int, monitor: Monitor) -> int:
    picture, label, names = _columns(stream)
    rows = stream.decode(False).shuffle(seed=seed, buffer_size=BUFFER)
    done = 0
    for number, row in enumerate(rows.take(wanted)):
        monitor.report(number / wanted, f"Fetching pictures ({number} of at most {wanted})")
        found = row[picture] or {}
        data = found.get("bytes") or _read(found.get("path"))
        if not data:
            continue
        place = folder / _class_folder(row.get(label) if label else None, names)
        place.mkdir(parents=True, exist_ok=True)
        suffix = Path(found.get("path") or "").suffix[:LONGEST]
        (place / f"{number:05d}{suffix if suffix.isascii() else ''}").write_bytes(data)
        done += 1
    return done


def _read(path: str | None) -> bytes:
    """Of a set that is a folder of files; nothing where a row has no picture."""
    import fsspec

    if not path:
        return b""
    with fsspec.open(path, "rb") as file:
        return file.read()


def _columns(stream: Any) -> tuple[str, str | None, list[str] | None]:
    """(the pictures, the labels if there are any, the classes' names if labels are numbers)."""
    from datasets import ClassLabel, Image

    features = stream.features or {}
    picture = next((name for name, kind in features.items() if isinstance(kind, Image)), None)
    if picture is None:
        raise VitqError(f"it has no column of pictures, only {', '.join(features) or 'unknown ones'}")
    label = next((name for name, kind in features.items() if isinstance(kind, ClassLabel)), None)
    if label is not None:
        return picture, label, features[label].names
    return picture, next((name for name in ("label", "labels", "class") if name in features), None), None


def _class_folder(label: Any, names: list[str] | None) -> str:
    """Empty for a picture of no class, and for -1, by which hidden labels are written."""
    if isinstance(label, bool) or not isinstance(label, (int, str)) or label in (-1, ""):
        return ""
    known = names is not None and isinstance(label, int) and label < len(names)
    said = names[label] if known else str(label)
    return re.sub(r"[/\\\0\n\r]+", "-", said).strip(". ")[:LONGEST]


@contextmanager
def _in_words(repo: str) -> Iterator[None]:
    """Whatever the library raises about the data set, as a sentence."""
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except (Cancelled, StorageError):
        raise
    except VitqError as error:
        raise VitqError(f"{repo} cannot be used: {error}") from error
    except GatedRepoError as error:
        raise _gated(repo) from error
    except RevisionNotFoundError as error:
        raise VitqError(f"the data set {repo} has no such revision") from error
    except RepositoryNotFoundError as error:
        raise VitqError(
            f"there is no data set {repo} on the Hugging Face hub, or it is private; is its name right?"
        ) from error
    except OfflineModeIsEnabled as error:
        raise VitqError(f"{repo} is not here yet, and the Hugging Face hub may not be asked") from error
    except Exception as error:  # of the network, of file formats, of many libraries below
        if "gated dataset" in str(error):  # the library has no class of its own for it
            raise _gated(repo) from error
        raise VitqError(f"{repo} cannot be fetched: {brief(error)}") from error


def _gated(repo: str) -> VitqError:
    return VitqError(f"{repo} asks for its terms to be accepted on the Hugging Face hub first")
