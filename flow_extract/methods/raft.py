"""RAFT: flow by a recurrent network.

Teed and Deng: RAFT: Recurrent All-Pairs Field Transforms for Optical Flow, ECCV 2020. The networks
are torchvision's, with its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_extract.methods.pairwise import ClipMethod, check_frames

if TYPE_CHECKING:
    import numpy as np

MODELS = ("small", "large")
# The network looks at an eighth of the picture and halves that three times.
MULTIPLE = 8
SMALLEST_SIDE = 128


def make_raft(
    *,
    model: str = "large",
    weights: str = "default",
    updates: int = 12,
    batch: int = 4,
    device: str = "cpu",
) -> ClipMethod:
    """RAFT at the frames' own size, which is padded to a multiple of 8 (and to 128 at least).

    Args:
        model: `small` (1 million parameters) or `large` (5.3 million, more accurate).
        weights: `default` (torchvision's, from its cache or over the network), or a file with the
            network's state dict.
        updates: refinement steps; more are slower and, up to about 20, more accurate.
        batch: frame pairs that go through the network together.
        device: as torch names it.
    """
    if model not in MODELS:
        raise ValueError(f"model is {model!r}; allowed: {', '.join(MODELS)}")
    network = load_network(model, weights)
    return network_flow(network, updates=updates, batch=batch, device=device)


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


def network_flow(network: Any, *, updates: int, batch: int, device: str) -> ClipMethod:
    """Make a flow method of a network (N, 3, H, W), (N, 3, H, W) -> list of flows (N, 2, H, W)."""
    import torch

    network = network.eval().to(device)

    def clip_flow(frames: np.ndarray) -> np.ndarray:
        check_frames(frames)
        padded, (top, left) = _pad(torch.from_numpy(frames).permute(0, 3, 1, 2))
        pictures = padded.float() / 127.5 - 1
        height, width = frames.shape[1:3]
        flows = []
        with torch.inference_mode():
            for start in range(0, len(frames) - 1, batch):
                clip = pictures[start : start + batch + 1].to(device)
                flow = network(clip[:-1], clip[1:], num_flow_updates=updates)[-1]
                flows.append(flow[:, :, top : top + height, left : left + width].cpu())
        return torch.cat(flows).permute(0, 2, 3, 1).contiguous().numpy()

    return clip_flow


def _pad(pictures: Any) -> tuple[Any, tuple[int, int]]:
    """Repeat the border, half on either side; also return where the picture now begins."""
    import torch

    pads = [
        max(SMALLEST_SIDE, -(-side // MULTIPLE) * MULTIPLE) - side for side in pictures.shape[-2:]
    ]
    (top, bottom), (left, right) = ((pad // 2, pad - pad // 2) for pad in pads)
    rows, columns = (
        torch.arange(-before, side + after).clamp(0, side - 1)
        for before, side, after in (
            (top, pictures.shape[-2], bottom),
            (left, pictures.shape[-1], right),
        )
    )
    return pictures[..., rows[:, None], columns], (top, left)
