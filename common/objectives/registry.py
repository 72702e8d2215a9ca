"""From the spec's `[objectives.*]` tables to the objectives themselves."""

from collections.abc import Callable
from typing import TypeVar

from common.objectives.base import Objective
from common.objectives.contrastive import GlobalContrastive
from common.objectives.masked_image import MaskedImage
from common.objectives.masked_language import MaskedLanguage
from common.spec.run import Spec

Settings = TypeVar("Settings")

Builder = Callable[[Spec, int], Objective]
"""Given the spec and the vocabulary size."""

OBJECTIVES: dict[str, Builder] = {
    "global_contrastive": lambda spec, _: GlobalContrastive(_on(spec.objectives.global_contrastive)),
    "masked_image": lambda spec, _: MaskedImage(
        _on(spec.objectives.masked_image), spec.model, spec.data.images.channels
    ),
    "masked_language": lambda spec, pieces: MaskedLanguage(
        _on(spec.objectives.masked_language), spec.model, pieces
    ),
}


def build_objectives(spec: Spec, vocabulary_size: int) -> dict[str, Objective]:
    """The objectives that `spec` turns on, by name."""
    return {name: OBJECTIVES[name](spec, vocabulary_size) for name in spec.objectives.names}


def _on(settings: Settings | None) -> Settings:
    assert settings is not None
    return settings
