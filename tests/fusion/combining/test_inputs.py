from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusion.combining.fuse import score_videos
from fusion.combining.inputs import (
    FusionInputs,
    FusionOptions,
    ScoreSource,
    find_epochs,
    find_inputs,
    read_inputs,
    stream_names,
)
from fusion.tables.score_file import ScoreTable, write_scores
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]
RUNS = [
    "toy-split1/spatial-resnet18/scores/test",
    "toy-split1/motion-resnet18/scores/test",
    "toy-split1/motion-resnet18/scores/val",
    "toy-split1/motion-resnet18/scores/epoch-003",
]


@pytest.fixture
def runs(make_table: Make, tmp_path: Path) -> Path:
    """Run folders whose scores tell their stream."""
    for name in RUNS:
        stream = name.partition("/")[2].partition("-")[0]
        write_scores(tmp_path / f"{name}.safetensors", make_table([[1, 2]], stream=stream))
    return tmp_path


def paths_of(inputs: FusionInputs) -> list[Path]:
    return [path for paths in inputs.files.values() for path in paths]


@pytest.mark.parametrize(("dataset", "split"), [("toy", 1), (None, 1), ("toy", None), (None, None)])
def test_the_one_run_of_each_stream(runs: Path, dataset: str | None, split: int | None) -> None:
    inputs = read_inputs(FusionOptions(runs=runs, dataset=dataset, split=split))
    assert paths_of(inputs) == [runs / f"{name}.safetensors" for name in RUNS[:2]]
    assert list(inputs.joined.tables) == ["spatial", "motion"]


def test_run_folders_may_be_named(runs: Path) -> None:
    folder = runs / "toy-split1" / "motion-resnet18"
    for options, file in (({}, "test"), ({"subset": "val"}, "val"), ({"epochs": "3"}, "epoch-003")):
        inputs = read_inputs(FusionOptions(files=[folder], **options))
        assert paths_of(inputs) == [folder / "scores" / f"{file}.safetensors"]
    with pytest.raises(InputError, match="is .*spatial-resnet18 a run folder with val scores?"):
        read_inputs(FusionOptions(files=[runs / "toy-split1" / "spatial-resnet18"], subset="val"))


def test_a_run_that_is_not_there(runs: Path) -> None:
    with pytest.raises(
        InputError, match=r"spatial-\*/scores/val.*`twostream train --stream spatial"
    ):
        read_inputs(FusionOptions(runs=runs, dataset="toy", split=1, subset="val"))
    with pytest.raises(InputError, match="no scores of the spatial stream: .*toy-split2"):
        read_inputs(FusionOptions(runs=runs, dataset="toy", split=2))


def test_several_runs_are_listed(runs: Path) -> None:
    scores = Path("motion-resnet18", "scores", "test.safetensors")
    second = runs / "toy-split2" / scores
    second.parent.mkdir(parents=True)
    second.write_bytes((runs / "toy-split1" / scores).read_bytes())
    with pytest.raises(InputError, match=r"2 motion runs .*toy-split1/motion.*toy-split2/motion"):
        read_inputs(FusionOptions(runs=runs, dataset="toy"))
    assert len(find_inputs(FusionOptions(runs=runs, dataset="toy", split=1))) == 2


def test_epochs_are_fused_stream_by_stream(make_table: Make, tmp_path: Path) -> None:
    for stream in ("spatial", "motion"):
        for epoch in (7, 8, 9):
            path = tmp_path / f"toy-split1/{stream}-net/scores/epoch-{epoch:03}.safetensors"
            write_scores(path, make_table([[epoch, 0]], stream=stream, epoch=epoch))
    inputs = read_inputs(FusionOptions(runs=tmp_path, epochs="last:2"))
    assert [path.stem for path in paths_of(inputs)] == ["epoch-008", "epoch-009"] * 2
    tables = inputs.joined.tables
    assert tables["motion"].scores.ravel().tolist() == [8.5, 0]
    assert tables["motion"].metadata["epoch"] == [8, 9]
    with pytest.raises(InputError, match="--epochs needs run folders; .* is a file"):
        read_inputs(FusionOptions(files=[path], epochs="all"))


def test_epochs_of_other_videos_are_refused(make_table: Make, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores/epoch-001.safetensors", make_table([[1, 0]], subset="test"))
    assert len(find_inputs(FusionOptions(files=[tmp_path], epochs="1"))) == 1
    with pytest.raises(InputError, match="is of the test videos; give --subset test"):
        read_inputs(FusionOptions(files=[tmp_path], epochs="1", subset="val"))


@pytest.mark.parametrize(
    ("files", "streams", "keys"),
    [
        (["a", "b"], ["spatial", "motion"], ["spatial", "motion"]),
        (["a", "b"], ["motion", "motion"], ["a", "b"]),
        (["a", "b"], ["motion", None], ["motion", "b"]),
        (["x/a", "y/b", "y/c"], ["motion", "spatial", "motion"], ["a", "spatial", "c"]),
        (["x/b", "y/motion"], ["motion", None], ["x/b.safetensors", "y/motion.safetensors"]),
        (["x/test", "y/test"], ["motion", "motion"], ["x/test.safetensors", "y/test.safetensors"]),
    ],
)
def test_what_an_input_is_called(
    files: list[str], streams: list[str | None], keys: list[str]
) -> None:
    sources = [ScoreSource(Path(f"{file}.safetensors")) for file in files]
    metadata = [{"stream": stream} if stream else {} for stream in streams]
    assert stream_names(sources, metadata) == keys


def test_a_file_given_twice(make_table: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_scores(path, make_table([[1, 2]]))
    with pytest.raises(InputError, match="a file is given twice"):
        read_inputs(FusionOptions(files=[path, tmp_path / ".." / tmp_path.name / "a.safetensors"]))


@pytest.mark.parametrize(
    ("wanted", "epochs"),
    [("all", [2, 9, 10, 101]), ("last:2", [10, 101]), ("last:4", [2, 9, 10, 101]), ("9,2", [2, 9])],
)
def test_which_files(tmp_path: Path, wanted: str, epochs: list[int]) -> None:
    for epoch in (101, 2, 9, 10):
        (tmp_path / f"epoch-{epoch:03}.safetensors").touch()
    (tmp_path / "epoch-best.safetensors").touch()
    (tmp_path / "epoch-003-test.safetensors").touch()
    expected = [f"epoch-{epoch:03}.safetensors" for epoch in epochs]
    assert [path.name for path in find_epochs(tmp_path, wanted, subset="val")] == expected


def test_test_videos_have_files_of_their_own_where_others_select(tmp_path: Path) -> None:
    (tmp_path / "epoch-004.safetensors").touch()
    assert [path.name for path in find_epochs(tmp_path, "all", subset="test")] == [
        "epoch-004.safetensors"
    ]
    (tmp_path / "epoch-004-test.safetensors").touch()
    for subset, name in (("test", "epoch-004-test"), ("val", "epoch-004")):
        assert find_epochs(tmp_path, "4", subset=subset) == [tmp_path / f"{name}.safetensors"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("last:3", "holds the scores of epochs 2, 9; `twostream train --dump-scores last:N` keeps"),
        ("2,3", "holds the scores of epochs 2, 9"),
        ("last:0", "expected all, last:N, or numbers as 3,5,8"),
        ("best", "expected all, last:N"),
    ],
)
def test_epochs_that_are_not_there(tmp_path: Path, wanted: str, message: str) -> None:
    for epoch in (2, 9):
        (tmp_path / f"epoch-{epoch:03}.safetensors").touch()
    with pytest.raises(InputError, match=message):
        find_epochs(tmp_path, wanted, subset="test")
    with pytest.raises(InputError, match="epochs none"):
        find_epochs(tmp_path / "absent", "all", subset="test")


def test_a_stream_that_is_given_twice_is_said(make_table: Make, tmp_path: Path) -> None:
    for name, scores in (("a", [[1, 2]]), ("b", [[1, 2]]), ("c", [[2, 1]])):
        write_scores(tmp_path / f"{name}.safetensors", make_table(scores, stream="spatial"))
    inputs = read_inputs(FusionOptions(files=[tmp_path / f"{n}.safetensors" for n in "abc"]))
    assert score_videos(inputs.joined).warnings == [
        "3 of the inputs are scores of the stream spatial: fused, they are an ensemble of that "
        "stream; if that is not meant, give one file of each",
        "a and b are the same scores: give each stream once",
    ]
