"""The options of a sequence run, and the data that they name: lists and vocabulary."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twostream.models import FORMS
from twostream.sequence.lists import (
    SEQUENCE_DATASETS,
    SequenceLists,
    build_vocabulary,
    check_lists,
    extraction_of,
    glosses_to_labels,
)
from twostream_base import plugins

if TYPE_CHECKING:
    from twostream.compute.device import Bar

# The recipes: options of `twostream train-sequence` by name, a TOML file each.
RECIPES = {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.toml"))}
# By what features a joint network chooses the frames of dynamic framing.
SIMILARITIES = ("joined", "spatial", "motion")
# How the streams are joined at each time step; attention is over the segments of a whole video.
STEP_FORMS = dict.fromkeys(name for name in FORMS if name != "attention")
# Options that may change when a run is resumed: they do not affect what was learned so far.
FREE_ON_RESUME = ("epochs", "annotations", "videos", "store", "runs", "threads", "device")


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """The options of `twostream train-sequence`, resolved; `config.toml` holds them."""

    # network and input
    stream: str
    backbone: str
    temporal: tuple[str, ...]
    frame_size: int
    input_size: int
    # both streams in one network
    start_from: tuple[str, ...]
    fuse: str
    similarity: str
    auxiliary_loss: float
    # data
    dataset: str
    annotations: str
    videos: str
    store: str
    vocabulary: str
    allow_missing: bool
    use_damaged: bool
    # run
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
    flip: float
    ema: float
    average: str
    # validation
    beam: int
    normalise: str
    # initial weights
    load: str
    load_stages: tuple[str, ...]
    freeze: tuple[str, ...]
    # machine
    threads: int
    device: str
    precision: str

    @property
    def folder(self) -> Path:
        """`<runs>/<dataset>-sequences/<stream>-<name>`."""
        return run_folder(self.runs, dataset=self.dataset, stream=self.stream, name=self.name)


def run_folder(runs: str, *, dataset: str, stream: str, name: str) -> Path:
    """Where a run lies: `<runs>/<dataset>-sequences/<stream>-<name>`."""
    return Path(runs) / f"{dataset}-sequences".replace(":", ".") / f"{stream}-{name}"


@dataclass(frozen=True)
class SequenceData:
    """The videos and the vocabulary of a run.

    Attributes:
        lists: subset -> records. missing: names of listed videos without frames.
        vocabulary: class 0 is the blank, gloss g is class g + 1.
        targets: labels of the training videos.
        extraction: the settings by which frames and flow were made that a store has; else empty.
    """

    lists: SequenceLists
    missing: list[str]
    vocabulary: tuple[str, ...]
    targets: list[list[int]]
    extraction: dict[str, Any] = field(default_factory=dict)


def read_sequence_data(options: SequenceOptions, *, bar: Bar | None = None) -> SequenceData:
    """Read the lists and the vocabulary.

    Args:
        bar: shows how far the search for damaged videos is.

    Raises:
        InputError: lists, frames or vocabulary are missing or do not fit.
    """
    read_lists = plugins.load(options.dataset, SEQUENCE_DATASETS)
    root = Path(options.videos)
    all_lists = read_lists(Path(options.annotations), root)
    lists, missing = check_lists(
        all_lists,
        stream=options.stream,
        allow_missing=options.allow_missing,
        use_damaged=options.use_damaged,
        store=Path(options.store) if options.store else None,
        root=root,
        threads=options.threads,
        bar=bar,
    )
    file = Path(options.vocabulary) if options.vocabulary else None
    vocabulary = build_vocabulary(lists["train"], file)
    targets = [glosses_to_labels(record.glosses, vocabulary) for record in lists["train"]]
    return SequenceData(lists, missing, vocabulary, targets, extraction_of(lists["train"]))
