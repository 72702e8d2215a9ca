"""A frozen encoder that says how alike two reports are; the project carries a copy, none of it is trained.

A sentence is the mean of its words' vectors (Reimers and Gurevych 2019, arXiv:1908.10084), of CLIP's and of
our own towers what they pool. Less the mean of public sentences: raw vectors of such encoders all point one
way (Ethayarajh 2019, arXiv:1909.00512). Shapes: n texts, T word pieces, D width of the encoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from common.model.pretrained import PretrainedText, load_weights
from common.model.teacher import VOCABULARY, copy_model, is_of_this_program, read_model
from common.model.tower_folder import Architecture, copy_folder, read_vocabulary
from common.spec.model import ModelSpec, TextEncoderSpec
from common.text.ontology import sentences as ontology_sentences
from common.text.tokenizer import ReportTokenizer

KEY = "data.report_encoder"

MOST_TOKENS = 64
"""Word pieces read of a sentence."""


@dataclass(frozen=True)
class ReportEncoder:
    """What a sentence says, as a vector."""

    tokenizer: ReportTokenizer
    max_tokens: int
    pooled: Callable[[Tensor, Tensor], Tensor]
    """(n, T) word pieces and mask -> (n, D)."""
    digest: str
    """Of the files that it came from."""

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """(n, D) rows of length one.

        A text is read by itself: among others its padding, and so its last bits, would tell of them.
        """
        return F.normalize(self._raw(texts) - self._public_mean, dim=1)

    @cached_property
    def _public_mean(self) -> Tensor:
        """(D,)."""
        return self._raw(list(ontology_sentences())).mean(dim=0)

    @torch.inference_mode()
    def _raw(self, texts: Sequence[str]) -> Tensor:
        read = [self.tokenizer.encode([text], max_tokens=self.max_tokens) for text in texts]
        return torch.cat([F.normalize(self.pooled(*one).float(), dim=1) for one in read])


def copy_encoder(source: Path, target: Path) -> list[Path]:
    """Take the encoder in `source` into a project; return the files written.

    Raises:
        ConfigurationError: it is neither a model folder of this program nor a Hugging Face folder of a text
            tower.
    """
    if is_of_this_program(source):
        return copy_model(source, target, key=KEY)
    return copy_folder(source, target, text=True)


def read_encoder(folder: Path, digest: str) -> ReportEncoder:
    """The encoder in `folder`, whose files have `digest`.

    Raises:
        ConfigurationError: it cannot be built from what lies there.
    """
    if is_of_this_program(folder):
        spec, model = read_model(folder, key=KEY)
        model.eval().requires_grad_(requires_grad=False)
        tokenizer = ReportTokenizer.load(folder / VOCABULARY)
        return ReportEncoder(
            tokenizer, min(spec.model.text.max_tokens, MOST_TOKENS), model.embed_texts, digest
        )
    tokenizer, _ = read_vocabulary(folder)
    asked = ModelSpec(image_size=32, text=TextEncoderSpec(encoder=f"hf:{KEY}", heads=1, max_tokens=4))
    tower = PretrainedText(Architecture.of_folder(folder), asked, tokenizer.vocabulary_size)
    load_weights(tower, folder)
    tower.eval().requires_grad_(requires_grad=False)

    def pooled(tokens: Tensor, mask: Tensor) -> Tensor:
        said = tower(tokens, mask)
        real = mask[..., None]
        mean: Tensor = said.pooled if tower.causal else (said.x * real).sum(dim=1) / real.sum(dim=1)
        return mean

    return ReportEncoder(tokenizer, min(tower.longest, MOST_TOKENS), pooled, digest)
