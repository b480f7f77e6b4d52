from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor, nn

from twostream.compute.compiling import compile_for_eval
from twostream_base.errors import InputError


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
    fast = compile_for_eval(network).eval()
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
        compile_for_eval(Small())(CLIPS)
