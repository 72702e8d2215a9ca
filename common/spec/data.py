"""`[data]`: what a batch is made of."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from common.imaging.preparation import ImagesSpec
from common.spec.quality import QualitySpec
from common.spec.section import Section, Share


class DataSpec(Section):
    """What a batch is made of."""

    batch_size: Annotated[int, Field(ge=2)]
    """Pairs in a step, the anchors included."""
    anchor_pairs: NonNegativeInt
    """Pairs of the public bank in every local batch; 0 trains without a bank."""
    images: ImagesSpec
    """How image files become pixels."""
    tokenizer_text: Literal["public"] = "public"
    """The vocabulary comes from the bank's reports and the ontology, never from private reports."""
    sentence_share: Share = 0.5
    """Chance that a pair shows one sentence of its report instead of the whole."""
    augment: bool = True
    """Small rotations, shifts, zooms, brightness, contrast; never a flip (it contradicts left and right)."""
    quality: QualitySpec = QualitySpec()

    @model_validator(mode="after")
    def _room_for_private_pairs(self) -> Self:
        if self.anchor_pairs >= self.batch_size:
            raise ValueError("data.anchor_pairs leaves no room for private pairs in data.batch_size")
        return self
