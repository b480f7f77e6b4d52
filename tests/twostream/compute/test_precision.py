from __future__ import annotations

import pytest
import torch

from twostream.compute.precision import CPU_FEATURES, autocast, find_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_choice_is_kept(name: str) -> None:
    assert find_precision(name, CPU) == name


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
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_autocast_computes_in_that_precision(precision: str, dtype: torch.dtype) -> None:
    with autocast(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
