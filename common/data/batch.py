"""What a training step sees: rows with an image, a report, or both, and the masks drawn for them.

Shapes: B rows, R with hidden patches, Q with hidden words, P public pairs, C channels, S pixels a side,
T word pieces, K visible patches, F entities of the ontology, L word pieces of one, A of them observable,
M columns of metadata, W words.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

OF_MASKED_IMAGES, OF_MASKED_REPORTS = {"rows": "masked_images"}, {"rows": "masked_reports"}
"""Of a field: its entries belong to the rows that another field lists. All others have one entry per row."""

SHARED = {"shared": True}
"""Of a field: it belongs to no row, and every part of the batch has all of it."""


@dataclass(frozen=True)
class PublicPairs:
    """P pairs of the public bank, the same for every private row of a step."""

    images: Tensor
    """(P, C, S, S) float32 grey values in 0..1."""
    tokens: Tensor
    """(P, T) int64."""
    token_mask: Tensor
    """(P, T) bool."""
    findings: Tensor | None = None
    """(P, F) bool, what each report says is there; None where nobody asked."""
    denied: Tensor | None = None
    """(P, F) bool, what it says is not there."""
    sides: Tensor | None = None
    """(P, F, 2) bool, whether it speaks of the left, and of the right."""
    image_embedding: Tensor | None = None
    """(P, E) unit rows, constants of the step; None until the model has encoded them."""
    text_embedding: Tensor | None = None
    """(P, E) unit rows, likewise."""


@dataclass(frozen=True)
class SecondViews:
    """Another image and text of each row's study; its own, drawn anew, where there is no other."""

    images: Tensor
    """(B, C, S, S) float32 grey values in 0..1."""
    tokens: Tensor
    """(B, T') int64."""
    token_mask: Tensor
    """(B, T') bool."""


@dataclass(frozen=True)
class Entities:
    """The ontology as tensors, the same in every batch."""

    pieces: Tensor
    """(F, L) int64 word pieces of each entity's name and definition, padded."""
    neighbours: Tensor
    """(F, F) rows that sum to one over an entity's neighbours in the graph, or to zero if it has none."""
    observed: Tensor
    """(A,) int64, the places of what a report states or denies: findings and devices."""


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
    denied: Tensor | None = None
    """(B, F) bool, what the shown text says is not there; None where nobody asked."""
    doubted: Tensor | None = None
    """(B, F) bool, what of `findings` the shown text calls possible only; None where nobody asked."""
    sides: Tensor | None = None
    """(B, F, 2) bool, whether the shown text speaks of the left, and of the right, where it states or denies
    an entity; None where nobody asked."""
    whole_report: Tensor | None = None
    """(B,) bool, whether the shown text is the whole report; None where nobody asked."""
    entities: Entities | None = field(default=None, metadata=SHARED)
    """None where nobody asked."""
    words: Tensor | None = None
    """(B, W) TF-IDF vectors of length one of the shown texts; None where nobody asked."""
    meanings: Tensor | None = None
    """(B, D) what a frozen encoder makes of the shown texts, of length one; None where nobody asked."""
    metadata: Tensor | None = None
    """(B, M) int64 codes of the index's columns, 0 where a value is unknown; None where nobody asked."""
    second: SecondViews | None = None
    """None where nobody asked."""
    public: PublicPairs | None = field(default=None, metadata=SHARED)
    """None where nobody asked."""
    lots: Tensor | None = None
    """(B, 2) uniform draws in 0..1 that choose false partners; None where nobody asked."""
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

    @property
    def paired(self) -> Tensor:
        """(B,) bool, rows with both image and report."""
        return self.has_image & self.has_text

    def part(self, start: int, stop: int) -> "Batch":
        """Rows `start` to `stop` as a batch of their own, padded as they are here."""
        parts: dict[str, Tensor | SecondViews] = {}
        for one in fields(self):
            value, listed = getattr(self, one.name), one.metadata.get("rows")
            if value is None or one.metadata.get("shared"):
                continue
            if isinstance(value, SecondViews):
                parts[one.name] = _each(value, lambda rows: rows[start:stop])
                continue
            if listed is None:
                parts[one.name] = value[start:stop]
                continue
            rows: Tensor = getattr(self, listed)
            inside = value[(rows >= start) & (rows < stop)]
            parts[one.name] = inside - start if one.name == listed else inside
        return replace(self, **parts)  # type: ignore[arg-type]  # each is of its field's own type

    def to(self, device: torch.device) -> "Batch":
        """The same rows on `device`."""
        return self if self.images.device == device else _each(self, lambda rows: rows.to(device))


Tensors = TypeVar("Tensors", Batch, SecondViews, PublicPairs, Entities)


def _each(value: Tensors, change: Callable[[Tensor], Tensor]) -> Tensors:
    """`value` with every tensor in it changed."""
    changed: dict[str, Any] = {}
    for one in fields(value):
        part = getattr(value, one.name)
        if isinstance(part, Tensor):
            changed[one.name] = change(part)
        elif part is not None:
            changed[one.name] = _each(part, change)
    return replace(value, **changed)
