"""The options of a sequence run, and the folder that belongs to them alone."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twostream.errors import InputError
from twostream.files import read_text
from twostream.project import write_toml

# What may differ when a run is taken up again: it does not change what has been learnt.
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


def check_same_run(options: SequenceOptions) -> None:
    """Hold the options against those of the run that has begun in this folder.

    Raises:
        InputError: they differ in what changes the result.
    """
    before = tomllib.loads(read_text(options.folder / "config.toml"))
    changed = [
        f"{key} was {before.get(key)!r}, now {value!r}"
        for key, value in _settings(options).items()
        if key.replace("-", "_") not in FREE_ON_RESUME and before.get(key) != value
    ]
    if changed:
        raise InputError(
            f"{options.folder} holds a run with other options ({'; '.join(changed)}); give the old "
            "ones, another --name, or --restart"
        )


def write_config(options: SequenceOptions) -> None:
    """Write `config.toml`, from which `twostream train-sequence --config` repeats the run."""
    title = "The options of this run, as `twostream train-sequence` resolved them."
    write_toml(options.folder / "config.toml", _settings(options), title=title)


def _settings(options: SequenceOptions) -> dict[str, Any]:
    return {
        key.replace("_", "-"): list(value) if isinstance(value, tuple) else value
        for key, value in asdict(options).items()
    }
