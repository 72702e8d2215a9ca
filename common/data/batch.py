"""What a training step sees: rows with an image, a report, or both, and the masks drawn for them.

Shapes: B rows, R of them masked, S pixels a side, T word pieces, K visible patches.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B rows; a missing image or report is zeros, and its flag says so."""

    images: Tensor
    """(B, 1, S, S) float32 grey values in 0..1."""
    has_image: Tensor
    """(B,) bool."""
    tokens: Tensor
    """(B, T) int64 word pieces, [CLS] first and [SEP] last."""
    token_mask: Tensor
    """(B, T) bool, False on padding."""
    has_text: Tensor
    """(B,) bool."""
    study: Tensor
    """(B,) int64, equal where rows come from one study."""
    masked_rows: Tensor | None = None
    """(R,) rows that masked image modelling looks at; None when the objective is off."""
    visible_patches: Tensor | None = None
    """(R, K) patches that it shows of them."""
    masked_tokens: Tensor | None = None
    """(B, T) `tokens` with words hidden; None when masked language modelling is off."""
    token_labels: Tensor | None = None
    """(B, T) the hidden word pieces, -100 elsewhere."""

    def __len__(self) -> int:
        return len(self.images)
