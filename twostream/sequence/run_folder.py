"""The options of a sequence run, and the run folder that they determine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Options that may change when a run is resumed: they do not affect what was learned so far.
FREE_ON_RESUME = ("epochs", "annotations", "videos", "runs", "threads", "device")


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """The options of `twostream train-sequence`, resolved; `config.toml` holds them."""

    # the network and what it sees
    stream: str
    backbone: str
    temporal: tuple[str, ...]
    frame_size: int
    input_size: int
    # videos
    dataset: str
    annotations: str
    videos: str
    vocabulary: str
    allow_missing: bool
    # the run
    runs: str
    name: str
    epochs: int
    seed: int
    # optimisation
    batch_size: int
    lr: float
    stage_lr: tuple[str, ...]
    halve_at: tuple[int, ...]
    weight_decay: float
    clip_norm: float
    ema: float
    average: str
    # what it starts from
    load: str
    load_stages: tuple[str, ...]
    freeze: tuple[str, ...]
    # the machine
    threads: int
    device: str
    precision: str

    @property
    def folder(self) -> Path:
        """`<runs>/<dataset>-sequences/<stream>-<name>`."""
        dataset = f"{self.dataset}-sequences".replace(":", ".")
        return Path(self.runs) / dataset / f"{self.stream}-{self.name}"
