"""Two views: two images and two texts of one study all find each other.

Source: You et al. 2023 (CXR-CLIP), arXiv:2310.13292, section 2. Shapes: B pairs, E embedding width.
"""

import math

import torch
from torch import nn

from common.data.batch import Batch
from common.objectives.base import Loss, Objective, Views
from common.objectives.contrastive import clamp_scale, contrastive_loss
from common.objectives.targets import target_of
from common.spec.objectives import TwoViewsSpec


class TwoViews(Objective):
    """The mean of four image-text terms, and image against image and text against text."""

    needs = frozenset({"image", "text", "second"})
    couples_rows = True
    reads_tokens = False

    def __init__(self, spec: TwoViewsSpec) -> None:
        super().__init__()
        self.spec = spec
        self.log_scale = nn.Parameter(torch.tensor([-math.log(spec.initial_temperature)]))

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Images against images also where reports lack, texts against texts also where images do."""
        if views.second_image_embedding is None or views.second_text_embedding is None:
            return None
        assert views.image_embedding is not None
        assert views.text_embedding is not None
        images = (views.image_embedding, views.second_image_embedding)
        texts = (views.text_embedding, views.second_text_embedding)
        wanted = [
            *((0.25, image, text, batch.paired) for image in images for text in texts),
            (self.spec.image_weight, *images, batch.has_image),
            (self.spec.text_weight, *texts, batch.has_text),
        ]
        terms = []
        for weight, first, second, rows in wanted:
            if weight and int(rows.sum()) >= 2:
                target = target_of(self.spec.targets, batch, rows)
                terms.append(weight * contrastive_loss(first[rows], second[rows], self.log_scale, target))
        if not terms:
            return None
        return Loss(torch.stack(terms).sum(), int((batch.has_image | batch.has_text).sum()))

    def after_step(self) -> None:
        """Keep the logit scale within [1, 100]."""
        clamp_scale(self.log_scale)
