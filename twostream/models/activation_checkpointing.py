"""Activation checkpointing: less memory in training, for a second forward pass of each block.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import MethodType
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from twostream_base.errors import InputError


def checkpoint_activations(network: nn.Module) -> int:
    """Keep of each block's forward pass only its input, and repeat it for the gradient.

    Weights, gradients, batch statistics and random numbers stay what they were. Evaluation does
    not change.

    Returns:
        how many blocks there are.

    Raises:
        InputError: there are none.
    """
    blocks = list(_blocks(network))
    if not blocks:
        raise InputError("--recompute needs a network made of blocks, such as a ResNet")
    for block in blocks:
        # A method, not a closure: the running average of a network is a copy with its own blocks.
        block.forward = MethodType(_checkpointed_forward, block)
    return len(blocks)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost elements of sequences that hold at least two layers with weights."""
    for child in module.children():
        layers = [m for m in child.modules() if isinstance(m, nn.Conv2d | nn.Conv3d | nn.Linear)]
        if isinstance(module, nn.Sequential) and len(layers) > 1:
            yield child
        else:
            yield from _blocks(child)


def _checkpointed_forward(block: nn.Module, *inputs: Any) -> Any:
    forward = partial(type(block).forward, block)
    if not block.training:
        return forward(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_untouched(block)

    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_untouched(block: nn.Module) -> Iterator[None]:
    """In the second pass a batch must not be counted again: running means move by nothing."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            # A copy is counted on: torch.nn.SyncBatchNorm insists on a counter.
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counted
