from __future__ import annotations

from collections.abc import Callable

from fusion.evaluation.inspect_file import content_lines, contents
from fusion.tables.score_file import ScoreTable

Make = Callable[..., ScoreTable]


def test_contents(make_table: Make) -> None:
    table = make_table([[[19, 0, 38, -19], [19, 38, 0, -19]], [[0, 0, 0, 1]] * 2], labels=[1, -1],
                       kind="logit_sum", summed_over=19, stream="spatial")  # fmt: skip
    shown = contents(table, first=1)
    assert shown["shape"] == {"videos": 2, "segments": 2, "crops": 1, "classes": 4}
    assert shown["accuracy"]["top1"]["of"] == 1
    assert shown["first"] == [
        {"name": "v0", "label": "c1", "top": [
            {"class": "c0", "score": 1}, {"class": "c1", "score": 1}, {"class": "c2", "score": 1},
        ]},
    ]  # fmt: skip
    assert content_lines(shown) == [
        "logit_sum, float32; videos 2, segments 2, crops 1, classes 4",
        "summed_over: 19",
        "stream: spatial",
        "",
        "top-1 0/1  0.00 % [0.00, 79.35]   top-5 1/1  100.00 % [20.65, 100.00]   mean class 0.00 %",
        "",
        "v0 (true: c1): c0 1, c1 1, c2 1",
    ]


def test_videos_without_label_and_more_than_there_are(make_table: Make) -> None:
    shown = contents(make_table([[0.25, 0.75]], labels=[-1], kind="probs"), first=5)
    assert content_lines(shown)[-1] == "v0 (true: not known): c1 0.75, c0 0.25"
