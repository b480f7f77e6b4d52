from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusion.inputs import find_scores, read_inputs
from fusion.score_file import ScoreTable, write_scores
from twostream.errors import InputError

Make = Callable[..., ScoreTable]
RUNS = [
    "toy-split1/spatial-resnet18/scores/test",
    "toy-split1/motion-resnet18/scores/test",
    "toy-split1/motion-resnet18/scores/val",
    "toy-split1/motion-resnet18/scores/epoch-003",
]


def touch(runs: Path, *names: str) -> None:
    for name in names:
        path = runs / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(("dataset", "split"), [("toy", 1), (None, 1), ("toy", None), (None, None)])
def test_the_one_run_of_each_stream(tmp_path: Path, dataset: str | None, split: int | None) -> None:
    touch(tmp_path, *RUNS)
    found = find_scores(tmp_path, dataset=dataset, split=split, subset="test")
    assert found == [tmp_path / f"{name}.safetensors" for name in RUNS[:2]]


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    touch(tmp_path, *RUNS)
    with pytest.raises(
        InputError, match=r"spatial-\*/scores/val.*`twostream train --stream spatial"
    ):
        find_scores(tmp_path, dataset="toy", split=1, subset="val")
    with pytest.raises(InputError, match="no scores of the spatial stream: .*toy-split2"):
        find_scores(tmp_path, dataset="toy", split=2, subset="test")


def test_several_runs_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, *RUNS, "toy-split2/motion-resnet18/scores/test")
    with pytest.raises(InputError, match=r"2 motion runs .*toy-split1/motion.*toy-split2/motion"):
        find_scores(tmp_path, dataset="toy", split=None, subset="test")
    assert len(find_scores(tmp_path, dataset="toy", split=1, subset="test")) == 2


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
    make_table: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[str],
    streams: list[str | None],
    keys: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path(f"{file}.safetensors") for file in files]
    for path, stream in zip(paths, streams, strict=True):
        write_scores(path, make_table([[1, 2]], **({"stream": stream} if stream else {})))
    assert list(read_inputs(paths)) == keys


def test_a_file_given_twice(make_table: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_scores(path, make_table([[1, 2]]))
    with pytest.raises(InputError, match="a file is given twice"):
        read_inputs([path, tmp_path / ".." / tmp_path.name / "a.safetensors"])
