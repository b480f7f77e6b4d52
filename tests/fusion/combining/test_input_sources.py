"""Which runs and files a fusion takes: candidates, splits, and names with numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusion.combining.inputs import (
    FusionOptions,
    ScoreSource,
    find_inputs,
    run_sources,
    split_options,
    typed_sources,
)
from fusion.tables.score_file import ScoreTable, write_scores
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def runs(make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two splits, two models; one of them with two seeds and a variant in split 1."""
    monkeypatch.chdir(tmp_path)
    for split, folder, config in (
        (1, "spatial-net", "seed = 0"),
        (1, "motion-net", "seed = 0"),
        (1, "motion-net-seed1", 'model = "net"\nseed = 1'),
        (1, "motion-net-wide", 'model = "net"\nseed = 0'),
        (2, "spatial-net", 'model = "net"\nseed = 0'),
        (2, "motion-net", ""),
        (2, "motion-tsm-net", 'model = "tsm-net"'),
    ):
        run = tmp_path / f"runs/toy-split{split}/{folder}"
        stream = folder.partition("-")[0]
        facts = {"stream": stream, "dataset": "toy", "split": split, "model": "net"}
        write_scores(run / "scores" / "test.safetensors", make_table([[1, 2]], **facts))
        (run / "config.toml").write_text(config)
    return tmp_path / "runs"


def test_what_is_known_of_run_folders(runs: Path) -> None:
    rows = [
        (run.split, run.stream, run.system, run.model, run.name, run.seed)
        for run in run_sources(runs, scores="test", dataset="toy")
    ]
    assert rows == [
        (1, "motion", "net", "net", "", 0),
        (1, "motion", "net", "net", "seed1", 1),
        (1, "motion", "net-wide", "net", "wide", 0),
        (1, "spatial", "net", "net", "", 0),
        (2, "motion", "net", "net", "", None),
        (2, "motion", "tsm-net", "tsm-net", "", None),
        (2, "spatial", "net", "net", "", 0),
    ]


def test_candidates_are_listed_with_the_option_that_chooses(runs: Path) -> None:
    with pytest.raises(InputError) as several:
        find_inputs(FusionOptions(runs=runs, split=1))
    for fact in ("3 motion runs", "motion-net-seed1", "--name ''|seed1|wide", "or name FILES"):
        assert fact in str(several.value)
    assert "--model" not in str(several.value)
    with pytest.raises(InputError, match=r"--model net\|tsm-net"):
        find_inputs(FusionOptions(runs=runs, split=2))
    with pytest.raises(InputError, match=r"--split 1\|2 \(or --splits all"):
        find_inputs(FusionOptions(runs=runs, model="net", name=""))
    for options, motion in (
        ({"split": 1, "name": ""}, "toy-split1/motion-net"),
        ({"split": 2, "model": "ne*"}, "toy-split2/motion-net"),
    ):
        sources = find_inputs(FusionOptions(runs=runs, **options))
        folders = [str(source.path.relative_to(runs)) for source in sources]
        assert folders == [motion.replace("motion", "spatial"), motion]


@pytest.mark.parametrize(("option", "there"), [("model", "net"), ("name", "'', seed1, wide")])
def test_a_choice_that_leaves_none(runs: Path, option: str, there: str) -> None:
    with pytest.raises(InputError, match=f"--{option} 'x'.*there are {there}"):
        find_inputs(FusionOptions(runs=runs, split=1, **{option: "x"}))


def test_each_split_of_runs(runs: Path) -> None:
    options = FusionOptions(runs=runs, splits=(1, 2, 3), model="net", name="")
    chosen, missing = split_options(options)
    assert {
        split: [source.path.name for source in of_split.files if isinstance(source, ScoreSource)]
        for split, of_split in chosen.items()
    } == {1: ["spatial-net", "motion-net"], 2: ["spatial-net", "motion-net"]}
    assert missing == ["split 3 is not there"]
    with pytest.raises(InputError, match="no scores of the splits: split 7 is not there"):
        split_options(FusionOptions(runs=runs, splits=(7,)))


def test_official_splits_that_are_not_there(make_table: Make, tmp_path: Path) -> None:
    files = []
    for split in (1, 3):
        files.append(tmp_path / f"{split}.safetensors")
        write_scores(files[-1], make_table([[1, 2]], dataset="hmdb51", split=split))
    chosen, missing = split_options(FusionOptions(files=files, splits="all"))
    assert list(chosen) == [1, 3]
    assert missing == ["split 2 is not there"]


def test_names_with_numbers(make_table: Make, tmp_path: Path) -> None:
    for split in (1, 2, 10):
        for seed in (0, 3):
            path = tmp_path / f"[x]{split}/rgb_{split:02}_{seed}.safetensors"
            write_scores(path, make_table([[1, 2]]))
    (tmp_path / "[x]1/rgb_1x_0.safetensors").touch()
    pattern = f"a/rgb={tmp_path}/[x]*/rgb_{{split}}_{{seed}}.safetensors"
    assert typed_pairs(pattern.replace("*", "1")) == [(1, 0), (1, 3)]
    assert typed_pairs(f"{tmp_path}/[x]{{split}}/rgb_0{{split}}_3.safetensors") == [
        (1, None), (2, None)
    ]  # fmt: skip
    (source, *_) = typed_sources([Path(pattern.replace("*", "10"))], seeds=True)
    assert (source.system, source.stream) == ("a", "rgb")
    with pytest.raises(InputError, match=r"rgb_\{split\}_9.* does not exist"):
        typed_sources([tmp_path / "rgb_{split}_9"])


def typed_pairs(pattern: str) -> list[tuple[int | None, int | None]]:
    return [(source.split, source.seed) for source in typed_sources([Path(pattern)], seeds=True)]


def test_a_file_with_an_equals_sign_is_a_file(make_table: Make, tmp_path: Path) -> None:
    write_scores(tmp_path / "lr=0.1.safetensors", make_table([[1, 2]]))
    (source,) = typed_sources([tmp_path / "lr=0.1.safetensors"])
    assert (source.stream, source.path.name) == ("", "lr=0.1.safetensors")


def test_splits_that_are_not_told_or_contradicted(make_table: Make, tmp_path: Path) -> None:
    write_scores(tmp_path / "plain.safetensors", make_table([[1, 2]]))
    with pytest.raises(InputError, match="plain.*does not tell the split; .*{split}"):
        split_options(FusionOptions(files=[tmp_path / "plain.safetensors"], splits="all"))
    write_scores(tmp_path / "s1.safetensors", make_table([[1, 2]], split=2))
    options = FusionOptions(files=[tmp_path / "s{split}.safetensors"])
    assert options.takes_splits
    with pytest.raises(InputError, match="its name says split 1, its header split 2"):
        split_options(options)
    with pytest.raises(InputError, match="{seed} is for `twostream table`"):
        split_options(FusionOptions(files=[tmp_path / "s{seed}.safetensors"], splits="all"))
