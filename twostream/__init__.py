"""Two-stream action recognition: RGB and optical flow, from videos to scores.

    import twostream

    network = twostream.load("runs/ucf101-split1/motion-resnet18")
    network.predict("clip.mp4")

The names below are imported when they are first used, so that this package loads no torch by
itself. Fusion of scores is in the package `fusion`, decoding and flow in `flow_extract`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twostream_base.public_names import late_names

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from twostream.data.dataset import VideoDataset
    from twostream.data.protocols import PROTOCOLS, Protocol, find_protocol
    from twostream.data.splits import DATASETS, Split, VideoRecord, read_split
    from twostream.export.export_run import export_run
    from twostream.models import MODELS, create_model, list_models
    from twostream.models.consensus import CONSENSUS, Learned
    from twostream.models.segment_network import SegmentNetwork
    from twostream.prediction.trained_network import TrainedNetwork, load
    from twostream.transforms.augmentation import CROPS, Augmentation
    from twostream.transforms.presets import MODALITIES, Modality
    from twostream_base.errors import InputError
    from twostream_base.versions import __version__

__all__, __getattr__, __dir__ = late_names(
    __name__,
    {
        "twostream.data.dataset": "VideoDataset",
        "twostream.data.protocols": "PROTOCOLS Protocol find_protocol",
        "twostream.data.splits": "DATASETS Split VideoRecord read_split",
        "twostream.export.export_run": "export_run",
        "twostream.models": "MODELS create_model list_models",
        "twostream.models.consensus": "CONSENSUS Learned",
        "twostream.models.segment_network": "SegmentNetwork",
        "twostream.prediction.trained_network": "TrainedNetwork load",
        "twostream.transforms.augmentation": "Augmentation CROPS",
        "twostream.transforms.presets": "MODALITIES Modality",
        "twostream_base.errors": "InputError",
        "twostream_base.versions": "__version__",
    },
)
