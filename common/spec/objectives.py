"""`[objectives.*]`: what is learned, one table per objective."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from common.spec.section import Section, Share


class GlobalContrastiveSpec(Section):
    """Softmax contrastive loss over a batch; see `common.objectives.contrastive`."""

    weight: PositiveFloat = 1.0
    initial_temperature: Annotated[float, Field(ge=0.01, le=1)] = 0.07
    """Below 0.01 the clamp of the logit scale at 100 would cut it."""
    targets: Literal["identity", "same_text", "entities"] = "same_text"
    """`same_text`: pairs of the batch that share their text or their study are positives too; `entities`: so
    are pairs whose reports state the same findings, as far as they do."""
    entity_share: Share = 0.5
    """With `entities`: what of the target goes to pairs by their overlap; the rest stays with the own one."""


class MaskedImageSpec(Section):
    """Masked image modelling of normalised pixels; see `common.objectives.masked_image`."""

    weight: PositiveFloat = 1.0
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    row_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of a batch's rows that are masked and encoded a second time; fewer cost less."""
    decoder_width: PositiveInt = 64
    decoder_depth: PositiveInt = 1
    decoder_heads: PositiveInt = 4

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.decoder_width % self.decoder_heads:
            raise ValueError("objectives.masked_image.decoder_heads does not divide its decoder_width")
        return self


class MaskedLanguageSpec(Section):
    """Masked language modelling that may look at the image; see `common.objectives.masked_language`."""

    weight: PositiveFloat = 0.5
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    row_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of a batch's reports that are read a second time with words hidden; fewer cost less."""
    decoder_depth: PositiveInt = 1


class ObjectivesSpec(Section):
    """What is learned; a table that is absent is an objective that is off."""

    global_contrastive: GlobalContrastiveSpec | None = None
    masked_image: MaskedImageSpec | None = None
    masked_language: MaskedLanguageSpec | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.names:
            raise ValueError(
                "[objectives] is empty: write at least one of " + ", ".join(type(self).model_fields)
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Objectives that are on, in the order of this class."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)
