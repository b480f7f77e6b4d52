"""Trained networks as streams, and predicting one video: decode, flow, networks, fusion.

It goes through a store file made with the settings of the one that the networks were trained on, so
that they see what they would see in scoring, to the last byte.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from flow_extract.extraction.one_video import Job, extract_video
from flow_extract.extraction.settings import extraction_settings
from flow_extract.methods import FLOW_METHODS
from flow_extract.store.codecs import DEFAULT_BOUND
from flow_extract.store.header import settings_hash
from flow_extract.store.reader import entry_path, read_header
from flow_extract.video.decode import VideoError
from fusion.combining.fuse import Fusion, fuse_joined
from fusion.combining.probabilities import as_probs
from fusion.combining.step import Steps
from fusion.fitting.tune import confidence_margin
from fusion.tables.join import join
from fusion.tables.score_file import UNKNOWN, ScoreTable
from twostream.compute.device import Runtime
from twostream.data.protocols import Protocol
from twostream.data.splits import VideoRecord
from twostream.data.stored import StoredVideo
from twostream.models.checkpoint import WEIGHTS, NetworkSpec, load_network
from twostream.models.external_networks import FLOW_METHOD, SHORT_SIDE, ExternalNetwork
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.logits import compute_logits
from twostream_base import plugins
from twostream_base.errors import InputError

# What `extract-flow` does by default: for networks that do not know how their input was made.
DEFAULTS: dict[str, Any] = {
    "method": {"name": "dis", "options": {}},
    "bound": DEFAULT_BOUND,
    "short_side": None,
    "codec": "jpeg",
}
# The settings that decide the stored frames.
OF_FRAMES = ("short_side", "codec", "quality", "drop_repeated")


class Stream(NamedTuple):
    """A trained network, and the settings of the store file that it reads."""

    spec: NetworkSpec
    network: SegmentNetwork
    settings: dict[str, Any]

    def logits(
        self, video: StoredVideo, runtime: Runtime, *, protocol: Protocol
    ) -> NDArray[np.float32]:
        """Logits (1, S, R, classes) of one video under a test protocol."""
        modality, size = self.spec.modality, self.spec.input_size
        return compute_logits(
            self.network, [video], runtime, modality=modality, protocol=protocol, size=size
        )


@dataclass(frozen=True, slots=True)
class Extraction:
    """Options of the command line that override what a network's spec says; None: as it says."""

    method: str | None = None
    method_option: Sequence[str] = ()
    short_side: int | None = None


def load_streams(
    runs: Mapping[str, Path | ExternalNetwork],
    *,
    checkpoint: str,
    device: torch.device,
    extraction: Extraction,
    shared: bool,
    trust_plugins: bool = False,
) -> dict[str, Stream]:
    """Load the network of each run, by stream.

    Networks of other tools take TV-L1 on frames of a short side of 256, as the field made it.

    Args:
        checkpoint: `best` or `last`.
        shared: whether a stream of frames may read the file that is made for the flow anyway; else
            it reads one without flow.
        trust_plugins: whether a `module:function` that a run names may be imported.

    Raises:
        InputError: a run of another stream, or how its flow was made is not known.
    """
    streams = {}
    for key, run in runs.items():
        made = extraction
        if isinstance(run, Path):
            spec, network = load_network(run / checkpoint, trust_plugins=trust_plugins)
        else:
            spec, network = run.spec, run.network
            made = replace(
                extraction,
                method=extraction.method or FLOW_METHOD,
                short_side=extraction.short_side or SHORT_SIDE,
            )
        if spec.stream != key:
            raise InputError(f"{run} is a {spec.stream} network; give it as --{spec.stream}")
        network.to_device(device)
        streams[key] = Stream(spec, network, extraction_of(spec, str(run), made))
    if shared:

        def frames_of(stream: Stream) -> tuple[Any, ...]:
            return tuple(stream.settings.get(key) for key in OF_FRAMES)

        # A stream of frames reads the file with flow, where its frames are the same.
        with_flow = {frames_of(s): s.settings for s in streams.values() if s.settings["method"]}
        for key, stream in streams.items():
            settings = with_flow.get(frames_of(stream), stream.settings)
            streams[key] = stream._replace(settings=settings)
    return streams


def weights_file(run: Path | ExternalNetwork, checkpoint: str) -> Path:
    """The file that holds the weights of a run, or of a network of another tool."""
    return run / checkpoint / WEIGHTS if isinstance(run, Path) else run.file


def extraction_of(spec: NetworkSpec, run: str | Path, overrides: Extraction) -> dict[str, Any]:
    """Settings of extraction that give a network what it was trained on.

    Without flow for a network that sees none. What its spec records decides; for networks of other
    tools, which know little, the defaults stand in.

    Raises:
        InputError: it was trained on flow of an unknown method.
    """
    known = DEFAULTS | spec.flow | spec.extraction
    if spec.extraction:
        known["bound"] = spec.extraction["quantiser"]["bound"]
    if not spec.modality.sees_flow:
        method, options = "dis", {}  # replaced by None below
    else:
        method = known["method"]["name"]
        # Where it was computed decides nothing; older stores record it.
        options = {k: v for k, v in known["method"]["options"].items() if k != "device"}
        if overrides.method is None and method not in FLOW_METHODS and ":" not in method:
            raise InputError(
                f"{run} was trained on flow by {method!r}, which cannot be computed here; "
                f"give the --method that comes next to it: {', '.join(FLOW_METHODS)}"
            )
        if overrides.method is not None:  # typed, so it may be a plug-in; its options stay
            options = options if method == overrides.method else {}
            method = overrides.method
        options = options | plugins.read_options(overrides.method_option, option="--method-option")
    with plugins.naming(run):
        settings = extraction_settings(
            method,
            options,
            bound=known["bound"],
            short_side=overrides.short_side or known["short_side"],
            codec=known["codec"],
            drop_repeated=known.get("drop_repeated", False),
        )
    return settings if spec.modality.sees_flow else settings | {"method": None}


NAME = "video"  # in a store of this one video

PARTS = ("decode", "flow", "networks")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How videos are looked at, and how the scores are fused.

    Attributes:
        protocols: of each stream.
        steps: of `fusion.combining.step.find_steps`.
        cascade: the first stream alone decides where the lead of its first class on the second is
            at least this; None: all streams are asked.
    """

    protocols: Mapping[str, Protocol]
    steps: Steps
    cascade: float | None
    runtime: Runtime


class Prediction(NamedTuple):
    """What the streams say of a video.

    Attributes:
        class_names: C of them.
        fused: probabilities (C,).
        streams: the same of each stream that was asked.
        lead: of the first class on the second, in the first stream alone.
        entry: the store file of the last stream asked.
        header: of that file.
        seconds: of each of `PARTS`, and `total`, the time that has gone by; what threads do side by
            side is added up.
        warnings: a line each.
    """

    class_names: tuple[str, ...]
    fused: np.ndarray
    streams: dict[str, np.ndarray]
    lead: float
    entry: Path
    header: Mapping[str, Any]
    seconds: dict[str, float]
    warnings: list[str]


def predict_video(
    video: Path, streams: Mapping[str, Stream], recipe: Recipe, *, work_dir: Path
) -> Prediction:
    """Ask the streams, in their order, about a video.

    Args:
        work_dir: an empty folder for the store files of this video.

    Raises:
        VideoError: it gives no frames, or no flow.
    """
    start = time.perf_counter()
    seconds = dict.fromkeys(PARTS, 0.0)
    logits_of: dict[str, NDArray[np.float32]] = {}
    lead = 0.0
    for key, stream in streams.items():
        stored, spent = extract_for(
            stream, video, work_dir=work_dir, threads=recipe.runtime.threads
        )
        for part, value in spent.items():
            seconds[part] += value

        begin = time.perf_counter()
        logits = stream.logits(stored, recipe.runtime, protocol=recipe.protocols[key])
        seconds["networks"] += time.perf_counter() - begin

        logits_of[key] = logits
        fusion, lead_now = fuse_logits(logits_of, streams, recipe)
        if len(logits_of) == 1:
            lead = lead_now
            if recipe.cascade is not None and lead >= recipe.cascade:
                break
    return Prediction(
        class_names=fusion.table.class_names,
        fused=as_probs(fusion.scores[0].astype(np.float64), fusion.table.score_type),
        streams={
            key: as_probs(scores[0], fusion.streams.score_type)
            for key, scores in fusion.streams.scores.items()
        },
        lead=lead,
        entry=stored.path,
        header=read_header(stored.path),
        seconds={**seconds, "total": time.perf_counter() - start},
        warnings=fusion.warnings if len(logits_of) == len(streams) else [],
    )


def fuse_logits(
    logits: Mapping[str, NDArray[np.float32]], streams: Mapping[str, Stream], recipe: Recipe
) -> tuple[Fusion, float]:
    """Fuse the logits (1, S, R, classes) of one video as `twostream fuse` would fuse score files.

    Returns:
        The fusion, and the lead of the first class on the second in the first of the streams.
    """
    tables = {
        key: ScoreTable(
            names=(NAME,),
            class_names=streams[key].spec.class_names,
            scores=of_stream,
            labels=np.array([UNKNOWN]),
            score_type="logits",
            metadata={"stream": key, "protocol": recipe.protocols[key].name},
        )
        for key, of_stream in logits.items()
    }
    fusion = fuse_joined(join(tables), recipe.steps)
    first = next(iter(fusion.streams.scores.values()))
    return fusion, float(confidence_margin(first, fusion.streams.score_type)[0])


def extract_for(
    stream: Stream, video: Path, *, work_dir: Path, threads: int
) -> tuple[StoredVideo, dict[str, float]]:
    """The store file of a video that a stream reads; extracted where it does not exist yet.

    Returns:
        The stored video, and the seconds of `decode` and `flow`; empty where the file existed.

    Raises:
        VideoError: the video gives no frames, or no flow.
    """
    store = work_dir / settings_hash(stream.settings)
    path, seconds = entry_path(store, NAME), {}
    if not path.exists():
        job = Job(NAME, video, video.name, store, stream.settings, threads=threads)
        result = extract_video(job)
        if result.status == "unwritable":
            raise OSError(result.reason)
        if result.status == "failed":
            raise VideoError(result.reason)
        seconds = result.seconds
    header = read_header(path)
    length = header["counts"]["flows" if stream.spec.modality.sees_flow else "frames"]
    if length < 1:
        raise VideoError("has 1 frame, so no flow")
    size = header["size"]["height"], header["size"]["width"]
    return StoredVideo(VideoRecord(NAME, UNKNOWN, NAME), path, length, size), seconds
