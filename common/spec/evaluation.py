"""`[evaluation]`: what is measured, on patients that no site trained on."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from common.spec.section import Section


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
