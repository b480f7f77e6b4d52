"""Which form of using RGB and flow is worth its cost: accuracies, tests and costs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion.evaluation.results import accuracy_text, columns, interval_basis, test_used

TIMING_ERROR = 0.1


def weigh_forms(
    compared: Mapping[str, Any], costs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The forms from the cheapest on, and which is worth its cost.

    It is the cheapest that none is significantly better than. As timings are not exact, all such
    forms that take at most a tenth longer count as equally cheap; of these, the most accurate.

    Args:
        compared: `compare` of the forms, all pairs.
        costs: of each form `multiply_adds`, `flow_pairs` and `milliseconds` a video; forms whose
            cost is not known come last, and are never the one that is worth it.

    Returns:
        forms: the systems of `compared` with their costs, and `beaten_by`, the forms that are
            significantly better; worth: the name of that form, None where no cost is known, or
            each form whose cost is known is beaten.
    """
    beaten: dict[str, list[str]] = {system["name"]: [] for system in compared["systems"]}
    for pair in compared["pairs"]:
        if pair["significant"] and pair["difference"]:
            worse, better = pair["first"], pair["second"]
            if pair["difference"] > 0:
                worse, better = better, worse
            beaten[worse].append(better)
    unknown = {"multiply_adds": None, "flow_pairs": None, "milliseconds": None}
    forms = [
        {**system, **(costs.get(system["name"]) or unknown), "beaten_by": beaten[system["name"]]}
        for system in compared["systems"]
    ]
    forms.sort(
        key=lambda form: (form["milliseconds"] is None, form["milliseconds"], -form["correct"])
    )
    # Beaten by a form whose cost is not known: that may be worth it, but nobody can say.
    unbeaten = [
        form for form in forms if form["milliseconds"] is not None and not form["beaten_by"]
    ]
    alike = [
        form
        for form in unbeaten
        if form["milliseconds"] <= (1 + TIMING_ERROR) * unbeaten[0]["milliseconds"]
    ]
    worth = max(alike, key=lambda form: form["correct"], default={"name": None})
    return {"forms": forms, "worth": worth["name"]}


def forms_rows(weighed: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A heading, and a row for each form."""
    heading = ("form", "top-1", "multiply-adds", "flow pairs", "ms a video", "beaten by")
    rows: list[tuple[str, ...]] = [heading]
    for form in weighed["forms"]:
        cost = ("-", "-", "-")
        if form["milliseconds"] is not None:
            cost = (
                f"{form['multiply_adds'] / 1e9:.2f} G",
                f"{form['flow_pairs']}",
                f"{form['milliseconds']:.1f}",
            )
        beaten = ", ".join(form["beaten_by"]) or "-"
        rows.append((form["name"], accuracy_text(form), *cost, beaten))
    return rows


def worth_line(weighed: Mapping[str, Any]) -> str:
    """Which form is worth its cost here, in words."""
    if all(form["milliseconds"] is None for form in weighed["forms"]):
        return "no cost is known, so none is worth it or not: name run folders, not score files"
    if weighed["worth"] is None:
        return "every form whose cost is known is beaten by another"
    form = next(form for form in weighed["forms"] if form["name"] == weighed["worth"])
    best = max(weighed["forms"], key=lambda form: form["correct"])
    line = (
        f"worth its cost here: {form['name']}; no form is found better, and none that is as good "
        "is clearly cheaper"
    )
    if best["correct"] > form["correct"]:
        line += (
            f"; {best['name']} is right in {best['correct'] - form['correct']} more of "
            f"{form['of']}, which may be chance"
        )
    return line


def forms_lines(compared: Mapping[str, Any]) -> list[str]:
    """The forms as a table, and which is worth its cost; the pairs one by one are in the JSON.

    Args:
        compared: what `compare` and `weigh_forms` say, with `fitted_on` and `warnings`.
    """
    return [
        f"{compared['videos']} videos; intervals "
        f"{interval_basis(compared['groups'], compared['videos'])}",
        "",
        *columns(forms_rows(compared)),
        "multiply-adds, flow pairs and ms: of one video under the protocol of its scores, flow and "
        "network on this machine, without decoding",
        f"beaten by: p below 0.05 of the {test_used(compared)}, after Holm's correction for all "
        f"{len(compared['pairs'])} pairs; --json has each",
        *(f"{name}: fitted on {labels}" for name, labels in compared["fitted_on"].items()),
        worth_line(compared),
        *(f"warning: {text}" for text in compared["warnings"]),
    ]
