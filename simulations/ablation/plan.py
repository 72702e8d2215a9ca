"""Which variants of a spec are compared, and how each is written down: a TOML file beside the specs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, NonNegativeInt, ValidationError, model_validator

from common.errors import ConfigurationError
from common.spec.run import Spec, parse_spec, read_settings
from common.spec.section import Section

Settings = dict[str, Any]
"""Tables of a spec, as TOML has them."""


class Variant(Section):
    """One change of the base spec, or several that belong together."""

    about: Annotated[str, Field(max_length=60)]
    """What it asks, in a few words: the label of its row."""
    without: tuple[str, ...] = ()
    """Keys taken out of the base spec before `change`: "objectives.masked_image"."""
    change: Settings = Field(default={})
    """Tables laid over it; a table goes into the one that is there, anything else replaces."""


class AblationPlan(Section):
    """The whole experiment."""

    base: str
    """Path of the base spec, seen from the plan."""
    reference: str
    """The variant that all others are compared with."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    shared: Settings = Field(default={})
    """Laid over the base spec before any variant: fewer rounds, say."""
    variants: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")], Variant]

    @model_validator(mode="after")
    def _has_its_reference(self) -> Self:
        if self.reference not in self.variants:
            raise ValueError(f"reference = '{self.reference}' is none of the variants")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds names one twice")
        return self


Plan = TypeVar("Plan", bound=AblationPlan)


def read_plan(path: Path) -> tuple[AblationPlan, Mapping[str, Spec]]:
    """An ablation's plan and the spec of every variant; see `read_plan_of`."""
    return read_plan_of(AblationPlan, path)


def read_plan_of(kind: type[Plan], path: Path) -> tuple[Plan, Mapping[str, Spec]]:
    """Parse the plan `path` and make the spec of every variant, with the seed of its base.

    Raises:
        ConfigurationError: a file is missing or is not TOML, a key is unknown, missing or out of range, or a
            variant takes out what is not there or asks for what cannot be.
    """
    try:
        plan = kind.model_validate(read_settings(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{path.name}: {f'key {key!r}: ' if key else ''}{said}") from None
    base = laid_over(read_settings(path.parent / plan.base), plan.shared)
    return plan, {
        name: _spec(base, variant, f"{path.name}: {name}") for name, variant in plan.variants.items()
    }


def laid_over(settings: Settings, change: Settings) -> Settings:
    """`settings` with `change` in it, table by table; neither is altered."""
    whole = dict(settings)
    for key, value in change.items():
        there = whole.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            value = laid_over(there, value)
        whole[key] = value
    return whole


def taken_out(settings: Settings, key: str) -> Settings:
    """`settings` without the dotted `key`; KeyError where it is not there."""
    first, _, rest = key.partition(".")
    if not rest:
        settings = dict(settings)
        del settings[first]
        return settings
    return {**settings, first: taken_out(settings[first], rest)}


def _spec(base: Settings, variant: Variant, where: str) -> Spec:
    for key in variant.without:
        try:
            base = taken_out(base, key)
        except (KeyError, TypeError):
            raise ConfigurationError(f"{where}: without '{key}', which the base spec does not have") from None
    return parse_spec(laid_over(base, variant.change), where=where)
