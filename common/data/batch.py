"""What a training step sees: rows with an image, a report, or both, and the masks drawn for them.

Shapes: B rows, R with hidden patches, Q with hidden words, C channels, S pixels a side, T word pieces,
K visible patches, F entities of the ontology.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B rows; a missing image or report is zeros, and its flag says so."""

    images: Tensor
    """(B, C, S, S) float32 grey values in 0..1."""
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
    findings: Tensor | None = None
    """(B, F) bool, what the shown text says is there, by place in the ontology; None where nobody asked."""
    masked_images: Tensor | None = None
    """(R,) rows that masked image modelling looks at; None when the objective is off."""
    visible_patches: Tensor | None = None
    """(R, K) patches that it shows of them."""
    masked_reports: Tensor | None = None
    """(Q,) rows in whose reports words are hidden; None when masked language modelling is off."""
    masked_tokens: Tensor | None = None
    """(Q, T) their `tokens` with words hidden."""
    token_labels: Tensor | None = None
    """(Q, T) the hidden word pieces, -100 elsewhere."""

    def __len__(self) -> int:
        return len(self.images)
