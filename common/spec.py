"""The run spec: one TOML file that says what is trained, how, and what leaves a hospital.

Read once, checked once, frozen. A misspelt key is an error. Nothing that decides what a patient gives away
has a default: `[privacy]` and `[secure_aggregation]` must be written out.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from common.errors import ConfigurationError

Share = Annotated[float, Field(ge=0, le=1)]
"""A ratio from 0 to 1."""


class Section(BaseModel):
    """A frozen table of settings; a misspelt key is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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

    image_size: Annotated[int, Field(ge=16, le=1024)]
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


class DataSpec(Section):
    """What a batch is made of."""

    batch_size: Annotated[int, Field(ge=2)]
    """Pairs in a step, the anchors included."""
    anchor_pairs: NonNegativeInt
    """Pairs of the public bank in every local batch; 0 trains without a bank."""
    tokenizer_text: Literal["public"] = "public"
    """The vocabulary comes from the bank's reports and the ontology, never from private reports."""
    sentence_share: Share = 0.5
    """Chance that a pair shows one sentence of its report instead of the whole."""
    augment: bool = True
    """Small rotations, shifts, zooms, brightness, contrast; never a flip (it contradicts left and right)."""

    @model_validator(mode="after")
    def _room_for_private_pairs(self) -> Self:
        if self.anchor_pairs >= self.batch_size:
            raise ValueError("data.anchor_pairs leaves no room for private pairs in data.batch_size")
        return self


class TrainSpec(Section):
    """Local training."""

    local_steps: PositiveInt
    """Optimiser steps at each site in a round, whatever its size."""
    learning_rate: PositiveFloat = 1e-3
    final_learning_rate_share: Share = 0.05
    """Where the cosine ends, as a share of `learning_rate`."""
    warmup_share: Share = 0.05
    """Share of all steps over which the rate rises linearly from zero."""
    round_warmup_steps: NonNegativeInt = 5
    """First steps of every round over which the rate rises to the cosine's: AdamW starts each round without
    knowing the size of its gradients, and full steps then undo what the round before learned."""
    weight_decay: NonNegativeFloat = 0.05
    gradient_norm: PositiveFloat = 1.0
    precision: Literal["bf16", "fp32"] = "bf16"
    threads: PositiveInt = 1
    """CPU threads of one site; part of the spec because sums depend on it in the last bit."""


class ServerOptimizerSpec(Section):
    """How the hub applies the mean update (Reddi et al. 2021, arXiv:2003.00295)."""

    kind: Literal["fedavg", "momentum", "adam"] = "fedavg"
    learning_rate: PositiveFloat = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """`momentum`: Nesterov's; `adam`: beta 1."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    adaptivity: PositiveFloat = 1e-3
    """Adam's tau, added to the root of the second moment."""


class FederationSpec(Section):
    """Who takes part in a round, and what the hub does with the answers."""

    rounds: PositiveInt
    min_sites: PositiveInt
    """Fewer usable replies than this, and the round fails."""
    reply_timeout_seconds: PositiveFloat = 3600
    weighting: Literal["equal", "examples"] = "equal"
    weight_cap: PositiveInt = 1024
    """Public bound on a site's weight; a site with more training rows counts as this many (`examples`)."""
    update_clip: PositiveFloat = 0.25
    """First round's bound on one coordinate of an update; later bounds follow the last aggregate."""
    server_optimizer: ServerOptimizerSpec = ServerOptimizerSpec()


class PrivacySpec(Section):
    """Differential privacy; `none` says in writing that an update is protected by nothing but its site."""

    mode: Literal["none"]


class SecureAggregationSpec(Section):
    """Secure aggregation; `off` says in writing that the hub sees each site's update."""

    mode: Literal["off"]


class ZeroShotTaskSpec(Section):
    """A yes/no question asked of every labelled test image by prompts alone."""

    name: str
    label: str
    """Column of the stores' labels."""
    positive: tuple[str, ...] = ("1",)
    negative: tuple[str, ...] = ("0",)
    """Label values of either class; rows with any other value are not asked."""
    positive_prompts: Annotated[tuple[str, ...], Field(min_length=1)]
    negative_prompts: Annotated[tuple[str, ...], Field(min_length=1)]
    sites: tuple[str, ...] = ()
    """Stores the question makes sense for; empty for all."""


class EvaluationSpec(Section):
    """What is measured, on patients that no site trained on."""

    every_rounds: PositiveInt = 1
    split: Literal["validation", "test"] = "test"
    retrieval: bool = True
    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    zero_shot: tuple[ZeroShotTaskSpec, ...] = ()


class Spec(Section):
    """The whole run."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    seed: NonNegativeInt = 0
    model: ModelSpec
    objectives: ObjectivesSpec
    data: DataSpec
    train: TrainSpec
    federation: FederationSpec
    privacy: PrivacySpec
    secure_aggregation: SecureAggregationSpec
    evaluation: EvaluationSpec = EvaluationSpec()

    def canonical(self) -> bytes:
        """The same settings always give the same bytes."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    def digest(self) -> str:
        """SHA-256 of `canonical`, hex."""
        return hashlib.sha256(self.canonical()).hexdigest()


def read_spec(path: Path, *, seed: int | None = None) -> Spec:
    """Parse the TOML file `path`; `seed` replaces its seed.

    Raises:
        ConfigurationError: the file is missing, is not TOML, or a key is unknown, missing or out of range.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; give the path of a spec (*.toml)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    if seed is not None:
        settings["seed"] = seed
    return parse_spec(settings, where=path.name)


def parse_spec(settings: dict[str, object], *, where: str) -> Spec:
    """Check `settings`; `where` names their source in the error."""
    try:
        return Spec.model_validate(settings)
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {_first_complaint(error)}") from None


def _first_complaint(error: ValidationError) -> str:
    """One line: the key's dotted path and what is wrong with it; how many more there are."""
    first, *others = error.errors(include_url=False, include_context=False)
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        complaint = f"unknown key '{key}'; correct or remove it"
    elif first["type"] == "missing":
        complaint = f"key '{key}' is missing; it has no default"
    elif not key or first["msg"].startswith("Value error, "):
        complaint = first["msg"].removeprefix("Value error, ")
    else:
        complaint = f"key '{key}': {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
    return complaint + (f" (and {len(others)} more)" if others else "")
