"""`[model]`: the towers and the space they share."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from common.imaging.preparation import ImageSize
from common.spec.section import Section


class ImageEncoderSpec(Section):
    """The image tower."""

    encoder: Annotated[str, Field(pattern=r"^(vit|resnet|hf:.+)$")] = "vit"
    """`vit`, `resnet`, or `hf:PATH`, a local Hugging Face folder (ViT, DINOv2, ResNet, ConvNeXt, CLIP)."""
    width: PositiveInt = 128
    """Token width of the ViT; channels of the ResNet's last stage. `hf:` has its own."""
    depth: PositiveInt = 4
    """Blocks of the ViT; residual blocks per stage of the ResNet."""
    heads: PositiveInt = 4
    """Attention heads (ViT only)."""
    patch_pixels: PositiveInt = 8
    """Side of a patch (ViT), or of what one token of the `hf:` folder stands for."""

    @property
    def pretrained(self) -> str | None:
        """Path of the Hugging Face folder."""
        return self.encoder.removeprefix("hf:") if self.encoder.startswith("hf:") else None


class TextEncoderSpec(Section):
    """The text tower and its vocabulary."""

    encoder: Annotated[str, Field(pattern=r"^(transformer|hf:.+)$")] = "transformer"
    """`transformer`, or `hf:PATH`, a local Hugging Face folder (BERT, RoBERTa, CLIP), vocabulary and all."""
    width: PositiveInt = 128
    depth: PositiveInt = 2
    heads: PositiveInt = 4
    max_tokens: Annotated[int, Field(ge=4)] = 64
    vocabulary_size: Annotated[int, Field(ge=64)] = 4096
    """Upper bound; a small public corpus gives fewer pieces. `hf:` has its own."""

    @property
    def pretrained(self) -> str | None:
        """Path of the Hugging Face folder."""
        return self.encoder.removeprefix("hf:") if self.encoder.startswith("hf:") else None


MetadataField = Literal["modality", "view"]
"""A column of the store's index."""


class MetadataSpec(Section):
    """What is known of a study beside image and report, as a tower of its own."""

    fields: Annotated[tuple[MetadataField, ...], Field(min_length=1)] = ("modality", "view")
    width: PositiveInt = 64
    buckets: Annotated[int, Field(ge=2)] = 64
    """Values of a field share this many vectors by their hash, so that no list of values has to be agreed
    on."""


class FusionSpec(Section):
    """How tokens of image and report meet."""

    kind: Literal["early", "late"] = "late"
    """One stream of all tokens, or two streams that attend to each other."""
    width: PositiveInt = 128
    depth: PositiveInt = 2
    heads: PositiveInt = 4
    pseudo_tokens: PositiveInt = 8
    """Learned tokens that stand for a missing image or report."""
    pseudo_pool: PositiveInt = 64
    """From how many learned tokens they are chosen, by what is there."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError("model.fusion.heads does not divide model.fusion.width")
        if self.pseudo_tokens > self.pseudo_pool:
            raise ValueError("model.fusion.pseudo_tokens is more than model.fusion.pseudo_pool holds")
        return self


class AdaptationSpec(Section):
    """The towers named are frozen; only small additions to them, and the heads, are trained and exchanged."""

    towers: Annotated[tuple[Literal["image", "text"], ...], Field(min_length=1)] = ("image", "text")
    kind: Literal["lora", "prompt"] = "lora"
    """Low-rank adapters in every linear layer, or learned tokens that stand behind a tower's own."""
    rank: PositiveInt = 8
    """Of adapters."""
    alpha: PositiveInt = 16
    """An adapter's addition is scaled by alpha / rank."""
    prompt_tokens: PositiveInt = 8
    """Learned tokens of each tower."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len(set(self.towers)) < len(self.towers):
            raise ValueError("model.adaptation.towers names a tower twice")
        return self


class ModelSpec(Section):
    """The towers and the shared space."""

    image_size: ImageSize
    embedding_width: PositiveInt = 128
    image: ImageEncoderSpec = ImageEncoderSpec()
    text: TextEncoderSpec = TextEncoderSpec()
    metadata: MetadataSpec | None = None
    """Absent: nothing but images and reports."""
    fusion: FusionSpec | None = None
    """Absent: the towers meet in the shared space only."""
    adaptation: AdaptationSpec | None = None
    """Absent: every weight is trained and exchanged."""
    initial: str | None = None
    """Local folder, the `model/` of a finished run: training starts from its weights, and reads with its
    vocabulary. Absent: fresh weights. Under privacy its training data are outside of this run's promise."""

    @property
    def prompted(self) -> tuple[str, ...]:
        """Towers that have learned prompts."""
        adapted = self.adaptation
        return adapted.towers if adapted is not None and adapted.kind == "prompt" else ()

    @model_validator(mode="after")
    def _prompts_a_transformer(self) -> Self:
        if "image" in self.prompted and self.image.encoder == "resnet":
            raise ValueError(
                "model.adaptation.kind = 'prompt' needs towers of tokens: write model.image.encoder = 'vit', "
                'or leave "image" out of model.adaptation.towers'
            )
        return self

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.image.encoder != "resnet" and self.image_size % self.image.patch_pixels:
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
