"""The report over several splits, networks and seeds: an overview, then the best in each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion.combining.inputs import FusionOptions
from fusion.combining.sources import STREAMS
from fusion.paper_table import find_sources, join_systems, table_files
from fusion.reporting.content import Pictures
from fusion.reporting.overview import overview_section, overview_verdict
from fusion.reporting.page import report_page
from fusion.tables.progress import Progress, no_progress, part_of
from fusion.workflows import CALIBRATED, COMPARED, report_content
from twostream_base.errors import InputError


def report_splits(
    options: FusionOptions,
    *,
    strategies: Sequence[str] = COMPARED,
    stream_weights: str | None = None,
    shown: str | None = None,
    title: str = "Two-stream report",
    command: str = "",
    facts: Mapping[str, str] | None = None,
    seed: int = 0,
    pictures: Pictures | None = None,
    progress: Progress = no_progress,
) -> str:
    """The report over splits as one HTML page.

    It begins with what `table_files` gives of all networks and seeds. Then the network with the
    best result is shown in each split, of several seeds the first one.

    Args:
        options, strategies, stream_weights, shown, title, command, facts, seed, pictures: see
            `report_files`.
    """
    by_split, searched = find_sources(options)
    if stream_weights and "weighted" not in strategies:
        raise InputError("--weights has no effect without --strategy weighted")
    few = min(
        len(set(join_systems(by_system, options)[0].groups or ()))
        for by_system in by_split.values()
    )
    fits = options
    if few > 1 and options.calibrate == "none":
        fits = replace(options, calibrate="crossfit", folds=min(options.folds, few))
    table = table_files(
        fits,
        strategies=[name for name in strategies if name != "weighted"],
        weightings=[stream_weights] if stream_weights else [],
        seed=seed,
        progress=part_of(progress, 0, 0.4),
    )
    fused = {row["system"] for row in table["rows"] if row["fusion"]}
    if not fused:
        raise InputError(
            "a report needs a network with two streams or more, in the same splits and seeds; "
            "`twostream table` shows single streams"
        )
    ranked = sorted(
        (row for row in table["rows"] if row["system"] in fused and row["percent"] is not None),
        key=lambda row: row["percent"],
    )
    best = ranked[-1] if ranked else next(row for row in table["rows"] if row["fusion"])
    contents = []
    for number, (split, by_system) in enumerate(by_split.items()):
        of_best = next(
            sources
            for (system, of_seed), sources in by_system.items()
            if system == best["system"] and (of_seed in best["seeds"] or not best["seeds"])
        )
        files = [source for source in of_best if not searched or source.stream in STREAMS]
        named = _name_in_split(best, strategies)
        if searched and not best["fusion"] and named not in STREAMS:
            named = ""  # it is not among the streams that are fused
        share = 0.6 / len(by_split)
        begin = 0.4 + number * share
        contents.append(
            report_content(
                replace(
                    options,
                    files=files or of_best,
                    val=[Path(str(path).replace("{split}", str(split))) for path in options.val],
                    splits=None,
                    split=split,
                ),
                strategies=strategies,
                stream_weights=stream_weights,
                shown=shown or named or None,
                seed=seed,
                pictures=pictures,
                progress=part_of(progress, begin, begin + share),
            )
        )
    return report_page(
        contents,
        title=title,
        command=command,
        facts=facts,
        overview=overview_section(table),
        lead=overview_verdict(table),
    )


def _name_in_split(row: Mapping[str, Any], strategies: Sequence[str]) -> str:
    """What the report of one split calls a row of the table."""
    fusion = str(row["fusion"])
    if not fusion:
        return str(row["inputs"][0])
    plain = fusion.removesuffix(CALIBRATED)
    return fusion if plain in strategies else fusion.replace(plain, "weighted", 1)
