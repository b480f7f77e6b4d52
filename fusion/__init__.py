"""Fusion of the scores of several streams, with tests, intervals and a report.

    import fusion

    fused = fusion.fuse({"spatial": "rgb.safetensors", "motion": "flow.safetensors"},
                        strategy="variance")
    fusion.evaluate(fused.scores, fused.labels, fused.groups)["top1"]

Everything that users, documents and plug-ins need is a name of this package; names are imported
when they are first used, so that `import fusion` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twostream_base.public_names import late_names

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from fusion.combining.fuse import Fusion, VideoScores, fuse, score_videos
    from fusion.combining.step import Step, make_step
    from fusion.combining.strategies import STRATEGIES
    from fusion.evaluation.comparison import (
        compare,
        group_gains,
        holm,
        mcnemar,
        sign_flip_interval,
        sign_flip_test,
    )
    from fusion.evaluation.metrics import (
        evaluate,
        mean_class_accuracy,
        top_k_correct,
        wilson_interval,
    )
    from fusion.events.detection import DetectionOptions, detect_events
    from fusion.events.event import Event
    from fusion.events.metrics import event_metrics, judge_events
    from fusion.events.truth import Film, Truth, read_truth
    from fusion.exchange.exporting import export_scores
    from fusion.exchange.formats import SCORE_FORMATS
    from fusion.exchange.formats.arrays import read_members
    from fusion.exchange.formats.external_scores import ExternalScores, stack_videos
    from fusion.exchange.formats.restricted_pickle import load_pickle
    from fusion.exchange.importing import VideoList, import_scores
    from fusion.fitting.estimators import CalibratedFusion, LearnedFusion
    from fusion.paper_table import table
    from fusion.reporting.table_formats import TABLE_FORMATS
    from fusion.tables.groups import grouped_folds, video_groups
    from fusion.tables.join import join
    from fusion.tables.score_file import ScoreTable, read_scores, write_scores
    from fusion.workflows import report, tune_weights
    from twostream_base.errors import InputError

__all__, __getattr__, __dir__ = late_names(
    __name__,
    {
        "fusion.combining.fuse": "Fusion VideoScores fuse score_videos",
        "fusion.combining.step": "Step make_step",
        "fusion.combining.strategies": "STRATEGIES",
        "fusion.evaluation.metrics": "evaluate mean_class_accuracy top_k_correct wilson_interval",
        "fusion.evaluation.comparison": (
            "compare group_gains holm mcnemar sign_flip_interval sign_flip_test"
        ),
        "fusion.events.detection": "DetectionOptions detect_events",
        "fusion.events.event": "Event",
        "fusion.events.metrics": "event_metrics judge_events",
        "fusion.events.truth": "Film Truth read_truth",
        "fusion.exchange.exporting": "export_scores",
        "fusion.exchange.formats": "SCORE_FORMATS",
        "fusion.exchange.formats.external_scores": "ExternalScores stack_videos",
        "fusion.exchange.formats.arrays": "read_members",
        "fusion.exchange.formats.restricted_pickle": "load_pickle",
        "fusion.exchange.importing": "VideoList import_scores",
        "fusion.fitting.estimators": "CalibratedFusion LearnedFusion",
        "fusion.paper_table": "table",
        "fusion.reporting.table_formats": "TABLE_FORMATS",
        "fusion.tables.groups": "grouped_folds video_groups",
        "fusion.tables.join": "join",
        "fusion.tables.score_file": "ScoreTable read_scores write_scores",
        "fusion.workflows": "report tune_weights",
        "twostream_base.errors": "InputError",
    },
)
