"""The pictures of one video for several threads, each decoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from threading import Lock

from flow_extract.store import StoreEntry
from twostream.transforms.clips import Clip

# Neighbouring snippets share pictures, so only the latest are kept.
KEPT_BYTES = 16 << 20
KEPT_AT_LEAST = 32


class SharedPictures:
    """Called like `StoreEntry.pictures`, from any thread; keeps the latest 16 MiB of pictures.

    Args:
        key: `rgb` or `flow`.
    """

    def __init__(self, entry: StoreEntry, key: str) -> None:
        self._entry, self._key = entry, key
        height, width = entry.size
        self._most = max(KEPT_AT_LEAST, KEPT_BYTES // (3 * height * width))
        self._lock = Lock()
        self._kept: dict[int, Future[Clip]] = {}

    def __call__(self, indices: Sequence[int]) -> Iterator[Clip]:
        """Yield the pictures at `indices`, which must differ, and must not be written to."""
        with self._lock:
            own: dict[int, Future[Clip]] = {i: Future() for i in indices if i not in self._kept}
            self._kept |= own
            wanted = [self._kept[index] for index in indices]
            for oldest in list(self._kept)[: -self._most]:
                del self._kept[oldest]
        self._decode(own)
        for picture in wanted:
            yield picture.result()

    def _decode(self, own: dict[int, Future[Clip]]) -> None:
        """Fulfil what this call has promised; the others wait for it."""
        try:
            pictures = self._entry.pictures(self._key, list(own))
            for promise, picture in zip(own.values(), pictures, strict=True):
                promise.set_result(picture)
        except BaseException as error:
            for promise in own.values():
                if not promise.done():
                    promise.set_exception(error)
            raise
