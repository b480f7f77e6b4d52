from __future__ import annotations

import re
from collections.abc import Callable

from fusion.combining.fuse import fuse
from fusion.evaluation.text_tables import fusion_result, result_lines
from fusion.tables.score_file import ScoreTable

Make = Callable[..., ScoreTable]
FILES = {"spatial": "s.safetensors", "motion": "m.safetensors"}


def test_result_for_programs(make_table: Make) -> None:
    fusion = fuse({
        "spatial": make_table([[3, 0], [0, 1], [5, 4]], labels=[0, 0, -1]),
        "motion": make_table([[0, 1], [2, 0], [5, 4]], labels=[0, 0, -1]),
    })  # fmt: skip
    result = fusion_result(fusion, files=FILES)
    half = {"correct": 1, "of": 2, "percent": 50.0, "interval": [9.4531, 90.5469]}
    both = {"correct": 2, "of": 2, "percent": 100.0, "interval": [34.238, 100.0]}
    assert result == {
        "videos": 3,
        "strategy": "mean",
        "segments": "mean",
        "combine": "logits",
        "options": {"streams": {}, "segments": {}, "crops": {}},
        "inputs": [
            {"stream": stream, "file": file, "top1": half, "top5": both,
             "mean_class": {"percent": 50.0, "classes": 1}, "unlabelled": 1}
            for stream, file in FILES.items()
        ],
        "fused": {"top1": both, "top5": both, "mean_class": {"percent": 100.0, "classes": 1},
                  "unlabelled": 1},
        "calibration": None,
        "warnings": ["1 of 3 videos have no label and are not in the accuracies"],
    }  # fmt: skip


def test_result_for_people(make_table: Make) -> None:
    fusion = fuse({"spatial": make_table([[3, 0], [0, 1]], protocol="clips19"),
                   "motion": make_table([[0, 1], [2, 0]], protocol="segments3")})  # fmt: skip
    lines = result_lines(fusion_result(fusion, files=FILES))
    assert [re.sub(" {3,}", " | ", line) for line in lines] == [
        "2 videos, segments fused by mean",
        "",
        " | top-1 | top-5 | mean class",
        "spatial | 1/2  50.00 % [9.45, 90.55] | 2/2  100.00 % [34.24, 100.00] | 50.00 %",
        "motion | 1/2  50.00 % [9.45, 90.55] | 2/2  100.00 % [34.24, 100.00] | 50.00 %",
        "fused (mean) | 2/2  100.00 % [34.24, 100.00] | 2/2  100.00 % [34.24, 100.00] | 100.00 %",
        "warning: the protocols differ: spatial clips19, motion segments3",
    ]
    starts = {line.index("2/2  100.00 % [34.24, 100.00]   ") for line in lines[3:5]}
    assert starts == {lines[2].index("top-5")}  # the columns stand in line


def test_result_without_labels(make_table: Make) -> None:
    fusion = fuse({"spatial": make_table([[3, 0]], labels=[-1])})
    lines = result_lines(fusion_result(fusion, files=FILES))
    assert re.split(" {3,}", lines[3]) == ["spatial", "no labels", "no labels", "-"]
    assert lines[-1] == "warning: 1 of 1 videos have no label and are not in the accuracies"
