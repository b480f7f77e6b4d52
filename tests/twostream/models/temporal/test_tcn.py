from __future__ import annotations

import torch
from torch.nn import functional as F

from twostream.models.temporal.tcn import Tcn


def slow_block(features: torch.Tensor, block: torch.nn.Module, dilation: int) -> torch.Tensor:
    """One block, frame by frame and tap by tap."""

    def causal(rows: list[torch.Tensor], conv: torch.nn.Conv1d) -> list[torch.Tensor]:
        out = []
        for t in range(len(rows)):
            value = conv.bias.clone()
            for tap in range(3):
                source = t - (2 - tap) * dilation
                if source >= 0:
                    value = value + conv.weight[:, :, tap] @ rows[source]
            out.append(F.relu(value))
        return out

    hidden = causal(causal(list(features), block.convs[0]), block.convs[1])
    return torch.stack(
        [
            F.relu(h + block.residual(x[:, None])[:, 0])
            for h, x in zip(hidden, features, strict=True)
        ]
    )


def test_against_a_loop() -> None:
    torch.manual_seed(0)
    module = Tcn(4, width=6, blocks=2).eval()
    features = torch.randn(2, 11, 4)
    ours, lengths = module(features, torch.tensor([11, 11]))
    for n in range(2):
        expected = slow_block(features[n], module.blocks[0], 1)
        expected = slow_block(expected, module.blocks[1], 2)
        assert torch.allclose(ours[n], expected, atol=1e-5)
    assert lengths.tolist() == [11, 11]


def test_no_frame_sees_a_later_one() -> None:
    torch.manual_seed(0)
    module = Tcn(4, width=4, blocks=2).eval()
    features = torch.randn(1, 9, 4)
    changed = features.clone()
    changed[0, 5:] += 1
    before, after = (module(f, torch.tensor([9]))[0] for f in (features, changed))
    assert torch.allclose(before[0, :5], after[0, :5])
    assert not torch.allclose(before[0, 5], after[0, 5])


def test_frames_may_stand_at_the_end() -> None:
    """What is not true at the beginning counts as the zeros before a sequence."""
    torch.manual_seed(0)
    module = Tcn(4, width=5, blocks=2).eval()
    features = torch.randn(1, 6, 4)
    late = torch.cat([torch.zeros(1, 3, 4), features], dim=1)
    true = torch.tensor([[False] * 3 + [True] * 6])
    assert torch.allclose(
        module.encode(late, true)[:, 3:], module(features, torch.tensor([6]))[0], atol=1e-6
    )
