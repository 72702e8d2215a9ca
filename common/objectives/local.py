"""Local contrastive learning: which patch goes with which word.

Shapes: B pairs, N patches, T word pieces, D width of the space in which both are compared.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.objectives.base import Loss, Objective, Views
from common.objectives.contrastive import matching_loss
from common.objectives.targets import negative_weights, target_of
from common.spec.objectives import LocalContrastiveSpec
from common.text.tokenizer import SPECIAL_TOKENS


class LocalContrastive(Objective):
    """Patches and words in one space; see its two kinds."""

    needs = frozenset({"image", "text"})

    def __init__(self, spec: LocalContrastiveSpec, image_width: int, text_width: int) -> None:
        super().__init__()
        self.spec = spec
        self.look = nn.Linear(image_width, spec.width, bias=False)
        self.read = nn.Linear(text_width, spec.width, bias=False)


class CrossSampleLocal(LocalContrastive):
    """GLoRIA: pairs are compared word by word, with each word's own part of the image.

    Source: Huang et al. 2021, doi:10.1109/ICCV48922.2021.00391, equations 4 to 9; word pieces stand for
    words.
    """

    couples_rows = True

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Over the rows that have both image and report; one pair alone has nothing to be told from."""
        paired = batch.paired
        pairs = int(paired.sum())
        if pairs < 2 or views.image is None or views.text is None:
            return None
        with torch.autocast(paired.device.type, enabled=False):
            similarity = local_similarity(
                self.look(views.image.x[paired].float()),
                self.read(views.text.x[paired].float()),
                words_of(batch)[paired],
                attention_scale=self.spec.attention_scale or 4.0,
                match_scale=self.spec.match_scale or 5.0,
            )
            target = target_of(self.spec.targets, batch, paired)
            weights = negative_weights(self.spec.targets, batch, paired)
            return Loss(matching_loss(self.spec.pair_scale * similarity, target, weights), pairs)


class WithinPairLocal(LocalContrastive):
    """MGCA: each word finds itself through the patches it attends to, and each patch through the words.

    Source: Wang et al. 2022, arXiv:2210.06044, section 3.2. Negatives are the other words and patches of the
    same pair, so the size of the batch does not matter, and no patient is compared with another. All words
    weigh alike: our towers have no class token whose attention could weigh them.
    """

    couples_rows = False

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Over the rows that have both image and report."""
        words = words_of(batch)
        paired = batch.paired & words.any(dim=1)
        if not bool(paired.any()) or views.image is None or views.text is None:
            return None
        with torch.autocast(paired.device.type, enabled=False):
            seen = F.normalize(self.look(views.image.x[paired].float()), dim=-1)
            read = F.normalize(self.read(views.text.x[paired].float()), dim=-1)
            patches = torch.ones(seen.shape[:2], dtype=torch.bool, device=seen.device)
            attend, match = self.spec.attention_scale or 10.0, self.spec.match_scale or 10.0
            by_word = attended_match(read, words[paired], seen, patches, attend=attend, match=match)
            by_patch = attended_match(seen, patches, read, words[paired], attend=attend, match=match)
        return Loss((by_word + by_patch).mean() / 2, int(paired.sum()))

    def units(self, batch: Batch) -> int:
        """Pairs with a word."""
        return int((batch.paired & words_of(batch).any(dim=1)).sum())


def build_local(spec: LocalContrastiveSpec, image_width: int, text_width: int) -> LocalContrastive:
    """The local objective of the spec's kind."""
    kind = CrossSampleLocal if spec.kind == "cross_sample" else WithinPairLocal
    return kind(spec, image_width, text_width)


def local_similarity(
    seen: Tensor, read: Tensor, words: Tensor, *, attention_scale: float, match_scale: float
) -> Tensor:
    """How well each image shows what each report says, word by word.

    Args:
        seen: (B, N, D) patches.
        read: (B, T, D) word pieces.
        words: (B, T) bool, what of them are words.
        attention_scale: of the softmax over patches; GLoRIA's tau 1 is 4.
        match_scale: of the soft maximum over words; GLoRIA's tau 2 is 5.

    Returns:
        (B, B) images by reports: log of the sum over words of exp(match_scale * cosine(word, its patches)).
    """
    scores = torch.einsum("jtd,ipd->ijtp", read, seen)
    among_words = scores.masked_fill(~words[None, :, :, None], float("-inf")).softmax(dim=2)
    among_words = among_words.nan_to_num()  # a report without any word
    attended = torch.einsum("ijtp,ipd->ijtd", (attention_scale * among_words).softmax(dim=3), seen)
    cosines = F.cosine_similarity(read[None], attended, dim=-1)
    return (match_scale * cosines).masked_fill(~words[None], float("-inf")).logsumexp(dim=-1).clamp(min=-1e4)


def attended_match(
    asks: Tensor, asking: Tensor, answers: Tensor, answering: Tensor, *, attend: float, match: float
) -> Tensor:
    """(B,) nats: does each token of `asks` find itself among all through what it attends to in `answers`?

    Args:
        asks: (B, T, D) unit rows.
        asking: (B, T) bool, what of them is real.
        answers: (B, N, D) unit rows.
        answering: (B, N) bool.
        attend: scale of the attention, 1 / temperature.
        match: scale of the matches.

    Returns:
        Mean over the real tokens and both directions; log of their number when all attend to the same.
    """
    scores = attend * asks @ answers.transpose(1, 2)
    attention = scores.masked_fill(~answering[:, None], float("-inf")).softmax(dim=-1)
    attended = F.normalize(attention @ answers, dim=-1)
    logits = match * asks @ attended.transpose(1, 2)
    truth = torch.arange(asks.shape[1], device=asks.device).expand(len(asks), -1)
    there = logits.masked_fill(~asking[:, None, :], -1e4)
    back = logits.transpose(1, 2).masked_fill(~asking[:, None, :], -1e4)
    each = F.cross_entropy(there.transpose(1, 2), truth, reduction="none")
    each = each + F.cross_entropy(back.transpose(1, 2), truth, reduction="none")
    return (each * asking).sum(dim=1) / asking.sum(dim=1).clamp(min=1) / 2


def words_of(batch: Batch) -> Tensor:
    """(B, T) bool, the word pieces that are words: neither padding nor a special token."""
    return batch.token_mask & (batch.tokens >= len(SPECIAL_TOKENS))
