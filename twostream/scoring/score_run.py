"""Scoring with the network of a run folder."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion.tables.score_file import read_head
from twostream.compute.device import Runtime, compile_network
from twostream.data.holdout import split_training_videos
from twostream.data.protocols import protocol_in_file_name
from twostream.data.splits import read_split
from twostream.data.stored import Joined, join_store, named
from twostream.data.training_videos import find_seen
from twostream.models import network_protocol
from twostream.models.checkpoint import (
    NetworkSpec,
    load_weights,
    network_from_spec,
    read_spec,
    read_training_videos,
)
from twostream.models.external_networks import ExternalNetwork
from twostream.models.probe import check_input_sizes
from twostream.scoring.score_file import write_score_file
from twostream_base import plugins
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text, reading


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """The options of `twostream score`."""

    dataset: str
    annotations: Path
    split: int
    store: Path
    allow_missing: bool
    use_damaged: bool
    on_training_videos: bool
    subset: str
    protocol: str
    checkpoint: str
    compiled: bool
    trust_plugins: bool = False


def score_run(
    run: Path | ExternalNetwork,
    out: Path | None,
    options: ScoreOptions,
    runtime: Runtime,
    *,
    tell: Callable[[str], None],
) -> tuple[Path, bool]:
    """Write a score file with the network in `run`; a second call resumes what was stopped.

    Args:
        run: a run folder, or a network of another tool, for which `out` is needed.
        out: the file; by default in `scores/` of the run, named after subset and protocol, and
            after the lists where they are not those of the run.

    Returns:
        The file, and whether it had to be made: False if that was done already.

    Raises:
        InputError: the network knows other classes, saw flow of other settings, cannot take the
            views of the protocol, or has seen some of the videos in training.
    """
    if isinstance(run, Path):
        checkpoint = run / options.checkpoint
        spec = read_spec(checkpoint, trust_plugins=options.trust_plugins)
        card, recorded = read_training_videos(checkpoint)
    else:
        spec, checkpoint, card, recorded = run.spec, run.file, {}, []
        if out is None:
            raise InputError(f"{run} has no run folder for its scores: give the file by --out")
    joined = _find_videos(run, spec, options)
    seen = find_seen(
        named(joined), card=card, recorded=recorded, chosen=options.subset != spec.selected_on
    )
    lists = f"{options.dataset} split {options.split}"
    protocol = network_protocol(
        options.protocol,
        model=spec.model,
        num_segments=spec.num_segments,
        frame_interval=spec.frame_interval,
    )
    if seen and not options.on_training_videos:
        raise seen.refusal(run=Path(str(run)), what=f"the subset {options.subset} of {lists}")
    if not (card or recorded):
        tell(f"{run} does not say which videos it was trained on: nobody checks that these are new")
    if isinstance(run, Path):
        with plugins.naming(checkpoint):
            network = network_from_spec(spec)
        load_weights(checkpoint, network)
        path = out or run / "scores" / f"{_file_stem(card, options, protocol)}.safetensors"
    else:
        assert out is not None
        network, path = run.network, out
    network.to_device(runtime.device)
    check_input_sizes(network, spec, protocols=(protocol,), device=runtime.device)
    if options.compiled:
        tell("the network is compiled for evaluation: the first batch takes a while")
        network = compile_network(network)
    written = write_score_file(
        path,
        network,
        joined,
        runtime,
        spec=spec,
        checkpoint=checkpoint,
        facts={
            "dataset": options.dataset,
            "split": options.split,
            "subset": options.subset,
            "protocol": protocol,
            **seen.facts,
        },
        tell=tell,
    )
    return path, written


def _file_stem(card: Mapping[str, Any], options: ScoreOptions, protocol: str) -> str:
    """`test-clips19`; of other lists than those of the run `ucf101-split2-test-clips19`."""
    stem = f"{options.subset}-{protocol_in_file_name(protocol)}"
    if not card or (card.get("dataset"), card.get("split")) == (options.dataset, options.split):
        return stem
    return f"{options.dataset}-split{options.split}-{stem}".replace(":", ".")


def _find_videos(run: Path | ExternalNetwork, spec: NetworkSpec, options: ScoreOptions) -> Joined:
    lists = read_split(options.dataset, options.annotations, split=options.split)
    if lists.class_names != spec.class_names:
        unlike = sorted(set(lists.class_names) ^ set(spec.class_names))
        raise InputError(
            f"{run} was trained on {len(spec.class_names)} classes, {options.dataset} split "
            f"{options.split} has {len(lists.class_names)}; they differ in "
            f"{some_of(unlike) or 'their order'}"
        )
    is_drawn = options.subset == "val" and not lists.val
    joined = join_store(
        lists.train if is_drawn else lists.subset(options.subset),
        options.store,
        modality=spec.modality,
        allow_missing=options.allow_missing,
        use_damaged=options.use_damaged,
    )
    if any(joined.flow[key] != value for key, value in spec.flow.items()):
        raise InputError(
            f"{run} was trained on flow of {spec.flow}, {options.store} holds {joined.flow}; "
            "extract it as it was in training"
        )
    if is_drawn and not isinstance(run, Path):
        raise InputError(f"{run} held out no videos of these lists: give --subset test or train")
    return _held_out(run, joined, options) if is_drawn and isinstance(run, Path) else joined


def _held_out(run: Path, train: Joined, options: ScoreOptions) -> Joined:
    """Those training videos that the run has not learnt from, as it drew them."""
    with reading(run / "config.toml", "TOML"):
        config = tomllib.loads(read_text(run / "config.toml"))
    missing = {"select", "dataset", "split", "val-fraction"} - config.keys()
    if missing:
        raise InputError(
            f"{run / 'config.toml'}: it lacks {some_of(sorted(missing))}, so what the run held out "
            "is not known; --subset test needs none of it"
        )
    if config["select"] != "val":
        raise InputError(f"{run} selected its epoch on the test videos and held none out: no `val`")
    if (config["dataset"], config["split"]) != (options.dataset, options.split):
        raise InputError(
            f"{run} held out videos of {config['dataset']} split {config['split']}, not of "
            f"{options.dataset} split {options.split}; give --dataset and --split as in training"
        )
    _, held = split_training_videos(train, split=options.split, fraction=config["val-fraction"])
    known = run / "scores" / "val.safetensors"
    names = [video.record.name for video in held.videos]
    if known.exists() and names != read_head(known)["names"]:
        raise InputError(
            f"the store or the lists have changed since training: {run} held out other videos than "
            f"would be drawn now; {known} names them. Bring back the old ones"
        )
    return held
