from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostream.models.temporal.conv import Conv


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
