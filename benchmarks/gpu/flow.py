"""Optical flow on the device: TV-L1's kernels, TV-L1 and RAFT beside the CPU, and extraction."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.target import Target, run_command
from benchmarks.gpu.videos import synthetic_clip
from flow_extract.methods import tvl1_torch, tvl1_triton
from flow_extract.methods.median_network import NETWORKS, median
from flow_extract.methods.raft import network_flow
from flow_extract.methods.tvl1 import make_tvl1
from flow_extract.methods.tvl1_parameters import FLAT, Parameters
from flow_extract.methods.tvl1_torch import tvl1_on_device
from flow_extract.store.codecs import quantize
from twostream_base.vision import torchvision

BOUND = 20.0
LIMIT, THETA, RATIO = 0.045, 0.3, 0.25 / 0.3
# Rows and columns of pixels of a program, and its warps.
TILES = ((8, 64, 4), (4, 64, 4), (4, 32, 4), (16, 64, 8))


def tvl1_kernels(target: Target) -> Iterator[dict[str, Any]]:
    """TV-L1's kernels: are they the tensor form's equals, and where does the time go, by tile?

    `gb_s`: 15 floats of each pixel are read or written by an iteration, if each only once.
    """
    if not target.is_gpu or tvl1_triton.triton is None:
        u = torch.randn(2, 2, 20, 30)
        yield {"ok": torch.equal(median_by_sorting(u), median(u, 5)), "kernels": "none"}
        return
    frames = synthetic_clip(9, size=(120, 160))
    parameters = Parameters(warps=2)
    grey = tvl1_torch._grey(torch.from_numpy(frames).to(target.device))
    forms = (tvl1_torch.solve_level, tvl1_triton.solve_level)
    expected, flow = (tvl1_torch._coarse_to_fine(grey, parameters, form) for form in forms)
    difference = (flow - expected).abs()
    alone = tvl1_torch._coarse_to_fine(grey[3:5], parameters, forms[1])
    u = torch.randint(0, 99, (3, 2, 240, 320), device=target.device).float()
    same_alone = torch.equal(alone[0], flow[3])
    same_medians = all(
        torch.equal(median_by_sorting(u, side), run_median(u, side)()) for side in (3, 5)
    )
    yield {
        "ok": bool(difference.mean() < 1e-3) and same_alone and same_medians,
        "mean_px": difference.mean().item(),
        "most_px": difference.max().item(),
        "same_alone": same_alone,
        "same_medians": same_medians,
    }
    for pairs in (16, 128):
        u = torch.randn(pairs, 2, 240, 320, device=target.device)
        ten = ten_iterations(u)
        ms = target.milliseconds(ten, seconds=0.5)
        yield {
            "pairs": pairs,
            "ms_ten_iterations": ms,
            "gb_s": 10 * u[:, 0].numel() * 15 * 4 / ms / 1e6,
            "ms_frozen": target.milliseconds(ten_iterations(u, active=0), seconds=0.3),
            "ms_median": target.milliseconds(run_median(u, 5), seconds=0.3),
            "ms_warp": target.milliseconds(run_warp(u), seconds=0.3),
        }
    # What takes longest to compile comes last: the step may be out of time.
    for name, work in (
        ("ten_iterations", ten_iterations),
        ("median", run_filter),
        ("warp", run_warp),
    ):
        for rows, columns, warps in TILES:
            tile = {"rows": rows, "columns": columns, "num_warps": warps}
            ms = target.milliseconds(work(u, **tile), seconds=0.2)
            yield {"tile": [rows, columns, warps], "pairs": 128, f"ms_{name}": ms}


def run_filter(u: Tensor, **tile: int) -> Callable[[], Tensor]:
    """What filters the flow by the median of 5 x 5 pixels."""
    return run_median(u, 5, **tile)


def ten_iterations(u: Tensor, *, active: int = 1, **tile: int) -> Callable[[], None]:
    """What runs ten of TV-L1's iterations from the flow u (N, 2, H, W), on random derivatives."""
    tile = tile or default_tile()
    pairs, _, height, width = u.shape
    flows, duals = [u, u.clone()], [u.new_zeros(pairs, 2, *u.shape[1:]) for _ in range(2)]
    gradient, constant = torch.randn_like(u) * 10, torch.randn_like(u[:, 0]) * 50
    flags = torch.full((pairs,), active, dtype=torch.int32, device=u.device)
    tiles = -(-height // tile["rows"]) * -(-width // tile["columns"])

    changes = u.new_empty(pairs, tiles)

    def ten() -> None:
        for _ in range(10):
            tvl1_triton.iterate[tiles, pairs](
                *(flows[0], duals[0], flows[1], duals[1], gradient, constant, flags),
                *(changes, height, width, LIMIT, THETA, RATIO), test=False, flat=FLAT, **tile,
            )  # fmt: skip
            flows.reverse()
            duals.reverse()

    return ten


def run_median(u: Tensor, side: int, **tile: int) -> Callable[[], Tensor]:
    """What filters the flow u (N, 2, H, W) by the kernel."""
    tile = tile or default_tile()
    pairs, _, height, width = u.shape
    filtered, flags = torch.empty_like(u), torch.ones(pairs, dtype=torch.int32, device=u.device)
    tiles = -(-height // tile["rows"]) * -(-width // tile["columns"])

    def run() -> Tensor:
        tvl1_triton.median[tiles, pairs, 2](
            *(u, filtered, flags, height, width), side=side, network=NETWORKS[side], **tile
        )
        return filtered

    return run


def run_warp(u: Tensor, **tile: int) -> Callable[[], object]:
    """What looks random pictures up at x + u."""
    tile = tile or default_tile()
    pairs, _, height, width = u.shape
    pictures = torch.randn(pairs, 3, height, width, device=u.device)
    gradient, constant = torch.empty_like(u), torch.empty_like(u[:, 0])
    tiles = -(-height // tile["rows"]) * -(-width // tile["columns"])
    return lambda: tvl1_triton.linearise[tiles, pairs](
        *(constant, pictures, u, gradient, constant, height, width), a=tvl1_triton.CUBIC, **tile
    )


def default_tile() -> dict[str, int]:
    """The tile that TV-L1 uses."""
    rows, columns, warps = tvl1_triton.ROWS, tvl1_triton.COLUMNS, tvl1_triton.WARPS
    return {"rows": rows, "columns": columns, "num_warps": warps}


def median_by_sorting(u: Tensor, side: int = 5) -> Tensor:
    """Median of side x side pixels, the border repeated."""
    padded = torch.nn.functional.pad(u, (side // 2,) * 4, mode="replicate")
    windows = padded.unfold(2, side, 1).unfold(3, side, 1).reshape(*u.shape, side**2)
    return windows.sort(dim=-1).values[..., side**2 // 2]


def tvl1(target: Target) -> Iterator[dict[str, Any]]:
    """TV-L1 on the device: near the CPU's? The same twice? Pairs per second by the batch."""
    frames = synthetic_clip(7) if target.is_gpu else synthetic_clip(3, size=(60, 80))
    on_cpu = make_tvl1()
    on_cpu(frames[:2, :48, :64])  # numba compiles
    start = time.perf_counter()
    expected = on_cpu(frames)
    cpu_pairs_s = len(expected) / (time.perf_counter() - start)
    start = time.perf_counter()
    on_device = tvl1_on_device(Parameters(), device=str(target.device))
    flow = on_device(frames)
    first_seconds = time.perf_counter() - start
    difference = np.abs(flow - expected)
    same_values = np.mean(quantize(flow, bound=BOUND) == quantize(expected, bound=BOUND))
    same_twice = bool(np.array_equal(on_device(frames), flow))
    same_alone = bool(np.array_equal(on_device(frames[1:3]), flow[1:2]))
    yield {
        "ok": difference.mean() < 0.02 and same_values > 0.9 and same_twice and same_alone,
        "mean_px": float(difference.mean()),
        "p99_px": float(np.quantile(difference, 0.99)),
        "same_values": float(same_values),
        "same_twice": same_twice,
        "same_alone": same_alone,
        "cpu_one_thread_pairs_s": cpu_pairs_s,
        "first_call_s": first_seconds,
    }
    if not target.is_gpu:
        return
    part = synthetic_clip(33, seed=1)
    clip = np.concatenate([part, part[-2::-1]] * 4)[:257]  # to and fro
    for batch in (16, 32, 64, 128, 256):
        method = tvl1_on_device(Parameters(), device=str(target.device), batch=batch)
        pairs = clip[: max(batch, 64) + 1]
        yield {
            "batch": batch,
            "pairs_s": target.rate(lambda m=method, p=pairs: m(p), len(pairs) - 1, seconds=2),
            "peak_gib": target.peak_gib(),
        }
    # The same without copies from and to the CPU.
    grey = tvl1_torch._grey(torch.from_numpy(clip[:129]).to(target.device))
    solve = tvl1_torch.level_solver(target.device)
    rate = target.rate(
        lambda: tvl1_torch._coarse_to_fine(grey, Parameters(), solve), 128, seconds=2
    )
    yield {"batch": 128, "what": "on the device alone", "pairs_s": rate}
    for height, width in ((720, 1280), (1080, 1920)):
        clip = synthetic_clip(6, size=(height, width), seed=2)
        rate = target.rate(lambda c=clip: on_device(c), len(clip) - 1, seconds=1)
        yield {"size": [height, width], "pairs_s": rate, "peak_gib": target.peak_gib()}


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

    Each job is a process with a CUDA context of its own: hence the memory of the whole card. Two
    numbers of videos tell the rate apart from the seconds that a start takes.
    """
    length, size = (128, (240, 320)) if target.is_gpu else (5, (48, 64))
    originals = target.folder / "extraction" / "originals"
    originals.mkdir(parents=True)
    for number in range(4):
        writer = cv2.VideoWriter(
            str(originals / f"{number}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, size[::-1]
        )
        half = synthetic_clip(length // 2 + 1, size=size, seed=number)
        for frame in (*half, *half[-2::-1]):  # to and fro
            writer.write(frame[..., ::-1].copy())
        writer.release()
    device = str(target.device)
    on_cpu = ("cpu", os.cpu_count() or 1, 8 if target.is_gpu else 2)
    on_gpu = [(device, 4, 8), (device, 4, 56), (device, 8, 56)]
    runs = [*on_gpu, on_cpu, (device, 2, 56)] if target.is_gpu else [on_cpu]
    for where, jobs, count in runs:
        source = target.folder / "extraction" / f"{where}-{jobs}-{count}"
        source.mkdir()
        for number in range(count):
            content = (originals / f"{number % 4}.avi").read_bytes()
            (source / f"{number:03}.avi").write_bytes(content)
        with GpuMemoryWatch(target) as memory:
            _, seconds = run_command(
                *(
                    "extract-flow",
                    "--videos",
                    source,
                    "--store",
                    source.with_name(f"to-{source.name}"),
                ),
                *("--method", "tvl1", "--device", where, "--jobs", jobs, "--quiet"),
                cwd=target.folder,
            )
        frames = count * (2 * (length // 2) + 1)
        yield {
            "device": where,
            "jobs": jobs,
            "videos": count,
            "seconds": seconds,
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
