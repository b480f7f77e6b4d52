"""How long a training will take: a few steps on noise, timed on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from twostream.compute.device import autocast
from twostream.data.protocols import find_protocol
from twostream.training.learner import Learner
from twostream.training.loop import accumulate_gradient
from twostream.training.options import TrainOptions

# Snippets of a step that is timed; more would hardly be faster for each.
TIMED_SNIPPETS = 8
TIMED_STEPS = 2


def estimate_training(
    options: TrainOptions, *, num_classes: int, train: int, test: int
) -> dict[str, float]:
    """Seconds of a training to its last epoch, of its validation and of the score files.

    Loading is not in it: it runs beside the network, and is quicker, but for small networks.

    Args:
        train: videos to learn from, among them those held out. test: videos.

    Returns:
        seconds, and what they come from: seconds_per_training_snippet, seconds_per_test_snippet.
    """
    learner = Learner(
        replace(options, weights="none", compiled=False, ema=0.0),
        num_classes=num_classes,
        weights="none",
        tell=lambda text: None,
    )
    modality, side, device = options.modality, options.input_size, learner.device
    segments = 1 if options.train_segment else options.num_segments
    count = max(2, min(options.batch_size, TIMED_SNIPPETS // segments))
    shape = (count, segments, modality.snippet_length, modality.channels, side, side)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8)

    def step() -> Any:
        losses, _ = accumulate_gradient(
            learner.network,
            clips,
            torch.zeros(count, dtype=torch.int64),
            consensus=learner.consensus,
            device=device,
            precision=options.precision,
            scaler=learner.scaler,
        )
        learner.optimizer.step()
        return losses.tolist()  # which waits for a GPU

    def test_step() -> Any:
        with torch.inference_mode(), autocast(device, options.precision):
            return learner.network(clips.to(device)).float().sum().item()

    training = _seconds(step) / (count * segments)
    learner.network.eval()
    testing = _seconds(test_step) / (count * segments)
    held_out = round(options.val_fraction * train) if options.select == "val" else test

    def snippets(protocol: str) -> int:
        rule = find_protocol(protocol)
        return rule.num_snippets * rule.num_crops

    learned = train - (held_out if options.select == "val" else 0)
    epoch = learned * segments * training
    epoch += held_out * snippets(options.val_protocol) * testing / options.val_every
    scored = (held_out + test) if options.select == "val" else test
    return {
        "seconds": options.epochs * epoch + scored * snippets(options.protocol) * testing,
        "seconds_per_training_snippet": training,
        "seconds_per_test_snippet": testing,
    }


def _seconds(step: Callable[[], Any]) -> float:
    """Of one step, the first one aside."""
    step()
    start = time.perf_counter()
    for _ in range(TIMED_STEPS):
        step()
    return (time.perf_counter() - start) / TIMED_STEPS
