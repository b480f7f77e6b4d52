"""Fusion of the scores of several streams, with tests, intervals and a report.

    import fusion

    fused = fusion.fuse({"spatial": "rgb.safetensors", "motion": "flow.safetensors"},
                        strategy="variance")
    fusion.evaluate(fused.scores, fused.labels)["top1"]

Everything that users, documents and plug-ins need is a name of this package; names are imported
when they are first used, so that `import fusion` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion.combining.fuse import Fusion as Fusion
    from fusion.combining.fuse import VideoScores as VideoScores
    from fusion.combining.fuse import fuse as fuse
    from fusion.combining.fuse import score_videos as score_videos
    from fusion.combining.step import Step as Step
    from fusion.combining.step import make_step as make_step
    from fusion.combining.strategies import STRATEGIES as STRATEGIES
    from fusion.evaluation.metrics import evaluate as evaluate
    from fusion.evaluation.metrics import mean_class_accuracy as mean_class_accuracy
    from fusion.evaluation.metrics import top_k_correct as top_k_correct
    from fusion.evaluation.metrics import wilson_interval as wilson_interval
    from fusion.evaluation.significance import bootstrap_interval as bootstrap_interval
    from fusion.evaluation.significance import compare as compare
    from fusion.evaluation.significance import holm as holm
    from fusion.evaluation.significance import mcnemar as mcnemar
    from fusion.exchange.exporting import export_scores as export_scores
    from fusion.exchange.formats import SCORE_FORMATS as SCORE_FORMATS
    from fusion.exchange.formats.external_scores import ExternalScores as ExternalScores
    from fusion.exchange.formats.external_scores import stack_videos as stack_videos
    from fusion.exchange.formats.npy_npz import read_members as read_members
    from fusion.exchange.formats.restricted_pickle import load_pickle as load_pickle
    from fusion.exchange.importing import VideoList as VideoList
    from fusion.exchange.importing import import_scores as import_scores
    from fusion.fitting.estimators import CalibratedFusion as CalibratedFusion
    from fusion.fitting.estimators import LearnedFusion as LearnedFusion
    from fusion.fitting.hold_out import grouped_folds as grouped_folds
    from fusion.fitting.hold_out import video_groups as video_groups
    from fusion.tables.join import join as join
    from fusion.tables.score_file import ScoreTable as ScoreTable
    from fusion.tables.score_file import read_scores as read_scores
    from fusion.tables.score_file import write_scores as write_scores
    from fusion.workflows import report as report
    from fusion.workflows import tune_weights as tune_weights
    from twostream_base.errors import InputError as InputError

# public name -> where it is defined, and its name there if that is another
_HOMES = {
    "fusion.combining.fuse": ["Fusion", "VideoScores", "fuse", "score_videos"],
    "fusion.combining.step": ["Step", "make_step"],
    "fusion.combining.strategies": ["STRATEGIES"],
        "fusion.evaluation.metrics": [
        "evaluate", "mean_class_accuracy", "top_k_correct", "wilson_interval",
    ],
    "fusion.evaluation.significance": ["bootstrap_interval", "compare", "holm", "mcnemar"],
    "fusion.exchange.exporting": ["export_scores"],
    "fusion.exchange.formats": ["SCORE_FORMATS"],
    "fusion.exchange.formats.external_scores": ["ExternalScores", "stack_videos"],
    "fusion.exchange.formats.npy_npz": ["read_members"],
    "fusion.exchange.formats.restricted_pickle": ["load_pickle"],
    "fusion.exchange.importing": ["VideoList", "import_scores"],
    "fusion.fitting.estimators": ["CalibratedFusion", "LearnedFusion"],
    "fusion.fitting.hold_out": ["grouped_folds", "video_groups"],
    "fusion.tables.join": ["join"],
    "fusion.tables.score_file": ["ScoreTable", "read_scores", "write_scores"],
    "fusion.workflows": ["report", "tune_weights"],
    "twostream_base.errors": ["InputError"],
}  # fmt: skip
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_MODULES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fusion' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
