"""`[objectives.*]`: what is learned; a table that is absent turns its objective off."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from common.spec.section import Section, Share

OpenShare = Annotated[float, Field(gt=0, lt=1)]
"""A ratio between 0 and 1, neither of them."""
SomeRows = Annotated[float, Field(gt=0, le=1)]
Temperature = Annotated[float, Field(ge=0.01, le=1)]
"""Below 0.01 the clamp of the logit scale at 100 would cut it."""


class TargetsSpec(Section):
    """Which pairs of a batch are no counterexamples to each other; see `common.objectives.targets`."""

    positives: tuple[Literal["same_text", "same_study"], ...] = ("same_text", "same_study")
    """Pairs that share this are positives of each other; empty: nothing but the pair itself is."""
    alike: Literal["none", "label_cosine", "report_similarity", "encoder_similarity", "entity_overlap"] = (
        "none"
    )
    """Pairs share in the target by the cosine of what their reports state and deny, by the TF-IDF cosine of
    their words, by the cosine of what `data.report_encoder` makes of them, or by the overlap of the findings
    they state."""
    alike_share: Share = 0.5
    """alpha: what of the target goes by `alike`; the rest stays with the positives."""
    alike_temperature: PositiveFloat | None = None
    """tau of the softmax over similarities; without it, in proportion to them."""
    hard_negative_weight: Annotated[float, Field(ge=1, le=100)] = 1.0
    """How often a pair counts whose reports say the opposite of one finding; 1: as any other."""

    @property
    def reads_findings(self) -> bool:
        """Whether reports must be read for findings."""
        return self.alike in ("label_cosine", "entity_overlap") or self.hard_negative_weight > 1


class GlobalContrastiveSpec(Section):
    """Contrastive loss over whole images and reports; see `common.objectives.contrastive`."""

    weight: PositiveFloat = 1.0
    kind: Literal["softmax", "sigmoid", "decoupled"] = "softmax"
    """CLIP's, SigLIP's, or softmax without the positives in the denominator."""
    initial_temperature: Temperature | None = None
    """Without it the source's: 0.07 (softmax, decoupled), 0.1 (sigmoid)."""
    initial_bias: float | None = None
    """Of `sigmoid` alone; without it SigLIP's -10, made for batches of thousands. Both it and the temperature
    hardly move in some hundred steps."""
    targets: TargetsSpec = TargetsSpec()

    @model_validator(mode="after")
    def _biased(self) -> Self:
        if self.initial_bias is not None and self.kind != "sigmoid":
            raise ValueError(
                "objectives.global_contrastive.initial_bias is of kind = 'sigmoid'; leave it out"
            )
        return self

    @property
    def start_temperature(self) -> float:
        """The temperature training starts from."""
        return self.initial_temperature or (0.1 if self.kind == "sigmoid" else 0.07)


class BankContrastiveSpec(Section):
    """Each private pair against public pairs of the bank alone; see `common.objectives.bank`."""

    weight: PositiveFloat = 1.0
    temperature: Temperature = 0.07
    partner: Literal["own", "label_cosine", "entity_overlap"] = "own"
    """What a private image or report is to find: its own partner among the bank's, which a hospital's style
    gives away; or those of the bank whose reports agree with its own, by the cosine of what they state and
    deny, or by the overlap of what they state. Then no private pair is among the candidates."""
    partner_temperature: PositiveFloat | None = None
    """tau of the softmax over agreements; without it, in proportion to them. Not of `partner = "own"`."""

    @model_validator(mode="after")
    def _chooses(self) -> Self:
        if self.partner == "own" and self.partner_temperature is not None:
            raise ValueError(
                "objectives.bank_contrastive.partner_temperature needs another partner than 'own': "
                "leave it out"
            )
        return self

    @property
    def reads_findings(self) -> bool:
        """Whether reports must be read for findings."""
        return self.partner != "own"


class LocalContrastiveSpec(Section):
    """Contrastive loss over patches and word pieces; see `common.objectives.local`."""

    weight: PositiveFloat = 0.5
    kind: Literal["cross_sample", "within_pair"] = "within_pair"
    """GLoRIA's, against other pairs of the batch; or MGCA's, whose negatives are words and patches of the
    pair."""
    width: PositiveInt = 128
    """Of the space in which patches and words are compared."""
    attention_scale: PositiveFloat | None = None
    """What similarities are multiplied with before the attention; GLoRIA 4, MGCA 10."""
    match_scale: PositiveFloat | None = None
    """What matches are multiplied with; GLoRIA 5, MGCA 10."""
    pair_scale: PositiveFloat = 10.0
    """What similarities of pairs are multiplied with (`cross_sample` only)."""
    targets: TargetsSpec = TargetsSpec()
    """`cross_sample` only."""


class PrototypesSpec(Section):
    """Image and report choose the same prototype; see `common.objectives.prototypes`."""

    weight: PositiveFloat = 0.5
    prototypes: Annotated[int, Field(ge=2)] = 500
    temperature: Temperature = 0.2
    sinkhorn_epsilon: PositiveFloat = 0.05
    sinkhorn_iterations: PositiveInt = 3


class TwoViewsSpec(Section):
    """Two images and two texts of a study all find each other; see `common.objectives.two_views`."""

    weight: PositiveFloat = 1.0
    image_weight: NonNegativeFloat = 1.0
    """Of image against image."""
    text_weight: NonNegativeFloat = 0.5
    """Of text against text."""
    initial_temperature: Temperature = 0.07
    targets: TargetsSpec = TargetsSpec()


class HighOrderSpec(Section):
    """All modalities of a row at once; see `common.objectives.high_order`."""

    weight: PositiveFloat = 1.0
    kind: Literal["multilinear", "pairwise"] = "multilinear"
    """Symile's, which sees what only three modalities together tell; or every pair by itself."""
    initial_temperature: Temperature = 0.07


class MaskedImageSpec(Section):
    """Masked image modelling of normalised pixels; see `common.objectives.masked_image`."""

    weight: PositiveFloat = 1.0
    ratio: OpenShare = 0.75
    row_share: SomeRows = 1.0
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
    """Masked language modelling of whole words; see `common.objectives.masked_language`."""

    weight: PositiveFloat = 0.5
    ratio: OpenShare = 0.5
    """0.5 as in MRM; BERT hides 0.15."""
    random_share: Share = 0.0
    """What of the hidden pieces becomes a random piece instead of [MASK]; BERT 0.1."""
    kept_share: Share = 0.0
    """What of them stays as it is; BERT 0.1."""
    row_share: SomeRows = 1.0
    """Share of a batch's reports that are read a second time with words hidden; fewer cost less."""
    condition: Literal["image", "none", "fusion"] = "image"
    """What helps to guess: the image's vector, only the words, or the image's tokens through fusion."""
    decoder_depth: PositiveInt = 1

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.random_share + self.kept_share > 1:
            raise ValueError(
                "objectives.masked_language.random_share and kept_share are more than 1 together"
            )
        return self


class ImageTextMatchingSpec(Section):
    """Tell true pairs from false ones by fusion; see `common.objectives.matching`."""

    weight: PositiveFloat = 0.5
    hard_negatives: bool = True
    """Draw false partners that look right; otherwise any."""
    temperature: Temperature = 0.07
    """Of the choice of hard negatives."""


class CaptioningSpec(Section):
    """Write the report word by word from the image; see `common.objectives.captioning`."""

    weight: PositiveFloat = 1.0
    decoder_depth: PositiveInt = 1


class KnowledgeSpec(Section):
    """Ask the image for each entity of the ontology; see `common.objectives.knowledge`."""

    weight: PositiveFloat = 0.5
    decoder_depth: PositiveInt = 1
    graph_rounds: Annotated[int, Field(ge=0, le=4)] = 2
    """How far an entity hears of its neighbours in the ontology."""
    silence_is_absence: bool = False
    """Whether what a whole report does not name counts as absent; else it is not asked."""


class DistillationSpec(Section):
    """Agree with a teacher about who belongs to whom; see `common.objectives.reference`."""

    weight: PositiveFloat = 1.0
    temperature: Temperature = 0.07
    """At which teacher and student compare the pairs of a batch."""
    teacher: str | None = None
    """Path of a model that this program trained on the same vocabulary; absent: the global model."""


class AnchorSpec(Section):
    """Stay near the global model; see `common.objectives.reference`."""

    weight: PositiveFloat = 0.7
    kind: Literal["features", "proximal"] = "features"
    """Near its embeddings of the same rows (FedDRA), or near its weights (FedProx: half the squared
    distance)."""


class ObjectivesSpec(Section):
    """What is learned; a table that is absent is an objective that is off."""

    global_contrastive: GlobalContrastiveSpec | None = None
    bank_contrastive: BankContrastiveSpec | None = None
    local_contrastive: LocalContrastiveSpec | None = None
    prototypes: PrototypesSpec | None = None
    two_views: TwoViewsSpec | None = None
    high_order: HighOrderSpec | None = None
    masked_image: MaskedImageSpec | None = None
    masked_language: MaskedLanguageSpec | None = None
    image_text_matching: ImageTextMatchingSpec | None = None
    captioning: CaptioningSpec | None = None
    knowledge: KnowledgeSpec | None = None
    distillation: DistillationSpec | None = None
    anchor: AnchorSpec | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not set(self.names) - {"distillation", "anchor"}:
            learning = [name for name in type(self).model_fields if name not in ("distillation", "anchor")]
            raise ValueError(
                "[objectives] is empty of anything to learn: write at least one of " + ", ".join(learning)
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Objectives that are on, in the order of this class."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def targets(self) -> tuple[TargetsSpec, ...]:
        """The targets of all objectives that have them."""
        having = (self.global_contrastive, self.local_contrastive, self.two_views)
        return tuple(objective.targets for objective in having if objective is not None)

    @property
    def reads_findings(self) -> bool:
        """Whether some objective asks what the reports state."""
        return (
            self.knowledge is not None
            or self.image_text_matching is not None
            or (self.bank_contrastive is not None and self.bank_contrastive.reads_findings)
            or any(targets.reads_findings for targets in self.targets)
        )

    @property
    def compares_reports(self) -> bool:
        """Whether some objective asks how alike the words of reports are."""
        return any(targets.alike == "report_similarity" for targets in self.targets)

    @property
    def compares_meanings(self) -> bool:
        """Whether some objective asks a frozen encoder how alike reports are."""
        return any(targets.alike == "encoder_similarity" for targets in self.targets)

    @property
    def fuses(self) -> tuple[str, ...]:
        """Objectives that cannot work without fusion."""
        asks = ["image_text_matching"] if self.image_text_matching is not None else []
        if self.masked_language is not None and self.masked_language.condition == "fusion":
            asks.append("masked_language")
        return tuple(asks)
