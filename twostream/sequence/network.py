"""A sequence network: frames -> features -> temporal modules -> log-probabilities for CTC."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from twostream import plugins
from twostream.sequence.backbones import FRAME_BACKBONES
from twostream.temporal.padding import valid_mask
from twostream.temporal.stages import build_stages, read_stage
from twostream.transforms.presets import MODALITIES, Modality


class SequenceNetwork(nn.Module):
    """Padded clips in, log-probabilities of the blank and all glosses for each time step out.

    Padding frames never enter the backbone, so they change no batch statistic.

    Args:
        backbone: (N, C, H, W) -> (N, D), with `out_features` D.
        temporal: (N, T, D) and lengths -> (N, T', D') and lengths, with `out_features` D'.
        classes: of the output, the blank included.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, temporal: nn.Module, *, classes: int, modality: Modality
    ) -> None:
        super().__init__()
        self.backbone, self.temporal = backbone, temporal
        features: int = temporal.out_features  # type: ignore[assignment]
        self.classifier = nn.Linear(features, classes)
        for name, values in (("mean", modality.mean), ("std", modality.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, clips: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 (N, T, C, H, W) and int64 (N,) -> float32 (N, T', classes) and int64 (N,)."""
        valid = valid_mask(lengths, clips.shape[1])
        frames = (clips[valid].to(self.mean.dtype) - self.mean) / self.std
        frame_features = self.backbone(frames.contiguous(memory_format=torch.channels_last))
        features = frame_features.new_zeros(*valid.shape, frame_features.shape[1])
        features = features.masked_scatter(valid[:, :, None], frame_features)
        features, lengths = self.temporal(features, lengths)
        logits = self.classifier(features).float()
        return logits.log_softmax(dim=2), lengths


def build_network(
    *, stream: str, backbone: str, temporal: Sequence[str], classes: int
) -> SequenceNetwork:
    """Build from texts, such as backbone `plain width=8` and temporal [`dynamic_framing`, `conv`].

    Raises:
        InputError: an unknown name or option.
    """
    modality = MODALITIES[stream]
    name, options = read_stage(backbone)
    frame_network = plugins.load(name, FRAME_BACKBONES)(modality.channels, **options)
    stages = build_stages(temporal, in_features=frame_network.out_features)
    return SequenceNetwork(frame_network, stages, classes=classes, modality=modality)


def without_weights(backbone: str) -> str:
    """`backbone` without its `weights=` option, for a network whose weights are loaded next."""
    return " ".join(word for word in backbone.split() if not word.startswith("weights="))
