from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostream.models.temporal.convolutions import Conv, Tcn
from twostream_base.errors import InputError


@pytest.mark.parametrize("length", [4, 5, 6, 7, 41])
def test_lengths_are_those_after_pooling(length: int) -> None:
    """The notes once took the padded length for every video's; a halving also drops odd frames."""
    module = Conv(3, widths=(4, 4, 5)).eval()
    features, lengths = module(torch.zeros(2, 48, 3), torch.tensor([48, length]))
    assert features.shape == (2, 12, 5)
    assert lengths.tolist() == [12, length // 2 // 2]


def test_is_full_convs_encoder() -> None:
    """Against torch's own layers in a row, on a sequence without padding, in training."""
    torch.manual_seed(0)
    module = Conv(6)
    plain = nn.Sequential(
        module.convs[0], nn.BatchNorm1d(512), nn.ReLU(), nn.MaxPool1d(2),
        module.convs[1], nn.BatchNorm1d(512), nn.ReLU(), nn.MaxPool1d(2),
        module.convs[2], nn.BatchNorm1d(1024), nn.ReLU(),
    )  # fmt: skip
    features = torch.randn(2, 17, 6)
    ours, lengths = module(features, torch.tensor([17, 17]))
    assert ours.shape == (2, 4, 1024)
    assert lengths.tolist() == [4, 4]
    # Training statistics differ in what the second layer sees of the odd frame: compare in eval.
    assert [conv.kernel_size for conv in module.convs] == [(5,), (5,), (3,)]
    module.eval()
    theirs = plain.eval()(features.transpose(1, 2)).transpose(1, 2)
    for norm, fresh in zip(module.norms, (plain[1], plain[5], plain[9]), strict=True):
        norm.load_state_dict(fresh.state_dict())
    assert torch.allclose(module(features, torch.tensor([17, 17]))[0], theirs, atol=1e-5)


def test_batch_norm_sees_true_frames() -> None:
    torch.manual_seed(0)
    module = Conv(2, widths=(3,), kernels=(1,), pools=0)
    features = torch.randn(2, 9, 2)
    features[1, 4:] = 0
    ours, _ = module(features, torch.tensor([9, 4]))
    rows = torch.cat([features[0], features[1, :4]]) @ module.convs[0].weight[:, :, 0].T
    expected = F.relu((rows - rows.mean(0)) / (rows.var(0, unbiased=False) + 1e-5).sqrt())
    assert torch.allclose(torch.cat([ours[0], ours[1, :4]]), expected, atol=1e-5)


def slow_block(features: torch.Tensor, block: torch.nn.Module, dilation: int) -> torch.Tensor:
    """One block, frame by frame and tap by tap."""

    def causal(rows: list[torch.Tensor], layer: int) -> list[torch.Tensor]:
        out, conv = [], block.convs[layer]
        for t in range(len(rows)):
            value = conv.bias.clone()
            for tap in range(3):
                source = t - (2 - tap) * dilation
                if source >= 0:
                    value = value + conv.weight[:, :, tap] @ rows[source]
            out.append(value)
        if block.norms:
            norm, rows = block.norms[layer], torch.stack(out)
            std = (rows.var(dim=0, correction=0) + norm.eps).sqrt()
            out = list((rows - rows.mean(dim=0)) / std * norm.weight + norm.bias)
        return [F.relu(value) for value in out]

    hidden = causal(causal(list(features), 0), 1)
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


def test_batch_norm_against_a_loop() -> None:
    """In training mode, without dropout; one video, so that its statistics are those."""
    torch.manual_seed(0)
    module = Tcn(4, width=6, blocks=2, dropout=0.0, norm="batch")
    features = torch.randn(1, 11, 4)
    padded = torch.cat([features, torch.full((1, 3, 4), 100.0)], dim=1)
    ours, _ = module(padded, torch.tensor([11]))
    expected = slow_block(features[0], module.blocks[0], 1)
    expected = slow_block(expected, module.blocks[1], 2)
    assert torch.allclose(ours[0, :11], expected, atol=1e-5)
    assert not ours[0, 11:].any()
    with pytest.raises(InputError, match="norm='layer'; allowed: weight, batch"):
        Tcn(4, norm="layer")


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
