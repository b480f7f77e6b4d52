"""Dynamic framing as one batched computation, beside the same written out as a loop.

    python benchmarks/dynamic_framing.py [DEVICE]

T = 300 frames, N = 2 videos, D = 512, forward, k = 12 and 16. The loop goes over videos, frames and
the steps of a snippet. The two take turns and must agree to 1e-4. The goal is 20 times; on a CPU it
is missed: the GRU's products with its state, the same in both, are most of the time. A loop that
calls torch's whole GRU for each frame, and the TCN, are printed for comparison.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from math import sqrt
from statistics import median

import torch
from torch import Tensor, nn

from twostream.temporal.dynamic_framing import DynamicFraming

FRAMES, VIDEOS, FEATURES = 300, 2, 512
TURNS = 3
SMALLEST_RATIO = 20
DEVICE = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu")


def main() -> None:
    torch.manual_seed(0)
    torch.set_default_device(DEVICE)
    features = torch.randn(VIDEOS, FRAMES, FEATURES)
    lengths = torch.tensor([FRAMES, FRAMES])
    gru = {k: DynamicFraming(FEATURES, k=k) for k in (12, 16)}
    ratios = [ratio(gru[k], one_gru_step_by_step(gru[k]), features, lengths) for k in gru]
    ratio(gru[12], one_gru(gru[12]), features, lengths)
    tcn = DynamicFraming(FEATURES, k=12, encoder="tcn")
    ratio(tcn, one_tcn(tcn), features, lengths)
    if min(ratios) < SMALLEST_RATIO:
        raise SystemExit(f"less than {SMALLEST_RATIO} times")


@torch.no_grad()
def ratio(
    module: DynamicFraming, encode: Callable[[Tensor], Tensor], features: Tensor, lengths: Tensor
) -> float:
    module.eval()
    pairs = []
    for _ in range(TURNS):
        ours, seconds = timed(lambda: module(features, lengths)[0])
        loop, loop_seconds = timed(lambda: in_a_loop(features, module.k, encode))
        assert torch.allclose(ours, loop, atol=1e-4)
        pairs.append((seconds, loop_seconds))
    ours_s, loop_s = (median(column) for column in zip(*pairs, strict=True))
    times = median(loop / ours for ours, loop in pairs)
    print(
        f"{encode.__qualname__.partition('.')[0]}, k = {module.k}: {ours_s:.3f} s, "
        f"loop {loop_s:.2f} s, {times:.1f} times"
    )
    return times


def in_a_loop(features: Tensor, k: int, encode: Callable[[Tensor], Tensor]) -> Tensor:
    videos = []
    for x in features:
        rows = []
        for t in range(len(x)):
            first, last = max(0, t - k + 1), min(len(x), t + k)
            scores = x[t] @ x[first:last].T / sqrt(x.shape[1])
            chosen = first + scores.topk(k).indices.sort().values
            rows.append(encode(x[chosen]) + x[t])
        videos.append(torch.stack(rows))
    return torch.stack(videos)


def one_gru_step_by_step(module: DynamicFraming) -> Callable[[Tensor], Tensor]:
    cell = nn.GRUCell(FEATURES, FEATURES)
    project, recur = module.encoder.project, module.encoder.recur
    cell.weight_ih.data, cell.bias_ih.data = project.weight, project.bias
    cell.weight_hh.data, cell.bias_hh.data = recur.weight, recur.bias

    def encode(snippet: Tensor) -> Tensor:
        state = torch.zeros(FEATURES)
        for frame in snippet:
            state = cell(frame, state)
        return state

    return encode


def one_gru(module: DynamicFraming) -> Callable[[Tensor], Tensor]:
    gru = nn.GRU(FEATURES, FEATURES)
    project, recur = module.encoder.project, module.encoder.recur
    gru.weight_ih_l0.data, gru.bias_ih_l0.data = project.weight, project.bias
    gru.weight_hh_l0.data, gru.bias_hh_l0.data = recur.weight, recur.bias
    return lambda snippet: gru(snippet[:, None])[1][0, 0]


def one_tcn(module: DynamicFraming) -> Callable[[Tensor], Tensor]:
    tcn = module.encoder.tcn
    return lambda snippet: tcn(snippet[None], torch.tensor([len(snippet)]))[0][0, -1]


def timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = time.perf_counter()
    result = work()
    result.sum().item()  # waits for the device
    return result, time.perf_counter() - start


if __name__ == "__main__":
    main()
