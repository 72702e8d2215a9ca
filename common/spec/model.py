"""`[model]`: the towers and the space they share."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from common.imaging.preparation import ImageSize
from common.spec.section import Section


class ImageEncoderSpec(Section):
    """The image tower."""

    encoder: Literal["vit", "resnet"] = "vit"
    width: PositiveInt = 128
    """Token width of the ViT; channels of the ResNet's last stage."""
    depth: PositiveInt = 4
    """Blocks of the ViT; residual blocks per stage of the ResNet."""
    heads: PositiveInt = 4
    """Attention heads (ViT only)."""
    patch_pixels: PositiveInt = 8
    """Side of a patch (ViT only)."""


class TextEncoderSpec(Section):
    """The text tower and its vocabulary."""

    width: PositiveInt = 128
    depth: PositiveInt = 2
    heads: PositiveInt = 4
    max_tokens: Annotated[int, Field(ge=4)] = 64
    vocabulary_size: Annotated[int, Field(ge=64)] = 4096
    """Upper bound; a small public corpus gives fewer pieces."""


class ModelSpec(Section):
    """Both towers and the shared space."""

    image_size: ImageSize
    embedding_width: PositiveInt = 128
    image: ImageEncoderSpec = ImageEncoderSpec()
    text: TextEncoderSpec = TextEncoderSpec()

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.image.encoder == "vit" and self.image_size % self.image.patch_pixels:
            raise ValueError(
                f"model.image.patch_pixels = {self.image.patch_pixels} does not divide "
                f"model.image_size = {self.image_size}"
            )
        if self.image.encoder == "resnet" and self.image_size % 8:
            raise ValueError(f"model.image_size = {self.image_size} is no multiple of 8, the ResNet's stride")
        for name, tower in (("image", self.image), ("text", self.text)):
            if tower.width % tower.heads:
                raise ValueError(f"model.{name}.heads does not divide model.{name}.width")
        return self
