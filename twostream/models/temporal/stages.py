"""Temporal modules by name, and chains of them from texts such as `dynamic_framing k=12`.

A builder is `(in_features, **options) -> nn.Module`; the module maps features (N, T, D) and their
lengths int64 (N,) to new features (N, T', D') and new lengths, and has D' as `out_features`.
Frames beyond a length are zero in input and output, and never influence the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from twostream.models.temporal.convolutions import Conv, Tcn
from twostream.models.temporal.dynamic_framing import DynamicFraming, Snippets
from twostream.models.temporal.frame_selection import Dedup, RandomSampling
from twostream.models.temporal.local_attention import LocalAttention
from twostream.models.temporal.recurrent import BiLstm
from twostream_base import plugins
from twostream_base.errors import InputError

TEMPORAL: dict[str, Callable[..., nn.Module]] = {
    "conv": Conv,
    "tcn": Tcn,
    "bilstm": BiLstm,
    "local_attention": LocalAttention,
    "dynamic_framing": DynamicFraming,
    "random_sampling": RandomSampling,
    "dedup": Dedup,
}


class Stages(nn.Module):
    """A chain of temporal modules, itself one."""

    def __init__(self, modules: Sequence[nn.Module], *, in_features: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(modules)
        self.out_features: Any = modules[-1].out_features if modules else in_features

    def select(self, features: Tensor, lengths: Tensor) -> Snippets | None:
        """The frames that dynamic framing, where it comes first, takes by these features."""
        first = self.stages[0] if self.stages else None
        return first.select(features, lengths) if isinstance(first, DynamicFraming) else None

    def forward(
        self, features: Tensor, lengths: Tensor, snippets: Snippets | None = None
    ) -> tuple[Tensor, Tensor]:
        """(N, T, D) and lengths -> (N, T', D') and lengths, through every module.

        Args:
            snippets: of `select`, for the first module.
        """
        for number, stage in enumerate(self.stages):
            selected = () if number or snippets is None else (snippets,)
            features, lengths = stage(features, lengths, *selected)
        return features, lengths


def build_stages(texts: Sequence[str], *, in_features: int) -> Stages:
    """Build a chain; each text is a name of TEMPORAL (or `module:function`) and its options.

    Raises:
        InputError: an unknown name or option, or a value that the module refuses.
    """
    modules: list[nn.Module] = []
    features: Any = in_features
    for text in texts:
        name, options = read_stage(text)
        build = plugins.load(name, TEMPORAL)
        plugins.check_options(build, options, what=f"temporal module {text!r}", positional=1)
        try:
            modules.append(build(features, **options))
        except TypeError as error:
            raise InputError(f"temporal module {text!r}: {error}") from error
        features = modules[-1].out_features
    return Stages(modules, in_features=in_features)


def read_stage(text: str) -> tuple[str, dict[str, Any]]:
    """`conv widths=64,128 pools=1` -> `("conv", {"widths": [64, 128], "pools": 1})`.

    Raises:
        InputError: a word that is not `key=value`, or no name.
    """
    name, *words = text.split() or [""]
    pairs = [word.partition("=") for word in words]
    if not name or not all(key and equals for key, equals, _ in pairs):
        raise InputError(
            f"temporal module {text!r}: expected a name and options as key=value, such as "
            "'dynamic_framing k=12 residual=false'"
        )
    if isinstance(text, plugins.TrustedName):
        name = plugins.TrustedName(name)
    return name, {key: _read_value(value) for key, _, value in pairs}


def _read_value(text: str) -> Any:
    if "," in text:
        return [_read_value(part) for part in text.split(",") if part]
    return plugins.read_value(text)
