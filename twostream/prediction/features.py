"""Features of videos at a regular step, as arrays for detectors and segmenters of the field.

A video gets one array of each stream, or one of all side by side:

- `actionformer`: (T', D). Row i is of frames i * stride to i * stride + window, as ActionFormer,
  its kin and the loaders of I3D features take it (`feat_stride` and `num_frames` there).
- `ms-tcn`: (D, T'). Column i is of a window whose middle is frame i * stride; with a stride of 1,
  one for each frame, as MS-TCN and its kin take it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow_extract.store.header import settings_hash
from flow_extract.store.locks import locked, remove_leftovers
from flow_extract.video.decode import VideoError, probe
from flow_extract.video.pictures import content_sha256
from fusion.tables.windows import Span
from twostream.compute.device import Runtime
from twostream.data.protocols import SPREAD, Protocol, find_protocol
from twostream.data.stored import SOURCE_DIGITS
from twostream.models.checkpoint import WEIGHTS
from twostream.models.external_networks import ExternalNetwork
from twostream.models.probe import check_input_sizes
from twostream.prediction.predict_video import Extraction, Stream, load_streams
from twostream.prediction.windows import WindowPass, WindowStream
from twostream.transforms.presets import Modality
from twostream_base.errors import InputError
from twostream_base.files import (
    atomic_path,
    parse_json,
    path_inside,
    read_text,
    sha256_bytes,
    sha256_file,
    write_text,
)
from twostream_base.versions import tool_version

LAYOUTS = ("actionformer", "ms-tcn")
JOINED = "joined"
BUSY_SECONDS = 1.0  # before the next look at a video of which another process has the lock


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """The options of `twostream features`; window and stride in frames."""

    runs: Mapping[str, Path | ExternalNetwork]
    checkpoint: str
    stride: int
    window: int | None
    crops: str
    layout: str
    joined: bool
    out: Path
    extraction: Extraction
    trust_plugins: bool = False


def write_features(
    videos: Mapping[str, tuple[str, Path]],
    options: FeatureOptions,
    runtime: Runtime,
    *,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Write the features of one video after the other; those that are there already are left.

    A file `<name>.json` beside the arrays of a video says how they were made. It is written last:
    where it is there and says the same, the video is done. Each video is locked meanwhile, so
    several processes share the videos of a folder.

    Args:
        videos: names of files -> as results name them, and file or folder of pictures.
        tell: gets a line for each video that another process works on.

    Returns:
        The result as JSON values.

    Raises:
        InputError: the runs do not fit each other, or a window is too short for a network.
    """
    streams = load_streams(
        options.runs,
        checkpoint=options.checkpoint,
        device=runtime.device,
        extraction=options.extraction,
        shared=True,
        trust_plugins=options.trust_plugins,
    )
    protocol = find_protocol(f"segments:1,crops={options.crops}")
    for stream in streams.values():
        check_input_sizes(
            stream.network, stream.spec, protocols=(protocol.name,), device=runtime.device
        )
    window = find_window(options, streams)
    facts = {
        key: {
            "stream": key,
            "model": stream.spec.model,
            "checkpoint": sha256_file(
                run / options.checkpoint / WEIGHTS if isinstance(run, Path) else run.file
            ),
            "features": stream.network.feature_size,
            "protocol": protocol.name,
            "precision": runtime.precision,
            "extraction": settings_hash(stream.settings),
        }
        for (key, stream), run in zip(streams.items(), options.runs.values(), strict=True)
    }
    dropping = {bool(stream.settings.get("drop_repeated")) for stream in streams.values()}
    if options.joined and len(dropping) > 1:
        raise InputError(
            "--joined: one network was trained on frames without repeated ones (--drop-repeated), "
            "another on all, so that their rows are of other moments; leave --joined out"
        )
    outputs = {JOINED: list(streams)} if options.joined else {key: [key] for key in streams}
    rows: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    sources: dict[str, str] = {}
    busy: set[str] = set()
    waiting = deque(videos)
    options.out.mkdir(parents=True, exist_ok=True)
    while waiting:
        name = waiting.popleft()
        text, video = videos[name]
        try:
            if name not in sources:
                sources[name] = content_sha256(video)[:SOURCE_DIGITS]
        except OSError as error:
            failed[text] = f"cannot be read: {error.strerror}"
            continue
        except VideoError as error:
            failed[text] = str(error)
            continue
        cards = {
            output: {
                "layout": options.layout,
                "feat_stride": options.stride,
                "num_frames": window,
                "streams": [facts[key] for key in keys],
                "source": sources[name],
                "versions": {"twostream": tool_version()},
            }
            for output, keys in outputs.items()
        }
        folders = {
            output: options.out if options.joined else options.out / output for output in outputs
        }
        files = {output: path_inside(folder, f"{name}.npy") for output, folder in folders.items()}
        with locked(options.out, name) as mine:
            if mine:
                missing = {
                    output: keys
                    for output, keys in outputs.items()
                    if not is_done(files[output], cards[output])
                }
                if missing:
                    # The name, not the content: two copies of a film are two videos.
                    folder = options.out / f".{sha256_bytes(os.fsencode(name))[:32]}.part"
                    try:
                        found = features_of_video(
                            video,
                            {key: streams[key] for keys in missing.values() for key in keys},
                            protocol,
                            window=window,
                            options=options,
                            runtime=runtime,
                            folder=folder,
                            label=text,
                        )
                    except VideoError as error:
                        failed[text] = str(error)
                        continue
                    for output, keys in missing.items():
                        card = files[output].with_suffix(".json")
                        card.unlink(missing_ok=True)  # it would call other arrays done
                        shape = join_arrays(
                            files[output],
                            [found.rows[key] for key in keys],
                            [streams[key].network.feature_size for key in keys],
                            transposed=options.layout == "ms-tcn",
                        )
                        made = cards[output] | found.facts[keys[0]] | {"shape": shape}
                        write_text(card, json.dumps(made, indent=2) + "\n")
                    shutil.rmtree(folder)
                known = {
                    output: parse_json(read_text(file.with_suffix(".json")))
                    for output, file in files.items()
                }
                rows[name] = {
                    "video": text,
                    "files": {output: str(file) for output, file in files.items()},
                    "done_now": bool(missing),
                    "damaged": next((c["damaged"] for c in known.values() if c["damaged"]), None),
                    "shapes": {output: card["shape"] for output, card in known.items()},
                }
                continue
        if name not in busy:
            busy.add(name)
            tell(f"{text}: another process works on it; it is looked at again at the end")
        waiting.append(name)
        if busy.issuperset(waiting):
            time.sleep(BUSY_SECONDS)
    remove_leftovers(options.out)
    return {
        "streams": {key: str(run) for key, run in options.runs.items()},
        "layout": options.layout,
        "stride": options.stride,
        "window": window,
        "videos": [rows[name] for name in videos if name in rows],
        "failed": failed,
    }


def find_window(options: FeatureOptions, streams: Mapping[str, Stream]) -> int:
    """The frames that a feature shows: as told, else as many as the longest snippet has.

    Raises:
        InputError: none is given, and a network spreads its frames over all that there is; or it
            is too short for a network.
    """
    spans = {key: snippet_frames(stream.spec.modality) for key, stream in streams.items()}
    if options.window is None:
        spread = [key for key, stream in streams.items()
                  if stream.spec.modality.sampling["interval"] == SPREAD]  # fmt: skip
        if spread:
            raise InputError(
                f"the {spread[0]} network spreads its frames over the whole video: say by --window "
                "over how many frames here, such as 64"
            )
        return max(spans.values())
    for key, span in spans.items():
        if options.window < span:
            raise InputError(
                f"--window {options.window}: a snippet of the {key} network has {span} frames; "
                "give as many or more"
            )
    return options.window


def snippet_frames(modality: Modality) -> int:
    """How many frames a snippet shows, from its first to its last; of flow one more than pairs.

    Of spread frames, their number.
    """
    sampling = modality.sampling
    stack = sampling.get("stack", 1)
    steps, interval = sampling["snippet_length"] // stack, sampling["interval"]
    return (steps - 1) * max(1, interval) + stack + modality.sees_flow


@dataclass(frozen=True, slots=True)
class VideoFeatures:
    """The features of a video, on disk.

    Attributes:
        rows: a file of float32 (T', D) for each stream.
        facts: of the frames that each stream has seen: `fps`, `frames`, `damaged`.
    """

    rows: dict[str, Path]
    facts: dict[str, dict[str, Any]]


def features_of_video(
    video: Path,
    streams: Mapping[str, Stream],
    protocol: Protocol,
    *,
    window: int,
    options: FeatureOptions,
    runtime: Runtime,
    folder: Path,
    label: str,
) -> VideoFeatures:
    """Compute the features of a video; they go to disk as they come.

    Args:
        folder: for these files.
        label: what the progress bar calls the video.

    Raises:
        VideoError: it gives no frames, or no flow.
    """
    expected = (probe(video).num_frames or 1) // options.stride * len(streams)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = {key: folder / key for key in streams}
    passes: dict[str, list[str]] = {}
    for key, stream in streams.items():
        passes.setdefault(settings_hash(stream.settings), []).append(key)
    handles = {key: file.open("wb") for key, file in files.items()}
    facts: dict[str, dict[str, Any]] = {}
    try:
        for keys in passes.values():
            run = WindowPass(
                video,
                {key: WindowStream(streams[key], protocol) for key in keys},
                Span(window, in_frames=True),
                Span(options.stride, in_frames=True),
                runtime,
                as_features=True,
                centred=options.layout == "ms-tcn",
            )
            for key, _, row in runtime.bar(run, total=expected, label=label, unit="feature"):
                handles[key].write(np.ascontiguousarray(row, "<f4").data)
            # Without repeated frames the others are as many a second as are left.
            fps = run.fps * (run.frames / run.decoded)
            of_pass = {"fps": fps, "frames": run.frames, "damaged": run.damage}
            facts |= dict.fromkeys(keys, of_pass)
    except BaseException:
        for handle in handles.values():
            handle.close()
        shutil.rmtree(folder)
        raise
    for handle in handles.values():
        handle.close()
    return VideoFeatures(files, facts)


def join_arrays(path: Path, rows: list[Path], widths: list[int], *, transposed: bool) -> list[int]:
    """Write files of float32 (T', D) side by side as one `.npy`, a few rows in memory at a time.

    Args:
        widths: D of each file.
        transposed: the array is (D, T'), column after column.

    Returns:
        The shape of the array.
    """
    arrays: list[NDArray[np.float32]] = [
        np.memmap(file, "<f4", "r").reshape(-1, width)
        for file, width in zip(rows, widths, strict=True)
    ]
    count = min(len(array) for array in arrays)
    shape = [count, sum(widths)]
    header = {
        "descr": "<f4",
        "fortran_order": transposed,
        "shape": tuple(reversed(shape)) if transposed else tuple(shape),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for begin in range(0, count, 1024):
            part = [array[begin : min(begin + 1024, count)] for array in arrays]
            file.write(np.concatenate(part, axis=1).tobytes())
    return list(header["shape"])  # type: ignore[call-overload]


def is_done(path: Path, card: Mapping[str, Any]) -> bool:
    """Whether an array is there whose JSON file says what `card` says."""
    beside = path.with_suffix(".json")
    if not (path.exists() and beside.exists()):
        return False
    known = parse_json(read_text(beside))
    return isinstance(known, dict) and all(known.get(key) == value for key, value in card.items())


def feature_lines(result: Mapping[str, Any]) -> list[str]:
    """What was written, in words."""
    lines = [
        f"warning: {row['video']}: {row['damaged']}" for row in result["videos"] if row["damaged"]
    ]
    lines += [f"{name}: {reason}" for name, reason in result["failed"].items()]
    for row in result["videos"]:
        for output, file in row["files"].items():
            shape = " x ".join(f"{side:,}" for side in row["shapes"][output])
            lines.append(f"{file}  {shape}{'' if row['done_now'] else ', there already'}")
    lines.append(
        f"{len(result['videos']):,} videos, {len(result['failed']):,} failed; layout "
        f"{result['layout']}: a feature every {result['stride']} frames (feat_stride), of "
        f"{result['window']} frames (num_frames)"
    )
    return lines
