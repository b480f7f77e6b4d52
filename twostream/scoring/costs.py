"""What a network costs for one video: multiply-adds, flow pairs, milliseconds on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from flow_extract.extraction.settings import recorded_method
from flow_extract.synthetic import smooth_texture, translation, warp
from twostream.compute.device import autocast
from twostream.models.checkpoint import NetworkSpec, load_network
from twostream.models.probe import count_multiply_adds
from twostream_base import plugins
from twostream_base.errors import InputError

TIMED_VIEWS, TIMED_PAIRS, TURNS = 4, 8, 3
USUAL_SIDE = 240  # of stored frames, where their size is not known


class Cost(NamedTuple):
    """What one video costs.

    Attributes:
        multiply_adds: of all views, in convolutions, matrix products and attention.
        flow_pairs: frame pairs whose flow is seen, at most; 0 without flow.
        milliseconds: of flow and network on this machine; decoding is not in it.
    """

    multiply_adds: int
    flow_pairs: int
    milliseconds: float


def cost_of_all(costs: Sequence[Cost]) -> Cost:
    """The cost of networks whose scores are then fused."""
    return Cost(*map(sum, zip(*costs, strict=True)))


def cost_of_run(
    run: Path,
    protocol: dict[str, Any],
    *,
    device: torch.device,
    precision: str,
    trust_plugins: plugins.Trust = False,
) -> Cost:
    """The cost of a video under the protocol of a score file, by the best epoch of a run.

    Flow is timed on moving texture of the height of the stored frames, by the method of the run.

    Args:
        protocol: its card, as the file has it.

    Raises:
        InputError: there are no weights, they cannot be used, or do not tell the flow method.
    """
    spec, network = load_network(run / "best", trust_plugins=trust_plugins)
    side = protocol["side"]
    network.eval().to_device(device)
    views = protocol["snippets"] * protocol["crops"]
    shape = (TIMED_VIEWS, 1, *spec.modality.snippet_shape(side))
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    seconds = []
    with torch.inference_mode(), autocast(device, precision):
        for _ in range(1 + TURNS):
            start = time.perf_counter()
            network(clips).float().sum().item()  # which waits for a GPU
            seconds.append(time.perf_counter() - start)
    network_ms = 1000 * median(seconds[1:]) / TIMED_VIEWS * views
    pairs = protocol["snippets"] * protocol["snippet_length"] * spec.modality.sees_flow
    flow_ms = 1000 * pairs * flow_seconds(spec, run) if pairs else 0.0
    multiply_adds = views * count_multiply_adds(network, side=side)
    return Cost(multiply_adds, pairs, network_ms + flow_ms)


def flow_seconds(spec: NetworkSpec, run: Path) -> float:
    """Seconds of the flow of a frame pair, by the method whose flow a network has seen.

    Raises:
        InputError: the method is not known.
    """
    if not spec.flow.get("method"):
        raise InputError(f"{run}: its weights do not tell the flow method, so neither its time")
    height = spec.extraction.get("short_side") or USUAL_SIDE
    return _time_flow(json.dumps(spec.flow, sort_keys=True), height)


@cache  # the flow of two networks takes the same time
def _time_flow(flow: str, height: int) -> float:
    compute = recorded_method(json.loads(flow), None)
    assert compute
    texture = smooth_texture((height, height * 4 // 3), rng=np.random.default_rng(0))
    frames = np.stack([warp(texture, translation(t, 0)) for t in range(TIMED_PAIRS + 1)])
    grey = np.repeat((255 * frames.clip(0, 1)).astype(np.uint8)[..., None], 3, axis=-1)
    compute(grey[:2])
    start = time.perf_counter()
    compute(grey)
    return (time.perf_counter() - start) / TIMED_PAIRS
