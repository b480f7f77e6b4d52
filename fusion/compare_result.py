"""The result of `twostream compare` for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion.result import accuracy_text, columns


def compare_lines(result: Mapping[str, Any]) -> list[str]:
    """Results, pairs, what the streams have in common, segments and classes, one table each."""
    lines = [
        f"{result['videos']} videos; intervals by bootstrap of {result['bootstrap']}",
        "",
        *columns([("", "top-1"), *_systems(result["systems"])]),
        "",
        *columns([_PAIR_HEADING, *map(_pair, result["pairs"])]),
        "p: exact McNemar, after Holm's correction; *: below 0.05",
        "smallest: the difference that so many videos show four times in five",
        *_complementarity(result["complementarity"]),
    ]
    for stream, rows in result["segments"].items():
        lines += [
            "",
            *columns([(f"segment of {stream}", "alone", "all the others"), *_segments(rows)]),
        ]
    lines += _classes(result["classes"])
    return [*lines, *(f"warning: {text}" for text in result["warnings"])]


_PAIR_HEADING = ("difference in points", "", "95 %", "only first", "only second", "p", "smallest")


def _systems(systems: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    best = sorted(systems, key=lambda system: -system["correct"])
    return [(system["name"], accuracy_text(system)) for system in best]


def _pair(pair: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = pair["interval"]
    mark = " *" if pair["p_holm"] < 0.05 else ""
    return (
        f"{pair['first']} - {pair['second']}",
        f"{pair['difference']:+.2f}",
        f"[{low:+.2f}, {high:+.2f}]",
        str(pair["only_first"]),
        str(pair["only_second"]),
        f"{pair['p_holm']:.2g}{mark}",
        "-" if pair["smallest"] is None else f"{pair['smallest']:.2f}",
    )


def _complementarity(facts: Mapping[str, Any]) -> list[str]:
    if not facts["pairs"]:
        return []
    rows = [("streams", "Q", "both wrong")]
    for pair in facts["pairs"]:
        q = "-" if pair["q"] is None else f"{pair['q']:.2f}"
        rows.append((f"{pair['first']}, {pair['second']}", q, accuracy_text(pair["double_fault"])))
    oracle = f"at least one stream is right: {accuracy_text(facts['oracle'])}"
    return ["", *columns(rows), oracle]


def _segments(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            str(row["segment"]),
            accuracy_text(row["alone"]),
            accuracy_text(row["without"]) if row["without"] else "-",
        )
        for row in rows
    ]


def _classes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    names = list(rows[0]["correct"])
    table = [("class", "videos", *names)]
    for row in rows:
        table.append((row["class"], str(row["videos"]), *(str(row["correct"][n]) for n in names)))
    return ["", *columns(table)]
