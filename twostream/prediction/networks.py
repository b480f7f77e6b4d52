"""The trained networks of a prediction: what they read of a video, and their fusion.

They read a store file made with the settings of the one that they were trained on, so that they see
what they would see in scoring, to the last byte.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
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
from fusion.combining.step import StepOptions, Steps, find_steps
from fusion.fitting.tune import confidence_margin
from fusion.tables.join import join
from fusion.tables.score_file import UNKNOWN, ScoreTable
from twostream.compute.device import Runtime, no_bar
from twostream.data.protocols import Protocol, find_protocol
from twostream.data.splits import VideoRecord
from twostream.data.stored import StoredVideo
from twostream.data.training_videos import RunVideo, find_seen
from twostream.models import network_protocol
from twostream.models.checkpoint import WEIGHTS, NetworkSpec, load_network, read_training_videos
from twostream.models.external_networks import FLOW_METHOD, SHORT_SIDE, ExternalNetwork
from twostream.models.probe import check_input_sizes
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.logits import compute_logits
from twostream_base import plugins
from twostream_base.errors import InputError
from twostream_base.video_names import without_suffix

# What `extract-flow` does by default: for networks that do not know how their input was made.
DEFAULTS: dict[str, Any] = {
    "method": {"name": "dis", "options": {}},
    "bound": DEFAULT_BOUND,
    "short_side": None,
    "codec": "jpeg",
}
# The settings that decide the stored frames.
OF_FRAMES = ("short_side", "codec", "quality", "drop_repeated")
NAME = "video"  # in a store of one video
NO_FLOW = "has 1 frame, so no flow"
FUSED = "fused"


class Stream(NamedTuple):
    """A trained network, the settings of the store file that it reads, and its test protocol."""

    spec: NetworkSpec
    network: SegmentNetwork
    settings: dict[str, Any]
    protocol: Protocol

    @property
    def sees_flow(self) -> bool:
        """Whether it needs flow."""
        return self.spec.modality.sees_flow

    def extract(
        self, video: Path, *, work_dir: Path, threads: int
    ) -> tuple[StoredVideo, dict[str, float]]:
        """The store file of a video that it reads; extracted where `work_dir` has none yet.

        Returns:
            The stored video, and the seconds of `decode` and `flow`; empty where the file existed.

        Raises:
            VideoError: the video gives no frames, or no flow.
        """
        store, seconds = work_dir / settings_hash(self.settings), {}
        path = entry_path(store, NAME)
        if not path.exists():
            result = extract_video(
                Job(NAME, video, video.name, store, self.settings, threads=threads)
            )
            if result.status == "unwritable":
                raise OSError(result.reason)
            if result.status == "failed":
                raise VideoError(result.reason)
            seconds = result.seconds
        header = read_header(path)
        length = header["counts"]["flows" if self.sees_flow else "frames"]
        if length < 1:
            raise VideoError(NO_FLOW)
        size = header["size"]["height"], header["size"]["width"]
        return StoredVideo(VideoRecord(NAME, UNKNOWN, NAME), path, length, size), seconds

    def logits(self, video: StoredVideo, runtime: Runtime) -> NDArray[np.float32]:
        """Logits (1, S, R, classes) of one video."""
        return compute_logits(
            self.network,
            [video],
            runtime,
            modality=self.spec.modality,
            protocol=self.protocol,
            size=self.spec.input_size,
        )


@dataclass(frozen=True, slots=True)
class Extraction:
    """Options of the command line that override what a network's spec says; None: as it says."""

    method: str | None = None
    method_option: Sequence[str] = ()
    short_side: int | None = None


AS_RECORDED = Extraction()


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """The options of `twostream predict`."""

    runs: Mapping[str, Path | ExternalNetwork]  # by stream, in the order in which they are asked
    checkpoint: str
    protocol: str
    cascade: float | None
    steps: StepOptions
    extraction: Extraction
    top: int
    trust_plugins: bool = False


def load_stream(
    run: Path | ExternalNetwork,
    *,
    checkpoint: str,
    protocol: str | Protocol,
    device: torch.device,
    extraction: Extraction = AS_RECORDED,
    expected: str | None = None,
    trust_plugins: bool = False,
) -> Stream:
    """Load a network, and find out how its input is made and looked at.

    Networks of other tools take TV-L1 on frames of a short side of 256, as the field made it.

    Args:
        checkpoint: `best` or `last`.
        expected: the stream that it must be of.
        trust_plugins: whether a `module:function` that the run names may be imported.

    Raises:
        InputError: another stream; how its flow was made is not known; or it cannot take the views
            of the protocol.
    """
    if isinstance(run, Path):
        spec, network = load_network(run / checkpoint, trust_plugins=trust_plugins)
    else:
        spec, network = run.spec, run.network
        extraction = replace(
            extraction,
            method=extraction.method or FLOW_METHOD,
            short_side=extraction.short_side or SHORT_SIDE,
        )
    if expected not in (None, spec.stream):
        raise InputError(f"{run} is a {spec.stream} network; give it as --{spec.stream}")
    network.to_device(device)
    settings = extraction_of(spec, str(run), extraction)
    if isinstance(protocol, str):
        protocol = network_protocol(
            protocol,
            model=spec.model,
            num_segments=spec.num_segments,
            frame_interval=spec.frame_interval,
        )
        check_input_sizes(network, spec, protocols=(protocol,), device=device)
        protocol = find_protocol(protocol)
    return Stream(spec, network, settings, protocol)


def load_streams(
    runs: Mapping[str, Path | ExternalNetwork], *, shared: bool, **options: Any
) -> dict[str, Stream]:
    """Load the network of each run, by stream.

    Args:
        shared: whether a stream of frames may read the file that is made for the flow anyway, where
            its frames are the same; else it reads one without flow.
        options: of `load_stream`.
    """
    streams = {key: load_stream(run, expected=key, **options) for key, run in runs.items()}
    if not shared:
        return streams

    def frames_of(stream: Stream) -> tuple[Any, ...]:
        return tuple(stream.settings.get(key) for key in OF_FRAMES)

    with_flow = {frames_of(s): s.settings for s in streams.values() if s.settings["method"]}
    return {
        key: stream._replace(settings=with_flow.get(frames_of(stream), stream.settings))
        for key, stream in streams.items()
    }


def group_by_extraction(streams: Mapping[str, Stream]) -> list[dict[str, Stream]]:
    """The streams that read the same frames and flow, and so can share one pass over a video."""
    groups: dict[str, dict[str, Stream]] = defaultdict(dict)
    for key, stream in streams.items():
        groups[settings_hash(stream.settings)][key] = stream
    return list(groups.values())


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


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a prediction, and how their scores are fused.

    Attributes:
        streams: by name, in the order in which they are asked.
        cascade: the first stream alone decides where the lead of its first class on the second is
            at least this; None: all streams are asked.
        records: of `read_training_videos`, for each that is a run of ours.
    """

    streams: dict[str, Stream]
    steps: Steps
    cascade: float | None
    runtime: Runtime
    records: dict[str, tuple[dict[str, Any], list[RunVideo]]]

    @property
    def protocol(self) -> str:
        """The test protocol; where those of the networks differ, all of them."""
        return ", ".join(dict.fromkeys(stream.protocol.name for stream in self.streams.values()))

    def ask(self, logits_of: Callable[[str], NDArray[np.float32]]) -> tuple[Fusion, float]:
        """Ask the streams about a video, in their order, and fuse as `twostream fuse` would.

        Args:
            logits_of: gives the logits (1, S, R, classes) of a stream that is asked.

        Returns:
            The fusion, and the lead of the first class on the second in the first stream alone.
        """
        tables, lead = {}, 0.0
        for key, stream in self.streams.items():
            tables[key] = ScoreTable(
                names=(NAME,),
                class_names=stream.spec.class_names,
                scores=logits_of(key),
                labels=np.array([UNKNOWN]),
                score_type="logits",
                metadata={"stream": key, "protocol": stream.protocol.name},
            )
            fusion = fuse_joined(join(tables), self.steps)
            if len(tables) == 1:
                scores = fusion.streams.scores[key]
                lead = float(confidence_margin(scores, fusion.streams.score_type)[0])
                if self.cascade is not None and lead >= self.cascade:
                    break
        return fusion, lead

    def training_warnings(self, sources: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """What they have done with videos that they know, by video and stream.

        Args:
            sources: see `seen_in_training`.
        """
        warnings: dict[str, dict[str, str]] = {video: {} for video in sources}
        for key, (card, recorded) in self.records.items():
            for video, text in seen_in_training(card, recorded, sources).items():
                warnings[video][key] = f"the {key} network {text}"
        return warnings


def load_networks(
    options: PredictOptions, runtime: Runtime, *, shared: bool | None = None
) -> Networks:
    """Load all that a prediction needs but the videos: a damaged record costs no predictions.

    Args:
        shared: as `load_streams` takes it; by default not with a cascade, for which flow must not
            be computed before it is asked for.

    Raises:
        InputError: the runs do not fit each other, a network cannot take the views of the protocol,
            or an option does nothing.
    """
    if options.cascade is not None and len(options.runs) < 2:
        raise InputError(
            "--cascade needs two streams: the second is asked where the first is unsure"
        )
    streams = load_streams(
        options.runs,
        shared=options.cascade is None if shared is None else shared,
        checkpoint=options.checkpoint,
        protocol=options.protocol,
        device=runtime.device,
        extraction=options.extraction,
        trust_plugins=options.trust_plugins,
    )
    class_names = next(iter(streams.values())).spec.class_names
    return Networks(
        streams,
        find_steps(options.steps, streams=list(streams), class_names=class_names),
        options.cascade,
        replace(runtime, bar=no_bar),
        {
            key: read_training_videos(run / options.checkpoint)
            for key, run in options.runs.items()
            if isinstance(run, Path)
        },
    )


def probabilities(fusion: Fusion) -> dict[str, NDArray[np.float64]]:
    """Probabilities (V, classes) of the fusion, as `FUSED`, and of each stream that was asked."""
    streams = fusion.streams
    return {FUSED: as_probs(fusion.scores.astype(np.float64), fusion.table.score_type)} | {
        key: as_probs(scores, streams.score_type) for key, scores in streams.scores.items()
    }


def seen_in_training(
    card: Mapping[str, Any], recorded: Sequence[RunVideo], sources: Mapping[str, str]
) -> dict[str, str]:
    """What a network has done with those videos that it knows: `was trained on this video`.

    Args:
        card, recorded: of `read_training_videos`.
        sources: videos by their paths -> the first digits of the sha256 of their files. Where the
            record of the run is not at hand, videos are known by the ends of their paths.
    """
    by_file = any(video.source for video in recorded)
    asked: dict[str, list[str]] = defaultdict(list)  # a name to look for -> paths
    for path in sources:
        if by_file:
            asked[f"\0{path}"].append(path)  # the file alone tells: names begin with no NUL
        else:
            parts = PurePath(without_suffix(path)).parts
            for begin in range(len(parts)):
                asked["/".join(parts[begin:])].append(path)
    listed = [(name, sources[paths[0]] if by_file else "") for name, paths in asked.items()]
    seen = find_seen(listed, card=card, recorded=recorded)
    chose = {p: "chose its epoch by this video" for name in seen.selecting for p in asked[name]}
    return chose | {p: "was trained on this video" for name in seen.trained for p in asked[name]}
