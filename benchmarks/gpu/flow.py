"""Optical flow on the device: TV-L1's kernels, TV-L1 and RAFT beside the CPU, and extraction."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.target import Target, run_command
from benchmarks.gpu.videos import project_folder, synthetic_clip, video_set
from flow_extract.methods import tvl1_torch
from flow_extract.methods.raft import network_flow
from flow_extract.methods.tvl1 import make_tvl1
from flow_extract.methods.tvl1_parameters import Parameters
from flow_extract.methods.tvl1_torch import tvl1_on_device
from flow_extract.store.codecs import quantize
from twostream_base.vision import torchvision

BOUND = 20.0
ITERATIONS = 10  # between two stop tests of TV-L1 on a device


def tvl1_kernels(target: Target) -> Iterator[dict[str, Any]]:
    """Where TV-L1's time goes on one level of 240 x 320: as it is, as a CUDA graph, compiled.

    The median is compared with a slower exact one, the 13th of 25 sorted values.
    """
    height, width = (240, 320) if target.is_gpu else (48, 64)
    for pairs in (16, 128) if target.is_gpu else (2,):
        torch.manual_seed(0)
        u = torch.randn(pairs, 2, height, width, device=target.device)
        ten = ten_iterations(u)
        figures: dict[str, Any] = {
            "pairs": pairs,
            "ms_eager": target.milliseconds(ten),
            "ms_median": target.milliseconds(lambda u=u: tvl1_torch._median(u, 5)),
        }
        if target.is_gpu:
            figures["ms_graph"] = target.milliseconds(as_cuda_graph(ten))
            try:
                start = time.perf_counter()
                compiled = ten_iterations(u, compile_step=True)
                compiled()
                target.synchronize()
                figures["compile_s"] = time.perf_counter() - start
                figures["ms_compiled"] = target.milliseconds(compiled)
            except Exception as error:  # whatever the compiler lacks, the other figures stand
                figures["compiling_fails"] = str(error)[:120]
        same = pairs > 16 or torch.equal(median_by_sorting(u), tvl1_torch._median(u, 5))
        yield {"ok": same, **figures, "peak_gib": target.peak_gib()}


def ten_iterations(u: Tensor, *, compile_step: bool = False) -> Callable[[], Any]:
    """What runs ten of TV-L1's iterations from the flow u (N, 2, H, W), on random derivatives."""
    dual = u.new_zeros(len(u), 2, *u.shape[1:])
    gradient, constant = torch.randn_like(u) * 10, torch.randn_like(u[:, :1]) * 50
    inverse = 1 / gradient.square().sum(dim=1, keepdim=True)
    limit, theta, ratio = 0.045, 0.3, 0.25 / 0.3

    def iteration(u: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        residual = constant + (gradient * u).sum(dim=1, keepdim=True)
        step = (-residual * inverse).clamp(-limit, limit)
        u = u + step * gradient + theta * tvl1_torch._divergence(p)
        slope = tvl1_torch._forward_differences(u)
        norm = slope.square().sum(dim=2, keepdim=True).sqrt()
        return u, (p + ratio * slope) / (1 + ratio * norm)

    one = torch.compile(iteration) if compile_step else iteration

    def ten() -> tuple[Tensor, Tensor]:
        flow, p = u, dual
        for _ in range(ITERATIONS):
            flow, p = one(flow, p)
        return flow, p

    return ten


def as_cuda_graph(work: Callable[[], Any]) -> Callable[[], None]:
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def median_by_sorting(u: Tensor) -> Tensor:
    """Median of 5 x 5 pixels, the border repeated."""
    padded = torch.nn.functional.pad(u, (2, 2, 2, 2), mode="replicate")
    windows = padded.unfold(2, 5, 1).unfold(3, 5, 1).reshape(*u.shape, 25)
    return windows.sort(dim=-1).values[..., 12]


def tvl1(target: Target) -> Iterator[dict[str, Any]]:
    """TV-L1 on the device: near the CPU's? The same twice? Pairs per second by the batch."""
    frames = synthetic_clip(17) if target.is_gpu else synthetic_clip(3, size=(60, 80))
    on_cpu = make_tvl1()
    on_cpu(frames[:2])  # numba compiles
    start = time.perf_counter()
    expected = on_cpu(frames)
    cpu_pairs_s = len(expected) / (time.perf_counter() - start)
    on_device = tvl1_on_device(Parameters(), device=str(target.device))
    flow = on_device(frames)
    difference = np.abs(flow - expected)
    same_values = np.mean(quantize(flow, bound=BOUND) == quantize(expected, bound=BOUND))
    yield {
        "ok": difference.mean() < 0.02 and same_values > 0.9,
        "mean_px": float(difference.mean()),
        "p99_px": float(np.quantile(difference, 0.99)),
        "same_values": float(same_values),
        "same_twice": bool(np.array_equal(on_device(frames), flow)),
        "cpu_one_thread_pairs_s": cpu_pairs_s,
    }
    # extract-flow gives a method 16 pairs at a time.
    clip = synthetic_clip(129, seed=1) if target.is_gpu else frames
    for batch in (16, 32, 128) if target.is_gpu else (2,):
        method = tvl1_on_device(Parameters(), device=str(target.device), batch=batch)
        part = clip[: batch + 1]
        yield {
            "batch": batch,
            "pairs_s": target.rate(lambda m=method, p=part: m(p), len(part) - 1, seconds=2),
            "peak_gib": target.peak_gib(),
        }


def raft(target: Target) -> Iterator[dict[str, Any]]:
    """RAFT of random weights: near the CPU's? Pairs per second by batch and precision."""
    models = torchvision.models.optical_flow
    network = (models.raft_large if target.is_gpu else models.raft_small)(weights=None)
    size, updates = ((240, 320), 12) if target.is_gpu else ((128, 128), 1)
    frames = synthetic_clip(2, size=size)
    expected = network_flow(network, updates=2, batch=1, device="cpu")(frames)
    flow = network_flow(network, updates=2, batch=1, device=str(target.device))(frames)
    difference = float(np.abs(flow - expected).mean())
    yield {"ok": difference < 0.05 * (1 + np.abs(expected).mean()), "mean_px": difference}
    clip = synthetic_clip(17 if target.is_gpu else 3, size=size)
    for batch, bf16 in ((4, False), (16, False), (16, True)) if target.is_gpu else ((4, False),):
        method = network_flow(network, updates=updates, batch=batch, device=str(target.device))
        with torch.autocast(target.device.type, torch.bfloat16, enabled=bf16):
            rate = target.rate(lambda m=method: m(clip), len(clip) - 1, seconds=1.5)
        yield {"batch": batch, "bf16": bf16, "pairs_s": rate, "peak_gib": target.peak_gib()}


def extraction(target: Target) -> Iterator[dict[str, Any]]:
    """From video to store file by TV-L1, decoding and encoding included: CPU, and jobs on the GPU.

    Each job is a process with a CUDA context of its own: hence the memory of the whole card.
    """
    source = target.folder / "extraction"
    source.mkdir()
    paths = sorted((project_folder(target) / "videos").rglob("*.avi"))
    chosen = paths[:: video_set(target).videos_per_class // 2 if target.is_gpu else len(paths)]
    for path in chosen:
        (source / path.name).write_bytes(path.read_bytes())
    frames = len(chosen) * video_set(target).frames
    runs = [("cpu", os.cpu_count() or 1)]
    if target.is_gpu:
        runs += [(str(target.device), jobs) for jobs in (1, 4, 8)]
    options = (
        ["--method", "tvl1", "--short-side", 60] if not target.is_gpu else ["--method", "tvl1"]
    )
    for device, jobs in runs:
        store = target.folder / f"store-{device}-{jobs}"
        with GpuMemoryWatch(target) as memory:
            _, seconds = run_command(
                *("extract-flow", "--videos", source, "--store", store, *options),
                *("--device", device, "--jobs", jobs, "--quiet"),
                cwd=project_folder(target),
            )
        yield {
            "device": device,
            "jobs": jobs,
            "videos": len(chosen),
            "frames_s": frames / seconds,
            "card_gib": memory.most_mib / 1024,
        }


class GpuMemoryWatch:
    """Most memory of the card that was in use, by whatever process, while the block lasted."""

    def __init__(self, target: Target) -> None:
        self.is_gpu, self.most_mib = target.is_gpu, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> GpuMemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while self.is_gpu and not self._done.wait(0.3):
            output = subprocess.run(query, capture_output=True, text=True, check=True).stdout
            self.most_mib = max(self.most_mib, int(output.split()[0]))
