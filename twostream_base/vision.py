"""The one place that imports torchvision, whole or without its compiled operators."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


def load_torchvision() -> tuple[ModuleType, bool]:
    """Import torchvision; also say whether its compiled operators were loaded.

    Beside a CPU build of torch, torchvision's compiled library does not load, and its import stops
    at "operator torchvision::nms does not exist" (pytorch/vision#9337). On exactly that error the
    two operators that the import asks for are declared, and it is tried once more. Networks,
    transforms and RAFT then work; `torchvision.io` and `ops.nms` do not, and are not used here.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        return _import_without_operators(), False
    return torchvision, True


def fetch_weights(weights: Any) -> Mapping[str, torch.Tensor]:
    """State dict of an entry of torchvision's weights: from torch's cache, or over the network.

    Raises:
        Exception: it cannot be had, its checksum is wrong, or the file in the cache is damaged.
    """
    with redirect_stdout(sys.stderr):  # torch announces a download where our results go
        state: Mapping[str, torch.Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    return state


def cached_file(weights: Any) -> Path:
    """Where torch's cache has, or will have, the file of an entry of torchvision's weights."""
    return Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])


def _import_without_operators() -> ModuleType:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            _LIBRARY.define(
                f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
    import torchvision

    return torchvision


_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")  # the declarations live as long as it
torchvision, has_operators = load_torchvision()
