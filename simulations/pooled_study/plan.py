"""Which variants are trained for how long, and on which rows: a TOML file as an ablation's, and more."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from simulations.ablation.plan import AblationPlan, Variant

Rows = Literal["all", "half", "half_and_images", "half_and_reports", "others_reports", "others_metadata"]
"""All training rows; the pairs of every second study; these and the images of the other studies, or their
reports; all images, each with the report, or with the first sentence, of another row."""


class PooledVariant(Variant):
    """One way to train."""

    rows: Rows = "all"
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    """Instead of the plan's: more of them for what is near."""


class PooledPlan(AblationPlan):
    """The whole study."""

    variants: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")], PooledVariant]  # type: ignore[assignment]
    steps: PositiveInt
    class_label: str
    """Label that a linear probe learns and that prototypes are held against: the body region, say."""
    class_sites: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where it is asked; hospitals whose images come from one source, lest the source be what is told."""
    alike_label: str
    """Label that rows of different studies share where targets should find them alike: the diagnosis."""

    @model_validator(mode="after")
    def _metadata_are_a_sentence(self) -> Self:
        for name, variant in self.variants.items():
            told = variant.change.get("data", {}).get("metadata_text")
            if variant.rows == "others_metadata" and not told:
                raise ValueError(f"variant '{name}': rows = 'others_metadata' needs data.metadata_text")
        return self

    @model_validator(mode="after")
    def _reference_has_every_seed(self) -> Self:
        for name in self.variants:
            more = set(self.seeds_of(name)) - set(self.seeds_of(self.reference))
            if more:
                raise ValueError(
                    f"variant '{name}' has seed {min(more)}, which reference '{self.reference}' has not"
                )
        return self

    def seeds_of(self, name: str) -> tuple[int, ...]:
        """Of one variant."""
        return self.variants[name].seeds or self.seeds
