"""Heartbeats: long work reports that it goes on, to the process that kills hanging jobs."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL = 0.1  # seconds between two that are sent
_send: Callable[[], None] | None = None
_next = 0.0


def send_by(send: Callable[[], None]) -> None:
    """From now on, have `send` called by `beat` in this process; any thread may be the one."""
    global _send
    _send = send


def beat() -> None:
    """Say that there is progress: a frame was decoded, a pair computed. Free where nobody asks."""
    global _next
    if _send and (now := time.monotonic()) >= _next:
        _next = now + INTERVAL
        _send()
