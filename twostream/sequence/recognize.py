"""`twostream recognize`: score files in, glosses and their word error rate out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fusion.combining.step import MEAN
from fusion.combining.step_options import StepOptions, chosen_steps
from twostream.sequence.data import eval_batches
from twostream.sequence.decoding import Hypothesis, LanguageModel, beam_search
from twostream.sequence.lists import check_glosses, find_new_videos, split_missing
from twostream.sequence.network_card import (
    best_checkpoint,
    load_sequence_network,
    score_metadata,
)
from twostream.sequence.recognition import (
    Decoder,
    decode_all,
    format_csv,
    format_ctm,
    fuse_steps,
    greedy_decoder,
)
from twostream.sequence.records import SequenceRecord
from twostream.sequence.score_file import (
    SequenceScores,
    is_up_to_date,
    make_scores,
    read_sequence_scores,
    write_sequence_scores,
)
from twostream.sequence.transcripts import NORMALISERS, Normaliser, read_transcripts
from twostream.sequence.validation import predict
from twostream.sequence.vocabulary import glosses_to_labels, labels_to_glosses
from twostream.sequence.wer_report import rate_lines, wer_result
from twostream.sequence.word_error_rate import align
from twostream_base.errors import InputError, some_of
from twostream_base.files import write_text
from twostream_base.plugins import load

Sentences = dict[str, list[str]]
WRITERS = {".csv": format_csv, ".ctm": format_ctm}


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
    """Decode the scores of each file or run alone, and of all of them fused.

    Args:
        files: what the tables were read from, or made by.
        combine: see `fuse_steps`. decoding: see `make_decoder`.
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
    step = chosen_steps(options, keys=list(streams), class_names=first.vocabulary)["streams"]
    hypotheses = decode_all(fuse_steps(streams, step, combine=combine), decoder)
    sentences = _best_sentences(hypotheses, first.vocabulary)
    normaliser = load(normalise, NORMALISERS)
    inputs = []
    for file, (key, table) in zip(files, streams.items(), strict=True):
        if len(files) > 1:
            alone = decode_all(fuse_steps({key: table}, MEAN, combine="logits"), decoder)
            rates = _error_rates(table, _best_sentences(alone, table.vocabulary), normaliser)
            inputs.append({"stream": key, "file": str(file)} | rates)
    result = {
        "strategy": step.name,
        "inputs": inputs,
        "recognised": _error_rates(first, sentences, normaliser),
        "hypotheses": {
            name: [
                {"glosses": labels_to_glosses(h.labels, first.vocabulary), "score": h.score}
                for h in ranked[:n_best]
            ]
            for name, ranked in hypotheses.items()
        },
    }
    return result, sentences


def name_streams(
    files: Sequence[Path], tables: Sequence[SequenceScores]
) -> dict[str, SequenceScores]:
    """The tables by the stream in their headers, or by file where two have the same stream.

    Raises:
        InputError: a file is given twice.
    """
    names = [
        str(table.metadata.get("stream", path.stem))
        for path, table in zip(files, tables, strict=True)
    ]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    if len(set(names)) < len(names):
        raise InputError("a file is given twice; give each stream once")
    return dict(zip(names, tables, strict=True))


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


def write_sentences(path: Path, sentences: Sentences) -> None:
    """Write the recognised glosses as .csv or .ctm, by the suffix.

    Raises:
        InputError: another suffix.
    """
    if path.suffix not in WRITERS:
        raise InputError(f"{path}: recognised glosses are written to {' or '.join(WRITERS)} files")
    write_text(path, WRITERS[path.suffix](sentences))


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """The word error rates as text: of each file, if there are several, and of all fused.

    Without any reference these are the recognised glosses, a line for each video.
    """
    if "words" not in result["recognised"]:
        best = {name: ranked[0]["glosses"] for name, ranked in result["hypotheses"].items()}
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


def _error_rates(
    table: SequenceScores, sentences: Sentences, normalise: Normaliser
) -> dict[str, Any]:
    alignments = {
        name: align(normalise(reference), normalise(sentences[name]))
        for name, reference in zip(table.names, table.references, strict=True)
        if reference
    }
    rates = wer_result(alignments, num_confusions=0) if alignments else {}
    return rates | {"without_reference": len(table.names) - len(alignments)}


def _best_sentences(
    hypotheses: Mapping[str, list[Hypothesis]], vocabulary: Sequence[str]
) -> Sentences:
    return {
        name: labels_to_glosses(ranked[0].labels, vocabulary) for name, ranked in hypotheses.items()
    }


# The inputs of `twostream recognize`: sequence score files, or runs that score new videos.
@dataclass(frozen=True, slots=True)
class NewVideos:
    """Videos for the runs, and how they are scored.

    Attributes:
        videos: folder of video files or folders of pictures. listed: a list of some of them.
        scores: folder in which score files are kept; None keeps none.
    """

    videos: Path | None
    listed: Path | None
    allow_missing: bool
    scores: Path | None
    device: str
    precision: str
    threads: int


def read_inputs(
    paths: Sequence[Path], new: NewVideos, *, bar: Callable[..., Any], tell: Callable[[str], None]
) -> list[SequenceScores]:
    """Read the score files among `paths`, and score the videos with the runs among them.

    Args:
        paths: a run at least. bar: wraps batches in a progress bar. tell: gets messages for the
            user.

    Raises:
        InputError: no videos for a run, or two runs for one score file.
    """
    runs = [path for path in paths if path.is_dir()]
    if len({run.resolve().name for run in runs}) < len(runs) and new.scores:
        raise InputError(
            "two runs have one name, so --scores would write the same file twice; rename one"
        )
    if new.videos is None:
        raise InputError(
            f"{runs[0]} is a run: give the videos to recognise by --videos FOLDER, or the score "
            "files of its own lists, in its folder scores/"
        )
    records, missing = split_missing(
        find_new_videos(new.videos, new.listed), allow_missing=new.allow_missing
    )
    if not records:
        raise InputError(f"{new.listed}: no listed video has frames below {new.videos}")
    if missing:
        tell(f"{len(missing)} listed videos have no frames: {some_of(missing)}")
    return [
        _score(path, records, new, missing=missing, bar=bar, tell=tell)
        if path in runs
        else read_sequence_scores(path)
        for path in paths
    ]


def _score(
    run: Path,
    records: Sequence[SequenceRecord],
    new: NewVideos,
    *,
    missing: list[str],
    bar: Callable[..., Any],
    tell: Callable[[str], None],
) -> SequenceScores:
    folder = best_checkpoint(run)
    spec, network = load_sequence_network(folder)
    if unknown := check_glosses(records, spec.vocabulary, run=run):
        tell(f"{run} was not trained on {len(unknown)} glosses, all errors: {some_of(unknown)}")
    metadata = score_metadata(
        spec,
        checkpoint=folder,
        videos=str(new.videos),
        list=str(new.listed or ""),
        missing=missing,
        precision=new.precision,
    )
    file = new.scores / f"{run.resolve().name}.safetensors" if new.scores else None
    if file and is_up_to_date(file, records, metadata):
        tell(f"{file} is up to date: the same videos and network")
        return read_sequence_scores(file)
    batches, count = eval_batches(
        records,
        stream=spec.stream,
        side=spec.frame_size,
        size=spec.input_size,
        batch_size=1,  # a video of some hundred frames is a batch in itself
        threads=new.threads,
    )
    device = torch.device(new.device)
    log_probs = predict(
        network.to(device),
        bar(batches, total=count, label=f"scoring, {run.name}", unit="video"),
        device=device,
        precision=new.precision,
    )
    scores = make_scores(records, log_probs, vocabulary=spec.vocabulary, metadata=metadata)
    if file:
        write_sequence_scores(file, scores)
        tell(f"{file} written")
    return scores
