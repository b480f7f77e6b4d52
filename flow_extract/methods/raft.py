"""RAFT: flow by a recurrent network.

Teed and Deng: RAFT: Recurrent All-Pairs Field Transforms for Optical Flow, ECCV 2020. The networks
are torchvision's, with its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_extract.methods.pairwise import ClipMethod, check_frames
from twostream_base.heartbeat import beat
from twostream_base.pickles import check_torch_file

if TYPE_CHECKING:
    import numpy as np

MODELS = ("small", "large")
# The network looks at an eighth of the picture and halves that three times.
MULTIPLE = 8
SMALLEST_SIDE = 128
# Frame pairs that go through the network together; on a GPU as many as a quarter of its free memory
# takes, up to `MOST_PAIRS`.
BATCH = 4
MOST_PAIRS = 32
BYTES_PER_PIXEL = 1500  # of a pair, in float32; estimated from the layers, not measured


def make_raft(
    *,
    model: str = "large",
    weights: str = "default",
    updates: int = 12,
    batch: int = BATCH,
    device: str = "cpu",
) -> ClipMethod:
    """RAFT at the frames' own size, which is padded to a multiple of 8 (and to 128 at least).

    Args:
        model: `small` (1 million parameters) or `large` (5.3 million, more accurate).
        weights: `default` (torchvision's, from its cache or over the network), or a file with the
            network's state dict.
        updates: refinement steps; more are slower and, up to about 20, more accurate.
        batch: frame pairs that go through the network together; on a GPU 4, the default, stands
            for as many as its memory takes.
        device: as torch names it.
    """
    if model not in MODELS:
        raise ValueError(f"model is {model!r}; allowed: {', '.join(MODELS)}")
    network = load_network(model, weights)
    by_memory = batch == BATCH and device.startswith("cuda")
    return network_flow(network, updates=updates, batch=None if by_memory else batch, device=device)


def load_network(model: str, weights: str) -> Any:
    """Build torchvision's `raft_small` or `raft_large` with its weights.

    Raises:
        ValueError: the weights cannot be fetched, read, or made to fit.
    """
    import torch

    from twostream_base.vision import fetch_weights, torchvision

    module = torchvision.models.optical_flow
    network = {"small": module.raft_small, "large": module.raft_large}[model](weights=None)
    try:
        if weights == "default":
            state = fetch_weights(default_weights(model))
        else:
            check_torch_file(Path(weights))
            state = torch.load(Path(weights), map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except Exception as error:  # no network, no file, another file: the cure is the same
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"the weights of RAFT {model} cannot be loaded from {weights!r} ({reason}). With a "
            "network connection, let torchvision download them; then give that file: "
            "--method-option weights=FILE"
        ) from error
    return network


def default_weights(model: str = "large") -> Any:
    """Torchvision's entry of the weights that `default` means."""
    from twostream_base.vision import torchvision

    module = torchvision.models.optical_flow
    enum = {"small": module.Raft_Small_Weights, "large": module.Raft_Large_Weights}[model]
    return enum.DEFAULT


def network_flow(network: Any, *, updates: int, batch: int | None, device: str) -> ClipMethod:
    """Make a flow method of a network (N, 3, H, W), (N, 3, H, W) -> list of flows (N, 2, H, W).

    Frames are copied as bytes and made floats on the device. `batch` None: see `pairs_that_fit`.
    """
    import torch
    from torch.nn.functional import pad

    network = network.eval().to(device)

    def clip_flow(frames: np.ndarray) -> np.ndarray:
        check_frames(frames)
        height, width = frames.shape[1:3]
        pads = [
            max(SMALLEST_SIDE, -(-side // MULTIPLE) * MULTIPLE) - side for side in (height, width)
        ]
        (top, bottom), (left, right) = ((more // 2, more - more // 2) for more in pads)
        together = batch or pairs_that_fit(height, width, torch.cuda.mem_get_info(device)[0])
        flows = []
        with torch.inference_mode():
            for start in range(0, len(frames) - 1, together):
                part = torch.from_numpy(frames[start : start + together + 1]).to(device)
                clip = part.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
                clip = pad(clip, (left, right, top, bottom), mode="replicate")
                flow = network(clip[:-1], clip[1:], num_flow_updates=updates)[-1]
                flows.append(flow[:, :, top : top + height, left : left + width].cpu())
                beat()
        return torch.cat(flows).permute(0, 2, 3, 1).contiguous().numpy()

    if batch is None:
        clip_flow.pixels_at_once = MOST_PAIRS * 320 * 240  # type: ignore[attr-defined]
    return clip_flow


def pairs_that_fit(height: int, width: int, free: int) -> int:
    """Pairs of this size, 1 to `MOST_PAIRS`, that a quarter of the `free` bytes takes.

    The correlation of all places of an eighth of the picture, and its three halvings, grow with the
    square of the picture's area.
    """
    area = max(height, SMALLEST_SIDE) * max(width, SMALLEST_SIDE)
    correlation = 4 * (area / MULTIPLE**2) ** 2 * (1 + 1 / 4 + 1 / 16 + 1 / 64)
    return min(MOST_PAIRS, max(1, int(free / 4 / (area * BYTES_PER_PIXEL + correlation))))
