"""Checkpoints: a folder with `weights.safetensors` and, to go on training, `state.pt`.

`SHA256SUMS` beside them holds their checksums, as `sha256sum --check` reads them.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from twostream.data.training_videos import VIDEOS, RunVideo, digest_of, read_videos
from twostream.models import build_network
from twostream.models.consensus import load_consensus
from twostream.models.segment_network import SegmentNetwork
from twostream.transforms.presets import MODALITIES, Modality, modality_of
from twostream_base import plugins
from twostream_base.errors import InputError, some_of
from twostream_base.files import atomic_folder, read_text, restore_folder, sha256_file, write_text
from twostream_base.pickles import check_torch_file
from twostream_base.tensor_file import FileType, TensorFile

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WEIGHTS, STATE, SUMS = "weights.safetensors", "state.pt", "SHA256SUMS"
WEIGHTS_FILE = FileType(
    "weights file of a twostream run",
    key="twostream",
    cure="give the folder of a run, or train again",
)
STATE_FORMAT = 2  # rises with what the trainers keep in the state

# Type of a field of a spec -> that of its JSON value, and of the items in it.
_JSON_TYPES: dict[str, tuple[type, type | None]] = {
    "str": (str, None),
    "int": (int, None),
    "dict[str, Any]": (dict, None),
    "tuple[int, ...]": (list, int),
    "tuple[str, ...]": (list, str),
}

Spec = TypeVar("Spec", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """All that is needed to build a network again and to use it rightly; kept with its weights.

    Attributes:
        model: name in MODELS, or `module:function`. model_options: its options.
        stream: `spatial`, `motion` or `difference`.
        clip_length, frame_interval: frames or flow pairs of a snippet, and the step between them.
        resize: height and width of the frames before they were cropped; empty for as they are.
        class_names: position = label.
        num_segments, consensus, consensus_options: as trained.
        input_size: side of the square input, pixels.
        epoch: from 0. selected_on: `val` or `test`, the videos that chose this epoch.
        flow: method and bound of the flow it saw; empty without.
        extraction: all settings by which the frames and flow that it saw were made; empty where
            they are not known, as of networks of other tools.
        stack: frames or flow pairs of a snippet that are one time step; see `Modality`.
        training_videos: which videos it has seen, see `twostream.data.training_videos.card_of`;
            empty where that is not known.
        teacher: whose motion it has learnt, see `twostream.training.distil`; empty without one.
    """

    model: str
    model_options: dict[str, Any]
    stream: str
    clip_length: int
    frame_interval: int
    resize: tuple[int, ...]
    class_names: tuple[str, ...]
    num_segments: int
    consensus: str
    consensus_options: dict[str, Any]
    input_size: int
    epoch: int
    selected_on: str
    flow: dict[str, Any]
    extraction: dict[str, Any] = field(default_factory=dict)
    stack: int = 1
    training_videos: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)

    @property
    def modality(self) -> Modality:
        """What the network sees of a video."""
        return modality_of(
            self.stream,
            clip_length=self.clip_length,
            frame_interval=self.frame_interval,
            resize=self.resize,
            stack=self.stack,
        )


def save_checkpoint(
    folder: Path, network: nn.Module, spec: DataclassInstance, state: dict[str, Any]
) -> None:
    """Replace the checkpoint in `folder` as a whole.

    Args:
        spec: what `read_spec` or `read_spec_as` will give back.
        state: plain values, tensors, lists and dicts only, as `weights_only` loading allows.
    """
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with atomic_folder(folder) as new:
        header = {WEIGHTS_FILE.key: json.dumps(asdict(spec), sort_keys=True)}
        try:
            safetensors.torch.save_file(tensors, new / WEIGHTS, metadata=header)
            with (new / STATE).open("wb") as stream:
                torch.save({"format": STATE_FORMAT, "state": state}, stream)
        except (safetensors.SafetensorError, RuntimeError) as error:
            # Neither library says by its class that the disk has refused.
            in_text = re.search(r"os error (\d+)|Os \{ code: (\d+)", str(error))
            refused = error.__context__
            number = (
                refused.errno
                if isinstance(refused, OSError)
                else in_text and int(in_text[1] or in_text[2])
            )
            if not number:
                raise
            raise OSError(number, os.strerror(number), str(folder)) from error
        sums = [f"{sha256_file(new / name)}  {name}\n" for name in (WEIGHTS, STATE)]
        write_text(new / SUMS, "".join(sums))


def has_checkpoint(folder: Path) -> bool:
    """Whether a whole checkpoint is there (after mending what a crash may have left)."""
    restore_folder(folder)
    return (folder / WEIGHTS).is_file()


def read_spec(folder: Path, *, trust_plugins: plugins.Trust = False) -> NetworkSpec:
    """The spec of the network that `twostream train` left in `folder`; see `read_spec_as`."""
    spec = read_spec_as(NetworkSpec, folder, command="train", trust_plugins=trust_plugins)
    if spec.clip_length < 1 or spec.stack < 1 or spec.clip_length % spec.stack:
        raise InputError(
            f"{folder / WEIGHTS}: its stack is {spec.stack}, its clip_length {spec.clip_length}; "
            "expected whole stacks of 1 or more. Use the run as it was made, or train again"
        )
    return spec


def read_spec_as(
    kind: type[Spec], folder: Path, *, command: str, trust_plugins: plugins.Trust = False
) -> Spec:
    """The spec of the network in `folder`, which `twostream COMMAND` has written.

    Args:
        trust_plugins: whether a `module:function` in it may be imported, or which.

    Raises:
        InputError: there are no weights of a twostream run, or those of another command or version.
    """
    path = folder / WEIGHTS
    with TensorFile(path, WEIGHTS_FILE) as weights:
        values = weights.header
    required = {
        item.name
        for item in fields(kind)
        if item.default is MISSING and item.default_factory is MISSING
    }
    missing = sorted(required - values.keys())
    unknown = sorted(values.keys() - {item.name for item in fields(kind)})
    if missing or unknown:
        parts = {"lacks": missing, "has besides": unknown}
        unlike = " and ".join(f"{word} {some_of(keys)}" for word, keys in parts.items() if keys)
        raise InputError(
            f"{path}: not the weights of a `twostream {command}` run of this version, for what it "
            f"says of itself {unlike}. Use it with the version that made it, or train again"
        )
    for item in fields(kind):
        value, (container, content) = values.get(item.name), _JSON_TYPES[str(item.type)]
        if item.name in values and not (
            type(value) is container
            and (content is None or all(type(element) is content for element in values[item.name]))
            and (item.name != "stream" or value in MODALITIES)
        ):
            raise InputError(
                f"{path}: its {item.name} is {value!r}; expected "
                f"{item.type if item.name != 'stream' else ', '.join(MODALITIES)}. Use the run as "
                "it was made, or train again"
            )
    values = plugins.trust(values, trust_plugins)
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def read_training_videos(source: Path) -> tuple[dict[str, Any], list[RunVideo]]:
    """Which videos weights have seen: the card in them, and the record of the run around them.

    Both are empty where the weights say nothing, as those of other tools; there is no record where
    the weights alone are at hand.

    Args:
        source: folder of a checkpoint, or a file of weights, of whatever tool.

    Raises:
        InputError: the record is damaged, or of another run than the weights.
    """
    path = source / WEIGHTS if source.is_dir() else source
    try:
        with TensorFile(path, WEIGHTS_FILE) as weights:
            card = weights.header.get("training_videos")
    except InputError:  # of another tool, or damaged: whoever loads the weights says so
        return {}, []
    card = card if isinstance(card, dict) else {}
    record = path.absolute().parent.parent / VIDEOS
    videos = read_videos(record) if record.is_file() else []
    if videos and card and digest_of(videos) != card.get("sha256"):
        raise InputError(
            f"{record}: not of the run whose weights are in {path}; bring back the one that is, or "
            "remove it: names are then compared, files of other names are not"
        )
    return card, videos


def network_from_spec(spec: NetworkSpec) -> SegmentNetwork:
    """Build the network that a spec describes; `load_weights` then fills it."""
    return build_network(
        spec.model,
        consensus=load_consensus(spec.consensus, spec.consensus_options),
        modality=spec.modality,
        num_classes=len(spec.class_names),
        options=spec.model_options,
    )


def load_network(
    folder: Path, *, trust_plugins: plugins.Trust = False
) -> tuple[NetworkSpec, SegmentNetwork]:
    """The spec of the network in `folder`, and the network itself.

    Args:
        trust_plugins: as `read_spec_as` takes it.

    Raises:
        InputError: there is none, it is damaged, or it asks for a plug-in that is not trusted.
    """
    spec = read_spec(folder, trust_plugins=trust_plugins)
    with plugins.naming(folder / WEIGHTS):
        network = network_from_spec(spec)
    load_weights(folder, network)
    return spec, network


def load_weights(folder: Path, network: nn.Module) -> None:
    """Load the weights of `folder` into a network built for them.

    Raises:
        InputError: damaged, or of another network.
    """
    try:
        network.load_state_dict(read_tensors(folder))
    except RuntimeError as error:
        raise InputError(
            f"{folder / WEIGHTS}: the weights do not fit the network that this version builds for "
            f"them; use the version that made them, or train again: {error}"
        ) from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The weights in `folder` by their names in the network.

    Raises:
        InputError: missing, or damaged.
    """
    path = folder / WEIGHTS
    _check_sum(path)
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: not a file of weights ({error}); copy it again") from error


def load_state(folder: Path) -> dict[str, Any]:
    """The training state that belongs to the weights of `folder`; runs no code from the file.

    Raises:
        InputError: damaged, not readable, or of another version.
    """
    path = folder / STATE
    _check_sum(path)
    try:
        check_torch_file(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noise can make a reader stumble anywhere
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: cannot be read ({reason}); --restart begins anew") from error
    if not isinstance(content, dict) or content.get("format") != STATE_FORMAT:
        raise InputError(
            f"{path}: of another version of twostream, with which the run can go on; here give it "
            "another --name, or --restart"
        )
    state: dict[str, Any] = content["state"]
    return state


def _check_sum(path: Path) -> None:
    for needed in (path, path.with_name(SUMS)):
        if not needed.is_file():
            raise InputError(
                f"{needed} is missing, so this is no whole checkpoint; copy the folder again, or "
                "train anew with --restart"
            )
    lines = read_text(path.with_name(SUMS)).splitlines()
    if f"{sha256_file(path)}  {path.name}" not in lines:
        raise InputError(
            f"{path}: does not match its checksum in {SUMS}; the file is damaged. "
            "Copy it again, or train anew with --restart"
        )
