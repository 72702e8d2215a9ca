"""What an objective is: it declares the views it needs, and turns them into one loss.

The model computes the union of all needs once per batch, so objectives share one forward pass per view.
Shapes: B rows, P public pairs, E embedding width, D tower widths, V vocabulary.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from common.data.batch import Batch
from common.model.encoders import Tokens
from common.model.fusion import Fusion

View = Literal[
    "image", "text", "image_masked", "text_masked", "metadata", "second", "reference", "teacher", "drift"
]


@dataclass(frozen=True)
class Reference:
    """What a frozen model, the global one or a teacher, says about the rows; no gradient flows into it."""

    image_embedding: Tensor
    """(B, E) unit rows."""
    text_embedding: Tensor
    """(B, E) unit rows."""


@dataclass(frozen=True)
class Views:
    """What the towers said about a batch; a view that nobody asked for is None."""

    image: Tokens | None
    image_embedding: Tensor | None
    """(B, E) unit rows; meaningless where `Batch.has_image` is False."""
    text: Tokens | None
    text_embedding: Tensor | None
    """(B, E) unit rows; meaningless where `Batch.has_text` is False."""
    image_masked: Tokens | None
    """Of the masked rows, from their visible patches only."""
    text_masked: Tokens | None
    vocabulary: Tensor
    """(V, D) the text tower's word-piece vectors, reused as the output layer that guesses hidden words."""
    metadata_embedding: Tensor | None = None
    """(B, E) unit rows."""
    second_image_embedding: Tensor | None = None
    """(B, E) unit rows, of the second view of each row."""
    second_text_embedding: Tensor | None = None
    """(B, E) unit rows."""
    reference: Reference | None = None
    """Of the global model."""
    teacher: Reference | None = None
    drift: Tensor | None = None
    """(B,) squared distance of the weights to those of the global model, the same for each row."""
    fusion: Fusion | None = None
    """The module in which image and text tokens meet; parameters, not a view of the batch."""


class Loss(NamedTuple):
    """One objective's word on a batch."""

    mean: Tensor
    """() nats or squared error per row."""
    rows: int
    """Rows it was averaged over."""


class Objective(nn.Module, ABC):
    """Base of every objective; the head, if it has one, is exchanged with the rest of the model."""

    needs: frozenset[View]
    """Views without which it has nothing to say."""
    couples_rows: ClassVar[bool]
    """Whether a row's loss depends on the other private rows of the batch: such a loss is no sum over
    patients, and clipping it patient by patient is not differentially private."""
    reads_tokens: ClassVar[bool] = True
    """False where only embeddings and pooled vectors are looked at: gradient caching then keeps no tokens."""

    @abstractmethod
    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """The mean over the rows that have what this objective needs; None when there is no such row."""

    def units(self, batch: Batch) -> int | None:  # noqa: ARG002 - for those that override it
        """Equal terms that the mean over `batch` is taken of, if each depends on the views of one row alone.

        Such a loss is worked off chunk by chunk. None when rows see each other, as in a contrastive loss.
        """
        return None

    def after_step(self) -> None:
        """Put parameters back into their allowed range after an optimiser step."""
