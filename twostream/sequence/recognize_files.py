"""What `twostream recognize` does: files in, glosses and their word error rate out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fusion.options import StepOptions, chosen_steps
from fusion.step import MEAN
from twostream.errors import InputError
from twostream.files import write_text
from twostream.plugins import load
from twostream.sequence.decoding import Hypothesis, beam_search
from twostream.sequence.language_model import LanguageModel
from twostream.sequence.normalisers import NORMALISERS, Normaliser
from twostream.sequence.recognition import (
    Decoder,
    decode_all,
    decode_greedily,
    fuse_steps,
    written_csv,
    written_ctm,
)
from twostream.sequence.score_file import SequenceScores
from twostream.sequence.transcripts import read_transcripts
from twostream.sequence.vocabulary import glosses_of, labels_of
from twostream.sequence.wer_report import rate_lines, wer_result
from twostream.sequence.word_error_rate import align

Sentences = dict[str, list[str]]
WRITERS = {".csv": written_csv, ".ctm": written_ctm}


def recognise(
    files: Sequence[Path],
    tables: Sequence[SequenceScores],
    *,
    combine: str,
    normalise: str,
    n_best: int,
    strategy: str,
    weights: str | None,
    strategy_option: Sequence[str],
    **decoding: Any,
) -> tuple[dict[str, Any], Sentences]:
    """Decode the scores of each file or run by itself, and all of them fused.

    Args:
        files: what the tables were read from, or made by.
        combine: see `fuse_steps`. decoding: see `find_decoder`.
        strategy, weights, strategy_option: as `twostream fuse` takes them.
        n_best: hypotheses of each video in the result.

    Returns:
        The result as JSON values, and the glosses that were recognised in the end. Error rates are
        those of the videos whose glosses are known.

    Raises:
        InputError: files that do not belong together, or options that have no effect.
    """
    streams = name_streams(files, tables)
    first = next(iter(streams.values()))
    decoder = find_decoder(first.vocabulary, **decoding)
    chosen = StepOptions(strategy=strategy, weights=weights, strategy_option=strategy_option)
    step = chosen_steps(chosen, keys=list(streams), class_names=first.vocabulary)["streams"]
    fused = decode_all(fuse_steps(streams, step, combine=combine), decoder)
    rules = load(normalise, NORMALISERS)
    inputs = [
        {"stream": key, "file": str(file)}
        | _rate(table, decode_all(fuse_steps({key: table}, MEAN, combine="logits"), decoder), rules)
        for file, (key, table) in zip(files, streams.items(), strict=True)
        if len(files) > 1
    ]
    result = {
        "strategy": step.name,
        "inputs": inputs,
        "recognised": _rate(first, fused, rules),
        "hypotheses": {
            name: [
                {"glosses": glosses_of(one.labels, first.vocabulary), "score": one.score}
                for one in found[:n_best]
            ]
            for name, found in fused.items()
        },
    }
    return result, _sentences(fused, first.vocabulary)


def name_streams(
    files: Sequence[Path], tables: Sequence[SequenceScores]
) -> dict[str, SequenceScores]:
    """A stream is named as its header says, or by its file where two are alike."""
    names = [
        str(table.about.get("stream", path.stem)) for path, table in zip(files, tables, strict=True)
    ]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    if len(set(names)) < len(names):
        raise InputError("a file is given twice; give each stream once")
    return dict(zip(names, tables, strict=True))


def find_decoder(
    vocabulary: Sequence[str],
    *,
    beam: int,
    language: Path | None = None,
    language_weight: float = 0.5,
    bonus: float = 0.0,
) -> Decoder:
    """Greedy decoding for a beam of 0, else beam search; sentences of `language` make a bigram.

    Raises:
        InputError: greedy decoding with a language model or a bonus.
    """
    if not beam:
        if language or bonus:
            raise InputError("--beam 0 decodes greedily, without --language and --bonus")
        return decode_greedily
    model = None
    if language:
        sentences = read_transcripts(language).values()
        known = [labels_of(glosses, vocabulary) for glosses in sentences]
        model = LanguageModel(known, labels=len(vocabulary))
    return partial(beam_search, beam=beam, language=model, weight=language_weight, bonus=bonus)


def write_sentences(path: Path, sentences: Sentences) -> None:
    """Write the recognised glosses as .csv or .ctm, by the suffix.

    Raises:
        InputError: another suffix.
    """
    if path.suffix not in WRITERS:
        raise InputError(f"{path}: recognised glosses are written to {' or '.join(WRITERS)} files")
    write_text(path, WRITERS[path.suffix](sentences))


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """The word error rates as text: of each file, if there are several, and of all together.

    Where nothing is known to compare with, the recognised glosses, a line for each video.
    """
    if "words" not in result["recognised"]:
        best = {name: found[0]["glosses"] for name, found in result["hypotheses"].items()}
        return [f"{name}: {' '.join(glosses)}" for name, glosses in best.items()]
    lines = []
    for row in result["inputs"]:
        lines += [f"{row['stream']}:", *rate_lines(row)]
    if lines:
        lines.append(f"fused ({result['strategy']}):")
    lines += rate_lines(result["recognised"])
    if unknown := result["recognised"]["without_reference"]:
        lines.append(f"{unknown:,} videos without reference glosses are in no rate")
    return lines


def _rate(
    table: SequenceScores, found: Mapping[str, list[Hypothesis]], rules: Normaliser
) -> dict[str, Any]:
    sentences = _sentences(found, table.vocabulary)
    known = {n: words for n, words in zip(table.names, table.references, strict=True) if words}
    aligned = {name: align(rules(words), rules(sentences[name])) for name, words in known.items()}
    rate = wer_result(aligned, most=0) if aligned else {}
    return rate | {"without_reference": len(table.names) - len(known)}


def _sentences(found: Mapping[str, list[Hypothesis]], vocabulary: Sequence[str]) -> Sentences:
    return {name: glosses_of(best[0].labels, vocabulary) for name, best in found.items()}
