"""`twostream events`: two streams, each blind to something, over two generated films."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fusion.tables.score_file import ScoreTable, write_scores
from fusion.tables.windows import window_names
from twostream.cli import cli

CLASSES = ("background", "RedLeft", "RedRight", "BlueLeft")
FILMS = {
    "a": [(2, 6, "RedLeft"), (8, 12, "BlueLeft")],
    "b": [(2, 5, "RedRight"), (7, 10, "RedLeft")],
    "c": [(4, 9, "RedRight")],
}
ALIKE = {"spatial": [[0], [1, 2], [1, 2], [3]], "motion": [[0], [1, 3], [2], [1, 3]]}


def dense_scores(path: Path, stream: str, *, sure: float = 4.0) -> Path:
    """Windows of 2 s every half second of films of 14 s; a stream takes some classes for alike."""
    names, groups, times, scores = [], [], [], []
    for film, events in FILMS.items():
        of_film = np.arange(0.25, 12.25, 0.5)[:, None] + np.array([0.0, 2.0])
        names += window_names(film, of_film)
        for start, end in of_film:
            middle = (start + end) / 2
            label = next((CLASSES.index(c) for s, e, c in events if s <= middle < e), 0)
            row = np.zeros(len(CLASSES), np.float32)
            row[ALIKE[stream][label]] = sure
            scores.append(row)
        groups += [film] * len(of_film)
        times += of_film.tolist()
    write_scores(
        path,
        ScoreTable(
            tuple(names),
            CLASSES,
            np.array(scores)[:, None, None],
            np.full(len(names), -1),
            "logits",
            {"stream": stream},
            tuple(groups),
            np.array(times),
        ),
    )
    return path


@pytest.fixture
def streams(tmp_path: Path) -> list[str]:
    return [str(dense_scores(tmp_path / f"{s}.safetensors", s)) for s in ("spatial", "motion")]


@pytest.fixture
def truth(tmp_path: Path) -> str:
    rows = [f"{film},{s},{e},{c},14" for film, events in FILMS.items() for s, e, c in events]
    (tmp_path / "truth.csv").write_text("\n".join(["video,start,end,label,duration", *rows, ""]))
    return str(tmp_path / "truth.csv")


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["events", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def run_json(*arguments: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(run(*arguments, "--json"))
    return value


def test_text(streams: list[str], truth: str) -> None:
    lines = run(*streams, "--truth", truth).splitlines()
    assert lines[:8] == [
        "3 films, 72 windows, 4 classes (background: background); 5 events by fused",
        "",
        "video   start   end     class      score",
        "a       2.00    6.00    RedLeft    0.72",
        "a       8.00    12.00   BlueLeft   0.79",
        "b       2.00    5.00    RedRight   0.77",
        "b       7.00    10.00   RedLeft    0.70",
        "c       4.00    9.00    RedRight   0.80",
    ]
    first = [line.split("  ")[0] for line in lines[9:]]
    assert first[:2] == ["judged on 3 films; percent [95 % interval by films]", ""]
    metrics = ["ActivityNet mAP", "ActivityNet mAP@0.50", "THUMOS14 mAP", "frame accuracy",
               "edit score", "F1@10", "F1@25", "F1@50"]  # fmt: skip
    assert first[2:10] == metrics
    assert first[10:] == [
        "", "fused minus spatial, points", *metrics, "", "fused minus motion, points", *metrics,
    ]  # fmt: skip


def test_the_fusion_finds_what_neither_stream_does(streams: list[str], truth: str) -> None:
    result = run_json(*streams, "--truth", truth, "--classes", "--threshold", "0.5")
    percent = {
        name: {metric: value["percent"] for metric, value in system.items()}
        for name, system in result["systems"].items()
    }
    assert percent["fused"]["THUMOS14 mAP"] == 100
    assert percent["fused"]["edit score"] == 100
    assert percent["fused"]["frame accuracy"] > 95
    assert percent["spatial"]["THUMOS14 mAP"] < 60
    assert percent["motion"]["THUMOS14 mAP"] < 60
    assert [c["first"] + c["second"] for c in result["comparisons"]] == [
        "fusedspatial",
        "fusedmotion",
    ]
    assert result["comparisons"][0]["metrics"][2]["p"] == 2 / 2**3
    by_class = {c["class"]: (c["events"], c["detections"]) for c in result["by_class"]}
    assert by_class == {"BlueLeft": (1, 1), "RedLeft": (2, 2), "RedRight": (2, 2)}


def test_files_of_events(streams: list[str], truth: str, tmp_path: Path) -> None:
    table, results = tmp_path / "events.csv", tmp_path / "events.json"
    run(*streams, "--out", str(table))
    assert table.read_text().splitlines()[:2] == [
        "video,start,end,label,score",
        "a,2.0,6.0,RedLeft,0.7166",
    ]
    assert run(*streams, "--truth", str(table))  # a result may be the truth of another
    run(*streams, "--out", str(results))
    content = json.loads(results.read_text())
    assert content["results"]["a"][0] == {
        "label": "RedLeft", "score": 0.7166, "segment": [2.0, 6.0],
    }  # fmt: skip
    assert "events.txt: " in run(*streams, "--out", str(tmp_path / "events.txt"), code=2)


def test_options_reach_the_detection(streams: list[str]) -> None:
    def found(*options: str) -> list[list[Any]]:
        events = run_json(*streams, *options)["events"]
        return [[e["video"], e["start"], e["end"]] for e in events]

    assert found("--argmax")[0] == ["a", 2, 6]
    assert len(found("--min-length", "3.5")) == 3
    assert found("--threshold", "0.99") == []
    assert found("--max-gap", "3", "--argmax") == found("--argmax")
    assert len(found("--background", "RedLeft")) > 5
    assert len(found("--median", "1", "--gaussian", "0.5")) == 5


def test_another_system(streams: list[str], truth: str, tmp_path: Path) -> None:
    other = str(dense_scores(tmp_path / "earlier.safetensors", "motion", sure=1))
    result = run_json(*streams, "--truth", truth, "--compare", other)
    assert [c["second"] for c in result["comparisons"]] == ["spatial", "motion", "earlier"]
    assert "--truth" in run(*streams, "--compare", other, code=2)


def test_another_system_is_named_as_inputs_are(
    streams: list[str], truth: str, tmp_path: Path
) -> None:
    def compared(other: str | Path) -> list[str]:
        result = run_json(*streams, "--truth", truth, "--compare", str(other))
        return [c["second"] for c in result["comparisons"]][2:]

    folder = tmp_path / "timed-split1" / "motion-resnet18"
    (folder / "scores").mkdir(parents=True)
    dense_scores(folder / "scores" / "test.safetensors", "motion", sure=1)
    other = dense_scores(tmp_path / "earlier1.safetensors", "motion", sure=1)
    assert compared(other) == ["earlier1"]
    assert compared(folder) == ["motion-resnet18"]
    assert compared(f"old={other}") == ["old"]
    assert compared(f"motion={other}") == [str(other)]
    assert compared(streams[0]) == [streams[0]]
    pattern = str(tmp_path / "earlier{split}.safetensors")
    assert compared(pattern) == ["earlier1"]
    dense_scores(tmp_path / "earlier2.safetensors", "motion")
    text = run(*streams, "--truth", truth, "--compare", pattern, code=2)
    assert ["2 score files" in text, "earlier2" in text] == [True, True]
    assert "does not exist" in run(*streams, "--truth", truth, "--compare", "a=none", code=2)


def test_one_split_at_a_time(streams: list[str], tmp_path: Path) -> None:
    assert "--splits" in run(*streams, "--splits", "1,2", code=2)
    assert "{split}" in run(str(tmp_path / "earlier{split}.safetensors"), code=2)


def test_fused_scores_beside_what_they_were_made_of(streams: list[str], tmp_path: Path) -> None:
    """As `windows/*.safetensors` names them."""
    fused = str(tmp_path / "fused.safetensors")
    assert CliRunner().invoke(cli, ["fuse", *streams, "--out", fused]).exit_code == 0
    notes = run_json(fused, *streams)["notes"]
    assert [note.partition(",")[0] for note in notes] == [
        "fusion was fused of the scores of spatial",
        "fusion was fused of the scores of motion",
    ]
    assert run_json(*streams)["notes"] == run_json(fused)["notes"] == []


def test_what_cannot_be_judged(streams: list[str], truth: str, tmp_path: Path) -> None:
    path = Path(truth)
    rows = path.read_text()
    path.write_text(f"{rows}d,1,2,RedLeft,9\n")
    assert "1 of the truth's 4 films" in run(*streams, "--truth", truth, code=2)
    notes = run_json(*streams, "--truth", truth, "--allow-missing")["notes"]
    assert any("1 films of the truth have no scores: d" in note for note in notes)
    path.write_text(rows.replace("RedRight", "Other"))
    notes = run_json(*streams, "--truth", truth)["notes"]
    assert any("1 classes of the truth have no scores: Other" in note for note in notes)
    path.write_text("video,start,end,label\na,1,2,x\n")
    assert "none of the truth's classes" in run(*streams, "--truth", truth, code=2)
    path.write_text("video,start,end,label\na,2,6,RedLeft\na,5,8,BlueLeft\n")
    result = run_json(*streams, "--truth", truth)
    assert "frame accuracy" not in result["systems"]["fused"]
    assert any("several classes at a time" in note for note in result["notes"])


def test_scores_of_whole_videos_have_no_events(tmp_path: Path) -> None:
    path = tmp_path / "videos.safetensors"
    table = ScoreTable(
        ("a", "b"), ("x", "y"), np.zeros((2, 1, 1, 2)), np.array([0, 1]), "probs", {}
    )
    write_scores(path, table)
    assert "`twostream predict --window`" in run(str(path), code=2)
