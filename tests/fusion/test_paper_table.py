from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import fusion
from fusion.combining.inputs import FusionOptions
from fusion.paper_table import table_files
from fusion.reporting.table_formats import TABLE_FORMATS, latex_text, markdown_text
from fusion.tables.score_file import ScoreTable, write_scores
from twostream.cli import cli
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


def table(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, ["table", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def runs(make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two splits of 60 videos; `small` with five seeds, `large` with one, in split 1 only motion.

    In each seed of `small` 40 + seed videos are right by RGB, 30 by flow, and 50 fused.
    """
    monkeypatch.chdir(tmp_path)
    for split in (1, 2):
        names = [f"v{split}_{row}" for row in range(60)]
        for seed in range(5):
            # logits of the true class (0) against the other one
            rgb = np.where(np.arange(60) < 40 + seed, 1.0, -3.0)
            rgb[50:] = -4.0
            flow = np.where(np.arange(60) < 50, -0.5, 6.0)
            flow[:20] = 5.0
            for stream, margins in (("spatial", rgb), ("motion", flow)):
                write(make_table, f"toy-split{split}/{stream}-small-seed{seed}", margins, names)
        write(make_table, f"toy-split{split}/spatial-large", np.ones(60), names)
    write(make_table, "toy-split2/motion-large", np.ones(60), [f"v2_{row}" for row in range(60)])
    return tmp_path / "runs"


def write(make_table: Make, folder: str, margins: np.ndarray, names: list[str]) -> None:
    run = Path("runs", folder)
    stream, model = run.name.split("-")[:2]
    split = int(run.parent.name[-1])
    scores = np.stack([margins, np.zeros(len(margins))], axis=1)
    about = {"stream": stream, "dataset": "toy", "split": split, "subset": "test", "model": model,
             "protocol": "clips19", "selected_on": "val"}  # fmt: skip
    write_scores(run / "scores/test.safetensors", make_table(scores, names=names, **about))
    if "seed" in run.name:
        (run / "config.toml").write_text(f'model = "{model}"\nseed = {run.name[-1]}\n')


def test_seeds_and_networks_of_all_runs(runs: Path) -> None:
    of_small = (
        "(40, 41, 42, 43, 44 of 60)",
        "(30, 30, 30, 30, 30 of 60)",
        "(50, 51, 52, 53, 54 of 60)",
    )
    shares = "70.0 ± 2.6", "50.0 ± 0.0", "86.7 ± 2.6"
    labels = "spatial", "motion", "spatial + motion, mean"
    assert cells(table("--decimals", 1).stdout)[:8] == [
        ["network", "input and fusion", "split 1", "split 2", "mean"],
        *(
            ["small" if number == 0 else "", label, f"{share} {counts}", f"{share} {counts}", share]
            for number, (label, share, counts) in enumerate(
                zip(labels, shares, of_small, strict=True)
            )
        ),
        ["large", "spatial", "100.0 (60/60)", "100.0 (60/60)", "**100.0**"],
        ["", "motion", "-", "100.0 (60/60)", "-"],
        ["", "spatial + motion, mean", "-", "100.0 (60/60)", "-"],
        ["difference from the best, in points", "mean", "95 %", "p (Holm)"],
    ]


def cells(markdown: str) -> list[list[str]]:
    """The rows of the tables, without the lines below their headings."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]


def test_differences_that_hold_over_seeds(runs: Path) -> None:
    result = table_files(FusionOptions(model="small", runs=runs))
    assert result["best"] == "small spatial + motion, mean"
    below = {row["label"]: row["below_best"] for row in result["rows"]}
    assert below["spatial + motion, mean"] is None
    assert below["spatial"]["seeds"] == {
        "seeds": 5, "better": 5, "worse": 0, "sd": 0.0, "interval": [16.6667, 16.6667], "p": 0.0,
    }  # fmt: skip
    motion = below["motion"]["seeds"]
    assert (motion["better"], motion["sd"]) == (5, round(100 * np.std(range(5), ddof=1) / 60, 4))
    assert [row["bold"] for row in result["rows"]] == [False, False, True]
    assert [row["seeds"] for row in result["rows"]] == [[0, 1, 2, 3, 4]] * 3
    assert cells(TABLE_FORMATS["markdown"](result))[-1][-1] == "5 of 5 better, +33.39 to +39.94"


def test_the_caption_says_how_it_was_made(runs: Path) -> None:
    text = table("--model", "small", "--splits", "1,3").stdout
    for fact in (
        "test videos of toy, split 1 (split 3 is not there)",
        "standard deviation (n - 1) over 5 seeds",
        "Test protocol: clips19.",
        "Epoch selected on: val.",
        "not known; Holm's correction for 3 pairs",
    ):
        assert fact in text
    calibrated = table("--model", "small", "--calibrate", "crossfit", "--tune", "crossfit",
                       "--groups", "video", "--splits", "1").stdout  # fmt: skip
    fitted = "Fitted on test labels, in folds of single videos: calibrated, weights tuned in folds."
    assert fitted in calibrated


def test_a_table_of_files_with_seeds_and_systems(runs: Path) -> None:
    files = [
        f"old/{stream}=runs/toy-split{{split}}/{stream}-small-seed{{seed}}/scores/test.safetensors"
        for stream in ("spatial", "motion")
    ]
    files += ["new/spatial=runs/toy-split{split}/spatial-large/scores/test.safetensors"]
    result = table_files(FusionOptions(files=list(map(Path, files))))
    assert [row["name"] for row in result["rows"]] == [
        "old spatial", "old motion", "old spatial + motion, mean", "new spatial",
    ]  # fmt: skip
    assert [row["percent"] for row in result["rows"]] == [70.0, 50.0, 86.6667, 100.0]


def test_what_is_strange_about_the_scores_is_told(runs: Path) -> None:
    """Equal scores under two names; streams of which no seed has both."""
    spatial = "spatial=runs/toy-split{split}/spatial-small-seed{seed}/scores/test.safetensors"
    large = "motion=runs/toy-split2/motion-large/scores/test.safetensors"
    files = [Path(spatial), Path(large)]
    result = table_files(FusionOptions(files=files, splits=[2]))
    assert [row["fusion"] for row in result["rows"]] == ["", ""]
    (line,) = result["warnings"]
    assert "nothing is fused (seeds: spatial 0, 1, 2, 3, 4; motion none)" in line
    same = [Path("runs/toy-split2/spatial-large"), Path("runs/toy-split2/motion-large")]
    told = table_files(FusionOptions(files=same))["warnings"]
    assert any("same scores" in line for line in told)


def test_one_file_per_stream_of_no_split(make_table: Make, tmp_path: Path) -> None:
    for stream, scores in (("a", [[1, 0], [0, 1]]), ("b", [[1, 0], [1, 0]])):
        write_scores(tmp_path / f"{stream}.safetensors", make_table(scores, stream=stream))
    files = [tmp_path / f"{stream}.safetensors" for stream in "ab"]
    rows = cells(table(*files, "--weights", "b=3,a=1", "--decimals", 0).stdout)
    assert rows[0] == ["input and fusion", "all videos"]
    assert [row[0] for row in rows[1:5]] == ["a", "b", "a + b, mean", "a + b, 1:3"]


def test_all_formats_have_the_same_figures(runs: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"table.{suffix}" for suffix in ("md", "tex", "csv", "json")]
    options = [word for out in outs for word in ("--out", out)]
    assert table("--model", "small", *options).stdout == ""
    markdown, tex, text, data = (out.read_text() for out in outs)
    means = [row["percent"] for row in json.loads(data)["rows"]]
    assert means == [70.0, 50.0, 86.6667]
    heading, *rows = csv.reader(io.StringIO(text))
    assert [float(row[heading.index("mean %")]) for row in rows] == means
    assert rows[0][heading.index("split 2 correct")] == "40 41 42 43 44"
    assert re.findall(r"& (?:\\textbf\{)?([\d.]+) \$\\pm\$ [\d.]+\}? \\\\", tex) == [
        f"{mean:.2f}" for mean in means
    ]
    assert [row[-1].strip("*")[:5] for row in cells(markdown)[1:4]] == [f"{m:.2f}" for m in means]


def test_latex_is_sound(runs: Path, tmp_path: Path, make_table: Make) -> None:
    write(make_table, "toy-split1/spatial-_%$&#{}~^\\[*|", np.ones(60),
          [f"v1_{row}" for row in range(60)])  # fmt: skip
    tex = table("--format", "latex", "--splits", "1").stdout
    plain = re.sub(r"\\[&%$#_{}]", "", re.sub(r"^%.*\n", "", tex, flags=re.MULTILINE))
    assert plain.count("{") == plain.count("}")
    assert not re.search(r"[#%_^~]", plain.replace("$", ""))
    columns = re.search(r"\{tabular\}\{([lr]+)\}", tex)
    assert columns is not None
    for row in re.findall(r"^    (.*) \\\\$", plain, flags=re.MULTILINE):
        assert row.count("&") == len(columns[1]) - 1
    if compiler := shutil.which("pdflatex"):
        document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
        (tmp_path / "t.tex").write_text(f"{document}{tex}\\end{{document}}")
        command = [compiler, "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_what_a_header_says_is_text_in_markdown_too(tmp_path: Path, make_table: Make) -> None:
    for stream in ("a", "b"):
        hostile = make_table(
            [[1, 0], [0, 1]], stream=stream, protocol="<img src=x>\n# [b](c)\x1b[2J"
        )
        write_scores(tmp_path / f"{stream}.safetensors", hostile)
    text = table(tmp_path / "a.safetensors", tmp_path / "b.safetensors").stdout
    assert r"Test protocol: \<img src=x\>\\n\# \[b\](c)\\x1b\[2J." in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--splits", "5"], "no scores of the splits 5; there are 1, 2"),
        (["--model", "none"], "--model 'none'.*there are large, small"),
        (["--runs", "elsewhere"], "no run below elsewhere has test scores"),
        (["--out", "table.doc"], r"table.doc: its ending tells no format; allowed: .md, .tex"),
        (["--weights", "spatial=1"], "--weights names spatial; the inputs are spatial, motion"),
        (["--model", "large", "--name", "x"], "--name 'x'"),
    ],
)
def test_mistakes(runs: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["table", *arguments])
    assert result.exit_code == 2
    assert re.search(message, result.output)


def test_what_is_fitted_on_validation_scores_of_each_split(runs: Path, make_table: Make) -> None:
    """Those of split 2 say that flow alone is right, so its weights give the 30 videos of flow."""
    for split, right in ((1, ([1.0, 1.0], [-1.0, -1.0])), (2, ([-1.0, -1.0], [1.0, 1.0]))):
        for stream, values in zip(("spatial", "motion"), right, strict=True):
            about = {"stream": stream, "dataset": "toy", "split": split, "subset": "val"}
            scores = np.stack([values, np.zeros(2)], axis=1)
            table = make_table(scores, names=["a", "b"], **about)
            write_scores(Path(f"val-{stream}-{split}.safetensors"), table)
    val = [Path(f"val-{stream}-{{split}}.safetensors") for stream in ("spatial", "motion")]
    options = FusionOptions(model="small", name="seed0", val=val)
    result = table_files(options, tuned="val", strategies=[])
    assert result["rows"][-1]["label"] == "spatial + motion, weights tuned on val"
    counts = [cell["correct"] for cell in result["rows"][-1]["splits"]]
    assert counts[1] == [30]
    assert counts[0][0] >= 40


def test_runs_of_two_data_sets(runs: Path, make_table: Make) -> None:
    write(make_table, "other-split1/spatial-small", np.ones(2), ["a", "b"])
    with pytest.raises(InputError, match=r"several data sets; give --dataset other\|toy"):
        table_files(FusionOptions())


def test_the_same_run_twice(runs: Path, make_table: Make) -> None:
    write(make_table, "toy-split1/spatial-small-seed_0", np.ones(60),
          [f"v1_{row}" for row in range(60)])  # fmt: skip
    with pytest.raises(InputError, match=r"2 spatial runs have scores: .*--name seed0\|seed_0"):
        table_files(FusionOptions())


def test_escapes() -> None:
    assert latex_text("a_b & 50% {x} [y] ~^\\ <\n") == (
        r"a\_b \& 50\% \{x\} {[}y{]} \textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"\textless{}\textbackslash{}n"
    )
    assert markdown_text("a|b*c_d`<e>\n&") == r"a\|b\*c\_d\`\<e\>\\n&amp;"


def test_the_table_from_python_is_that_of_the_command(runs: Path) -> None:
    streams = ("spatial", "motion")
    files = {
        f"small/{stream}": runs
        / "toy-split{split}"
        / f"{stream}-small-seed{{seed}}"
        / "scores/test.safetensors"
        for stream in streams
    }
    result = fusion.table(
        files, strategies=["mean", "max"], weights=[{"spatial": 2, "motion": 1}], tune="none"
    )
    typed = [f"{key}={path}" for key, path in files.items()]
    options = ("--strategy", "mean", "--strategy", "max", "--weights", "spatial=2,motion=1")
    assert result == json.loads(table(*typed, *options, "--format", "json").output)
    assert [row["fusion"] for row in result["rows"]] == ["", "", "mean", "max", "2:1"]
    with pytest.raises(InputError, match="none.safetensors"):
        fusion.table({"spatial": "none.safetensors"})
