"""Inputs of `twostream recognize`: score files as they are, and runs applied to new videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from twostream.compute.device import Runtime
from twostream.data.training_videos import find_seen
from twostream.models.checkpoint import read_training_videos
from twostream.sequence import checkpoint, lists, score_file
from twostream.sequence.batches import eval_batches
from twostream.sequence.learner import predict
from twostream.sequence.network import SequenceNetwork
from twostream_base.errors import InputError, some_of


@dataclass(frozen=True, slots=True)
class NewVideos:
    """Videos for the runs, and how they are scored.

    Attributes:
        videos: folder of video files or folders of pictures. listed: a list of some of them.
        store: the frames and flow that `extract-flow` has made of them; None for the videos.
        scores: folder in which score files are kept; None keeps none.
    """

    videos: Path | None
    listed: Path | None
    store: Path | None
    allow_missing: bool
    use_damaged: bool
    scores: Path | None
    on_training_videos: bool
    trust_plugins: bool = False


def read_inputs(
    paths: Sequence[Path], new: NewVideos, runtime: Runtime, *, tell: Callable[[str], None]
) -> list[score_file.SequenceScores]:
    """Read the score files among `paths`, and score the videos with the runs among them.

    Args:
        paths: a run at least. tell: gets messages for the user.

    Raises:
        InputError: no videos for a run, two runs for one score file; or a run was trained on
            videos whose glosses are known, so that an error rate would be shown.
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
    networks = {
        run: checkpoint.load_sequence_network(
            checkpoint.best_checkpoint(run), trust_plugins=new.trust_plugins
        )
        for run in runs
    }
    all_records = lists.find_new_videos(new.videos, new.listed)
    streams = [spec.stream for spec, _ in networks.values()]
    records, missing = lists.find_frames(
        all_records,
        # One that sees flow asks for more.
        stream=next((stream for stream in streams if stream != "spatial"), "spatial"),
        allow_missing=new.allow_missing,
        use_damaged=new.use_damaged,
        store=new.store,
        root=new.videos,
        threads=runtime.threads,
        bar=runtime.bar,
    )
    if not records:
        raise InputError(f"{new.listed}: no listed video has frames below {new.videos}")
    if missing:
        tell(lists.missing_line(missing))
    return [
        _score(
            path, *networks[path], records, new, runtime, missing=[n for n, _ in missing], tell=tell
        )
        if path in networks
        else score_file.read_sequence_scores(path)
        for path in paths
    ]


def _score(
    run: Path,
    spec: checkpoint.SequenceNetworkSpec,
    network: SequenceNetwork,
    records: Sequence[lists.SequenceRecord],
    new: NewVideos,
    runtime: Runtime,
    *,
    missing: list[str],
    tell: Callable[[str], None],
) -> score_file.SequenceScores:
    folder = checkpoint.best_checkpoint(run)
    checkpoint.check_same_extraction(run, spec, lists.extraction_of(records))
    if unknown := lists.check_glosses(records, spec.vocabulary, run=run):
        tell(f"{run} was not trained on {len(unknown)} glosses, all errors: {some_of(unknown)}")
    card, recorded = read_training_videos(folder)
    root = Path(new.videos or ".")
    places = [(record.name, record.place(root)) for record in records]
    seen = find_seen(places, card=card, recorded=recorded)
    if seen and not new.on_training_videos and any(record.glosses for record in records):
        raise seen.refusal(run=run, what=f"the list {new.listed}")
    metadata = checkpoint.score_metadata(
        spec,
        checkpoint=folder,
        videos=str(new.videos),
        list=str(new.listed or ""),
        missing=missing,
        precision=runtime.precision,
        **seen.facts,
    )
    file = new.scores / f"{run.resolve().name}.safetensors" if new.scores else None
    if file and score_file.is_up_to_date(file, records, metadata):
        tell(f"{file} is up to date: the same videos and network")
        return score_file.read_sequence_scores(file)
    # A video of some hundred frames is a batch in itself.
    batches, count = eval_batches(records, spec, replace(runtime, views_per_forward=1))
    batches = runtime.bar(batches, total=count, label=f"scoring, {run.name}", unit="video")
    log_probs = predict(network.to(runtime.device), batches, runtime)
    scores = score_file.make_scores(
        records, log_probs, vocabulary=spec.vocabulary, metadata=metadata
    )
    if file:
        score_file.write_sequence_scores(file, scores)
        tell(f"{file} written")
    return scores
