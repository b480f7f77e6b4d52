"""The contract of every temporal module, alone and in a chain."""

from __future__ import annotations

import pytest
import torch

from twostream.models.temporal.frame_selection import valid_mask
from twostream.models.temporal.stages import TEMPORAL, build_stages, read_stage
from twostream_base.errors import InputError

TEXTS = [
    "conv widths=8,8,16",
    "tcn width=8 blocks=2",
    "tcn width=8 norm=batch",
    "bilstm width=8 layers=1",
    "local_attention heads=4 window=8",
    "local_attention heads=4 window=8 top=3",
    "dynamic_framing k=4",
    "dynamic_framing k=4 encoder=tcn residual=false",
    "dynamic_framing k=4 keep=sampled",
    "dynamic_framing k=4 keep=distinct",
    "random_sampling",
    "dedup k=4",
]
LENGTHS = torch.tensor([21, 5, 12])


def sequences() -> torch.Tensor:
    features = torch.randn(3, 21, 8, generator=torch.Generator().manual_seed(1))
    for n, length in enumerate(LENGTHS.tolist()):
        features[n, length:] = 0
    return features


def test_every_module_is_tested() -> None:
    assert {text.split()[0] for text in TEXTS} == set(TEMPORAL)


@pytest.mark.parametrize("text", TEXTS)
def test_padding_changes_nothing(text: str) -> None:
    """A sequence in a batch of longer ones gives what it gives alone: features and length."""
    torch.manual_seed(0)
    module = build_stages([text], in_features=8).eval()
    features, lengths = module(sequences(), LENGTHS)
    assert features.shape[2] == module.out_features
    assert features.shape[1] == lengths.max()
    for n, length in enumerate(LENGTHS.tolist()):
        alone, (alone_length,) = module(sequences()[n : n + 1, :length], LENGTHS[n : n + 1])
        assert alone_length == lengths[n]
        assert torch.allclose(features[n, :alone_length], alone[0], atol=1e-5)
        assert (features[n, alone_length:] == 0).all()


@pytest.mark.parametrize("text", TEXTS)
def test_padding_changes_nothing_while_training(text: str) -> None:
    """Batch norm statistics and gradients come from valid frames only."""
    outcomes = []
    for frames in (21, 30):
        torch.manual_seed(0)
        module = build_stages([f"{text} dropout=0" if "tcn" in text else text], in_features=8)
        for layer in module.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        if "sampl" in text:
            module.eval()  # random draws have the shape of the padding; see test_frame_selection
        padded = torch.zeros(3, frames, 8)
        padded[:, :21] = sequences()
        padded.requires_grad_()
        features, lengths = module(padded, LENGTHS)
        features.square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in module.parameters())
        valid = valid_mask(LENGTHS, frames)
        outcomes.append((features[:, : lengths.max()], padded.grad[valid]))
    for padded_by_0, padded_by_9 in zip(*outcomes, strict=True):
        assert torch.allclose(padded_by_0, padded_by_9, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_sequences_of_no_and_one_frame(text: str, training: bool) -> None:
    """Halving leaves nothing of one frame: lengths of 0 go through, and nothing becomes NaN."""
    torch.manual_seed(0)
    module = build_stages([text], in_features=8)
    features = torch.zeros(2, 1, 8)
    features[1] = 1
    out, lengths = module.train(training)(features, torch.tensor([0, 1]))
    assert lengths.tolist() == [0, 0 if "conv" in text else 1]
    assert torch.isfinite(out).all()
    assert (out[0] == 0).all()


def test_stages_are_chained() -> None:
    module = build_stages(["dynamic_framing k=3", "conv widths=4,6 kernels=3,3"], in_features=8)
    features, lengths = module(sequences(), LENGTHS)
    assert module.out_features == 6
    assert features.shape == (3, 5, 6)
    assert lengths.tolist() == [5, 1, 3]
    nothing = build_stages([], in_features=8)
    assert nothing.out_features == 8
    assert torch.equal(nothing(sequences(), LENGTHS)[0], sequences())


def test_texts_of_stages() -> None:
    text = "a.b:c widths=64,128 pools=1 dropout=0.5 residual=false encoder=tcn kernels=3,"
    assert read_stage(text) == (
        "a.b:c",
        {"widths": [64, 128], "pools": 1, "dropout": 0.5, "residual": False, "encoder": "tcn",
         "kernels": [3]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "''.*key=value"),
        ("conv fast", "'conv fast'.*key=value"),
        ("konv", "'konv'.*conv, tcn"),
        ("conv colour=1", "'conv colour=1' has no option 'colour'"),
        ("conv widths=8,8", r"kernels \[5, 5, 3\] for widths \[8, 8\]"),
        ("conv widths=8, kernels=4,", r"kernels \[4\].*odd"),
        ("conv widths=8", "'conv widths=8'"),
        ("local_attention heads=3", "3 heads .*8 features"),
        ("dynamic_framing encoder=lstm", "encoder='lstm' .*gru, tcn"),
        ("dynamic_framing k=0", "k=0 .*1"),
    ],
)
def test_wrong_texts(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_stages([text], in_features=8)
