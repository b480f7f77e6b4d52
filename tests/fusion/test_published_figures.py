"""Real score files give the figures that their authors, and we by other means, found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion.combining.fuse import fuse, fuse_videos
from fusion.combining.inputs import FusionOptions
from fusion.combining.step import Step, Steps
from fusion.combining.strategies import STRATEGIES, VARIANCE_FORMS
from fusion.evaluation.comparison import compare
from fusion.evaluation.diagnosis import diagnose
from fusion.evaluation.metrics import top_k_correct
from fusion.exchange.formats import SCORE_FORMATS
from fusion.exchange.importing import VideoList, import_scores, name_rows, read_order
from fusion.fitting.fitted_fusion import calibrate
from fusion.fitting.weight_search import weight_curve
from fusion.tables.groups import grouped_folds, video_groups
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable, read_scores, write_scores
from fusion.workflows import compare_files, fuse_files, tune_files

SEQVLAD = {  # percent: RGB, flow; raw 1:1, 1:1.5, max; softmax 1:1, 1:1.5
    ("hmdb51", 1): (55.229, 65.359, 72.484, 72.876, 65.556, 70.850, 71.176),
    ("hmdb51", 2): (54.314, 64.771, 69.020, 70.392, 60.654, 66.078, 67.908),
    ("ucf101", 1): (86.783, 88.395, 93.312, 93.682, 90.907, 92.096, 92.361),
    ("ucf101", 2): (87.065, 91.805, 94.671, 94.831, 92.796, 93.894, 94.617),
}
EVEN, MAXIMUM = (Step(name, STRATEGIES[name]) for name in ("mean", "max"))
TILTED = Step("weighted", STRATEGIES["weighted"], {"weights": [1, 1.5]})


def correct(scores: np.ndarray, table: ScoreTable, k: int = 1) -> int:
    return top_k_correct(scores.reshape(len(table.names), -1), table.labels, k)


@pytest.fixture(scope="module")
def ucf101(shared_data: Path) -> dict[str, ScoreTable]:
    lists = shared_data / "official-splits" / "ucfTrainTestlist"
    classes = [line.split()[1] for line in (lists / "classInd.txt").read_text().splitlines()]
    names = [
        line.strip().removesuffix(".avi")
        for line in (lists / "testlist01.txt").read_text().splitlines()
    ]
    labels = [classes.index(name.partition("/")[0]) for name in names]
    return {
        stream: import_scores(
            SCORE_FORMATS["two-stream-pickle"](
                shared_data / "scores-resnet101-ucf101" / f"{stream}_video_preds.pickle"
            ),
            listed=VideoList(names, labels, classes), metadata={"stream": stream}, summed_over=19,
        )
        for stream in ("spatial", "motion")
    }  # fmt: skip


def test_resnet101_inputs(ucf101: dict[str, ScoreTable]) -> None:
    inputs = fuse(ucf101).streams.scores
    table = ucf101["spatial"]
    assert len(table.names) == 3783
    assert [correct(inputs["spatial"], table, k) for k in (1, 5)] == [3074, 3629]
    assert [correct(inputs["motion"], table, k) for k in (1, 5)] == [3014, 3608]


@pytest.mark.parametrize(
    ("strategy", "options", "top1", "top5"),
    [
        ("mean", {}, 3332, 3704),
        ("max", {}, 3016, 3619),
        ("weighted", {"weights": [2, 1]}, 3404, 3727),
        ("weighted", {"weights": [1, 2]}, 3208, 3672),
        ("variance", VARIANCE_FORMS["legacy"], 3067, 3626),
    ],
)
def test_resnet101_fused(
    ucf101: dict[str, ScoreTable], strategy: str, options: dict, top1: int, top5: int
) -> None:
    step = Step(strategy, STRATEGIES[strategy], options)
    table = fuse(ucf101, strategy=step).table
    assert [correct(table.scores, table, k) for k in (1, 5)] == [top1, top5]


@pytest.mark.parametrize("folds", [5, 7])
def test_resnet101_with_cross_fitted_temperatures(
    ucf101: dict[str, ScoreTable], folds: int
) -> None:
    table = ucf101["spatial"]
    groups = video_groups(table.names, "ucf101", dataset=None)
    made = calibrate(join(ucf101), grouped_folds(groups, table.labels, count=folds))
    fused = fuse_videos(made.score_videos(), Steps()).table
    assert correct(fused.scores, fused) >= 3417  # 90.3 %, where raw logits give 3332
    assert made.after["spatial"]["ece"] < 0.03 < 0.5 < made.before["spatial"]["ece"]


def test_sums_of_logits_are_counted_alike_by_all_commands(
    ucf101: dict[str, ScoreTable], tmp_path: Path
) -> None:
    """Their probabilities are so near 0 and 1 that float32 makes ties: it would count 3225."""
    for key, table in ucf101.items():
        sums = replace(table, score_type="logits", metadata={"stream": key})
        write_scores(tmp_path / f"{key}.safetensors", sums)
    files = [tmp_path / f"{key}.safetensors" for key in ucf101]
    options = FusionOptions(files=files, combine="probs", groups="ucf101")
    fused = fuse_files(options, out=tmp_path / "fused.safetensors")["fused"]
    again = fuse_files(FusionOptions(files=[tmp_path / "fused.safetensors"]))["fused"]
    tuned = tune_files(options, choose="crossfit")["equal"]
    compared = compare_files(replace(options, strategies=["mean"]))["systems"][-1]
    counts = [count["correct"] for count in (fused["top1"], again["top1"], tuned, compared)]
    assert counts == [3247] * 4
    assert read_scores(tmp_path / "fused.safetensors").scores.dtype == np.float64


def test_resnet101_streams_differ_by_scenes_only(ucf101: dict[str, ScoreTable]) -> None:
    """Of independent videos p would be 0.041: a star beside an interval that holds 0."""
    groups = video_groups(ucf101["spatial"].names, "ucf101")
    streams = fuse(ucf101).streams
    (pair,) = compare(streams.scores, streams.labels, groups=groups)["pairs"]
    assert pair["p"] == pytest.approx(0.26, abs=0.005)
    assert pair["smallest"] == pytest.approx(3.9, abs=0.05)
    assert not pair["significant"]
    (alone,) = compare(streams.scores, streams.labels)["pairs"]
    assert alone["p"] == pytest.approx(0.041, abs=0.0005)


def test_resnet101_exact_curve_of_all_weights(ucf101: dict[str, ScoreTable]) -> None:
    first, second = fuse(ucf101).streams.scores.values()
    labels, weights = ucf101["spatial"].labels, np.linspace(0, 1, 101)
    naive = [((w * first + (1 - w) * second).argmax(axis=1) == labels).sum() for w in weights]
    curve = weight_curve(first, second, labels)
    np.testing.assert_array_equal(curve.correct(weights), naive)
    assert curve.best() == (pytest.approx(0.76, abs=1e-3), 3421)  # 90.43 %, found on test


def test_resnet101_says_that_its_maximum_is_no_fusion(ucf101: dict[str, ScoreTable]) -> None:
    fusion = fuse(ucf101, strategy=MAXIMUM)
    found = diagnose(fusion.streams, fusion.scores.argmax(axis=1), strategy="max")
    assert found[0] == (
        "max agrees with motion on 99.9 % of the videos; its logits are 3.6x as wide as those of "
        "spatial: this is not fusion; try --calibrate"
    )


@pytest.mark.parametrize(("dataset", "split"), SEQVLAD)
def test_seqvlad(shared_data: Path, dataset: str, split: int) -> None:
    folder = shared_data / "scores-seqvlad" / dataset
    order = read_order(folder / f"test_split{split}.txt", sort=dataset == "ucf101")
    rgb, flow = (
        import_scores(
            name_rows(
                SCORE_FORMATS["tsn-npz"](folder / f"{dataset}_{stream}_split{split}.npz"), order
            ),
            metadata={"stream": stream, "dataset": dataset, "split": split},
        )
        for stream in ("rgb", "flow")
    )
    tables = {"rgb": rgb, "flow": flow}
    raw = [fuse(tables, strategy=step).table.scores for step in (EVEN, TILTED, MAXIMUM)]
    soft = [fuse(tables, strategy=step, combine="probs").table.scores for step in (EVEN, TILTED)]
    percents = [
        100 * correct(scores, rgb) / len(rgb.names)
        for scores in (rgb.scores, flow.scores, *raw, *soft)
    ]
    assert percents == pytest.approx(SEQVLAD[dataset, split], abs=5e-4)


def test_mean_of_the_published_splits(shared_data: Path, tmp_path: Path) -> None:
    """The case of `three-splits`: RGB 54.77, flow 65.07, 1:1.5 71.63, and no third split."""
    folder = shared_data / "scores-seqvlad" / "hmdb51"
    for split in (1, 2):
        order = read_order(folder / f"test_split{split}.txt", numbered=folder / "AllVideos.txt")
        for stream in ("rgb", "flow"):
            file = folder / f"hmdb51_{stream}_split{split}.npz"
            table = import_scores(name_rows(SCORE_FORMATS["tsn-npz"](file), order))
            facts = {"dataset": "hmdb51", "subset": "test"}
            write_scores(tmp_path / f"{stream}-{split}.safetensors", replace(table, metadata=facts))
    files = [Path(f"{s}={tmp_path}/{s}-{{split}}.safetensors") for s in ("rgb", "flow")]
    result = fuse_files(FusionOptions(files=files, strategy="weighted", weights="rgb=1,flow=1.5"))
    rows = [*result["inputs"], result["fused"]]
    assert [round(row["top1"], 2) for row in rows] == [54.77, 65.07, 71.63]
    counts = [row["fused"]["top1"]["correct"] for row in result["splits"]]
    assert counts == [1115, 1077]  # 72.88 and 70.39 %
    assert result["missing"] == ["split 3 is not there"]


@pytest.mark.parametrize(
    ("dataset", "split", "raw", "calibrated"),
    [
        ("hmdb51", 1, 1109, 1110),
        ("hmdb51", 2, 1056, 1075),
        ("ucf101", 1, 3530, 3537),
        ("ucf101", 2, 3535, 3540),
    ],
)
def test_where_calibration_helps_seqvlad(
    shared_data: Path, tmp_path: Path, dataset: str, split: int, raw: int, calibrated: int
) -> None:
    folder = shared_data / "scores-seqvlad" / dataset
    hmdb51 = dataset == "hmdb51"
    numbered = folder / "AllVideos.txt" if hmdb51 else None
    order = read_order(folder / f"test_split{split}.txt", sort=not hmdb51, numbered=numbered)
    for stream in ("rgb", "flow"):
        file = folder / f"{dataset}_{stream}_split{split}.npz"
        external = name_rows(SCORE_FORMATS["tsn-npz"](file), order)
        facts = {"stream": stream, "dataset": dataset, "subset": "test"}
        write_scores(tmp_path / stream, import_scores(external, metadata=facts))
    files = [tmp_path / "rgb", tmp_path / "flow"]
    result = fuse_files(FusionOptions(files=files, calibrate="crossfit"))
    assert result["fitted_on"] == "test labels, in group folds"
    counts = [result[key]["top1"]["correct"] for key in ("unfitted", "fused")]
    assert counts == [raw, calibrated]


@pytest.mark.parametrize(
    ("dataset", "split", "alone", "three"),
    [("hmdb51", 1, 56.73, 75.62), ("hmdb51", 2, 57.19, 76.54), ("ucf101", 1, 83.61, 94.26)],
)
def test_three_ways_with_improved_trajectories(
    shared_data: Path, dataset: str, split: int, alone: float, three: float
) -> None:
    """0.75 x L2-normalised 1:1.5 sum + 0.25 x L2-normalised decision values, classes by name."""
    folder = shared_data / "scores-seqvlad" / dataset
    hmdb51 = dataset == "hmdb51"
    order = read_order(
        folder / f"test_split{split}.txt",
        sort=not hmdb51,
        numbered=folder / "AllVideos.txt" if hmdb51 else None,
    )
    rgb, flow = (
        name_rows(SCORE_FORMATS["tsn-npz"](folder / f"{dataset}_{stream}_split{split}.npz"), order)
        for stream in ("rgb", "flow")
    )
    names, labels = zip(*order, strict=True)
    trajectories = import_scores(
        SCORE_FORMATS["mat"](
            folder / f"{dataset.removesuffix('51').removesuffix('101')}_idt_split{split}.mat"
        ),
        listed=VideoList(names, labels),
        metadata={"stream": "idt"},
    )
    assert ("class_order" in trajectories.metadata) == hmdb51  # climb and climb_stairs are swapped
    parts = [rgb.scores + 1.5 * flow.scores, trajectories.scores]
    units = [part / np.linalg.norm(part, axis=-1, keepdims=True) for part in parts]
    percents = [
        100 * correct(scores, trajectories) / len(names)
        for scores in (trajectories.scores, 0.75 * units[0] + 0.25 * units[1])
    ]
    assert percents == pytest.approx([alone, three], abs=6e-3)
