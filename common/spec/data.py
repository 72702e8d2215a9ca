"""`[data]`: what a batch is made of."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from common.imaging.preparation import ImagesSpec
from common.spec.model import MetadataField
from common.spec.quality import QualitySpec
from common.spec.section import Section, Share


class DataSpec(Section):
    """What a batch is made of."""

    batch_size: Annotated[int, Field(ge=2)]
    """Pairs in a step, the anchors included. How many patients a private step takes is said by
    `privacy.sampling_rate` alone."""
    anchor_pairs: NonNegativeInt
    """Pairs of the public bank in every local batch; 0 trains without a bank."""
    images: ImagesSpec
    """How image files become pixels."""
    public_negatives: NonNegativeInt = 0
    """Pairs of the bank that `bank_contrastive` tells every private pair from; encoded once a step."""
    bank_provenance: str = ""
    """Where the public bank comes from: its name, version and licence, for whoever approves the project."""
    ontology: str | None = None
    """Path of an ontology of your own (.toml, .obo, .csv); without it the one that comes with the program."""
    report_encoder: str | None = None
    """Path of the frozen encoder that targets with `alike = "encoder_similarity"` compare reports by: the
    model/ folder of a finished run, or a local Hugging Face folder (BERT, RoBERTa, CLIP)."""
    tokenizer_text: Literal["public"] = "public"
    """The vocabulary comes from the bank's reports and the ontology, never from private reports."""
    sentence_share: Share = 0.5
    """Chance that a pair shows one sentence of its report instead of the whole."""
    section_share: Share = 0.0
    """Chance that a pair shows one section of its report."""
    snippet_share: Share = 0.0
    """Chance that a pair shows some sentences that follow each other."""
    metadata_text: tuple[MetadataField, ...] = ()
    """Columns that are told as one more sentence: "Modality CR, view PA."."""
    flip_share: Share = 0.0
    """Chance that image and report are mirrored together: left becomes right in both. A report whose side
    cannot be turned with certainty stays as it is, and so does its image."""
    augment: bool = True
    """Small rotations, shifts, zooms, brightness, contrast; no flip; see `flip_share`."""
    quality: QualitySpec = QualitySpec()

    @property
    def needs_bank(self) -> bool:
        """Whether training asks for a public bank."""
        return bool(self.anchor_pairs or self.public_negatives)

    @model_validator(mode="after")
    def _room_for_private_pairs(self) -> Self:
        if self.anchor_pairs >= self.batch_size:
            raise ValueError("data.anchor_pairs leaves no room for private pairs in data.batch_size")
        if self.sentence_share + self.section_share + self.snippet_share > 1:
            raise ValueError("data.sentence_share, section_share and snippet_share are more than 1 together")
        return self
