"""Files of weights of any tool, read without running code: what they hold, and their state dict."""

from __future__ import annotations

import codecs
import pickle
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.serialization import MAGIC_NUMBER, get_unsafe_globals_in_checkpoint, safe_globals

from fusion import load_pickle
from twostream_base.errors import InputError, some_of
from twostream_base.pickles import ROOM, check_torch_file

Layers = dict[str, Tensor]


def normalisation(mean: Sequence[float], std: Sequence[float], *, scale: float = 1.0) -> Layers:
    """Mean and std of one picture (C, 1, 1), times `scale`, under their names in a network."""
    return {
        name: torch.tensor([scale * value for value in values])[:, None, None]
        for name, values in (("mean", mean), ("std", std))
    }


def load_safely(path: Path) -> Mapping[str, Any]:
    """Content of a .safetensors file, of one of torch, or of Caffe2; nothing in it is executed.

    Classes that torch's own restricted reader does not know, such as argparse.Namespace or those of
    a network that was stored as a whole, are replaced by ones that only hold what they are given.

    Raises:
        InputError: it cannot be read so.
    """
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise InputError(f"{path}: not a file of weights ({error}); copy it again") from error
    with path.open("rb") as file:
        start = file.read(32)
    if start[:1] == b"\x80" and TORCH not in start:  # a pickle of something else
        return _read_caffe2(path)
    try:
        check_torch_file(path)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: cannot be read safely ({error})") from error
    content = _read_torch(path)
    if isinstance(content, StandIn):
        content = {"state_dict": content}
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a state dict")
    layers = unwrap(path, content)
    if strange := [name for name, tensor in layers.items() if not _is_plain(tensor)]:
        raise InputError(
            f"{path}: {some_of(strange, limit=3)}: sparse, quantised, complex, or of a size that "
            "the file does not hold; weights are plain numbers"
        )
    views = {  # tied weights are the same view of the same storage
        (t.untyped_storage().data_ptr(), t.storage_offset(), t.shape, t.stride()): t
        for t in layers.values()
    }
    storages = [tensor.untyped_storage() for tensor in views.values()]
    held = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    size = sum(tensor.numel() * tensor.element_size() for tensor in views.values())
    if size > held + ROOM:
        raise InputError(
            f"{path}: its {len(layers):,} layers are {size:,} bytes, and the file holds "
            f"{held:,}; weights are plain numbers"
        )
    return content


def _read_torch(path: Path) -> Any:
    """What torch's restricted reader makes of a file; classes that it does not know stand in.

    Newer files name all of them at once. In those of before torch 1.6 each is found when the reader
    stumbles over it.
    """
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, codecs.encode]
    allowed += [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    unknown: list[str] = []
    with suppress(Exception), safe_globals(allowed):
        unknown = get_unsafe_globals_in_checkpoint(path)
    while True:
        stand_ins = [(type("StandIn", (StandIn,), {}), name) for name in unknown]
        try:
            for name in unknown:
                if name.partition(".")[0] in HOSTILE:
                    raise InputError(f"it asks for {name}")
            with safe_globals([*allowed, *stand_ins]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # noise can make a reader stumble anywhere
            match = re.search(r"GLOBAL ([\w.]+) was not an allowed global", str(error), re.ASCII)
            if match and match[1] not in unknown and len(unknown) < 256:
                unknown.append(match[1])
                continue
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = next((line for line in lines if "Unsupported" in line), None)
            reason = reason or (lines[0] if lines else type(error).__name__)
            raise InputError(
                f"{path}: cannot be read safely ({reason}). Where it was made, keep the weights "
                "alone: torch.save(checkpoint['state_dict'], 'weights.pth'), of a whole network "
                "torch.save(network.state_dict(), 'weights.pth')"
            ) from error


TORCH = MAGIC_NUMBER.to_bytes(10, "little")  # with it torch's files of before 1.6 begin


def _read_caffe2(path: Path) -> Mapping[str, Any]:
    """The arrays, `blobs`, in a plain pickle of Python 2 or 3."""
    content = load_pickle(path.read_bytes(), path=path)
    blobs = content.get("blobs") if isinstance(content, dict) else None
    if not isinstance(blobs, dict):
        raise InputError(
            f"{path}: a pickle without `blobs`, so not of Caffe2; expected weights of torch or "
            "Caffe2, or .safetensors"
        )
    try:
        arrays = {str(name): np.asarray(blob, dtype=np.float32) for name, blob in blobs.items()}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: `blobs` that are no numbers ({error})") from error
    return {"blobs": {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}}


class StandIn:
    """Takes the place of a class that a file names: it keeps what it is given, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def tensors(self) -> Layers:
        """Weights and buffers, where this was a network; as `Module.state_dict` names them.

        Raises:
            ValueError: its layers are nested deeper, or are more, than those of any network.
        """
        result: Layers = {}
        pending: list[tuple[tuple[str, ...], StandIn]] = [((), self)]
        for _ in range(MOST_LAYERS):
            if not pending:
                return result
            place, layer = pending.pop()
            state = layer.state if isinstance(layer.state, Mapping) else {}
            parts = {
                key: dict(part) if isinstance(part := state.get(key), Mapping) else {}
                for key in ("_parameters", "_buffers", "_modules")
            }
            hidden = state.get("_non_persistent_buffers_set")
            hidden = hidden if isinstance(hidden, set | list) else ()
            for name, tensor in (parts["_parameters"] | parts["_buffers"]).items():
                if isinstance(tensor, Tensor) and name not in hidden:
                    result[".".join((*place, str(name)))] = tensor.detach()
            if len(place) < DEEPEST_LAYER:
                pending += [
                    ((*place, str(name)), child)
                    for name, child in reversed(parts["_modules"].items())
                    if isinstance(child, StandIn)
                ]
            elif parts["_modules"]:
                break
        raise ValueError(
            f"its layers are more than {MOST_LAYERS:,}, or nested deeper than {DEEPEST_LAYER}"
        )


MOST_LAYERS, DEEPEST_LAYER = 20_000, 64


# Modules whose names no network needs: a file that asks for them was made to harm.
HOSTILE = {
    "os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "runpy", "importlib", "pty",
    "builtins", "__builtin__", "operator", "pickle", "_pickle", "ctypes", "code", "webbrowser",
}  # fmt: skip

CONTAINERS = (
    "state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights",
    "model_ema", "ema", "blobs",
)  # fmt: skip
DEEPEST = 8  # state dicts in dicts; a dict may also hold itself
WRAPPERS = ("module.", "model.", "net.", "_orig_mod.", "network.")


def unwrap(path: Path, content: Any) -> Layers:
    """The state dict in a checkpoint, without the names that wrappers put before each layer.

    Raises:
        InputError: there is none.
    """
    try:
        for _ in range(DEEPEST):
            if isinstance(content, StandIn):
                break
            holding = (content[key] for key in CONTAINERS if _holds_tensors(content.get(key)))
            if (inner := next(holding, None)) is None:
                break
            content = inner
        layers = content.tensors() if isinstance(content, StandIn) else dict(content)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    others = [
        str(key)
        for key, value in layers.items()
        if not isinstance(value, Tensor) or key != str(key)
    ]
    if not layers or others:
        raise InputError(
            f"{path}: expected a state dict, or a dict with one in it as "
            f"{', '.join(CONTAINERS)}; it holds {some_of(others, limit=3) or 'nothing'}"
        )
    while wrapper := next((w for w in WRAPPERS if all(name.startswith(w) for name in layers)), ""):
        layers = {name.removeprefix(wrapper): tensor for name, tensor in layers.items()}
    return layers


def _is_plain(tensor: Tensor) -> bool:
    """Whether it holds real numbers, and hardly more of them than its storage."""
    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not (tensor.is_quantized or tensor.is_complex() or tensor.is_nested)
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes() + ROOM
    )


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, StandIn):
        return bool(value.tensors())
    return isinstance(value, Mapping) and any(
        isinstance(item, Tensor | StandIn) or key in CONTAINERS for key, item in value.items()
    )
