"""Speed of dynamic framing as one batched computation, compared with a plain loop.

    PYTHONPATH=. python benchmarks/dynamic_framing.py [DEVICE]

T = 300 frames, N = 2 videos, D = 512, forward, k = 12 and 16. The loop goes over videos, frames and
the steps of a snippet. The two take turns and must agree to 1e-4. The features are those of a
ResNet18 with random weights for two UCF101 clips. How many snippets share a prefix, and so work,
depends on them, so random features are measured too, and also a loop that calls torch's whole GRU
for each frame, and the TCN.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import islice
from math import sqrt
from statistics import median

import numpy as np
import torch
from real_pairs import DATA
from torch import Tensor, nn

from flow_extract.video.decode import read_frames
from twostream.models.temporal.dynamic_framing import DynamicFraming
from twostream_base.vision import torchvision

FRAMES, FEATURES = 300, 512
VIDEOS = DATA / "ucf101-clips" / "videos"
CLIPS = ("BoxingSpeedBag/v_BoxingSpeedBag_g09_c01.avi", "Rowing/v_Rowing_g14_c04.avi")
TURNS = 3
MIN_RATIO = 20
DEVICE = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu")


def main() -> None:
    torch.manual_seed(0)
    features = clip_features().to(DEVICE)
    torch.set_default_device(DEVICE)
    lengths = torch.tensor([FRAMES] * len(CLIPS))
    gru = {k: DynamicFraming(FEATURES, k=k) for k in (12, 16)}
    ratios = [ratio(gru[k], gru_cell_loop(gru[k]), features, lengths) for k in gru]
    ratio(gru[12], gru_loop(gru[12]), features, lengths)
    print("random features: ", end="")
    ratio(gru[12], gru_cell_loop(gru[12]), torch.randn_like(features), lengths)
    tcn = DynamicFraming(FEATURES, k=12, encoder="tcn")
    ratio(tcn, tcn_loop(tcn), features, lengths)
    if min(ratios) < MIN_RATIO:
        raise SystemExit(f"less than {MIN_RATIO} times")


@torch.no_grad()
def clip_features() -> Tensor:
    """Pooled features of the first frames of two long clips, (videos, FRAMES, FEATURES)."""
    network = nn.Sequential(*list(torchvision.models.resnet18().eval().children())[:-1])
    videos = []
    for clip in CLIPS:
        frames = np.stack(list(islice(read_frames(VIDEOS / clip), FRAMES)))
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)[..., ::2, ::2]
        videos.append(torch.cat([network(part / 255).flatten(1) for part in pictures.split(50)]))
    features = torch.stack(videos)
    return features / features.std()


@torch.no_grad()
def ratio(
    module: DynamicFraming, encode: Callable[[Tensor], Tensor], features: Tensor, lengths: Tensor
) -> float:
    module.eval()
    pairs = []
    for _ in range(TURNS):
        batched, seconds = timed(lambda: module(features, lengths)[0])
        loop, loop_seconds = timed(lambda: framing_loop(features, module.k, encode))
        assert torch.allclose(batched, loop, atol=1e-4)
        pairs.append((seconds, loop_seconds))
    batched_s, loop_s = (median(column) for column in zip(*pairs, strict=True))
    times = median(loop / batched for batched, loop in pairs)
    print(
        f"{encode.__qualname__.partition('.')[0]}, k = {module.k}: {batched_s:.3f} s, "
        f"loop {loop_s:.2f} s, {times:.1f} times"
    )
    return times


def framing_loop(features: Tensor, k: int, encode: Callable[[Tensor], Tensor]) -> Tensor:
    videos = []
    for x in features:
        rows = []
        for t in range(len(x)):
            first, last = max(0, t - k + 1), min(len(x), t + k)
            scores = x[t] @ x[first:last].T / sqrt(x.shape[1])
            nearest = first + scores.topk(k).indices.sort().values
            rows.append(encode(x[nearest]) + x[t])
        videos.append(torch.stack(rows))
    return torch.stack(videos)


def gru_cell_loop(module: DynamicFraming) -> Callable[[Tensor], Tensor]:
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


def gru_loop(module: DynamicFraming) -> Callable[[Tensor], Tensor]:
    gru = nn.GRU(FEATURES, FEATURES)
    project, recur = module.encoder.project, module.encoder.recur
    gru.weight_ih_l0.data, gru.bias_ih_l0.data = project.weight, project.bias
    gru.weight_hh_l0.data, gru.bias_hh_l0.data = recur.weight, recur.bias
    return lambda snippet: gru(snippet[:, None])[1][0, 0]


def tcn_loop(module: DynamicFraming) -> Callable[[Tensor], Tensor]:
    tcn = module.encoder.tcn
    return lambda snippet: tcn(snippet[None], torch.tensor([len(snippet)]))[0][0, -1]


def timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = time.perf_counter()
    result = work()
    result.sum().item()  # waits for the device
    return result, time.perf_counter() - start


if __name__ == "__main__":
    main()
