from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from twostream.training.loss import Loss, class_weights, read_gamma
from twostream_base.errors import InputError

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0], [1.0, 1.0, 1.0], [-30.0, 40.0, 0.0]])
LABELS = torch.tensor([0, 2, 1, 1])
WEIGHTS = torch.tensor([0.5, 2.0, 1.5])


def test_weighted_cross_entropy_is_torchs() -> None:
    """Its mean is that of torch: the sum over the weights of the targets."""
    loss = Loss(label_smoothing=0.1, class_weights=WEIGHTS)
    expected = F.cross_entropy(LOGITS, LABELS, weight=WEIGHTS, label_smoothing=0.1)
    assert loss(LOGITS, LABELS) / loss.total_weight(LABELS) == pytest.approx(expected)
    assert Loss().total_weight(LABELS) == 4


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_loss_by_hand(gamma: float, weights: torch.Tensor | None) -> None:
    probs = LOGITS.softmax(dim=1)[range(4), LABELS]
    scale = torch.ones(4) if weights is None else weights[LABELS]
    expected = (-scale * (1 - probs) ** gamma * probs.log()).sum()
    loss = Loss(gamma=gamma, class_weights=weights)
    assert loss(LOGITS, LABELS) == pytest.approx(expected)
    soft = F.one_hot(LABELS, 3).float()
    assert loss(LOGITS, soft) == pytest.approx(expected)
    logits = LOGITS.clone().requires_grad_()
    loss(logits, LABELS).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all(), "the last video is certain"


def test_guessing() -> None:
    uniform, label = torch.zeros(1, 7), torch.tensor([3])
    for gamma in (0.0, 2.0):
        loss = Loss(gamma=gamma)
        assert loss(uniform, label) == pytest.approx(loss.of_guessing(7))


def test_gammas() -> None:
    texts = ("cross-entropy", "focal", "focal:2", "focal:0.5")
    assert [read_gamma(text) for text in texts] == [0.0, 2.0, 2.0, 0.5]
    for text in ("", "focal:", "focal:0", "focal:-1", "dice", "focal:2,5"):
        with pytest.raises(InputError, match="--loss .*focal:1.5"):
            read_gamma(text)


def test_balanced_weights_make_classes_count_alike() -> None:
    labels = [0] * 10 + [1] * 1 + [2] * 4
    weights = class_weights("balanced", ("a", "b", "c", "unseen"), labels)
    assert weights is not None
    assert weights[:3] == pytest.approx([0.5, 5.0, 1.25])  # 15 / 3 classes / their videos
    assert weights[torch.tensor(labels)].mean() == pytest.approx(1)
    assert class_weights("", ("a", "b"), [0, 1]) is None


def test_weights_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.csv"
    path.write_text('class,weight\nb,3\n"c, d",0\na,1\n')
    weights = class_weights(str(path), ("a", "b", "c, d"), [0, 0, 1, 2])
    assert weights is not None
    assert weights.tolist() == pytest.approx([0.8, 2.4, 0.0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,1\n", "no weight for b"),
        ("a,1\nb,2\nc,1\n", "'c' is none of the classes"),
        ("a,1\nb,2\na,1\n", "'a' stands there twice"),
        ("a,1\nb,-2\n", "'b,-2' is not `class,weight`"),
        ("a,1\nb,nan\n", "'b,nan' is not"),
        ("a,1\nb\n", "'b' is not"),
        ("a,0\nb,0\n", "all classes that have training videos are 0"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "weights.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as error:
        class_weights(str(path), ("a", "b"), [0, 1])
    assert str(path) in str(error.value)


def test_balanced_weights_lift_the_recall_of_a_rare_class() -> None:
    """Two overlapping classes, one a tenth of the other: the line between them moves."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 200 + [1] * 20)
    x = torch.randn(len(labels), 1, generator=rng) + labels[:, None]

    def recall(text: str) -> float:
        loss = Loss(class_weights=class_weights(text, ("common", "rare"), labels.tolist()))
        line = torch.nn.Linear(1, 2)
        optimizer = torch.optim.SGD(line.parameters(), lr=0.5)
        for _ in range(200):
            optimizer.zero_grad()
            (loss(line(x), labels) / loss.total_weight(labels)).backward()
            optimizer.step()
        return (line(x).argmax(dim=1)[labels == 1] == 1).float().mean().item()

    assert recall("") < 0.3
    assert recall("balanced") > 0.6
