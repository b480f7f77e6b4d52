"""What a joint network takes over from the two runs that it starts from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twostream.models import TWO_STREAMS, find_network, flow_stack
from twostream.models.checkpoint import WEIGHTS, read_spec
from twostream.models.initial_weights import recognised, stream_of
from twostream_base import plugins
from twostream_base.errors import InputError


@dataclass(frozen=True, slots=True)
class Start:
    """What weights say of their network; nothing, where they do not. See `NetworkSpec`."""

    model: str = ""
    model_options: dict[str, Any] | None = None
    stream: str = ""
    clip_length: int | None = None
    frame_interval: int | None = None
    stack: int = 1
    input_size: int | None = None
    resize: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()


def find_starts(
    paths: Sequence[str], *, model_option: Sequence[str] = (), trust_plugins: plugins.Trust = False
) -> dict[str, Any]:
    """Options of `twostream train` that two trained networks decide, of RGB and of flow.

    Args:
        paths: of each a run folder, whose best epoch counts, or a file of weights.
        model_option: the `KEY=VALUE` texts of --model-option, which override those of the runs.
        trust_plugins: whether a `module:function` that a run names may be imported, or which.

    Raises:
        InputError: they are of other streams, or do not go together.
    """
    starts = [_read(Path(path), trust_plugins) for path in paths]
    keys = {text.partition("=")[0].strip() for text in model_option}
    for path, stream, start in zip(paths, TWO_STREAMS, starts, strict=True):
        if start.stream not in ("", stream):
            raise InputError(
                f"--from {' '.join(paths)}: {path} is a {start.stream} network; give one of the "
                "spatial stream first, and then one of the motion stream"
            )
        if start.stack > 1:
            raise InputError(
                f"--from: {path} sees {start.stack} flow pairs at each time step; a joint network "
                "of clips sees one beside each frame"
            )
    spatial, motion = starts
    what = f"--from {paths[0]} and {paths[1]}"
    if spatial.class_names and motion.class_names and spatial.class_names != motion.class_names:
        raise InputError(f"{what} were trained on other classes, or on another order of them")
    if spatial.resize != motion.resize:
        raise InputError(
            f"{what} saw frames of other sizes, {_size(spatial)} and {_size(motion)}: one crop is "
            "for both, so train one of them again"
        )
    of_clips = (spatial.clip_length or 1) > 1
    clips = [(start.clip_length, start.frame_interval) for start in starts]
    if of_clips and motion.model and clips[0] != clips[1]:
        raise InputError(
            f"{what} look at other moments: snippets of {clips[0][0]} and {clips[1][0]}, "
            f"{clips[0][1]} and {clips[1][1]} apart; train one of them again with the other's "
            "--clip-length and --frame-interval"
        )
    stack = flow_stack(spatial.model, "joint", motion.clip_length or 1)
    if spatial.model and stack > 1 and motion.frame_interval not in (None, 1):
        raise InputError(
            f"--from: {paths[1]} saw flow pairs {motion.frame_interval} apart; beside the frame of "
            f"a joint network of pictures, {spatial.model}, lie neighbouring ones: train it again "
            "with --frame-interval 1"
        )
    texts = [
        f"{stream}.{key}={json.dumps(value)}"
        for stream, start in zip(TWO_STREAMS, starts, strict=True)
        for key, value in (start.model_options or {}).items()
        if not {key, f"{stream}.{key}"} & keys
    ]
    if motion.model and motion.model != spatial.model and "motion_model" not in keys:
        texts.append(f"motion_model={json.dumps(motion.model)}")
    return {
        "model": spatial.model,
        "model_option": tuple(texts),
        "clip_length": motion.clip_length,
        "frame_interval": motion.frame_interval,
        "input_size": spatial.input_size,
        "resize": spatial.resize,
    }


def _size(start: Start) -> str:
    return "x".join(map(str, start.resize)) or "as stored"


def _read(path: Path, trust_plugins: plugins.Trust) -> Start:
    """What a run folder, or a file of weights of whatever tool, says of its network."""
    if not path.exists():
        raise InputError(f"--from {path}: there is no such run folder or file of weights")
    if path.is_dir() or stream_of(path):
        folder = path / "best" if path.is_dir() else path.parent
        if path.is_file() and path.name != WEIGHTS:
            raise InputError(f"{path}: give the run folder, or its best/{WEIGHTS}")
        spec = read_spec(folder, trust_plugins=trust_plugins)
        with plugins.naming(folder / WEIGHTS):  # below, it would be an option of the joint network
            find_network(spec.model)
        return Start(
            model=spec.model,
            model_options=spec.model_options,
            stream=spec.stream,
            clip_length=spec.clip_length,
            frame_interval=spec.frame_interval,
            stack=spec.stack,
            input_size=spec.input_size,
            resize=spec.resize,
            class_names=spec.class_names,
        )
    checkpoint = recognised(str(path))
    if checkpoint is None:
        return Start()
    return Start(
        model=checkpoint.model,
        model_options=checkpoint.model_options,
        stream=checkpoint.stream,
        clip_length=checkpoint.clip_length,
        frame_interval=checkpoint.frame_interval,
        stack=checkpoint.stack,
    )
