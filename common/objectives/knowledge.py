"""Knowledge: ask the image for each entity of the ontology that its report speaks of.

Source: Wu et al. 2023 (MedKLIP), arXiv:2301.02228, and Zhang et al. 2023 (KAD), arXiv:2302.14042.
Shapes: B rows, F entities of the ontology, A of them that a report states or denies, D text width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.model.encoders import Tokens
from common.model.entities import EntityEncoder
from common.model.fusion import CrossBlock
from common.objectives.base import Loss, Objective, Views
from common.spec.model import ModelSpec
from common.spec.objectives import KnowledgeSpec


class Knowledge(Objective):
    """Entities are queries that attend to the image's tokens; each answers whether it is there."""

    needs = frozenset({"image"})
    couples_rows = False

    def __init__(self, spec: KnowledgeSpec, model: ModelSpec, image_width: int, text_width: int) -> None:
        super().__init__()
        self.silence_is_absence = spec.silence_is_absence
        self.entities = EntityEncoder(text_width, spec.graph_rounds)
        self.look = nn.Linear(image_width, text_width)
        self.blocks = nn.ModuleList(
            CrossBlock(text_width, model.text.heads) for _ in range(spec.decoder_depth)
        )
        self.norm = nn.LayerNorm(text_width)
        self.answer = nn.Linear(text_width, 1)

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Binary cross-entropy per entity asked, over the paired rows whose reports state or deny one."""
        if views.image is None:
            return None
        truth, asked = self.questions(batch)
        rows = asked.any(dim=1)
        if not bool(rows.any()):
            return None
        odds = self.odds(views.image.of(rows), batch, views.vocabulary)[asked[rows]]
        mean = F.binary_cross_entropy_with_logits(odds.float(), truth[rows][asked[rows]])
        return Loss(mean, int(rows.sum()))

    def units(self, batch: Batch) -> int:
        """Entities asked."""
        return int(self.questions(batch)[1].sum())

    def questions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, A) float truth, and (B, A) bool where it is known; what a report doubts is not asked."""
        assert batch.findings is not None
        assert batch.denied is not None
        assert batch.doubted is not None
        assert batch.whole_report is not None
        there = batch.findings & ~batch.doubted
        absent = batch.denied & ~batch.findings
        if self.silence_is_absence:
            absent = absent | (batch.whole_report[:, None] & ~batch.findings)
        assert batch.entities is not None
        places = batch.entities.observed
        known = (there | absent) & batch.paired[:, None]
        return there[:, places].float(), known[:, places]

    def odds(self, image: Tokens, batch: Batch, vocabulary: Tensor) -> Tensor:
        """(B, A) log odds that each observable entity is to be seen."""
        assert batch.entities is not None
        queries = self.entities(batch.entities, vocabulary)[batch.entities.observed]
        x = queries.expand(len(image.x), -1, -1)
        asked = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        seen = self.look(image.x)
        for block in self.blocks:
            x = block(x, asked, seen, image.mask)
        odds: Tensor = self.answer(self.norm(x))[..., 0]
        return odds
