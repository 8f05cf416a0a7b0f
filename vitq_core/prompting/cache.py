"""Embeddings of pictures, kept as long as they fit: the encoder takes nearly all of an answer's time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import Lock

from torch import Tensor

from ..common.checks import check_count

MOST = 256 * 2**20  # bytes: 64 embeddings of a published Segment Anything

Key = tuple[Hashable, Hashable]


class EmbeddingCache:
    """Keeps at most ``most`` bytes of tensors; what was used longest ago goes first. Threads may share it.

    A key is (which model, which picture). What identifies a model is the caller's to say, and must change
    with its weights and its bits. ``encodings`` counts how often an embedding was made. An embedding is never
    changed, so it may serve everybody who brings the same pixels.
    """

    def __init__(self, most: int = MOST) -> None:
        check_count("most", most)
        self.most = most
        self.encodings = 0
        self._kept: OrderedDict[Key, Tensor] = OrderedDict()
        self._bytes = 0
        self._turns: dict[Key, tuple[Lock, int]] = {}  # a lock, and how many hold it or wait for it
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Of all that is kept."""
        return self._bytes

    def get_or_make(self, model: Hashable, picture: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The kept embedding, or ``make()``'s, which is then kept unless it alone is too large.

        Who asks for the same one meanwhile waits for it. Where ``make`` raises, nothing is kept and the next
        who asks makes it.
        """
        key = (model, picture)
        with self._turn(key):
            embedding = self._find(key)
            if embedding is None:
                embedding = make()
                self._keep(key, embedding)
        return embedding

    def forget(self, model: Hashable) -> None:
        """Let everything of ``model`` go."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == model]:
                self._bytes -= self._kept.pop(key).nbytes

    def _find(self, key: Key) -> Tensor | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: Key, embedding: Tensor) -> None:
        with self._lock:
            self.encodings += 1
            if embedding.nbytes > self.most:
                return
            self._kept[key] = embedding
            self._bytes += embedding.nbytes
            while self._bytes > self.most:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes

    @contextmanager
    def _turn(self, key: Key) -> Iterator[None]:
        """One thread a key inside."""
        with self._lock:
            turn, users = self._turns.get(key, (Lock(), 0))
            self._turns[key] = (turn, users + 1)
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, users = self._turns.pop(key)
                if users > 1:
                    self._turns[key] = (turn, users - 1)
