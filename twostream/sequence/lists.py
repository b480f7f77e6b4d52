"""Sequence data sets: their lists of videos and glosses, and the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twostream.sequence.transcripts import GLOSS_COLUMNS, NAME_COLUMNS, column, read_rows, repeated
from twostream_base.errors import InputError, some_of
from twostream_base.files import path_inside, read_text
from twostream_base.video_names import without_suffix

if TYPE_CHECKING:
    from twostream.compute.device import Bar
    from twostream.data.stored import StoredVideo

SUBSETS = ("train", "val", "test")
HEADING = "signstate classlabel"
FRAMES_COLUMNS = ("folder", "video", "frames")


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """One video and its sentence.

    Attributes:
        name: the key in score files and transcripts.
        frames: a folder of pictures, one a frame in the order of their numbers, or a video file.
        glosses: in the order in which they are signed; empty where they are not known.
        use_damaged: whether a part of its frames is enough.
        stored: its frames and flow in a store, which are read instead of `frames`.
    """

    name: str
    frames: Path
    glosses: tuple[str, ...]
    use_damaged: bool = False
    stored: StoredVideo | None = None

    def place(self, root: Path) -> str:
        """Where its frames are below `root`, without a video's suffix; empty if elsewhere."""
        if not self.frames.is_relative_to(root):
            return ""
        return without_suffix(self.frames.relative_to(root).as_posix())


SequenceLists = dict[str, tuple[SequenceRecord, ...]]  # subset -> records


def phoenix2014(annotations: Path, videos: Path) -> SequenceLists:
    """RWTH-PHOENIX-Weather 2014: `train.corpus.csv`, `dev.corpus.csv` (val), `test.corpus.csv`.

    `videos` is the folder above `train/`, `dev/` and `test/`, such as
    `features/fullFrame-210x260px`; the pictures of a video are in `dev/<folder>`.
    """
    return _read_lists(annotations, videos, file="{}.corpus.csv", val="dev", below_subset=True)


def phoenix2014_si5(annotations: Path, videos: Path) -> SequenceLists:
    """PHOENIX 2014 SI5, signer 5 in val and test alone: `train.SI5.corpus.csv` and so on."""
    return _read_lists(annotations, videos, file="{}.SI5.corpus.csv", val="dev", below_subset=True)


def phoenix2014t(annotations: Path, videos: Path) -> SequenceLists:
    """RWTH-PHOENIX-Weather 2014T: as 2014, from `PHOENIX-2014-T.train.corpus.csv` and so on."""
    file = "PHOENIX-2014-T.{}.corpus.csv"
    return _read_lists(annotations, videos, file=file, val="dev", below_subset=True)


def csv_lists(annotations: Path, videos: Path) -> SequenceLists:
    """`train.csv`, `val.csv` and optionally `test.csv`: columns `name,glosses` and `frames`.

    `frames` is a folder of pictures or a video file below `videos`; it defaults to the name.
    """
    return _read_lists(annotations, videos, file="{}.csv", val="val", below_subset=False)


def toy(annotations: Path, videos: Path) -> SequenceLists:
    """Generated gestures: missing videos are written first (see `twostream.sequence.toy`)."""
    from twostream.sequence.toy import generate_sequences

    generate_sequences(annotations, videos)
    return csv_lists(annotations, videos)


SEQUENCE_DATASETS: dict[str, Callable[[Path, Path], SequenceLists]] = {
    "phoenix2014": phoenix2014,
    "phoenix2014-si5": phoenix2014_si5,
    "phoenix2014t": phoenix2014t,
    "csv": csv_lists,
    "toy": toy,
}


def _read_lists(
    annotations: Path, videos: Path, *, file: str, val: str, below_subset: bool
) -> SequenceLists:
    lists: SequenceLists = {}
    for subset in SUBSETS:
        subset_name = val if subset == "val" else subset
        path = annotations / file.format(subset_name)
        if path.is_file():
            lists[subset] = read_list(path, videos / subset_name if below_subset else videos)
        elif subset != "test":
            raise InputError(f"{path}: no such file; --annotations is the folder of the lists")
        else:
            lists[subset] = ()
    return lists


def read_list(path: Path, root: Path, *, labelled: bool = True) -> tuple[SequenceRecord, ...]:
    """Read one list, whose frames are below `root`.

    Args:
        labelled: every video must have its glosses; else they, or the whole column, may be missing.

    Raises:
        InputError: not such a list, a name that leads out of `root`, or glosses are missing.
    """
    records = []
    for row in read_rows(path):
        name = column(row, NAME_COLUMNS, path=path)
        has_glosses = labelled or any(key in row for key in GLOSS_COLUMNS)
        glosses = tuple(column(row, GLOSS_COLUMNS, path=path).split()) if has_glosses else ()
        if labelled and not glosses:
            raise InputError(f"{path}: {name} has no glosses; remove it from the list")
        frames = next((row[key] for key in FRAMES_COLUMNS if row.get(key)), name)
        folder, by_name = path_inside(root, frames.removesuffix("/*.png")), path_inside(root, name)
        # 2014T lists one level (`<name>/1/*.png`) that its folders do not have.
        exists_by_name = by_name.exists() and not folder.exists()
        records.append(SequenceRecord(name, by_name if exists_by_name else folder, glosses))
    return tuple(records)


def find_new_videos(videos: Path, file: Path | None) -> tuple[SequenceRecord, ...]:
    """The videos of a list, or all video files and folders of pictures below `videos`.

    Raises:
        InputError: a bad list, no video, or a video that cannot be used; it is named.
    """
    from flow_extract.video.find_videos import find_videos

    if file is not None:
        records = read_list(file, videos, labelled=False)
        check_unique_names(records)
        return records
    videos_below = find_videos(videos, store=videos)
    if unusable := videos_below.refused | videos_below.skipped:
        texts = [f"{name} ({reason})" for name, reason in unusable.items()]
        raise InputError(f"{videos}: {some_of(texts, limit=3)}; fix it, or leave it out by a list")
    if not videos_below.videos:
        raise InputError(f"{videos}: no video and no folder of numbered pictures below it")
    return tuple(SequenceRecord(name, path, ()) for name, path in videos_below.videos.items())


def check_lists(lists: SequenceLists, **options: Any) -> tuple[SequenceLists, list[str]]:
    """Drop records whose frames are missing, all or some; also return their names.

    Args:
        options: of `find_frames`.

    Raises:
        InputError: as `find_frames`; a name is in two lists, or no training or validation video is
            left.
    """
    all_records = [record for records in lists.values() for record in records]
    present, missing = find_frames(all_records, to_train=lists["train"], **options)
    check_unique_names(present)
    by_name = {record.name: record for record in present}
    remaining = {
        subset: tuple(by_name[record.name] for record in records if record.name in by_name)
        for subset, records in lists.items()
    }
    if not (remaining["train"] and remaining["val"]):
        raise InputError("no training or no validation video is left")
    return remaining, [name for name, _ in missing]


def find_frames(
    records: Sequence[SequenceRecord],
    *,
    stream: str,
    allow_missing: bool,
    use_damaged: bool = False,
    to_train: Sequence[SequenceRecord] = (),
    store: Path | None = None,
    root: Path | None = None,
    threads: int = 1,
    bar: Bar | None = None,
) -> tuple[tuple[SequenceRecord, ...], list[tuple[str, str]]]:
    """The records whose frames are all there; of the others the name and what is wrong.

    Video files are decoded for that, whole. Of folders of pictures the numbers are looked at. Those
    in a store need not be there themselves.

    Args:
        stream: a single frame has no flow.
        use_damaged: take videos of which a part is there as they are; none is decoded whole.
        to_train: those among them that need a frame for each gloss; of others it is an error that
            counts.
        store: has the frames and flow of videos below `root`.
        threads: that decode. bar: shows how far they are.

    Raises:
        InputError: frames are missing and that is not allowed, or as `join_store` raises it.
    """
    present = [replace(record, use_damaged=use_damaged) for record in records]
    glosses = {record: record.glosses for record in to_train}
    needed = [glosses.get(record, ()) for record in records]
    if store:
        assert root is not None  # videos have their place in the store by their path below it
        present, faults = _join_store(
            present, needed, store=store, root=root, stream=stream, use_damaged=use_damaged
        )
        cure = f"run `twostream extract-flow --videos {root} --store {store}`, "
    else:
        find_fault = partial(_find_fault, stream=stream)
        with ThreadPoolExecutor(threads) as pool:
            reasons: Iterable[str | None] = pool.map(find_fault, present, needed)
            if bar and not use_damaged and any(record.frames.is_file() for record in records):
                reasons = bar(reasons, total=len(records), label="looking for damage", unit="video")
            faults = list(reasons)
        cure = "correct --videos, "
        if any(fault and not fault.endswith(TOO_SHORT) for fault in faults):  # damaged
            cure += "take damaged ones as they are with --use-damaged, "
    pairs = list(zip(present, faults, strict=True))
    missing = [(record.name, fault) for record, fault in pairs if fault is not None]
    if missing and not allow_missing:
        is_short = [fault.endswith(TOO_SHORT) for _, fault in missing]
        cures = ""
        if not all(is_short):
            cures += f"add them, {cure}"
        if any(is_short):
            cures += "give longer videos or fewer glosses, "
        raise InputError(f"{missing_line(missing)}; {cures}or leave them out with --allow-missing")
    return tuple(record for record, fault in pairs if fault is None), missing


TOO_SHORT = ("one frame has no flow", "has 1 frame, so no flow", " glosses")  # ends of reasons


def _find_fault(record: SequenceRecord, glosses: Sequence[str], *, stream: str) -> str | None:
    """What is wrong with the frames of a record: empty where there are none, None for nothing."""
    from flow_extract.video.decode import open_video
    from flow_extract.video.frames import VideoError
    from flow_extract.video.pictures import numbered_files, why_incomplete

    if not record.frames.exists():
        return ""
    try:
        if record.frames.is_dir():
            if fault := why_incomplete(record.frames, use_gaps=record.use_damaged):
                return fault
            return _why_too_short(glosses, len(numbered_files(record.frames)), stream=stream)
        with open_video(record.frames) as video:
            if record.use_damaged:  # two frames tell whether there is flow
                return _why_too_short((), sum(1 for _ in islice(video, 2)), stream=stream)
            frames = sum(1 for _ in video)
            return video.damage or _why_too_short(glosses, frames, stream=stream)
    except VideoError as error:
        return str(error)


def _join_store(
    records: Sequence[SequenceRecord],
    needed: Sequence[Sequence[str]],
    *,
    store: Path,
    root: Path,
    stream: str,
    use_damaged: bool,
) -> tuple[list[SequenceRecord], list[str | None]]:
    """Join records with a store; also what is wrong with each there.

    Their names there are the paths of their frames below `root`, as `extract-flow --videos` gives
    them.
    """
    from twostream.data.splits import VideoRecord
    from twostream.data.stored import join_store
    from twostream.transforms.presets import MODALITIES

    places = [record.place(root) or record.name for record in records]
    joined = join_store(
        [VideoRecord(place, 0, group="") for place in dict.fromkeys(places)],
        store,
        modality=MODALITIES[stream],
        allow_missing=True,
        use_damaged=use_damaged,
    )
    videos = {video.record.name: video for video in joined.videos}
    faults = []
    for place, glosses in zip(places, needed, strict=True):
        if video := videos.get(place):
            frames = video.length + (stream != "spatial")
            faults.append(_why_too_short(glosses, frames, stream=stream))
        else:
            faults.append(joined.missing[place])
    stored = [
        replace(record, stored=videos.get(place))
        for record, place in zip(records, places, strict=True)
    ]
    return stored, faults


def _why_too_short(glosses: Sequence[str], frames: int, *, stream: str) -> str | None:
    if frames < 2 and stream != "spatial":
        return TOO_SHORT[0]
    if frames < min_time_steps(glosses):
        return f"{frames} frames for {len(glosses)} glosses"
    return None


def extraction_of(records: Sequence[SequenceRecord]) -> dict[str, Any]:
    """The settings by which the frames and flow of stored records were made, which are alike."""
    from flow_extract.store.header import recorded_settings
    from flow_extract.store.reader import read_header

    stored = records[0].stored
    return dict(recorded_settings(read_header(stored.path))) if stored else {}


def min_time_steps(labels: Sequence[Any]) -> int:
    """The fewest time steps for these labels: a blank must separate two equal ones."""
    return len(labels) + sum(label == next_label for label, next_label in pairwise(labels))


def missing_line(missing: Sequence[tuple[str, str]]) -> str:
    """What `find_frames` says of missing frames, in one line."""
    reasons = [f"{name} ({reason})" if reason else name for name, reason in missing]
    return f"{len(missing):,} listed videos lack frames: {some_of(reasons)}"


def check_unique_names(records: Sequence[SequenceRecord]) -> None:
    """Refuse two videos of one name."""
    if duplicates := repeated(record.name for record in records):
        raise InputError(f"listed more than once: {some_of(duplicates)}; keep one of each")


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Read PHOENIX's vocabulary (`signstate classlabel`, then `GLOSS 17`), or a gloss a line.

    Raises:
        InputError: empty, or a gloss twice.
    """
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    glosses = [line[0] for line in lines if " ".join(line) != HEADING]
    duplicates = repeated(glosses)
    if not glosses or duplicates:
        raise InputError(f"{path}: not a vocabulary, a gloss a line; twice: {some_of(duplicates)}")
    return tuple(glosses)


def build_vocabulary(train: Sequence[SequenceRecord], path: Path | None) -> tuple[str, ...]:
    """The glosses of the training list, sorted, or those of a file.

    Raises:
        InputError: the training list has a gloss that the file lacks.
    """
    glosses = sorted({gloss for record in train for gloss in record.glosses})
    if path is None:
        return tuple(glosses)
    vocabulary = read_vocabulary(path)
    if missing := sorted(set(glosses) - set(vocabulary)):
        raise InputError(f"{path} lacks glosses of the training list: {some_of(missing)}")
    return vocabulary


def glosses_to_labels(glosses: Sequence[str], vocabulary: Sequence[str]) -> list[int]:
    """The labels, from 1, of those glosses that are in the vocabulary."""
    numbers = {gloss: number for number, gloss in enumerate(vocabulary, start=1)}
    return [numbers[gloss] for gloss in glosses if gloss in numbers]


def labels_to_glosses(labels: Sequence[int], vocabulary: Sequence[str]) -> list[str]:
    """Labels from 1 to glosses."""
    return [vocabulary[label - 1] for label in labels]


def unknown_glosses(records: Sequence[SequenceRecord], vocabulary: Sequence[str]) -> list[str]:
    """Glosses outside the vocabulary, sorted; each counts as an error in the rate."""
    known = set(vocabulary)
    return sorted({g for record in records for g in record.glosses if g not in known})


def check_glosses(
    records: Sequence[SequenceRecord], vocabulary: Sequence[str], *, run: Path
) -> list[str]:
    """The glosses of the records that the network cannot produce: each is an error in the rate.

    Raises:
        InputError: it can produce none of them.
    """
    unknown = unknown_glosses(records, vocabulary)
    if unknown and not any(set(record.glosses) & set(vocabulary) for record in records):
        raise InputError(
            f"{run} knows none of the glosses of the list ({some_of(unknown, limit=3)}), only "
            f"{some_of(vocabulary, limit=3)}: it was trained with another vocabulary. Give a list "
            "in its vocabulary, or one without glosses"
        )
    return unknown
