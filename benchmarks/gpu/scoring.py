"""Scoring on the device: bfloat16 and compiled networks beside float32."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.gpu.networks import build
from benchmarks.gpu.target import Target
from benchmarks.gpu.videos import stored_videos
from twostream.compute.device import Runtime, compile_for_eval
from twostream.data.protocols import PROTOCOLS
from twostream.data.stored import StoredVideo
from twostream.scoring.logits import compute_logits


def scoring(target: Target) -> Iterator[dict[str, Any]]:
    """Videos per second under 25 snippets x 10 crops, and how far logits are from float32's.

    `difference` is the largest one, relative to the largest logit. A first video, which warms up
    and compiles, is timed apart.
    """
    videos = stored_videos(target)[: 32 if target.is_gpu else 2]
    protocol = PROTOCOLS["tsn25x10" if target.is_gpu else "segments3"]
    network, modality = build("resnet18", "motion", target)
    ways = [("fp32", network, "fp32"), ("bf16", network, "bf16")]
    if target.is_gpu:
        ways.append(("bf16, compiled", compile_for_eval(network), "bf16"))
    exact = None
    for name, tested, precision in ways:

        def score(
            some: list[StoredVideo], tested: Any = tested, precision: str = precision
        ) -> np.ndarray:
            return compute_logits(
                tested,
                some,
                Runtime(target.device, precision, os.cpu_count() or 1, views_per_forward=250),
                modality=modality,
                protocol=protocol,
                size=224 if target.is_gpu else 32,
            )

        start = time.perf_counter()
        score(videos[:1])
        first = time.perf_counter() - start
        start = time.perf_counter()
        logits = score(videos)
        seconds = time.perf_counter() - start
        exact = logits if exact is None else exact
        difference = float(np.abs(logits - exact).max() / np.abs(exact).max())
        yield {
            "ok": difference < 0.1,
            "how": name,
            "first_video_s": first,
            "videos_s": len(videos) / seconds,
            "difference": difference,
            "peak_gib": target.peak_gib(),
        }
