"""Trained networks together with the settings by which what they look at was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from flow_extract.methods import FLOW_METHODS
from flow_extract.store.quantize import DEFAULT_BOUND
from flow_extract.store.settings import extraction_settings
from twostream.models.checkpoint import NetworkSpec, load_network
from twostream.models.segment_network import SegmentNetwork
from twostream_base import plugins
from twostream_base.errors import InputError

# Of a store that no spec knows: what `extract-flow` does by itself.
USUAL: dict[str, Any] = {
    "method": {"name": "dis", "options": {}},
    "bound": DEFAULT_BOUND,
    "short_side": None,
    "codec": "jpeg",
}
PICTURES = ("short_side", "codec", "quality")  # the settings that decide the frames


class Stream(NamedTuple):
    """A trained network, and the settings of the store file that it reads."""

    spec: NetworkSpec
    network: SegmentNetwork
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Extraction:
    """Options of the command line that take the place of what a network's spec says; or None."""

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
    for wanted, run in runs.items():
        spec, network = load_network(run / checkpoint)
        if spec.stream != wanted:
            raise InputError(f"{run} is a {spec.stream} network; give it as --{spec.stream}")
        network.to_device(device)
        streams[wanted] = Stream(spec, network, settings_of(spec, run, extraction))
    return _sharing(streams) if shared else streams


def settings_of(spec: NetworkSpec, run: Path, given: Extraction) -> dict[str, Any]:
    """Settings of extraction that give a network what it was trained on.

    Without flow for a network that sees none. Recorded is all that matters; for networks of
    other tools the usual settings stand in.

    Raises:
        InputError: it was trained on flow of which nobody knows how it was made.
    """
    known = _recorded(spec)
    method = known["method"]["name"]
    if spec.modality.name != "flow":
        return _settings(known, given.short_side, USUAL["method"]) | {"method": None}
    if given.method is None and method not in FLOW_METHODS and ":" not in method:
        raise InputError(
            f"{run} was trained on flow by {method!r}, which cannot be computed here; "
            f"give the --method that comes next to it: {', '.join(FLOW_METHODS)}"
        )
    same = given.method in (None, method)
    options = plugins.read_options(given.method_option, option="--method-option")
    chosen = {
        "name": given.method or method,
        "options": (known["method"]["options"] if same else {}) | options,
    }
    return _settings(known, given.short_side, chosen)


def _recorded(spec: NetworkSpec) -> dict[str, Any]:
    known = USUAL | spec.flow | spec.extraction
    if spec.extraction:
        known["bound"] = spec.extraction["quantiser"]["bound"]
    return known


def _settings(
    known: Mapping[str, Any], short_side: int | None, method: Mapping[str, Any]
) -> dict[str, Any]:
    return extraction_settings(
        method["name"],
        method["options"],
        bound=known["bound"],
        short_side=short_side or known["short_side"],
        codec=known["codec"],
    )


def _sharing(streams: Mapping[str, Stream]) -> dict[str, Stream]:
    """Streams of frames read the file with flow, where its frames are the same."""
    files = {
        _pictures(stream): stream.settings
        for stream in streams.values()
        if stream.settings["method"]
    }
    return {
        key: stream._replace(settings=files.get(_pictures(stream), stream.settings))
        for key, stream in streams.items()
    }


def _pictures(stream: Stream) -> tuple[Any, ...]:
    return tuple(stream.settings[key] for key in PICTURES)
