"""A network on its device: precision, compilation, and smaller batches where memory is short."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from twostream_base.errors import InputError

# What torch asks a CPU for; builds without a question say nothing about that feature.
CPU_FEATURES = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


# Name -> what autocast computes in; None leaves all in float32. TF32 is a GPU's quick float32, with
# 10 bits after the point instead of 23.
PRECISIONS: dict[str, torch.dtype | None] = {
    "fp32": None,
    "tf32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# The first GPUs with tensor cores, which make float16 worth it.
FP16_CAPABILITY = (7, 0)


def find_precision(name: str, device: torch.device) -> str:
    """Resolve `auto`: `bf16` on GPUs and CPUs that compute it in hardware, else `fp32`.

    GPUs with tensor cores but without bfloat16 (V100, T4) get `fp16`. A CPU counts when it has AMX
    or AVX-512's bfloat16 instructions; on others bfloat16 can be slower than float32.

    Raises:
        InputError: TF32 is asked for on something else than an NVIDIA GPU.
    """
    if name == "tf32" and device.type != "cuda":
        raise InputError(
            f"--precision tf32 is a format of NVIDIA GPUs, not of {device}; try --precision fp32"
        )
    if name != "auto":
        return name
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        return "fp16" if torch.cuda.get_device_capability(device) >= FP16_CAPABILITY else "fp32"
    if device.type == "cpu" and any(getattr(torch.cpu, f, lambda: False)() for f in CPU_FEATURES):
        return "bf16"
    return "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Context in which a network computes in `precision`; its weights stay float32.

    Whether a GPU computes float32 in TF32 is a switch of the whole process, which is set here; so
    it also holds for the backward pass.
    """
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def gradient_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Keeps small gradients above float16's smallest number; for other precisions it does nothing.

    A step whose gradients overflow is left out, and the next ones are scaled less (Micikevicius et
    al., ICLR 2018, section 3.2).
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def seed_torch(*key: int) -> None:
    """Let torch's random numbers, such as dropout's, follow from these whole numbers alone."""
    (word,) = np.random.SeedSequence(key).generate_state(1)
    torch.manual_seed(int(word))


def set_deterministic(enabled: bool) -> None:
    """Let this process use only kernels that give the same bits in every run, or any.

    A GPU's kernels may sum in whatever order their threads end. cuBLAS reads its part of it when it
    starts: call this before anything computes.
    """
    if enabled:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(enabled)
    # Nothing here reads memory that nothing was written to; filling it would take time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


Bar = Callable[..., Iterator[Any]]  # twostream.commands.console.progress, or anything like it


def no_bar(items: Iterable[Any], **_: Any) -> Iterator[Any]:
    """Pass `items` without showing anything."""
    return iter(items)


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a trained network is run on videos: everything that is not about what it computes.

    Attributes:
        device: on which it runs, and where its weights are.
        precision: one of `PRECISIONS`.
        threads: that load and decode videos.
        views_per_forward: about how many views enter the network together.
        bar: wraps batches in a progress bar.
    """

    device: torch.device
    precision: str
    threads: int
    views_per_forward: int
    bar: Bar = no_bar

    def autocast(self) -> torch.autocast:
        """Context in which a network computes in `precision`."""
        return autocast(self.device, self.precision)


Network = TypeVar("Network", bound=nn.Module)


def compile_network(network: Network) -> Network:
    """Return a network with the very same weights and layers, whose computing is compiled.

    Training either or loading weights into either changes both. Logits differ in their last bits.
    What is compiled is `features`, where a network has them apart from its classifier.
    """
    twin = copy.copy(network)  # shares parameters, buffers and layers
    name = "features" if hasattr(network, "features") else "forward"
    run = torch.compile(getattr(network, name))

    def run_or_explain(*arguments: Any) -> Any:
        try:
            return run(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"--compile: the network cannot be compiled here ({reason}); a C++ compiler is "
                "needed, or leave --compile out"
            ) from error

    setattr(twin, name, run_or_explain)
    return twin


# The CPU's allocator and older devices raise a plain RuntimeError.
OOM_MESSAGES = ("can't allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a device's or the CPU allocator's way to say that memory is short."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in OOM_MESSAGES)
    )


def snapshot_buffers_and_rng(network: nn.Module, device: torch.device) -> Callable[[], None]:
    """Return what puts back all that a forward pass may change: buffers and random states.

    The buffers are batch normalisation's statistics; the random states decide dropout. Gradients
    are not restored: an attempt begins by clearing them.
    """
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    cpu_rng = torch.get_rng_state()
    accelerator = None if device.type == "cpu" else torch.get_device_module(device)
    device_rng = accelerator.get_rng_state(device) if accelerator else None

    def restore() -> None:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        torch.set_rng_state(cpu_rng)
        if accelerator:
            accelerator.set_rng_state(device_rng, device)

    return restore


def smallest_part(num_videos: int, parts: int) -> int:
    """Videos of the smallest part where `Tensor.chunk` cuts a batch; it is the last one."""
    size = -(-num_videos // parts)
    return num_videos % size or size


class Attempt:
    """A `with` block around a step: where memory was short, it ends without an error.

    Attributes:
        parts: in which the batch is to go through the network.
        failed: whether memory was short.
    """

    def __init__(self, parts: int, *, is_last: bool) -> None:
        self.parts, self._is_last, self.failed = parts, is_last, False

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        self.failed = error is not None and not self._is_last and is_out_of_memory(error)
        return self.failed


class MicroBatches:
    """Gradient accumulation: in how many parts a batch goes through a network.

    Args:
        parts: to begin with.
        auto: double the parts whenever memory is short, for good.
        tell: gets a message when that happens.

    Attributes:
        least: videos that a part must have; a batch that would give less goes in fewer parts.
    """

    def __init__(self, parts: int, *, auto: bool, tell: Callable[[str], None]) -> None:
        self.parts, self.auto, self.tell, self.least = parts, auto, tell, 1
        self._rehearsals, self._largest = 0, 0

    def attempts(
        self, network: nn.Module, *, num_videos: int, device: torch.device
    ) -> Iterator[Attempt]:
        """Attempts at a step, until one has succeeded; what others changed is undone.

            for attempt in micro_batches.attempts(network, num_videos=8, device=device):
                with attempt:
                    ...  # forward and back, in `attempt.parts` parts

        Args:
            num_videos: that the step takes through the network.
        """
        if not self.auto:
            yield Attempt(self.fit(num_videos, self.parts), is_last=True)
            return
        restore = snapshot_buffers_and_rng(network, device)
        if not isinstance(network, DistributedDataParallel):
            yield from self._until_it_fits(num_videos, restore)
            return
        # An attempt that has begun to send gradients cannot be repeated: the other processes wait
        # for the rest. So it is rehearsed: in the first step; in the second, when the optimiser has
        # taken its memory; and when there are more videos than ever.
        if self._rehearsals < 2 or num_videos > self._largest:
            with network.no_sync():
                yield from self._until_it_fits(num_videos, restore)
            restore()
            self._rehearsals += 1
            self._largest = max(num_videos, self._largest)
        yield Attempt(self.fit(num_videos, self.parts), is_last=True)

    def fit(self, num_videos: int, parts: int) -> int:
        """`parts`, or fewer where a part would have less than `least` videos."""
        while parts > 1 and smallest_part(num_videos, parts) < self.least:
            parts -= 1
        return parts

    def _until_it_fits(self, num_videos: int, restore: Callable[[], None]) -> Iterator[Attempt]:
        parts, most = self.parts, self.fit(num_videos, num_videos)
        while True:
            attempt = Attempt(self.fit(num_videos, parts), is_last=parts >= most)
            yield attempt
            if not attempt.failed:
                break
            # Only here, with the error and the tensors in its traceback gone, can memory come free.
            restore()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            parts = min(2 * parts, most)
        if parts != self.parts:
            self.tell(
                f"Memory was short: a batch now goes through the network in {parts} parts, as with "
                f"--accumulate {parts}; batch size and learning rate stay as they were."
            )
            self.parts = parts
