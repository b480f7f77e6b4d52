"""The names of the package `fusion`: what users, documents and plug-ins import."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fusion
from fusion.combining.inputs import HeldOut
from fusion.fitting.fitted_fusion import LEARNERS, fuse_by_learning
from fusion.workflows import fuse_files, report_files

Make = Callable[..., fusion.ScoreTable]
LABELS = np.arange(60) % 4
VIEWS = np.random.default_rng(0).normal(size=(2, 60, 3, 2, 4)) + np.eye(4)[LABELS][:, None, None]
SPATIAL, MOTION = VIEWS
SCENES = [f"scene{video // 5}" for video in range(60)]


@pytest.fixture
def files(make_table: Make, tmp_path: Path) -> dict[str, str]:
    paths = {}
    for stream, views in (("spatial", SPATIAL), ("motion", 3 * MOTION)):
        names = [f"v_g{video // 5:02d}_c{video % 5:02d}" for video in range(60)]
        table = make_table(views, names=names, labels=LABELS, stream=stream, dataset="ucf101")
        paths[stream] = str(tmp_path / f"{stream}.safetensors")
        fusion.write_scores(paths[stream], table)
    return paths


def test_the_import_is_light() -> None:
    code = (
        "import sys, fusion\n"
        "heavy = ('torch', 'cv2', 'numba', 'scipy', 'click', 'numpy', 'twostream')\n"
        "assert not [name for name in heavy if name in sys.modules]\n"
        "[getattr(fusion, name) for name in fusion.__all__]\n"
        "heavy = ('torch', 'cv2', 'numba', 'scipy.stats', 'click', 'twostream', 'flow_extract')\n"
        "assert not [name for name in heavy if name in sys.modules]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("strategy", ["mean", "max", "variance", "rank"])
def test_arrays_files_and_tables_give_the_same(files: dict[str, str], strategy: str) -> None:
    by_files = fusion.fuse(files, strategy=strategy, segments="max")
    tables = {key: fusion.read_scores(path) for key, path in files.items()}
    by_tables = fusion.fuse(tables, strategy=strategy, segments="max")
    arrays = {"spatial": np.float32(SPATIAL), "motion": np.float32(3 * MOTION)}
    by_arrays = fusion.fuse(arrays, strategy=strategy, segments="max", labels=LABELS)
    for other in (by_tables, by_arrays):
        np.testing.assert_array_equal(other.scores, by_files.scores)
    assert by_files.scores.shape == (60, 4)
    assert by_arrays.labels.tolist() == LABELS.tolist()
    views = {key: array.mean(axis=2) for key, array in arrays.items()}
    np.testing.assert_allclose(
        fusion.fuse(views, strategy=strategy, segments="max").scores, by_files.scores, rtol=1e-5
    )


def test_the_same_as_the_command(files: dict[str, str], tmp_path: Path) -> None:
    from fusion.combining.inputs import FusionOptions

    paths = [Path(path) for path in files.values()]
    options = FusionOptions(files=paths, strategy="weighted", weights="spatial=1,motion=2",
                            segments="variance", combine="probs")  # fmt: skip
    result = fuse_files(options, out=tmp_path / "out")
    fused = fusion.fuse(files, strategy="weighted", weights={"motion": 2, "spatial": 1},
                        segments="variance", combine="probs")  # fmt: skip
    written = fusion.read_scores(tmp_path / "out")
    np.testing.assert_array_equal(written.scores, fused.table.scores)
    assert written.metadata == fused.table.metadata
    evaluated = fusion.evaluate(fused.scores, fused.labels, fused.groups)
    assert result["fused"] == evaluated


def test_options_of_strategies() -> None:
    arrays = {"a": SPATIAL, "b": MOTION}
    top = fusion.fuse(arrays, segments=fusion.make_step("topk", k=3))
    np.testing.assert_allclose(top.scores, fusion.fuse(arrays).scores, rtol=1e-5)
    legacy = fusion.make_step("variance", form="legacy")
    assert fusion.fuse(arrays, strategy=legacy).table.score_type == "logits"
    custom = fusion.fuse(arrays, strategy=lambda scores: scores[..., 0, :])
    np.testing.assert_allclose(custom.scores, SPATIAL.mean(axis=(1, 2)), rtol=1e-5)
    for wrong, fact in (
        ({"weights": {"a": 1}}, "weights of a; the streams are a, b"),
        ({"weights": {"a": 1, "b": 1}}, "for the strategy `weighted`"),
        ({"strategy": "mode"}, "'mode' is not one of mean"),
        ({"strategy": "weighted"}, "cannot be called"),
    ):
        with pytest.raises(fusion.InputError, match=fact):
            fusion.fuse(arrays, **wrong)
    with pytest.raises(fusion.InputError, match="form='x'; allowed: normalised, legacy"):
        fusion.make_step("variance", form="x")
    with pytest.raises(fusion.InputError, match=r"mean cannot be called with \(scores, form\)"):
        fusion.make_step("mean", form="legacy")
    step = fusion.make_step(lambda scores, *, form, strategy: scores[0], form=1, strategy=2)
    assert step.options == {"form": 1, "strategy": 2}


def test_weights_on_arrays() -> None:
    arrays = {"a": SPATIAL, "b": 3 * MOTION}
    result = fusion.tune_weights(arrays, labels=LABELS, groups=SCENES, folds=3)
    assert set(result["weights"]) == {"a", "b"}
    assert len(result["folds"]) == 3
    fused = fusion.fuse(arrays, strategy="weighted", weights=result["weights"], labels=LABELS)
    assert fusion.evaluate(fused.scores, LABELS)["top1"]["correct"] > 30
    with pytest.raises(fusion.InputError, match="which videos belong together is not known"):
        fusion.tune_weights(arrays, labels=LABELS)


def test_weights_on_files_and_validation_scores(files: dict[str, str], make_table: Make) -> None:
    by_dataset = fusion.tune_weights(files)
    assert by_dataset["held_out"]["of"] == 60
    names = [f"w{video}" for video in range(60)]
    validation = {
        stream: make_table(views, names=names, labels=LABELS)
        for stream, views in (("spatial", SPATIAL), ("motion", MOTION))
    }
    assert fusion.tune_weights(files, validation=validation)["chosen_on"] == "val"


@pytest.mark.parametrize("method", LEARNERS)
def test_learned_fusion_on_arrays(make_table: Make, method: str) -> None:
    """As `fuse --learn`: fitted elsewhere, and in folds."""
    here, there = {"a": SPATIAL[:30], "b": MOTION[:30]}, {"a": SPATIAL[30:], "b": MOTION[30:]}
    model = fusion.LearnedFusion(method, folds=3).fit(there, LABELS[30:], groups=SCENES[30:])
    tables = {key: make_table(views) for key, views in here.items()}

    def learned(tables: dict[str, fusion.ScoreTable], held_out: HeldOut) -> fusion.Fusion:
        joined = fusion.join(tables)
        streams = fusion.score_videos(joined)
        return fuse_by_learning(streams, joined, LEARNERS[method], held_out, name="x")

    others = {
        key: make_table(views, names=[f"w{v}" for v in range(30)], labels=LABELS[30:])
        for key, views in there.items()
    }
    expected = learned(tables, others)
    np.testing.assert_allclose(model.predict_proba(here), expected.scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model.predict(here), expected.scores.argmax(axis=1))
    assert model.held_out_ is not None
    folds = fusion.grouped_folds(SCENES[30:], LABELS[30:], count=3)
    in_folds = learned(others, folds)
    assert model.held_out_ == fusion.evaluate(in_folds.scores, LABELS[30:], SCENES[30:])
    assert 0 <= model.score(here, LABELS[:30]) <= 1
    stacked = np.stack([views.mean(axis=(1, 2)) for views in there.values()], axis=1)
    again = fusion.LearnedFusion(method).fit(stacked, LABELS[30:])
    assert (again.streams_, again.held_out_) == (["0", "1"], None)


def test_calibrated_fusion_ignores_the_scale_of_a_stream() -> None:
    quiet, loud = ({"a": SPATIAL, "b": scale * MOTION} for scale in (1, 50))
    models = [fusion.CalibratedFusion().fit(X, LABELS) for X in (quiet, loud)]
    probs = [model.predict_proba(X) for model, X in zip(models, (quiet, loud), strict=True)]
    np.testing.assert_allclose(probs[0], probs[1], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(probs[0].sum(axis=1), 1)
    factors = [model.scalings_[1].factor[0] for model in models]
    assert factors[0] / factors[1] == pytest.approx(50, rel=1e-3)


@pytest.mark.parametrize(
    ("run", "fact"),
    [
        (lambda: fusion.LearnedFusion("boost"), "'boost'; allowed: class-weights, stacking"),
        (lambda: fusion.CalibratedFusion("beta"), "'beta'; allowed: temperature, vector"),
        (lambda: fusion.LearnedFusion().predict({"a": SPATIAL}), "call fit"),
        (lambda: fusion.LearnedFusion().fit({"a": SPATIAL}, LABELS), "needs two streams"),
        (lambda: fusion.LearnedFusion().fit({}, LABELS), "no streams"),
        (lambda: fusion.LearnedFusion().fit(SPATIAL, LABELS), "videos, streams, classes"),
        (lambda: fusion.CalibratedFusion().fit({"a": SPATIAL}, LABELS[:3]), r"labels .* \(60,\)"),
        (lambda: fusion.CalibratedFusion().fit({"a": SPATIAL}, LABELS + 1), r"0..3"),
        (lambda: fusion.CalibratedFusion().fit({"a": SPATIAL}, LABELS * 0 - 1), "must be known"),
        (lambda: fusion.CalibratedFusion().fit({"a": SPATIAL, "b": MOTION[:9]}, LABELS), "differ"),
        (
            lambda: fusion.CalibratedFusion().fit({"a": SPATIAL}, LABELS).predict({"b": SPATIAL}),
            "scores of b in 4 classes; fitted on a in 4 classes",
        ),
    ],
)  # fmt: skip
def test_estimators_refuse_what_does_not_fit(run: Callable[[], object], fact: str) -> None:
    with pytest.raises(fusion.InputError, match=fact):
        run()


def test_a_report_of_files_and_of_arrays(files: dict[str, str]) -> None:
    from fusion.combining.inputs import FusionOptions

    page = fusion.report(files, title="A title")
    assert "<title>A title</title>" in page
    assert "mean, calibrated" in page  # the data set tells the groups
    by_command = report_files(
        FusionOptions(files=[Path(path) for path in files.values()]), title="A title"
    )
    assert page == by_command
    assert "<pre>" not in page  # no command makes it
    arrays = fusion.report({"a": SPATIAL, "b": MOTION}, labels=LABELS, strategies=["mean"])
    assert "mean, calibrated" not in arrays
    with pytest.raises(fusion.InputError, match="needs videos with labels"):
        fusion.report({"a": SPATIAL, "b": MOTION})


def test_export_and_import(files: dict[str, str], tmp_path: Path) -> None:
    table = fusion.read_scores(files["spatial"])
    fusion.export_scores(tmp_path / "a.npz", table, format="npz")
    back = fusion.import_scores(tmp_path / "a.npz", format="npz", metadata={"stream": "spatial"})
    np.testing.assert_array_equal(back.scores, table.scores)
    assert (back.names, back.labels.tolist()) == (table.names, table.labels.tolist())
    with pytest.raises(fusion.InputError, match="format 'xls'; allowed: csv, top, npz"):
        fusion.export_scores(tmp_path / "a.xls", table, format="xls")


def test_the_example_of_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "fusion.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    streams = {"spatial": SPATIAL, "motion": MOTION}
    exec(example, {"streams": streams, "new_streams": streams, "labels": LABELS, "scenes": SCENES})
    assert "'of': 60" in capsys.readouterr().out
