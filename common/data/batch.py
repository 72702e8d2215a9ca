"""What a training step sees: rows with an image, a report, or both, and the masks drawn for them.

Shapes: B rows, R with hidden patches, Q with hidden words, C channels, S pixels a side, T word pieces,
K visible patches, F entities of the ontology.
"""

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

OF_MASKED_IMAGES, OF_MASKED_REPORTS = {"rows": "masked_images"}, {"rows": "masked_reports"}
"""Of a field: its entries belong to the rows that another field lists. All others have one entry per row."""


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
    kept_patches: Tensor | None = None
    """(B, K') patches that the image tower sees of an unmasked image; None for all of them."""
    masked_images: Tensor | None = field(default=None, metadata=OF_MASKED_IMAGES)
    """(R,) rows, ascending, that masked image modelling looks at; None when the objective is off."""
    visible_patches: Tensor | None = field(default=None, metadata=OF_MASKED_IMAGES)
    """(R, K) patches that it shows of them."""
    masked_reports: Tensor | None = field(default=None, metadata=OF_MASKED_REPORTS)
    """(Q,) rows, ascending, in whose reports words are hidden; None when masked language modelling is off."""
    masked_tokens: Tensor | None = field(default=None, metadata=OF_MASKED_REPORTS)
    """(Q, T) their `tokens` with words hidden."""
    token_labels: Tensor | None = field(default=None, metadata=OF_MASKED_REPORTS)
    """(Q, T) the hidden word pieces, -100 elsewhere."""

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, stop: int) -> "Batch":
        """Rows `start` to `stop` as a batch of their own, padded as they are here."""
        parts: dict[str, Tensor] = {}
        for one in fields(self):
            value, listed = getattr(self, one.name), one.metadata.get("rows")
            if value is None:
                continue
            if listed is None:
                parts[one.name] = value[start:stop]
                continue
            rows: Tensor = getattr(self, listed)
            inside = value[(rows >= start) & (rows < stop)]
            parts[one.name] = inside - start if one.name == listed else inside
        return replace(self, **parts)

    def to(self, device: torch.device) -> "Batch":
        """The same rows on `device`."""
        if self.images.device == device:
            return self
        there = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in there.items() if value is not None})
