from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from twostream.models import build_network
from twostream.models.consensus import CONSENSUS, Learned, load_consensus, mean, reduction
from twostream.models.learned_consensus import AttentionClassifier
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError
from twostream_base.plugins import TrustedName

LOGITS = torch.tensor([[[-1.3063, 1.4182, -0.3061, 0.2], [0.5, -0.25, 1.75, 0.0],
                        [0.1, 0.1, -0.4, 0.9]]])  # fmt: skip
# The matrix of the lab notes that the variance consensus comes from (first three rows).
NOTES = torch.tensor([[[-1.2738, -0.3058, 0.1230, -1.9615], [0.8771, -0.5430, -0.9233, 0.9879],
                       [1.4107, 0.0317, -0.6823, 0.2255]]])  # fmt: skip
FUNCTIONS = [name for name, entry in CONSENSUS.items() if not isinstance(entry, Learned)]
LEARNED = [name for name in CONSENSUS if name not in FUNCTIONS]
WEIGHTS = np.array([1.2838, 0.7917, 0.2892])


@pytest.mark.parametrize(
    ("logits", "name", "expected"),
    [
        (LOGITS, "mean", [-0.2354, 0.4227, 0.3480, 0.3667]),
        (LOGITS, "sum", [-0.7063, 1.2682, 1.0439, 1.1]),
        (LOGITS, "max", [0.5, 1.4182, 1.75, 0.9]),
        (LOGITS, "topk", [0.3, 0.7591, 0.72195, 0.55]),
        (LOGITS, "variance", (WEIGHTS @ LOGITS[0].numpy() / WEIGHTS.sum()).tolist()),
        (LOGITS, "variance-legacy", [-1.2523, 1.6517, 0.8768, 0.5170]),
        (NOTES, "variance", [0.2973, -0.2945, -0.4954, -0.2424]),
        (NOTES, "variance-legacy", [0.7705, -0.7634, -1.2841, -0.6281]),
    ],
)
def test_values(logits: torch.Tensor, name: str, expected: list[float]) -> None:
    assert CONSENSUS[name](logits)[0].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_keep_the_contract(name: str) -> None:
    """One prediction a video, a gradient, no regard for order; equal segments agree."""
    logits = LOGITS.clone().requires_grad_()
    consensus = CONSENSUS[name]
    fused = consensus(logits)
    assert fused.shape == (1, 4)
    fused[0, 1].backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert torch.allclose(consensus(LOGITS[:, [2, 0, 1]]), consensus(LOGITS))
    same = LOGITS[:, :1].expand(1, 3, 4)
    assert torch.equal(consensus(same).argsort(), same[:, 0].argsort())
    if name not in ("sum", "variance-legacy"):
        assert torch.allclose(consensus(same), same[:, 0])


def test_only_legacy_variance_gives_its_weights_a_gradient() -> None:
    gradients = {}
    for name in ("variance", "variance-legacy"):
        logits = NOTES.clone().requires_grad_()
        CONSENSUS[name](logits)[0, 1].backward()
        gradients[name] = logits.grad[0, :, [0, 2, 3]]  # type: ignore[index]
    assert (gradients["variance"] == 0).all()
    assert (gradients["variance-legacy"] != 0).all()


def test_legacy_variance_grows_with_the_cube() -> None:
    assert torch.allclose(CONSENSUS["variance-legacy"](2 * LOGITS),
                          8 * CONSENSUS["variance-legacy"](LOGITS))  # fmt: skip


def test_topk_lies_between_max_and_mean() -> None:
    one, all_of_them = (load_consensus("topk", {"k": k})(LOGITS) for k in (1, 9))
    assert torch.equal(one, CONSENSUS["max"](LOGITS))
    assert torch.allclose(all_of_them, CONSENSUS["mean"](LOGITS))
    with pytest.raises(InputError, match="k is 0; it counts segments"):
        load_consensus("topk", {"k": 0})(LOGITS)


@pytest.mark.parametrize(("name", "options"), [("mean", {"k": 2}), ("attention", {"heads": 2})])
def test_unknown_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"consensus {name} has no option .*; allowed: none"):
        load_consensus(name, options)


@pytest.mark.parametrize("name", LEARNED)
def test_learned_ones_keep_the_contract(name: str) -> None:
    """All weights learn, and belong to the network; what it gives is averaged."""
    consensus = load_consensus(name, {})
    assert reduction(consensus) is mean
    torch.manual_seed(0)
    network = build_network(
        "resnet18", consensus=consensus, modality=MODALITIES["spatial"], num_classes=4
    )
    clips = torch.randint(0, 256, (2, 3, 1, 3, 32, 32), dtype=torch.uint8)
    logits = network(clips)
    assert (logits.shape[0], logits.shape[2]) == (2, 4)
    torch.nn.functional.cross_entropy(logits.mean(dim=1), torch.tensor([1, 3])).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert any(name.startswith("classifier.") for name in network.state_dict())


def test_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SimpleNamespace(
        last=lambda logits, back=1: logits[:, -back],
        linear=Learned(
            lambda feature_size, num_classes, bias: torch.nn.Linear(feature_size, num_classes, bias)
        ),
    )
    monkeypatch.setitem(sys.modules, "own_consensus_of_a_test", own)
    last = load_consensus(TrustedName("own_consensus_of_a_test:last"), {"back": 2})
    assert torch.equal(reduction(last)(LOGITS), LOGITS[:, 1])
    learned = load_consensus(TrustedName("own_consensus_of_a_test:linear"), {"bias": False})
    assert isinstance(learned, Learned)
    assert learned.build(feature_size=6, num_classes=4).bias is None


def test_it_equals_the_formula_written_out() -> None:
    torch.manual_seed(1)
    head = AttentionClassifier(5, 4)
    torch.nn.init.normal_(head.score.weight)
    features = torch.randn(2, 3, 5)
    head.requires_grad_(False)
    predictions = head(features).mean(dim=1)
    for video in range(2):
        scores = [float(head.score.weight[0] @ features[video, s]) for s in range(3)]
        total = sum(map(math.exp, scores))
        expected = sum(
            math.exp(scores[s]) / total * head.classes(features[video, s]) for s in range(3)
        )
        assert torch.allclose(predictions[video], expected, atol=1e-6)
    assert torch.allclose(head.weights(features).sum(dim=1), torch.ones(2, 1))


def test_it_starts_as_the_mean_and_learns_from_there() -> None:
    torch.manual_seed(1)
    head = AttentionClassifier(5, 4)
    features = torch.randn(2, 3, 5)
    logits = head(features)
    assert torch.allclose(logits, head.classes(features))
    torch.nn.functional.cross_entropy(logits.mean(dim=1), torch.tensor([0, 2])).backward()
    assert (head.score.weight.grad != 0).all()
