"""Recognition: scores of one or more streams, fused at each time step and decoded to glosses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import apply_step
from fusion.combining.probabilities import as_log_probs, softmax
from fusion.combining.step import MEAN, Step, StepOptions, find_steps
from fusion.tables.score_file import seen_text
from twostream.sequence.decoding import (
    Hypothesis,
    LanguageModel,
    beam_search,
    greedy,
    log_probability,
)
from twostream.sequence.lists import glosses_to_labels, labels_to_glosses
from twostream.sequence.rover import combine_sentences, confidences
from twostream.sequence.score_file import SequenceScores
from twostream.sequence.transcripts import (
    NORMALISERS,
    Normaliser,
    Transcripts,
    read_transcripts,
    usual_normaliser,
)
from twostream.sequence.word_error_rate import align, rate_lines, wer_result
from twostream_base.errors import InputError, some_of
from twostream_base.plugins import load

Decoder = Callable[[np.ndarray], list[Hypothesis]]


def decode_streams(
    files: Sequence[Path],
    tables: Sequence[SequenceScores],
    *,
    combine: str,
    normalise: str | None,
    n_best: int,
    strategy: str,
    weights: str | None,
    strategy_option: Sequence[str],
    **decoding: Any,
) -> tuple[dict[str, Any], Transcripts]:
    """Decode the scores of each file or run alone, and of all of them fused.

    Args:
        files: what the tables were read from, or made by.
        combine: see `fuse_steps`; or `rover`, see `vote_on_sentences`.
        decoding: see `make_decoder`.
        normalise: clean-up of the glosses; None is that of the data set in the first table.
        strategy, weights, strategy_option: as `twostream fuse` takes them.
        n_best: hypotheses of each video in the result.

    Returns:
        The result as JSON values, and the recognised glosses of each video. Error rates are over
        the videos whose glosses are known.

    Raises:
        InputError: files that do not belong together, or options that have no effect.
    """
    streams = name_streams(files, tables)
    first = next(iter(streams.values()))
    decoder = make_decoder(first.vocabulary, **decoding)
    options = StepOptions(strategy=strategy, weights=weights, strategy_option=strategy_option)
    step = find_steps(options, streams=list(streams), class_names=first.vocabulary).streams
    if combine == "rover":
        hypotheses = vote_on_sentences(streams, step, decoder)
    else:
        hypotheses = decode_all(fuse_steps(streams, step, combine=combine), decoder)
    sentences = _best_sentences(hypotheses, first.vocabulary)
    normalise = normalise or usual_normaliser(str(first.metadata.get("dataset")))
    normaliser = load(normalise, NORMALISERS)
    inputs = []
    for file, (key, table) in zip(files, streams.items(), strict=True):
        if len(files) > 1:
            alone = decode_all(fuse_steps({key: table}, MEAN, combine="logits"), decoder)
            rates = _error_rates(table, _best_sentences(alone, table.vocabulary), normaliser)
            inputs.append({"stream": key, "file": str(file)} | rates)
    result = {
        "strategy": step.name,
        "combine": combine,
        "normalise": normalise,
        "inputs": inputs,
        "recognised": _error_rates(first, sentences, normaliser),
        "hypotheses": {
            name: [
                {"glosses": labels_to_glosses(h.labels, first.vocabulary), "score": h.score}
                for h in ranked[:n_best]
            ]
            for name, ranked in hypotheses.items()
        },
        "warnings": [
            f"{key}: {seen}: its error rate says nothing about unseen videos"
            for key, table in streams.items()
            if (seen := seen_text(table.metadata))
        ],
    }
    return result, sentences


def name_streams(
    files: Sequence[Path], tables: Sequence[SequenceScores]
) -> dict[str, SequenceScores]:
    """The tables by the stream in their headers, or by file where two have the same stream."""
    names = [
        str(table.metadata.get("stream", path.stem))
        for path, table in zip(files, tables, strict=True)
    ]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    if len(set(names)) < len(names):
        raise InputError("a file is given twice; give each stream once")
    return dict(zip(names, tables, strict=True))


def fuse_steps(
    streams: Mapping[str, SequenceScores], step: Step, *, combine: str
) -> dict[str, np.ndarray]:
    """Fuse the streams' scores at each time step: name -> log-probabilities (T, classes).

    Args:
        combine: `logits`, the log-probabilities, or `probs`. They are normalised again afterwards.

    Raises:
        InputError: the streams differ in videos, vocabulary or time steps.
    """
    check_same_videos(streams)
    check_same_steps(streams)
    tables = list(streams.values())
    by_name = [dict(zip(table.names, table.log_probs, strict=True)) for table in tables]
    fused = {}
    for name in tables[0].names:
        scores = np.stack([rows[name] for rows in by_name], axis=-2).astype(np.float64)
        result = apply_step(
            softmax(scores) if combine == "probs" else scores, step, score_type=combine
        )
        fused[name] = as_log_probs(result.scores, result.score_type)
    return fused


def vote_on_sentences(
    streams: Mapping[str, SequenceScores], step: Step, decoder: Decoder
) -> dict[str, list[Hypothesis]]:
    """Decode each stream by itself; the sentence of the most votes for each video (ROVER).

    The streams need no common time steps.

    Args:
        step: `mean`, or `weighted` with a weight for each stream.

    Raises:
        InputError: another strategy, weights below 0 or none above it, or streams that differ in
            videos or vocabulary.
    """
    if step.name not in ("mean", "weighted"):
        raise InputError(
            f"--combine rover counts votes; --strategy {step.name} has no part in it: mean and "
            "weighted (by --weights) have"
        )
    check_same_videos(streams)
    step.strategy(np.zeros((len(streams), 1)), **step.options)  # checks the weights
    weights = step.options.get("weights", [1.0] * len(streams))
    heard = [(table, w) for table, w in zip(streams.values(), weights, strict=True) if w > 0]
    by_name: dict[str, list[list[tuple[int, float]]]] = {name: [] for name in heard[0][0].names}
    for table, _ in heard:
        for name, rows in zip(table.names, table.log_probs, strict=True):
            labels = decoder(rows)[0].labels if len(rows) else ()
            by_name[name].append(list(zip(labels, confidences(rows, labels), strict=True)))
    return {
        name: [combine_sentences(sentences, weights=[weight for _, weight in heard])]
        for name, sentences in by_name.items()
    }


def check_same_videos(streams: Mapping[str, SequenceScores]) -> None:
    """Refuse streams of other videos, or of another vocabulary, than the first one."""
    (base, first), *others = streams.items()
    for key, table in others:
        if set(table.names) != set(first.names):
            different = sorted(set(table.names) ^ set(first.names))
            raise InputError(f"{base} and {key} score different videos: {some_of(different)}")
        if table.vocabulary != first.vocabulary:
            raise InputError(f"{base} and {key} were trained with different vocabularies")


def check_same_steps(streams: Mapping[str, SequenceScores]) -> None:
    """Refuse streams whose videos have other numbers of time steps than those of the first one."""
    (base, first), *others = streams.items()
    steps = {name: len(rows) for name, rows in zip(first.names, first.log_probs, strict=True)}
    for key, table in others:
        unequal = [
            f"{name} ({steps[name]} and {len(rows)})"
            for name, rows in zip(table.names, table.log_probs, strict=True)
            if len(rows) != steps[name]
        ]
        if unequal:
            raise InputError(
                f"{base} and {key} have different time steps: {some_of(unequal, limit=3)}; "
                "--combine rover fuses the recognised sentences instead"
            )


def make_decoder(
    vocabulary: Sequence[str],
    *,
    beam: int,
    language: Path | None = None,
    language_weight: float = 0.5,
    bonus: float = 0.0,
) -> Decoder:
    """Greedy decoding for a beam of 0, else beam search, with a bigram model of `language`.

    Raises:
        InputError: greedy decoding with a language model or a bonus.
    """
    if not beam:
        if language or bonus:
            raise InputError("--beam 0 decodes greedily, without --language and --bonus")
        return greedy_decoder
    model = None
    if language:
        sentences = read_transcripts(language).values()
        labels = [glosses_to_labels(glosses, vocabulary) for glosses in sentences]
        model = LanguageModel(labels, labels=len(vocabulary))
    return partial(beam_search, beam=beam, language=model, weight=language_weight, bonus=bonus)


def greedy_decoder(log_probs: np.ndarray) -> list[Hypothesis]:
    """The best path, as the only hypothesis."""
    labels = greedy(log_probs)
    return [Hypothesis(labels, log_probability(log_probs, labels))]


def decode_all(
    log_probs: Mapping[str, np.ndarray], decoder: Decoder
) -> dict[str, list[Hypothesis]]:
    """Hypotheses of each video, best first; a video without a time step has the empty one."""
    return {
        name: decoder(rows) if len(rows) else [Hypothesis((), 0.0)]
        for name, rows in log_probs.items()
    }


def _best_sentences(
    hypotheses: Mapping[str, list[Hypothesis]], vocabulary: Sequence[str]
) -> Transcripts:
    return {
        name: labels_to_glosses(ranked[0].labels, vocabulary) for name, ranked in hypotheses.items()
    }


def _error_rates(
    table: SequenceScores, sentences: Transcripts, normalise: Normaliser
) -> dict[str, Any]:
    alignments = {
        name: align(normalise(reference), normalise(sentences[name]))
        for name, reference in zip(table.names, table.references, strict=True)
        if reference
    }
    rates = wer_result(alignments, num_confusions=0) if alignments else {}
    return rates | {"without_reference": len(table.names) - len(alignments)}


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """The word error rates as text: of each file, if there are several, and of all fused.

    Without any reference these are the recognised glosses, a line for each video.
    """
    warnings = [f"warning: {text}" for text in result["warnings"]]
    if "words" not in result["recognised"]:
        best = {name: ranked[0]["glosses"] for name, ranked in result["hypotheses"].items()}
        return [*(f"{name}: {' '.join(glosses)}" for name, glosses in best.items()), *warnings]
    lines = []
    for row in result["inputs"]:
        lines += [f"{row['stream']}:", *rate_lines(row)]
    if lines:
        votes = ", votes on sentences" if result["combine"] == "rover" else ""
        lines.append(f"fused ({result['strategy']}{votes}):")
    lines += rate_lines(result["recognised"])
    if result["normalise"] != "none":
        lines.append(f"glosses cleaned up by {result['normalise']}, on both sides")
    if unknown := result["recognised"]["without_reference"]:
        lines.append(f"{unknown:,} videos without reference glosses are in no rate")
    return [*lines, *warnings]
