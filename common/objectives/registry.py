"""From the spec's `[objectives.*]` tables to the objectives themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from common.objectives.bank import BankContrastive
from common.objectives.base import Objective
from common.objectives.captioning import Captioning
from common.objectives.contrastive import GlobalContrastive
from common.objectives.high_order import HighOrder
from common.objectives.knowledge import Knowledge
from common.objectives.local import build_local
from common.objectives.masked_image import MaskedImage
from common.objectives.masked_language import MaskedLanguage
from common.objectives.matching import ImageTextMatching
from common.objectives.prototypes import Prototypes
from common.objectives.reference import Distillation, build_anchor
from common.objectives.two_views import TwoViews
from common.spec.run import Spec

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Sizes:
    """What the heads of objectives must fit."""

    image_width: int
    channels: int
    text_width: int
    vocabulary: int
    sees_hidden: bool
    """Whether the image tower gives a token for patches that are hidden from it, too."""


Builder = Callable[[Spec, Sizes], Objective]

OBJECTIVES: dict[str, Builder] = {
    "global_contrastive": lambda spec, _: GlobalContrastive(_on(spec.objectives.global_contrastive)),
    "bank_contrastive": lambda spec, _: BankContrastive(_on(spec.objectives.bank_contrastive)),
    "local_contrastive": lambda spec, sizes: build_local(
        _on(spec.objectives.local_contrastive), sizes.image_width, sizes.text_width
    ),
    "prototypes": lambda spec, _: Prototypes(_on(spec.objectives.prototypes), spec.model.embedding_width),
    "two_views": lambda spec, _: TwoViews(_on(spec.objectives.two_views)),
    "high_order": lambda spec, _: HighOrder(_on(spec.objectives.high_order)),
    "masked_image": lambda spec, sizes: MaskedImage(
        _on(spec.objectives.masked_image),
        spec.model,
        sizes.image_width,
        sizes.channels,
        sees_hidden=sizes.sees_hidden,
    ),
    "masked_language": lambda spec, sizes: MaskedLanguage(
        _on(spec.objectives.masked_language),
        spec.model,
        sizes.image_width,
        sizes.text_width,
        sizes.vocabulary,
    ),
    "image_text_matching": lambda spec, _: ImageTextMatching(
        _on(spec.objectives.image_text_matching), _on(spec.model.fusion).width
    ),
    "captioning": lambda spec, sizes: Captioning(
        _on(spec.objectives.captioning), spec.model, sizes.vocabulary, sizes.image_width, sizes.text_width
    ),
    "knowledge": lambda spec, sizes: Knowledge(
        _on(spec.objectives.knowledge), spec.model, sizes.image_width, sizes.text_width
    ),
    "distillation": lambda spec, _: Distillation(_on(spec.objectives.distillation)),
    "anchor": lambda spec, _: build_anchor(_on(spec.objectives.anchor)),
}


REGULARISERS = frozenset({"anchor", "distillation"})
"""Objectives that hold a model back and teach it nothing by themselves."""


def build_objectives(spec: Spec, sizes: Sizes) -> dict[str, Objective]:
    """The objectives that `spec` turns on, by name."""
    return {name: OBJECTIVES[name](spec, sizes) for name in spec.objectives.names}


def coupling_objectives(spec: Spec) -> tuple[str, ...]:
    """The objectives of `spec` that compare private rows of a batch with each other."""
    sizes = Sizes(spec.model.image.width, 1, spec.model.text.width, 1, sees_hidden=True)
    return tuple(name for name, built in build_objectives(spec, sizes).items() if built.couples_rows)


def _on(settings: Settings | None) -> Settings:
    assert settings is not None
    return settings
