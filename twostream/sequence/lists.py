"""The lists of the sequence data sets: `(annotations, videos) -> subset -> records`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from twostream.errors import InputError, some_of
from twostream.files import path_inside
from twostream.sequence.records import SUBSETS, SequenceLists, SequenceRecord
from twostream.sequence.transcripts import GLOSS_COLUMNS, NAME_COLUMNS, column, read_rows

PICTURES = ("*.png", "*.jpg", "*.jpeg")
FRAMES_COLUMNS = ("folder", "video", "frames")


def phoenix2014(annotations: Path, videos: Path) -> SequenceLists:
    """RWTH-PHOENIX-Weather 2014: `train.corpus.csv`, `dev.corpus.csv` (val), `test.corpus.csv`.

    `videos` is the folder above `train/`, `dev/` and `test/`, such as
    `features/fullFrame-210x260px`; a video's pictures lie in `dev/<folder>`.
    """
    return _read_lists(annotations, videos, file="{}.corpus.csv", val="dev", below_subset=True)


def phoenix2014t(annotations: Path, videos: Path) -> SequenceLists:
    """RWTH-PHOENIX-Weather 2014T: `PHOENIX-2014-T.train.corpus.csv` and so on, likewise."""
    file = "PHOENIX-2014-T.{}.corpus.csv"
    return _read_lists(annotations, videos, file=file, val="dev", below_subset=True)


def own_csv(annotations: Path, videos: Path) -> SequenceLists:
    """`train.csv`, `val.csv` and, if there, `test.csv`: columns `name,glosses` and maybe `frames`.

    `frames` is a folder of pictures or a video file below `videos`; without it, it is the name.
    """
    return _read_lists(annotations, videos, file="{}.csv", val="val", below_subset=False)


def toy(annotations: Path, videos: Path) -> SequenceLists:
    """Generated gestures: what is missing is written first (see `twostream.sequence.toy`)."""
    from twostream.sequence.toy import generate_sequences

    generate_sequences(annotations, videos)
    return own_csv(annotations, videos)


SEQUENCE_DATASETS: dict[str, Callable[[Path, Path], SequenceLists]] = {
    "phoenix2014": phoenix2014,
    "phoenix2014t": phoenix2014t,
    "csv": own_csv,
    "toy": toy,
}


def check_lists(lists: SequenceLists, *, allow_missing: bool) -> tuple[SequenceLists, list[str]]:
    """Leave out records whose frames are not there; also return their names.

    Raises:
        InputError: frames are missing and that is not allowed, a name stands in two lists, or no
            training or validation video is left.
    """
    every = [record for records in lists.values() for record in records]
    present, missing = with_frames(every, allow_missing=allow_missing)
    check_once(present)
    gone = set(missing)
    left = {
        subset: tuple(record for record in records if record.name not in gone)
        for subset, records in lists.items()
    }
    if not (left["train"] and left["val"]):
        raise InputError("no training or no validation video is left")
    return left, missing


def with_frames(
    records: Sequence[SequenceRecord], *, allow_missing: bool
) -> tuple[tuple[SequenceRecord, ...], list[str]]:
    """Those records whose frames are there, and the names of the others.

    Raises:
        InputError: frames are missing and that is not allowed.
    """
    missing = [record.name for record in records if not record.frames.exists()]
    if missing and not allow_missing:
        raise InputError(
            f"{len(missing)} listed videos have no frames: {some_of(missing)}; fetch them, correct "
            "--videos, or go on without them by --allow-missing"
        )
    gone = set(missing)
    return tuple(record for record in records if record.name not in gone), missing


def check_once(records: Sequence[SequenceRecord]) -> None:
    """Refuse two videos of one name.

    Raises:
        InputError: there are such; they are named.
    """
    counts = Counter(record.name for record in records)
    if doubled := sorted(name for name, count in counts.items() if count > 1):
        raise InputError(f"listed more than once: {some_of(doubled)}; take all but one out")


def _read_lists(
    annotations: Path, videos: Path, *, file: str, val: str, below_subset: bool
) -> SequenceLists:
    lists: SequenceLists = {}
    for subset in SUBSETS:
        own_word = val if subset == "val" else subset
        path = annotations / file.format(own_word)
        if path.is_file():
            root = videos / own_word if below_subset else videos
            lists[subset] = read_list(path, root)
        elif subset != "test":
            raise InputError(f"{path}: no such file; --annotations is the folder of the lists")
        else:
            lists[subset] = ()
    return lists


def read_list(path: Path, root: Path, *, labelled: bool = True) -> tuple[SequenceRecord, ...]:
    """Read one list; its frames lie below `root`.

    Args:
        labelled: every video must have its glosses; else they may lack, or the whole column.

    Raises:
        InputError: not such a list, a name that leads out of `root`, or glosses are missing.
    """
    records = []
    for row in read_rows(path):
        name = column(row, NAME_COLUMNS, path=path)
        told = labelled or any(key in row for key in GLOSS_COLUMNS)
        glosses = tuple(column(row, GLOSS_COLUMNS, path=path).split()) if told else ()
        if labelled and not glosses:
            raise InputError(f"{path}: {name} has no glosses; take it out of the list")
        place = next((row[key] for key in FRAMES_COLUMNS if row.get(key)), name)
        records.append(SequenceRecord(name, _frames(root, place, name), glosses))
    return tuple(records)


def _frames(root: Path, place: str, name: str) -> Path:
    """Folder of the pictures; 2014T names one more level (`<name>/1/*.png`) than it has."""
    folder, by_name = path_inside(root, place.removesuffix("/*.png")), path_inside(root, name)
    return by_name if by_name.exists() and not folder.exists() else folder


def list_frames(record: SequenceRecord) -> Sequence[Path]:
    """The pictures of a folder, in the order of their names.

    Raises:
        InputError: there is none.
    """
    found = sorted(path for pattern in PICTURES for path in record.frames.glob(pattern))
    if not found:
        raise InputError(f"{record.frames}: no picture ({', '.join(PICTURES)}) for {record.name}")
    return found
