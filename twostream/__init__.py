"""Two-stream action recognition: RGB and optical flow, from videos to scores.

    import twostream

    network = twostream.load("runs/ucf101-split1/motion-resnet18")
    network.predict("clip.mp4")

The names below are imported when they are first used, so that this package loads no torch by
itself. Fusion of scores is in the package `fusion`, decoding and flow in `flow_extract`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twostream.data.dataset import VideoDataset
    from twostream.data.protocols import PROTOCOLS, Protocol
    from twostream.data.records import Split, VideoRecord
    from twostream.data.splits import DATASETS, read_split
    from twostream.export.export_run import export_run
    from twostream.models import MODELS, create_model, list_models
    from twostream.models.consensus import CONSENSUS, Learned
    from twostream.models.segment_network import SegmentNetwork
    from twostream.prediction.trained_network import TrainedNetwork, load
    from twostream.transforms.augmentation import CROPS, Augmentation
    from twostream.transforms.presets import MODALITIES, Modality
    from twostream_base.errors import InputError

    __version__: str

__all__ = [
    "CONSENSUS",
    "CROPS",
    "DATASETS",
    "MODALITIES",
    "MODELS",
    "PROTOCOLS",
    "Augmentation",
    "InputError",
    "Learned",
    "Modality",
    "Protocol",
    "SegmentNetwork",
    "Split",
    "TrainedNetwork",
    "VideoDataset",
    "VideoRecord",
    "__version__",
    "create_model",
    "export_run",
    "list_models",
    "load",
    "read_split",
]

_MODULES = {
    "twostream.data.dataset": ("VideoDataset",),
    "twostream.data.protocols": ("PROTOCOLS", "Protocol"),
    "twostream.data.records": ("Split", "VideoRecord"),
    "twostream.data.splits": ("DATASETS", "read_split"),
    "twostream.export.export_run": ("export_run",),
    "twostream.models": ("MODELS", "create_model", "list_models"),
    "twostream.models.consensus": ("CONSENSUS", "Learned"),
    "twostream.models.segment_network": ("SegmentNetwork",),
    "twostream.prediction.trained_network": ("TrainedNetwork", "load"),
    "twostream.transforms.augmentation": ("CROPS", "Augmentation"),
    "twostream.transforms.presets": ("MODALITIES", "Modality"),
    "twostream_base.errors": ("InputError",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from twostream_base.versions import tool_version

        value: Any = tool_version()
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
