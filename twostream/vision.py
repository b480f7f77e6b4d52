"""The one place that imports torchvision, whole or without its compiled operators."""

from __future__ import annotations

import sys
from types import ModuleType

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
