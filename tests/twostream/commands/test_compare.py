from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fusion.tables.score_file import ScoreTable, write_scores
from twostream.cli import cli
from twostream.scoring.costs import Cost
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, arguments)])


@pytest.fixture
def files(make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two streams of three segments under two protocols; names hold their group."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    names = [f"{row}_g{row // 4}" for row in range(60)]
    paths = []
    for stream in ("spatial", "motion"):
        scores = rng.normal(size=(60, 3, 1, 3)) + np.eye(3)[labels][:, None, None]
        about = {"stream": stream, "dataset": "toy", "protocol": f"{stream}-views"}
        paths.append(tmp_path / f"{stream}.safetensors")
        write_scores(paths[-1], make_table(scores, labels=labels, names=names, **about))
    return paths


def test_streams_and_strategies(files: list[Path]) -> None:
    result = compare(*files, "--strategy", "mean", "--strategy", "rank", "--classes")
    assert result.exit_code == 0, result.output
    for text in (
        "60 videos; intervals as if the videos were independent (--groups), those of differences "
        "hold what the test does not reject",
        "difference in points",
        "mean - rank ",
        "at least one stream is right: ",
        "segment of motion   alone",
        "class   videos   spatial   motion   mean   rank",
        "warning: the protocols differ: spatial spatial-views, motion motion-views",
    ):
        assert text in result.output


def test_what_compare_shows(files: list[Path]) -> None:
    result = compare(*files, "--strategy", "mean")
    assert result.stdout.splitlines() == [
        "60 videos; intervals as if the videos were independent (--groups), those of differences "
        "hold what the test does not reject",
        "",
        "          top-1",
        "mean      51/60  85.00 % [73.89, 91.90]",
        "spatial   48/60  80.00 % [68.22, 88.17]",
        "motion    47/60  78.33 % [66.38, 86.88]",
        "",
        "difference in points           95 %               "
        "only first   only second   p      smallest",
        "spatial - motion       +1.67   [-12.00, +15.38]   9            8             1      18.88",
        "spatial - mean         -5.00   [-16.00, +6.25]    4            7             1      15.18",
        "motion - mean          -6.67   [-14.71, +0.00]    1            5             0.66   -",
        "p: exact McNemar test, as if the videos were independent (which belong together is not "
        "known: --groups), after Holm's correction; *: below 0.05, and 0 is not in the interval",
        "smallest: the difference that so many videos reveal with a power of 80 %",
        "",
        "streams           Q      both wrong",
        "spatial, motion   0.37   4/60  6.67 % [2.62, 15.93]",
        "at least one stream is right: 56/60  93.33 % [84.07, 97.38]",
        "",
        "segment of spatial   alone                           all the others",
        "1                    34/60  56.67 % [44.10, 68.43]   43/60  71.67 % [59.23, 81.49]",
        "2                    38/60  63.33 % [50.68, 74.38]   43/60  71.67 % [59.23, 81.49]",
        "3                    39/60  65.00 % [52.36, 75.83]   37/60  61.67 % [49.02, 72.91]",
        "",
        "segment of motion   alone                           all the others",
        "1                   40/60  66.67 % [54.06, 77.27]   45/60  75.00 % [62.77, 84.22]",
        "2                   38/60  63.33 % [50.68, 74.38]   47/60  78.33 % [66.38, 86.88]",
        "3                   42/60  70.00 % [57.49, 80.10]   46/60  76.67 % [64.56, 85.56]",
        "warning: the protocols differ: spatial spatial-views, motion motion-views",
    ]
    assert result.stderr.startswith("next: twostream report ")
    own = '[compare]\nstrategy = ["weighted"]\nweights = "spatial=1,motion=1"\n'
    Path("twostream.toml").write_text(own)
    words = "--strategy weighted --weights spatial=1,motion=1"
    assert compare(*files).stderr.splitlines()[-1].endswith(words)
    Path("twostream.toml").write_text(own + own.replace("compare", "report"))
    assert "--" not in compare(*files).stderr.splitlines()[-1]


def test_for_programs_with_calibration_and_groups(files: list[Path]) -> None:
    options = ["--calibrate", "crossfit", "--groups", r"_(g\d+)", "--strategy", "weighted"]
    made = json.loads(compare(*files, *options, "--weights", "motion=1,spatial=2", "--json").stdout)
    names = [system["name"] for system in made["systems"]]
    assert names == ["spatial", "motion", "weighted", "weighted, calibrated"]
    assert (made["test"], made["unit"]) == ("sign flips of groups", "groups")
    assert len(made["pairs"]) == 6
    assert [row["segment"] for row in made["segments"]["spatial"]] == [1, 2, 3]


def test_files_as_they_are(files: list[Path], make_table: Make, tmp_path: Path) -> None:
    made = json.loads(compare(*files, "--alone", "--json").stdout)
    assert [system["name"] for system in made["systems"]] == ["spatial", "motion"]
    refused = compare(files[0], "--alone")
    assert refused.exit_code == 2
    assert "a comparison needs two results" in refused.output
    other = tmp_path / "other.safetensors"
    write_scores(other, make_table([[1, 2]], dataset="hmdb51"))
    refused = compare(files[0], other)
    assert refused.exit_code == 2
    assert "dataset differs: spatial toy, other hmdb51" in refused.output


def test_a_stream_that_is_called_as_a_strategy(files: list[Path], make_table: Make) -> None:
    write_scores(Path("mean.safetensors"), make_table([[1, 2]]))
    write_scores(Path("other.safetensors"), make_table([[1, 2]]))
    refused = compare("mean.safetensors", "other.safetensors")
    assert refused.exit_code == 2
    assert "mean is an input and a strategy" in refused.output


def test_forms_and_their_cost(
    files: list[Path], make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The streams, their late fusion and a joint network; RGB is dear here."""
    labels = [0, 1, 2] * 20
    for stream, noise in (("spatial", 1.0), ("motion", 1.0), ("joint", 0.3), ("distilled", 1.2)):
        rng = np.random.default_rng(len(stream))
        scores = noise * rng.normal(size=(60, 3, 1, 3)) + np.eye(3)[labels][:, None, None]
        card = {"side": 224, "snippets": 3, "crops": 1, "snippet_length": 1}
        about = {"stream": stream, "protocol_card": card, "split": 1, "model": "net"}
        path = tmp_path / f"runs/toy-split1/{stream}-net/scores/test.safetensors"
        path.parent.mkdir(parents=True)
        write_scores(path, make_table(scores, labels=labels, **about))

    def cost(run: Path, protocol: dict[str, int], **_: object) -> Cost:
        assert protocol["snippets"] == 3
        if run.name == "distilled-net":
            raise InputError("no weights")
        return Cost(10**9, 30, 9.0 if run.name == "spatial-net" else 4.0)

    monkeypatch.setattr("twostream.scoring.costs.cost_of_run", cost)
    result = compare("--forms", "--strategy", "mean")
    assert result.exit_code == 0, result.output
    assert "the cost of distilled is not known: no weights" in result.stderr
    weighed = json.loads(compare("--forms", "--strategy", "mean", "--json").stdout)
    prices = {form["name"]: form["milliseconds"] for form in weighed["forms"]}
    assert prices == {"motion": 4, "joint": 4, "spatial": 9, "mean": 13, "distilled": None}
    assert weighed["worth"] == "joint"
    assert weighed["forms"][3]["flow_pairs"] == 60
    assert {"joint", "mean"} in [{pair["first"], pair["second"]} for pair in weighed["pairs"]]
    for text in ("worth its cost here: joint", "2.00 G", "10 pairs", "next: twostream report"):
        assert text in result.output, result.output
    report = CliRunner().invoke(cli, ["report", "--forms", "--figures", "figures"])
    assert report.exit_code == 0, report.output
    page = (tmp_path / "report.html").read_text()
    assert 'id="forms"' in page
    assert "13.0 ms" in (tmp_path / "figures" / "forms.svg").read_text()
    named = [
        f"{name}=runs/toy-split1/{stream}-net/scores/test.safetensors"
        for name, stream in (("rgb", "spatial"), ("both", "joint"), ("flow", "motion"))
    ]
    weighted = ["--strategy", "weighted", "--weights", "rgb=2,flow=1"]
    shown = compare("--forms", *named, *weighted)
    assert shlex.join(weighted) in shown.output.replace("\n", " ")
    folders = [tmp_path / f"runs/toy-split1/{stream}-net" for stream in ("spatial", "motion")]
    for folder in folders:
        for epoch in (1, 2):
            shutil.copy(
                folder / "scores/test.safetensors", folder / f"scores/epoch-{epoch:03}.safetensors"
            )
    for options in ([*named, *weighted], [*map(str, folders), "--epochs", "last:2"]):
        report = CliRunner().invoke(cli, ["report", "--forms", *options, "--out", "named.html"])
        assert report.exit_code == 0, report.output
        assert 'id="forms"' in (tmp_path / "named.html").read_text()
    for options, fact in (
        (["--forms", "--alone"], "--alone"),
        (["--forms", "--splits", "all"], "--split "),
        (["--forms", files[0], "--strategy", "mean"], "spatial"),
    ):
        refused = compare(*options)
        assert refused.exit_code == 2
        assert fact in refused.output
