"""Networks of timm, `timm:NAME`; timm and torch are imported when one is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twostream_base.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

TIMM = "timm:"  # before the name of a network of timm, of which there are too many to list


LOADING = ("checkpoint_path", "cache_dir", "num_classes", "in_chans", "features_only")


def timm_network(name: str, **options: Any) -> tuple[Any, list[str], list[str]]:
    """The network `timm:NAME` without weights and classifier; names of its last and first layers.

    These are the classifier's, in files of weights, and those that see the input.

    Args:
        options: of `timm.create_model`.

    Raises:
        InputError: timm is not installed, or has no such network or option.
    """
    timm, network_name = _load(name), name.removeprefix(TIMM)
    for key in options:
        # They read files and addresses, and options may come from a file of others.
        if key in LOADING or key.startswith("pretrained"):
            raise InputError(f"network {name} takes no option {key!r}: weights are for --weights")
    try:
        network = timm.create_model(network_name, num_classes=0, **options)
    except TypeError as error:
        raise InputError(f"network {name} cannot take {options}: {error}") from error
    config = timm.get_pretrained_cfg(network_name)
    last, first = (
        [names] if isinstance(names, str) else list(names or ())
        for names in (config.classifier, config.first_conv)
    )
    return network, last, first


def timm_weights(kind: str, name: str) -> Mapping[str, Tensor]:
    """The pretrained weights of `timm:NAME`, with their `mean` and `std` (3, 1, 1) of 0 to 255.

    Raises:
        InputError: it has none of that kind, or they cannot be fetched.
    """
    from twostream.models.weight_files import normalisation

    timm, network_name = _load(name), name.removeprefix(TIMM)
    config = timm.get_pretrained_cfg(network_name)
    if kind != "imagenet" or not (config and config.has_weights):
        raise InputError(
            f"timm has no {kind} weights for {name}; give --weights none or a FILE, or another tag "
            "of this network, NAME.TAG"
        )
    try:
        network = timm.create_model(network_name, pretrained=True)
    except Exception as error:  # hubs, sockets and files have errors of their own
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"the weights of {name} could not be fetched ({reason}). Give a file that you have "
            "with --weights FILE, or train from scratch with --weights none"
        ) from error
    return normalisation(config.mean, config.std, scale=255) | network.state_dict()


def timm_input_size(name: str) -> int:
    """Side of the square input of `timm:NAME`, where it takes no other; else 224."""
    config = _load(name).get_pretrained_cfg(name.removeprefix(TIMM))
    fixed = config is not None and config.fixed_input_size
    return int(config.input_size[-1]) if fixed else 224


def _load(name: str) -> Any:
    import twostream_base.vision  # noqa: F401  (repairs the import of torchvision, timm's too)

    try:
        import timm
    except ImportError as error:
        raise InputError(
            f"network {name} needs timm ({error}): pip install 'twostream[timm]'"
        ) from error
    # A name with a scheme or a slash would be looked up on a hub or a disk.
    network_name = name.removeprefix(TIMM)
    if not timm.is_model(network_name) or any(mark in network_name for mark in ":/"):
        like = ", ".join(timm.list_models(f"*{network_name[:6]}*")[:5])
        raise InputError(
            f"timm has no network {network_name!r}{like and f'; like it: {like}'}. "
            "timm.list_models() lists all"
        )
    return timm
