from __future__ import annotations

from twostream.logs.markdown_tables import read_markdown

NOTES = r"""
  | Batch Time | Loss | Prec@1                | Prec@5 |
  | ---------- | ---- | --------------------- | ------ |
  | 1.151      | 8.4  | 8.824                 | 26.732 |
  | 0.915      | 6.6  | $\color{red}{17.582}$ | 45.948 |

| Epoch | Loss | Prec@1 |
| ----- | ---- | ------ |
|       |      |        |

| 4    | 10.26 | 9.982 | 3.79 | 6.8347 | 18.4034 | 0.01  |
| ---- | ----- | ----- | ---- | ------ | ------- | ----- |
| 5    | 9.628 | 9.35  | 3.75 | 7.9832 | 19.972  | 0.001 |

| fusion | top1 | top2 |
| ------ | :--: | ---- |
| mean   | 59.0865 | 88.366 |

|model|config|acc1/acc5 efficient|
|:-:|:-|:-:|
|i3d|GluonCV|74.0 / x|

| no | table |
"""


def test_tables_of_epochs() -> None:
    runs, _ = read_markdown(NOTES, source="notes.md")
    assert [(run.line, run.subset, run.epochs()) for run in runs] == [
        (2, "val", [0, 1]), (11, "train", [4, 5]),
    ]  # fmt: skip
    assert [str(row["top1"]) for row in runs[0].rows] == ["8.824", "17.582"]
    assert [str(row["lr"]) for row in runs[1].rows] == ["0.01", "0.001"]


def test_tables_of_results() -> None:
    _, results = read_markdown(NOTES, source="notes.md")
    assert [(item.name, item.column, str(item.value)) for item in results] == [
        ("mean", "top1", "59.0865"),
        ("mean", "top2", "88.366"),
        ("i3d GluonCV", "top1 of acc1/acc5 efficient", "74.0"),
    ]
    assert results[0].source == "notes.md:15"
