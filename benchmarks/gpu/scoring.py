"""Scoring on the device: precisions, what bounds it, and the compiled network."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.networks import build
from benchmarks.gpu.target import Target
from benchmarks.gpu.videos import stored_videos
from twostream.compute.device import Runtime, compile_network
from twostream.data.protocols import PROTOCOLS
from twostream.scoring import logits
from twostream.scoring.logits import compute_logits


class Nothing(nn.Module):
    """A network that takes no time: its scoring is loading, copying and cutting."""

    classifier = nn.Identity()

    def features(self, clips: Tensor) -> Tensor:
        return torch.zeros(*clips.shape[:2], 1, device=clips.device)


def scoring(target: Target) -> Iterator[dict[str, Any]]:
    """Videos per second under 25 snippets x 10 crops, and how far logits are from float32's.

    `difference` is the largest one, relative to the largest logit. `cut on the CPU` is what the
    device does elsewhere; its logits must be the same. `loading alone` has no network.
    """
    videos = stored_videos(target)[: 64 if target.is_gpu else 2]
    protocol = PROTOCOLS["tsn25x10" if target.is_gpu else "segments3"]
    network, modality = build("resnet18", "motion", target)

    def score(tested: Any, precision: str) -> tuple[np.ndarray, dict[str, Any]]:
        runtime = Runtime(target.device, precision, os.cpu_count() or 1, views_per_forward=250)
        size = 224 if target.is_gpu else 32
        options: dict[str, Any] = {"modality": modality, "protocol": protocol, "size": size}
        start = time.perf_counter()
        compute_logits(tested, videos[:1], runtime, **options)  # warms up, and compiles
        first = time.perf_counter() - start
        start = time.perf_counter()
        result = compute_logits(tested, videos, runtime, **options)
        rate = len(videos) / (time.perf_counter() - start)
        return result, {"first_video_s": first, "videos_s": rate, "peak_gib": target.peak_gib()}

    def difference(result: np.ndarray, exact: np.ndarray) -> float:
        return float(np.abs(result - exact).max() / np.abs(exact).max())

    exact, figures = score(network, "fp32")
    yield {"how": "fp32", **figures}
    bf16, figures = score(network, "bf16")
    off = difference(bf16, exact)
    yield {"ok": off < 0.1, "how": "bf16", **figures, "difference": off}
    yield {"how": "loading alone", **score(Nothing(), "fp32")[1]}
    with mock.patch.object(logits, "find_cuts", return_value=None):
        result, figures = score(network, "bf16")
    same = bool(np.array_equal(result, bf16))
    yield {"ok": same, "how": "bf16, cut on the CPU", **figures}
    if target.is_gpu:
        result, figures = score(compile_network(network), "bf16")
        off = difference(result, exact)
        yield {"ok": off < 0.1, "how": "bf16, compiled", **figures, "difference": off}
