"""Features of videos at a regular step, as arrays for detectors and segmenters of the field.

A video gets one array of each stream, or one of all side by side:

- `actionformer`: (T', D). Row i is of frames i * stride to i * stride + window, as ActionFormer,
  its kin and the loaders of I3D features take it (`feat_stride` and `num_frames` there).
- `ms-tcn`: (D, T'). Column i is of a window whose middle is frame i * stride; with a stride of 1,
  one for each frame, as MS-TCN and its kin take it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from flow_extract.extraction.executor import PRELOAD, Engine, Outcome
from flow_extract.store.header import settings_hash
from flow_extract.store.locks import locked, remove_leftovers
from flow_extract.video.decode import VideoError, probe
from flow_extract.video.pictures import content_sha256
from fusion.tables.windows import Span
from twostream.compute.device import Runtime, no_bar
from twostream.data.protocols import SPREAD
from twostream.data.stored import SOURCE_DIGITS
from twostream.models.external_networks import ExternalNetwork, open_weights
from twostream.prediction.networks import (
    Extraction,
    Stream,
    group_by_extraction,
    load_streams,
    weights_file,
)
from twostream.prediction.windows import WindowPass
from twostream.transforms.presets import Modality
from twostream_base.errors import InputError, disk_error
from twostream_base.files import (
    atomic_path,
    parse_json,
    path_inside,
    read_text,
    sha256_bytes,
    sha256_file,
    write_text,
)
from twostream_base.heartbeat import beat
from twostream_base.versions import tool_version

JOINED = "joined"
BUSY_SECONDS = 1.0  # before the next look at a video of which another process has the lock


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """The options of `twostream features`; window and stride in frames.

    Attributes:
        runs: of each stream its run folder; or its network of another tool, or what opens it.
    """

    runs: Mapping[str, Path | ExternalNetwork | Callable[[], ExternalNetwork]]
    checkpoint: str
    stride: int
    window: int | None
    crops: str
    layout: str
    joined: bool
    out: Path
    extraction: Extraction
    trust_plugins: bool = False

    @property
    def outputs(self) -> dict[str, list[str]]:
        """The streams whose features are in each array of a video."""
        return {JOINED: list(self.runs)} if self.joined else {key: [key] for key in self.runs}

    def files(self, name: str) -> dict[str, Path]:
        """The arrays of a video."""
        return {
            output: path_inside(self.out if self.joined else self.out / output, f"{name}.npy")
            for output in self.outputs
        }


class Video(NamedTuple):
    """Name in the results, what was typed for it, and file or folder of pictures."""

    name: str
    text: str
    path: Path


def write_features(
    videos: Sequence[Video],
    options: FeatureOptions,
    runtime: Runtime,
    *,
    tell: Callable[[str], None],
    engine: Engine | None = None,
    jobs: int = 1,
    timeout: float = 600.0,
) -> dict[str, Any]:
    """Write the features of videos; those that are there already are left.

    A file `<name>.json` beside the arrays of a video says how they were made. It is written last:
    where it is there and says the same, the video is done. Each video is locked meanwhile, so
    several processes share the videos of a folder.

    Args:
        tell: gets a line for each video that another process works on.
        engine: runs the videos in processes of their own, as `executor.run_jobs` does; None: they
            are done here, one after the other.
        jobs, timeout: processes at one time, and seconds without progress, for `engine`.

    Returns:
        The result as JSON values.
    """
    writer = FeatureWriter(options, runtime)
    options.out.mkdir(parents=True, exist_ok=True)

    def run(waiting: Sequence[Video]) -> Iterator[tuple[Video, Outcome]]:
        if engine is None:
            for video in waiting:
                with claim(video, out=options.out) as answer:
                    outcome = answer or Outcome("returned", writer.write(video))
                yield video, outcome
            return
        # They run in any folder, and open networks themselves.
        runs: dict[str, Path | Callable[[], ExternalNetwork]] = {
            key: run.absolute()
            if isinstance(run, Path)
            else partial(open_weights, weights_name(run), class_names=run.spec.class_names)
            for key, run in writer.runs.items()
        }
        apart = replace(options, runs=runs, out=options.out.absolute())
        threads = max(1, runtime.threads // jobs)
        function = partial(
            write_apart, options=apart, runtime=replace(runtime, threads=threads, bar=no_bar)
        )
        outcomes = engine(
            function,
            [video._replace(path=video.path.absolute()) for video in waiting],
            workers=jobs,
            timeout=timeout,
            preload=(*PRELOAD, __name__),
            lasting=True,
            claim=partial(claim, out=apart.out),
        )
        yield from runtime.bar(outcomes, total=len(waiting), label="features", unit="video")

    rows: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    told: set[str] = set()
    waiting = list(videos)
    while waiting:
        busy = []
        for video, outcome in run(waiting):
            if outcome.status != "returned":
                failed[video.text] = f"{outcome.status}: {outcome.reason}"
            elif isinstance(outcome.value, Unwritable):
                raise OSError(f"{video.text}: its features cannot be stored: {outcome.value.why}")
            elif outcome.value is None:
                busy.append(video)
                if video.name not in told:
                    told.add(video.name)
                    tell(
                        f"{video.text}: another process works on it; it is looked at again at the "
                        "end"
                    )
            elif "failed" in outcome.value:
                failed[video.text] = outcome.value["failed"]
            else:
                files = {output: str(file) for output, file in options.files(video.name).items()}
                rows[video.name] = {"video": video.text, "files": files} | outcome.value
        if len(busy) == len(waiting):
            time.sleep(BUSY_SECONDS)
        waiting = busy
    remove_leftovers(options.out)
    return {
        "streams": {key: str(run) for key, run in writer.runs.items()},
        "layout": options.layout,
        "stride": options.stride,
        "window": writer.window,
        "videos": [rows[video.name] for video in videos if video.name in rows],
        "failed": failed,
    }


_writer: FeatureWriter | None = None  # of this process, if it was started for videos


def write_apart(
    video: Video, *, options: FeatureOptions, runtime: Runtime
) -> dict[str, Any] | Unwritable | None:
    """`FeatureWriter.write` in a process of its own, which keeps its networks for other videos.

    On Dask a process has one video, and so opens its networks for each.
    """
    global _writer
    if _writer is None:
        torch.set_num_threads(runtime.threads)  # it was started with one
        _writer = FeatureWriter(options, runtime)
        beat()
    try:
        return _writer.write(video)
    except OSError as error:  # those of the video are told as `failed`
        return Unwritable(disk_error(error))


@contextmanager
def claim(video: Video, *, out: Path) -> Iterator[Outcome | None]:
    """Hold the lock of a video for the length of the block, as `folder.claim`.

    Yields None if its features are to be written; else an outcome whose value says why not.
    """
    with ExitStack() as stack:
        answer = None
        try:
            if not out.is_dir():
                raise FileNotFoundError(errno.ENOENT, "this machine does not see it", str(out))
            if not stack.enter_context(locked(out, video.name)):
                answer = Outcome("returned", None)
        except OSError as error:
            answer = Outcome("returned", Unwritable(disk_error(error)))
        yield answer


class Unwritable(NamedTuple):
    """In place of features: why the disk does not take them, which is no fault of the video."""

    why: str


def weights_name(network: ExternalNetwork) -> str:
    """What `open_weights` takes in any folder: the whole path of a file, or a published name."""
    path = Path(network.source)
    return str(path.absolute()) if path.exists() else network.source


class FeatureWriter:
    """Networks, and all that decides what they make of videos.

    Attributes:
        runs: run folders, and networks of other tools, by stream.
        window: frames that a feature is of.

    Raises:
        InputError: the runs do not fit each other, or a window is too short for a network.
    """

    def __init__(self, options: FeatureOptions, runtime: Runtime) -> None:
        self.options, self.runtime = options, runtime
        self.runs: dict[str, Path | ExternalNetwork] = {
            key: run() if callable(run) else run for key, run in options.runs.items()
        }
        self.streams = load_streams(
            self.runs,
            shared=True,
            checkpoint=options.checkpoint,
            protocol=f"segments:1,crops={options.crops}",
            device=runtime.device,
            extraction=options.extraction,
            trust_plugins=options.trust_plugins,
        )
        self.window = find_window(options, self.streams)
        dropping = {bool(stream.settings.get("drop_repeated")) for stream in self.streams.values()}
        if options.joined and len(dropping) > 1:
            raise InputError(
                "--joined: one network was trained on frames without repeated ones "
                "(--drop-repeated), another on all, so that their rows are of other moments; leave "
                "--joined out"
            )
        self.facts = {
            key: {
                "stream": key,
                "model": stream.spec.model,
                "checkpoint": sha256_file(weights_file(self.runs[key], options.checkpoint)),
                "features": stream.network.feature_size,
                "protocol": stream.protocol.name,
                "precision": runtime.precision,
                "extraction": settings_hash(stream.settings),
            }
            for key, stream in self.streams.items()
        }

    def write(self, video: Video) -> dict[str, Any]:
        """Write what is missing of a video, whose lock is held.

        Returns:
            Its `shapes`, what is `damaged`, and whether something was `done_now`; or why it
            `failed`.
        """
        options, outputs = self.options, self.options.outputs
        try:
            source = content_sha256(video.path)[:SOURCE_DIGITS]
        except OSError as error:
            return {"failed": f"cannot be read: {error.strerror}"}
        except VideoError as error:
            return {"failed": str(error)}
        cards = {
            output: {
                "layout": options.layout,
                "feat_stride": options.stride,
                "num_frames": self.window,
                "streams": [self.facts[key] for key in keys],
                "source": source,
                "versions": {"twostream": tool_version()},
            }
            for output, keys in outputs.items()
        }
        files = options.files(video.name)
        known = {output: finished(files[output], cards[output]) for output in outputs}
        missing = {output: keys for output, keys in outputs.items() if known[output] is None}
        # The name, not the content: two copies of a film are two videos.
        folder = options.out / f".{sha256_bytes(os.fsencode(video.name))[:32]}.part"
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
        if missing:
            streams = {key for keys in missing.values() for key in keys}
            try:
                facts = self.compute(video, streams, folder=folder)
                for output, keys in missing.items():
                    card = files[output].with_suffix(".json")
                    card.unlink(missing_ok=True)  # it would call other arrays done
                    shape = join_arrays(
                        files[output],
                        [folder / key for key in keys],
                        [self.streams[key].network.feature_size for key in keys],
                        transposed=options.layout == "ms-tcn",
                    )
                    content = cards[output] | facts[keys[0]] | {"shape": shape}
                    write_text(card, json.dumps(content, indent=2) + "\n")
                    known[output] = content
            except VideoError as error:
                return {"failed": str(error)}
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        done = [card for card in known.values() if card]
        return {
            "done_now": bool(missing),
            "damaged": next((card["damaged"] for card in done if card["damaged"]), None),
            "shapes": {output: card["shape"] for output, card in known.items() if card},
        }

    def compute(
        self, video: Video, keys: Collection[str], *, folder: Path
    ) -> dict[str, dict[str, Any]]:
        """Compute the features of a video by these streams; they go to disk as they come.

        Args:
            folder: for a file of float32 (T', D) of each stream, of its name.

        Returns:
            Of the frames that each stream has seen: `fps`, `frames`, `damaged`.

        Raises:
            VideoError: it gives no frames, or no flow.
        """
        options = self.options
        streams = {key: stream for key, stream in self.streams.items() if key in keys}
        expected = (probe(video.path).num_frames or 1) // options.stride * len(streams)
        folder.mkdir(parents=True)
        facts: dict[str, dict[str, Any]] = {}
        with ExitStack() as stack:
            files = {key: stack.enter_context((folder / key).open("wb")) for key in streams}
            for group in group_by_extraction(streams):
                run = WindowPass(
                    video.path,
                    group,
                    Span(self.window, in_frames=True),
                    Span(options.stride, in_frames=True),
                    self.runtime,
                    as_features=True,
                    centred=options.layout == "ms-tcn",
                )
                shown = self.runtime.bar(run, total=expected, label=video.text, unit="feature")
                for key, _, row in shown:
                    files[key].write(np.ascontiguousarray(row, "<f4").data)
                # Without repeated frames the others are as many a second as are left.
                fps = run.fps * (run.frames / run.decoded)
                of_pass = {"fps": fps, "frames": run.frames, "damaged": run.damage}
                facts |= dict.fromkeys(group, of_pass)
        return facts


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


def finished(path: Path, card: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the JSON file of an array says, where the array is there and it says what `card` says.

    None where it is torn: then the array is made again.
    """
    beside = path.with_suffix(".json")
    if not (path.exists() and beside.exists()):
        return None
    try:
        known = parse_json(read_text(beside))
    except ValueError:
        return None
    is_same = isinstance(known, dict) and all(
        known.get(key) == value for key, value in card.items()
    )
    if not is_same or not isinstance(known.get("damaged", 0), str | None):
        return None
    shape = known.get("shape")
    is_shape = isinstance(shape, list) and len(shape) == 2 and all(type(n) is int for n in shape)
    return dict(known) if is_shape else None


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
