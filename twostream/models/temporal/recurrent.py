"""A bidirectional LSTM over the features of a sequence."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from twostream.models.temporal.frame_selection import zero_padding
from twostream_base.errors import InputError


class BiLstm(nn.Module):
    """LSTMs forwards and backwards; both states of a frame side by side are its new features.

    Graves and Schmidhuber, "Framewise Phoneme Classification with Bidirectional LSTM", 2005. As the
    last module it is the usual encoder of continuous sign language, such as in Min et al., "Visual
    Alignment Constraint for Continuous Sign Language Recognition", ICCV 2021, section 3.1.

    Args:
        width: of the new features, even: half of them of each direction.
        dropout: between layers.

    Raises:
        InputError: an odd width.
    """

    def __init__(
        self, in_features: int, *, width: int = 1024, layers: int = 2, dropout: float = 0.3
    ) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise InputError(f"bilstm: width={width}; it must be even, half for each direction")
        self.lstm = nn.LSTM(
            in_features,
            width // 2,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
            bidirectional=True,
        )
        self.out_features = width

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T, width); the backward LSTM begins at the last valid frame."""
        at_least_one = lengths.clamp(min=1).cpu()  # nothing is left of a video: no empty sequence
        packed = pack_padded_sequence(
            features, at_least_one, batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=features.shape[1]
        )
        return zero_padding(states, lengths), lengths
