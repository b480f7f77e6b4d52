from __future__ import annotations

import copy
import shutil
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn

from twostream.compute.device import (
    CPU_FEATURES,
    MicroBatches,
    autocast,
    compile_network,
    find_precision,
    is_out_of_memory,
    smallest_part,
)
from twostream.training.loop import accumulate_gradient
from twostream_base.errors import InputError

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_a_choice_is_kept(name: str) -> None:
    assert find_precision(name, CPU) == name


def test_tf32_is_for_gpus() -> None:
    assert find_precision("tf32", torch.device("cuda:1")) == "tf32"
    with pytest.raises(InputError, match="--precision tf32 .*not of cpu; try --precision fp32"):
        find_precision("tf32", CPU)


@pytest.mark.parametrize(
    ("has_bf16", "capability", "expected"),
    [(True, (9, 0), "bf16"), (False, (7, 0), "fp16"), (False, (7, 5), "fp16"),
     (False, (6, 1), "fp32")],
)  # fmt: skip
def test_auto_takes_what_the_gpu_computes_itself(
    has_bf16: bool, capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert find_precision("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [((True, True), "bf16"), ((False, True), "bf16"), ((True, False), "bf16"),
     ((False, False), "fp32"), ((None, None), "fp32"), ((None, True), "bf16")],
)  # fmt: skip
def test_auto_takes_what_the_cpu_computes_itself(
    answers: tuple[bool | None, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None: a build of torch that lacks the question."""
    for feature, answer in zip(CPU_FEATURES, answers, strict=True):
        monkeypatch.delattr(torch.cpu, feature, raising=False)
        if answer is not None:
            monkeypatch.setattr(torch.cpu, feature, lambda answer=answer: answer, raising=False)
    assert find_precision("auto", CPU) == expected


def test_torch_still_has_the_questions() -> None:
    assert all(hasattr(torch.cpu, feature) for feature in CPU_FEATURES)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_autocast_computes_in_that_precision(precision: str, dtype: torch.dtype) -> None:
    with autocast(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_fp32_is_not_tf32() -> None:
    """The switch is the whole process's, so that the backward pass obeys it too."""
    for precision in ("tf32", "fp32"):
        autocast(CPU, precision)
        for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
            assert backend.allow_tf32 == (precision == "tf32")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Linear(3, 4)

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.classes(clips.float().mean(dim=(2, 3)))
        return logits


CLIPS = torch.arange(5 * 3 * 8 * 8, dtype=torch.uint8).reshape(5, 3, 8, 8)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about itself
def test_equal_logits_also_after_the_weights_have_changed() -> None:
    network = Small().eval()
    fast = compile_network(network).eval()
    # Headers compiled in advance, processes that compile side by side and vector instructions,
    # which are tried out by compiling, are for larger networks.
    quick = {"cpp_cache_precompile_headers": False, "compile_threads": 1, "cpp.vec_isa_ok": False}
    with torch._inductor.config.patch(quick):
        for _ in range(2):
            with torch.inference_mode():
                assert torch.allclose(fast(CLIPS), network(CLIPS), atol=1e-3)
            network.classes.weight.data.mul_(-1.5)
            fast.load_state_dict({**network.state_dict(), "classes.bias": torch.ones(4)})
    assert network.classes.bias.tolist() == [1.0] * 4


def test_a_failing_compiler_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*clips: Tensor) -> Tensor:
        raise torch._dynamo.exc.TorchDynamoException("InvalidCxxCompiler: none found\nmore")

    monkeypatch.setattr(torch, "compile", lambda function: fail)
    with pytest.raises(InputError, match=r"--compile: .* \(InvalidCxxCompiler: none found\)"):
        compile_network(Small())(CLIPS)


CPU = torch.device("cpu")
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't "
                 "allocate memory: you tried to allocate 11520000000000 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.77 GB)"),
]  # fmt: skip


class Narrow(nn.Module):
    """Has batch statistics and dropout; more than `room` videos at once are too many for it."""

    def __init__(self, *, room: int, error: RuntimeError) -> None:
        super().__init__()
        self.norm, self.classes = nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.room, self.error, self.calls = room, error, list[int]()

    def forward(self, clips: Tensor) -> Tensor:
        self.calls.append(len(clips))
        values = self.norm(clips.flatten(1).float())
        dropped = nn.functional.dropout(values, 0.5, training=self.training)
        if len(clips) > self.room:
            raise self.error
        return self.classes(dropped)[:, None]


def step_on(network: nn.Module, parts: int) -> tuple[Tensor, Tensor]:
    return accumulate_gradient(
        network,
        torch.arange(32, dtype=torch.uint8).reshape(8, 1, 1, 1, 2, 2) * 7,
        torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]),
        consensus=lambda logits: logits.mean(dim=1),
        device=CPU,
        precision="fp32",
        parts=parts,
    )


def attempts_on(network: nn.Module, micro_batches: MicroBatches) -> tuple[Tensor, Tensor]:
    for attempt in micro_batches.attempts(network, num_videos=8, device=CPU):
        with attempt:
            result = step_on(network, attempt.parts)
    return result


def state_of(network: nn.Module) -> dict[str, Any]:
    gradients = {name: p.grad for name, p in network.named_parameters()}
    return {**network.state_dict(), **{f"{name}.grad": g for name, g in gradients.items()}}


@pytest.mark.parametrize("error", ERRORS, ids=["device", "cpu", "mps"])
def test_the_step_is_the_one_that_fewer_at_once_would_have_made(error: RuntimeError) -> None:
    """8 videos, room for 2: tried in 1, 2 and 4 parts; equal to 4 parts from the start."""
    torch.manual_seed(1)
    network = Narrow(room=2, error=error)
    expected_network = copy.deepcopy(network)
    torch.manual_seed(2)
    expected = step_on(expected_network, 4)
    random_after = torch.rand(1)
    torch.manual_seed(2)
    told = list[str]()
    micro_batches = MicroBatches(1, auto=True, tell=told.append)
    found = attempts_on(network, micro_batches)
    assert micro_batches.parts == 4
    assert ["--accumulate 4" in line for line in told] == [True]
    assert network.calls == [8, 4, 2, 2, 2, 2]
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert torch.equal(torch.rand(1), random_after)
    for name, value in state_of(expected_network).items():
        assert torch.equal(state_of(network)[name], value), name


def test_one_video_that_is_too_much_and_other_errors_are_raised() -> None:
    network = Narrow(room=0, error=ERRORS[0]).eval()
    with pytest.raises(torch.OutOfMemoryError):
        attempts_on(network, MicroBatches(3, auto=True, tell=print))
    assert network.calls == [3, 2, 1]  # in 3, 6 and 8 parts
    other = Narrow(room=0, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        attempts_on(other, MicroBatches(1, auto=True, tell=print))


def test_what_counts_as_out_of_memory() -> None:
    assert all(is_out_of_memory(error) for error in ERRORS)
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_parts_are_those_of_chunk_and_none_is_smaller_than_it_must_be() -> None:
    micro_batches = MicroBatches(1, auto=False, tell=print)
    for videos in range(1, 13):
        for parts in range(1, 14):
            chunks = [len(chunk) for chunk in torch.zeros(videos).chunk(parts)]
            assert smallest_part(videos, parts) == min(chunks), (videos, parts)
            micro_batches.least = 1
            assert micro_batches.fit(videos, parts) == parts
            micro_batches.least = 2
            fitted = micro_batches.fit(videos, parts)
            assert videos == 1 or smallest_part(videos, fitted) >= 2
            assert fitted == parts if min(chunks) > 1 else fitted < max(parts, 2)
