"""Scores of the windows of long videos: in parts that survive a kill, then as dense score files.

Each stream gets a dense score file, and so does their fusion. What is done of a video lies in a
folder of parts beside these files; the same command goes on there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from flow_extract.display.show import DEFAULT_FPS
from flow_extract.store.header import settings_hash
from flow_extract.video.decode import VideoError, probe
from flow_extract.video.pictures import content_sha256
from fusion.combining.fuse import fuse_joined
from fusion.evaluation.results import columns
from fusion.events.detection import detect_events
from fusion.events.event import Event
from fusion.tables import score_file
from fusion.tables.join import join
from fusion.tables.windows import Span, rows_by_video, window_grid, window_names
from twostream.compute.device import Runtime
from twostream.data.stored import SOURCE_DIGITS
from twostream.models.external_networks import ExternalNetwork
from twostream.prediction.networks import (
    FUSED,
    PredictOptions,
    Stream,
    group_by_extraction,
    load_networks,
    probabilities,
    weights_file,
)
from twostream.prediction.windows import WindowPass
from twostream_base.errors import InputError
from twostream_base.files import (
    parse_json,
    path_inside,
    read_text,
    sha256_bytes,
    sha256_file,
    write_text,
)
from twostream_base.text import write_csv
from twostream_base.versions import library_version, tool_version

WINDOWS_PER_PART = 64  # what a kill can cost: a minute or so where flow is slow
PARTS, DONE = "parts", "done.json"
# What files tell of a video, and in values of which kinds.
FILM = {
    "fps": (int, float),
    "frames": int,
    "windows": int,
    "source": str,
    "damaged": (str, type(None)),
}
TIMES = {"seconds": dict, "snippets": dict}


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """The windows, and the folder for what is found in them."""

    window: Span
    stride: Span
    folder: Path


class LongPrediction(NamedTuple):
    """What was found in a video.

    Attributes:
        video: the file.
        fps: frames per second.
        class_names: C of them.
        times: of the windows, (V, 2) seconds, in order.
        fused: probabilities (V, C).
        streams: the same of each stream.
        events: that `detect_events` finds in the fused ones.
    """

    video: Path
    fps: float
    class_names: tuple[str, ...]
    times: NDArray[np.float64]
    fused: NDArray[np.float64]
    streams: dict[str, NDArray[np.float64]]
    events: list[Event]


def predict_windows(
    videos: Mapping[str, tuple[str, Path]],
    options: PredictOptions,
    windows: WindowOptions,
    runtime: Runtime,
    *,
    tell: Callable[[str], None],
    show: Callable[[str, LongPrediction], None] | None = None,
) -> dict[str, Any]:
    """Predict the windows of one video after the other; write dense score files, and tables.

    Args:
        videos: names in the score files -> as results name them, and file or folder of pictures.
        tell: gets messages about what an earlier run has left.
        show: is called with each video's name and prediction in the end.

    Returns:
        The result as JSON values.

    Raises:
        InputError: the runs do not fit each other, or the folder has scores of another setup.
    """
    networks = load_networks(options, runtime)
    setup = {
        key: stream_facts(networks.streams[key], run, options, windows, runtime)
        for key, run in options.runs.items()
    }
    earlier = read_earlier(windows.folder, setup, videos)
    films: dict[str, dict[str, Any]] = {}
    failed = {}
    for name, (text, video) in videos.items():
        try:
            film = score_film(
                name,
                video,
                networks.streams,
                setup,
                earlier=earlier,
                windows=windows,
                runtime=runtime,
                tell=tell,
            )
            films[name] = {"video": text} | film
        except VideoError as error:
            failed[text] = str(error)
            if earlier and name in earlier[next(iter(setup))].metadata["films"]:
                raise InputError(
                    f"{windows.folder}: has scores of {text}, which cannot be read now ({error}); "
                    "bring it back, or give another folder: --scores"
                ) from error
    rows = list(films.values())
    result: dict[str, Any] = {
        "streams": {stream: str(run) for stream, run in options.runs.items()},
        "strategy": options.steps.strategy,
        "protocol": networks.protocol,
        "window": str(windows.window),
        "stride": str(windows.stride),
        "files": {},
        "videos": rows,
        "events": [],
        "failed": failed,
    }
    if not films:
        return result
    files = {key: windows.folder / f"{key}.safetensors" for key in networks.streams}
    known = {name: {key: film[key] for key in FILM} for name, film in films.items()}
    for key, path in files.items():
        assemble(path, windows.folder / PARTS, key, list(films), setup[key] | {"films": known})
    fusion = fuse_joined(join(files), networks.steps)
    table, probs = fusion.table, probabilities(fusion)
    assert table.times is not None
    if len(files) > 1:
        files[FUSED] = windows.folder / f"{FUSED}.safetensors"
        score_file.write_scores(files[FUSED], table)
    remove_parts(windows.folder / PARTS, films, networks.streams)
    files["windows"] = windows.folder / "windows.csv"
    write_windows(files["windows"], table, probs)
    files["events"] = windows.folder / "events.csv"
    warnings = networks.training_warnings({film["video"]: film["source"] for film in rows})
    by_video = rows_by_video(table)
    predictions = {}
    for name, film in films.items():
        part = by_video[name]
        times, of_film = table.times[part], {key: of_all[part] for key, of_all in probs.items()}
        fused = of_film.pop(FUSED)
        events = detect_events(times, fused, table.class_names)
        predictions[name] = LongPrediction(
            videos[name][1], film["fps"], table.class_names, times, fused, of_film, events
        )
        film["events"] = len(events)
        film["warnings"] = [*fusion.warnings, *warnings[film["video"]].values()]
        result["events"] += [{"video": name, **event._asdict()} for event in events]
    write_csv(
        files["events"],
        [("video", "start", "end", "label", "score")]
        + [
            (e["video"], f"{e['start']:.3f}", f"{e['end']:.3f}", e["label"], f"{e['score']:.6f}")
            for e in result["events"]
        ],
    )
    result["files"] = {key: str(path) for key, path in files.items()}
    if show:
        for name, prediction in predictions.items():
            show(name, prediction)
    return result


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other commands from writing windows into a folder at the same time.

    Raises:
        InputError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise InputError(
            f"{folder}: another `predict --window` writes there; wait for it, or give another "
            "folder: --scores"
        ) from None


def stream_facts(
    stream: Stream,
    run: Path | ExternalNetwork,
    options: PredictOptions,
    windows: WindowOptions,
    runtime: Runtime,
) -> dict[str, Any]:
    """All that decides the scores of a stream, but the videos, as JSON values."""
    spec = stream.spec
    return {
        "stream": spec.stream,
        "model": spec.model,
        "consensus": {"name": spec.consensus, "options": spec.consensus_options},
        "protocol": stream.protocol.name,
        "protocol_card": stream.protocol.metadata(size=spec.input_size),
        # `times`: those at which frames are shown, not frame numbers over the rate.
        "windows": {"window": str(windows.window), "stride": str(windows.stride), "times": "shown"},
        "checkpoint": sha256_file(weights_file(run, options.checkpoint)),
        "epoch": spec.epoch,
        "selected_on": spec.selected_on,
        "flow": spec.flow,
        "extraction": settings_hash(stream.settings),
        "precision": runtime.precision,
        "views_per_forward": runtime.views_per_forward,
        "versions": {"twostream": tool_version(), "torch": library_version("torch")},
    }


def score_film(
    name: str,
    video: Path,
    streams: Mapping[str, Stream],
    setup: Mapping[str, dict[str, Any]],
    *,
    earlier: Mapping[str, score_file.ScoreTable],
    windows: WindowOptions,
    runtime: Runtime,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Write the parts of one video; what an earlier run has left of them is used.

    Args:
        earlier: dense score tables that may have it already.

    Returns:
        `fps`, `frames`, `windows`, `source` (digits of the file's sha256), `damaged`, `seconds`.

    Raises:
        VideoError: the video gives no frames, or no flow.
    """
    try:
        source = content_sha256(video)[:SOURCE_DIGITS]
    except OSError as error:
        raise VideoError(f"cannot be read: {error.strerror}") from error
    folder = path_inside(windows.folder / PARTS, name)
    facts = {
        key: {"part_of": sha256_bytes(json.dumps([of, source], sort_keys=True).encode())}
        for key, of in setup.items()
    }
    marks = {key: of["part_of"] for key, of in facts.items()}
    if (folder / DONE).exists():
        with suppress(ValueError, KeyError, TypeError):  # torn: then the film is scored again
            done = parse_json(read_text(folder / DONE))
            if done["marks"] == marks and tells_film(done["film"], FILM | TIMES):
                return dict(done["film"])
    film: dict[str, Any] = {"seconds": {"decode": 0.0, "flow": 0.0}, "snippets": {}}
    tables = [table.metadata["films"].get(name) for table in earlier.values()]
    if tables and all(of and of["source"] == source for of in tables):
        for key, table in earlier.items():
            score_file.write_scores(folder / key / "000000.safetensors", rows_of(table, name))
        film = tables[0] | film
        write_text(folder / DONE, json.dumps({"marks": marks, "film": film}))
        return film
    writers = {
        key: PartWriter(
            folder / key, name=name, class_names=stream.spec.class_names, facts=facts[key]
        )
        for key, stream in streams.items()
    }
    first = {key: writer.total for key, writer in writers.items()}
    if any(first.values()):
        tell(f"{name}: going on after window {min(first.values()):,}; earlier ones are done")
    info = probe(video)
    fps = info.fps or DEFAULT_FPS
    grid = window_grid(
        max(1, info.num_frames or 1),
        window=windows.window.frames(fps),
        stride=windows.stride.frames(fps),
    )
    for group in group_by_extraction(streams):
        run = WindowPass(video, group, windows.window, windows.stride, runtime, first)
        total = sum(max(0, len(grid) - first[key]) for key in group)
        for key, window, logits in runtime.bar(run, total=total, label=name, unit="window"):
            writers[key].add(run.times(window), logits)
        for key in group:
            writers[key].finish()
        film = {
            "fps": run.fps,
            "frames": run.frames,
            "windows": writers[next(iter(group))].total,
            "source": source,
            "damaged": run.damage,
            "snippets": film["snippets"] | run.forwarded,
            "seconds": {
                part: round(value + film["seconds"][part], 3) for part, value in run.seconds.items()
            },
        }
    write_text(folder / DONE, json.dumps({"marks": marks, "film": film}))
    return film


class PartWriter:
    """Gathers the windows of a stream in a video, and writes a score file of every few.

    It goes on after the whole parts that are there. All else in the folder is of other settings,
    or was left by a process that was killed, and is removed.

    Attributes:
        total: windows so far, those of earlier parts too.
    """

    def __init__(
        self, folder: Path, *, name: str, class_names: tuple[str, ...], facts: dict[str, Any]
    ) -> None:
        self.folder, self.name, self.class_names, self.facts = folder, name, class_names, facts
        self.number = 0
        while self._is_done():
            self.number += 1
        self.total = self.number * WINDOWS_PER_PART
        done = {self._part(number).name for number in range(self.number)}
        for path in folder.glob("*"):
            if path.name not in done:
                path.unlink()
        self._times: list[tuple[float, float]] = []
        self._logits: list[NDArray[np.float32]] = []

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"

    def _is_done(self) -> bool:
        """Whether the next part is there as a whole, with these metadata."""
        try:
            table = score_file.read_scores(self._part(self.number))
        except InputError:
            return False
        expected = self.facts | {"part": self.number}
        return table.metadata == expected and len(table.names) == WINDOWS_PER_PART

    def add(self, times: tuple[float, float], logits: NDArray[np.float32]) -> None:
        """Take the next window, its logits (S, R, classes)."""
        self._times.append(times)
        self._logits.append(logits)
        self.total += 1
        if len(self._times) == WINDOWS_PER_PART:
            self.finish()

    def finish(self) -> None:
        """Write what there is."""
        if not self._times:
            return
        times = np.array(self._times)
        table = score_file.ScoreTable(
            names=tuple(window_names(self.name, times)),
            class_names=self.class_names,
            scores=np.stack(self._logits),
            labels=np.full(len(times), score_file.UNKNOWN),
            score_type="logits",
            metadata=self.facts | {"part": self.number},
            groups=(self.name,) * len(times),
            times=times,
        )
        score_file.write_scores(self._part(self.number), table)
        self.number += 1
        self._times, self._logits = [], []


def tells_film(film: Any, kinds: Mapping[str, Any]) -> bool:
    """Whether a file tells of a video what it should, in values of these kinds."""
    return isinstance(film, dict) and all(
        isinstance(film.get(key, ...), kind) for key, kind in kinds.items()
    )


def read_earlier(
    folder: Path, setup: Mapping[str, dict[str, Any]], videos: Mapping[str, Any]
) -> dict[str, score_file.ScoreTable]:
    """The dense score files that an earlier command with this setup has left, if all are there.

    Raises:
        InputError: they are of another setup, or of other videos too: this command would not make
            them again.
    """
    tables = {}
    for key, facts in setup.items():
        path = folder / f"{key}.safetensors"
        if not path.exists():
            continue
        about = score_file.read_head(path)["about"]
        cure = "remove it, or give another folder: --scores"
        if differs := [fact for fact in facts if about.get(fact) != facts[fact]]:
            raise InputError(f"{path}: scores of another setup ({', '.join(differs)}); {cure}")
        films = about.get("films")
        are_told = isinstance(films, dict) and all(
            tells_film(film, FILM) for film in films.values()
        )
        if not are_told:
            raise InputError(f"{path}: its header does not tell of its videos; {cure}")
        if others := films.keys() - videos.keys():
            raise InputError(
                f"{path}: scores of other videos too, as of {min(others)}; give these as well, "
                f"{cure}"
            )
        tables[key] = score_file.read_scores(path, in_memory=False)
    return tables if len(tables) == len(setup) else {}


def rows_of(table: score_file.ScoreTable, name: str) -> score_file.ScoreTable:
    """The rows of one video, as a table."""
    rows = rows_by_video(table)[name]
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    assert table.times is not None
    assert len(rows) == part.stop - part.start
    return replace(
        table,
        names=table.names[part],
        scores=table.scores[part],
        labels=table.labels[part],
        groups=(name,) * len(rows),
        times=table.times[part],
    )


def assemble(
    path: Path, folder: Path, key: str, names: list[str], metadata: dict[str, Any]
) -> None:
    """Write the dense score file of a stream from the parts of all videos, one in memory at a time.

    Args:
        metadata: of the file.
    """
    parts_of = (sorted((path_inside(folder, name) / key).glob("[0-9]*")) for name in names)
    paths = [part for of_film in parts_of for part in of_film]

    def parts() -> Iterator[score_file.ScoreTable]:
        return (score_file.read_scores(part) for part in paths)

    facts = [(table.names, table.groups, table.times) for table in parts()]
    first = score_file.read_scores(paths[0])
    windows = sum(len(of_part) for of_part, *_ in facts)
    score_file.write_scores_in_parts(
        path,
        parts(),
        whole=score_file.ScoreTable(
            names=tuple(name for of_part, *_ in facts for name in of_part),
            class_names=first.class_names,
            scores=np.broadcast_to(np.float32(0), (windows, *first.scores.shape[1:])),
            labels=np.full(windows, score_file.UNKNOWN),
            score_type="logits",
            metadata=metadata,
            groups=tuple(group for _, groups, _ in facts for group in groups or ()),
            times=np.concatenate([times for _, _, times in facts if times is not None]),
        ),
    )


def remove_parts(folder: Path, names: Iterable[str], keys: Iterable[str]) -> None:
    """Remove the parts of these videos; those of others, which may go on later, stay."""
    for name in names:
        of_film = path_inside(folder, name)
        for key in keys:
            shutil.rmtree(of_film / key, ignore_errors=True)
        (of_film / DONE).unlink(missing_ok=True)
    for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def write_windows(
    path: Path, table: score_file.ScoreTable, probabilities: Mapping[str, NDArray[np.float64]]
) -> None:
    """Write a row for each window: the best class of the fusion, then of each stream."""
    assert table.times is not None
    assert table.groups is not None
    keys = [FUSED, *(key for key in probabilities if key != FUSED)]
    heading = [f"{key}_{what}" for key in keys[1:] for what in ("class", "probability")]
    rows: list[list[object]] = [["video", "start", "end", "class", "probability", *heading]]
    for row, (video, (start, end)) in enumerate(
        zip(table.groups, table.times.tolist(), strict=True)
    ):
        cells: list[object] = [video, f"{start:.3f}", f"{end:.3f}"]
        for key in keys:
            best = int(probabilities[key][row].argmax())
            cells += [table.class_names[best], f"{probabilities[key][row, best]:.6f}"]
        rows.append(cells)
    write_csv(path, rows)


def long_result_lines(result: Mapping[str, Any]) -> list[str]:
    """The events, a row for each video, what is wrong with some, and the files."""
    rows = [
        (
            event["video"],
            f"{event['start']:.2f} - {event['end']:.2f} s",
            event["label"],
            f"{event['score']:.1%}",
        )
        for event in result["events"]
    ]
    lines = columns(rows) if rows else ["no events"] if result["videos"] else []
    for film in result["videos"]:
        lines += [
            f"warning: {film['video']}: {text}"
            for text in (*([film["damaged"]] if film["damaged"] else []), *film["warnings"])
        ]
    lines += [f"{name}: {reason}" for name, reason in result["failed"].items()]
    for film in result["videos"]:
        parts = ", ".join(f"{part} {value:.2f}" for part, value in film["seconds"].items())
        lines.append(
            f"{film['video']}: {film['windows']:,} windows of {result['window']} every "
            f"{result['stride']}, {film['frames']:,} frames at {film['fps']:g} a second; seconds: "
            f"{parts}"
        )
    if result["files"]:
        lines.append(f"written: {', '.join(result['files'].values())}")
    return lines
