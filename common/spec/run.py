"""The whole spec of a run, and how it is read: once, checked once, then frozen."""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, ValidationError, model_validator

from common.canonical import canonical
from common.errors import ConfigurationError
from common.imaging.preparation import Preparation
from common.regular_file import read_regular_text
from common.spec.data import DataSpec
from common.spec.evaluation import EvaluationSpec
from common.spec.federation import FederationSpec
from common.spec.model import ModelSpec
from common.spec.objectives import ObjectivesSpec
from common.spec.privacy import PRIVACY_MODES, PrivacySpec
from common.spec.section import Section
from common.spec.secure_aggregation import SECURE_AGGREGATION_MODES, SecureAggregationSpec
from common.spec.train import TrainSpec

NOT_IN_PRIVATE_STEPS = (
    "gradient_norm",
    "ema_decay",
    "chunk_rows",
    "accumulate_batches",
    "text_buckets",
    "patch_dropout",
    "whole_images_share",
    "gradient_checkpointing",
    "compile",
    "deterministic",
    "processes",
    "save_every_steps",
    "vocabulary_rows",
)
"""Keys of `[train]` that only steps without privacy obey; a key that would do nothing is refused."""


NOT_IN_JOINT_STEPS = {
    "train": ("weight_decay", "layer_decay", "round_warmup_steps"),
    "federation": ("weighting", "weight_cap", "update_clip"),
}
"""Table -> keys that only updates of single sites obey: a joint step has one gradient, in which every patient
counts alike, and `federation.server_optimizer` takes it at the pace that `[train]` gives."""

TAGGED = {"privacy": PRIVACY_MODES, "secure_aggregation": SECURE_AGGREGATION_MODES}
"""Tables whose keys depend on their mode."""


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

    @model_validator(mode="after")
    def _drops_patches_of_a_vit(self) -> Self:
        if self.train.patch_dropout and self.model.image.encoder != "vit":
            raise ValueError(
                "train.patch_dropout needs model.image.encoder = 'vit'; a ResNet sees every pixel"
            )
        return self

    @model_validator(mode="after")
    def _private_steps_know_every_key(self) -> Self:
        if self.privacy.mode == "none":
            return self
        unfit = f"does not go with privacy.mode = '{self.privacy.mode}'"
        for key in NOT_IN_PRIVATE_STEPS:
            if getattr(self.train, key) != type(self.train).model_fields[key].default:
                raise ValueError(f"train.{key} {unfit}; leave it out")
        if self.train.device not in ("auto", "cpu"):
            raise ValueError(
                f"train.device = '{self.train.device}' {unfit}: its steps are taken on the CPU; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _joint_noise_adds_up(self) -> Self:
        """Refuse joint noise where no sum hides a share, or where a round is more than one step."""
        privacy, secure = self.privacy, self.secure_aggregation
        if privacy.mode != "joint":
            return self
        if secure.mode == "off":
            raise ValueError(
                "privacy.mode = 'joint' needs secure_aggregation.mode = 'sa1': by itself a site's share of "
                "the noise keeps no promise; or write privacy.mode = 'local'"
            )
        if privacy.colluding_sites >= secure.min_sites:
            raise ValueError(
                f"privacy.colluding_sites = {privacy.colluding_sites} leaves no honest site of "
                f"secure_aggregation.min_sites = {secure.min_sites}"
            )
        if self.train.local_steps != 1:
            raise ValueError("privacy.mode = 'joint' needs train.local_steps = 1: a round is one joint step")
        if self.federation.profile != "wide":
            raise ValueError("privacy.mode = 'joint' needs federation.profile = 'wide': noise needs the room")
        for table, keys in NOT_IN_JOINT_STEPS.items():
            said = getattr(self, table)
            for key in keys:
                if getattr(said, key) != type(said).model_fields[key].default:
                    raise ValueError(f"{table}.{key} does not go with privacy.mode = 'joint'; leave it out")
        return self

    @model_validator(mode="after")
    def _covers_rare_rows(self) -> Self:
        secure = self.secure_aggregation
        if secure.mode == "off":
            return self
        if secure.rare_rows == "frozen" and self.train.vocabulary_rows != "frozen":
            raise ValueError(
                "secure_aggregation.rare_rows = 'frozen' needs train.vocabulary_rows = 'frozen': "
                "the row of a word that one hospital alone uses would stand out of the sum"
            )
        if secure.rare_rows == "noise" and self.privacy.mode == "none":
            raise ValueError("secure_aggregation.rare_rows = 'noise' needs a privacy.mode other than 'none'")
        if secure.min_sites > self.federation.min_sites:
            raise ValueError(
                f"federation.min_sites = {self.federation.min_sites} is below secure_aggregation.min_sites = "
                f"{secure.min_sites}: such a round could not be summed"
            )
        return self

    @property
    def preparation(self) -> Preparation:
        """How every store of this run must have been made."""
        return Preparation(image_size=self.model.image_size, **dict(self.data.images))

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Refuse objectives that ask for what model or data do not give."""
        if self.objectives.fuses and self.model.fusion is None:
            name = self.objectives.fuses[0]
            raise ValueError(f"objectives.{name} needs fusion: write [model.fusion] or turn it off")
        if self.objectives.high_order is not None and self.model.metadata is None:
            raise ValueError(
                "objectives.high_order needs three modalities: write [model.metadata] or turn it off"
            )
        if self.objectives.compares_meanings != (self.data.report_encoder is not None):
            raise ValueError(
                "targets with alike = 'encoder_similarity' and data.report_encoder need each other: write "
                "both or neither"
            )
        if (self.objectives.bank_contrastive is not None) != bool(self.data.public_negatives):
            raise ValueError(
                "objectives.bank_contrastive and data.public_negatives need each other: write both or neither"
            )
        return self

    def canonical(self) -> bytes:
        """The same settings always give the same bytes."""
        return canonical(self.model_dump(mode="json"))

    def digest(self) -> str:
        """SHA-256 of `canonical`, hex."""
        return hashlib.sha256(self.canonical()).hexdigest()


def read_spec(path: Path, *, seed: int | None = None) -> Spec:
    """Parse the TOML file `path`; `seed` replaces its seed.

    Raises:
        ConfigurationError: the file is missing, is not TOML, or a key is unknown, missing or out of range.
    """
    settings = read_settings(path)
    if seed is not None:
        settings["seed"] = seed
    return parse_spec(settings, where=path.name)


def read_settings(path: Path) -> dict[str, object]:
    """The tables of the TOML file `path`, unchecked.

    Raises:
        ConfigurationError: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(read_regular_text(path))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; give the path of a spec (*.toml)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None


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
    for table, modes in TAGGED.items():  # pydantic puts the mode it chose between table and key
        for mode in modes:
            key = key.replace(f"{table}.{mode}.", f"{table}.")
    if first["type"] == "extra_forbidden":
        complaint = f"unknown key '{key}'; correct or remove it"
    elif first["type"] == "union_tag_not_found":
        complaint = f"key '{key}.mode' is missing; it has no default"
    elif first["type"] == "union_tag_invalid":
        complaint = f"key '{key}.mode': write one of {', '.join(TAGGED[key])}, got {first['input']['mode']!r}"
    elif first["type"] == "missing":
        complaint = f"key '{key}' is missing; it has no default"
    elif not key or first["msg"].startswith("Value error, "):
        complaint = first["msg"].removeprefix("Value error, ")
    else:
        complaint = f"key '{key}': {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
    return complaint + (f" (and {len(others)} more)" if others else "")
