"""When memory is short: the same batch again, in smaller parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

Result = TypeVar("Result")

# The CPU's allocator and older devices raise a plain RuntimeError.
SIGNS = ("can't allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a device's or the CPU allocator's way to say that memory is short."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


def in_parts_that_fit(
    attempt: Callable[[int], Result], *, parts: int, most: int, undo: Callable[[], None]
) -> tuple[Result, int]:
    """Call `attempt(parts)`; while memory is short, undo it and double the parts, up to `most`.

    Returns:
        What the attempt gave, and the number of parts in which it succeeded.
    """
    while True:
        try:
            return attempt(parts), parts
        except RuntimeError as error:
            if parts >= most or not is_out_of_memory(error):
                raise
        # Only here, with the error and the tensors in its traceback gone, can memory come free.
        undo()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        parts = min(2 * parts, most)


def remember(network: nn.Module, device: torch.device) -> Callable[[], None]:
    """Return what puts back all that a forward pass may change: buffers and random states.

    The buffers are batch normalisation's statistics; the random states decide dropout. Gradients
    are not kept: an attempt begins by clearing them.
    """
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    cpu = torch.get_rng_state()
    own = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)

    def undo() -> None:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        torch.set_rng_state(cpu)
        if own is not None:
            torch.get_device_module(device).set_rng_state(own, device)

    return undo
