"""Trained networks with the settings of extraction that give them what they were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from flow_extract.extraction.settings import extraction_settings
from flow_extract.methods import FLOW_METHODS
from flow_extract.store.codecs import DEFAULT_BOUND
from twostream.models.checkpoint import NetworkSpec, load_network
from twostream.models.segment_network import SegmentNetwork
from twostream_base import plugins
from twostream_base.errors import InputError

# What `extract-flow` does by default: for networks that do not know how their input was made.
DEFAULTS: dict[str, Any] = {
    "method": {"name": "dis", "options": {}},
    "bound": DEFAULT_BOUND,
    "short_side": None,
    "codec": "jpeg",
}
OF_FRAMES = ("short_side", "codec", "quality")  # the settings that decide the stored frames


class Stream(NamedTuple):
    """A trained network, and the settings of the store file that it reads."""

    spec: NetworkSpec
    network: SegmentNetwork
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Extraction:
    """Options of the command line that override what a network's spec says; None: as it says."""

    method: str | None = None
    method_option: Sequence[str] = ()
    short_side: int | None = None


def load_streams(
    runs: Mapping[str, Path],
    *,
    checkpoint: str,
    device: torch.device,
    extraction: Extraction,
    shared: bool,
) -> dict[str, Stream]:
    """Load the network of each run, by stream.

    Args:
        checkpoint: `best` or `last`.
        shared: whether a stream of frames may read the file that is made for the flow anyway; else
            it reads one without flow.

    Raises:
        InputError: a run of another stream, or how its flow was made is not known.
    """
    streams = {}
    for key, run in runs.items():
        spec, network = load_network(run / checkpoint)
        if spec.stream != key:
            raise InputError(f"{run} is a {spec.stream} network; give it as --{spec.stream}")
        network.to_device(device)
        streams[key] = Stream(spec, network, extraction_of(spec, run, extraction))
    if shared:

        def frames_of(stream: Stream) -> tuple[Any, ...]:
            return tuple(stream.settings[key] for key in OF_FRAMES)

        # A stream of frames reads the file with flow, where its frames are the same.
        with_flow = {frames_of(s): s.settings for s in streams.values() if s.settings["method"]}
        for key, stream in streams.items():
            settings = with_flow.get(frames_of(stream), stream.settings)
            streams[key] = stream._replace(settings=settings)
    return streams


def extraction_of(spec: NetworkSpec, run: Path, overrides: Extraction) -> dict[str, Any]:
    """Settings of extraction that give a network what it was trained on.

    Without flow for a network that sees none. What its spec records decides; for networks of other
    tools, which know little, the defaults stand in.

    Raises:
        InputError: it was trained on flow of an unknown method.
    """
    known = DEFAULTS | spec.flow | spec.extraction
    if spec.extraction:
        known["bound"] = spec.extraction["quantiser"]["bound"]
    if spec.modality.name != "flow":
        method, options = "dis", {}  # replaced by None below
    else:
        method, options = known["method"]["name"], known["method"]["options"]
        if overrides.method is None and method not in FLOW_METHODS and ":" not in method:
            raise InputError(
                f"{run} was trained on flow by {method!r}, which cannot be computed here; "
                f"give the --method that comes next to it: {', '.join(FLOW_METHODS)}"
            )
        if overrides.method not in (None, method):
            method, options = overrides.method, {}
        options = options | plugins.read_options(overrides.method_option, option="--method-option")
    settings = extraction_settings(
        method,
        options,
        bound=known["bound"],
        short_side=overrides.short_side or known["short_side"],
        codec=known["codec"],
    )
    return settings if spec.modality.name == "flow" else settings | {"method": None}
