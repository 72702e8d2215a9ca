"""The vision-language model: two towers, a shared space, and the objectives' heads.

Shapes: B rows, C channels, S pixels a side, T word pieces, E embedding width.
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.model.encoders import ResNet, TextTransformer, Tokens, VisionTransformer
from common.objectives.base import Loss, Objective, View, Views
from common.objectives.registry import build_objectives
from common.seeds import derive_seed
from common.spec.model import ModelSpec
from common.spec.run import Spec


class VLPModel(nn.Module):
    """Everything that is trained, and so everything that is exchanged."""

    def __init__(self, spec: Spec, vocabulary_size: int) -> None:
        super().__init__()
        self.image = build_image_encoder(spec.model, spec.data.images.channels)
        self.text = TextTransformer(spec.model.text, vocabulary_size)
        self.image_projection = nn.Linear(spec.model.image.width, spec.model.embedding_width, bias=False)
        self.text_projection = nn.Linear(spec.model.text.width, spec.model.embedding_width, bias=False)
        self.objectives = nn.ModuleDict(build_objectives(spec, vocabulary_size))
        self.weights = {name: getattr(spec.objectives, name).weight for name in spec.objectives.names}

    def embed_images(self, images: Tensor) -> Tensor:
        """(B, C, S, S) grey values in 0..1 -> (B, E) unit rows."""
        return project(self.image_projection, self.image(images).pooled)

    def embed_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, T) word pieces -> (B, E) unit rows."""
        return project(self.text_projection, self.text(tokens, mask).pooled)

    def losses(self, batch: Batch, names: Collection[str] | None = None) -> dict[str, Loss]:
        """Each objective's loss on the rows it can use; an objective without such rows is absent."""
        return self.judge(self.views(batch, self.needs(names)), batch, names)

    def judge(self, views: Views, batch: Batch, names: Collection[str] | None = None) -> dict[str, Loss]:
        """The losses of the named objectives, or of all, given what the towers say."""
        found = {name: objective.loss(views, batch) for name, objective in self._objectives(names)}
        return {name: loss for name, loss in found.items() if loss is not None}

    def total(self, losses: dict[str, Loss]) -> Tensor:
        """() the weighted sum that is minimised."""
        return torch.stack([self.weights[name] * loss.mean for name, loss in losses.items()]).sum()

    def needs(self, names: Collection[str] | None = None) -> frozenset[View]:
        """The views that some of the named objectives, or of all, need."""
        return frozenset[View]().union(*(objective.needs for _, objective in self._objectives(names)))

    def reads_tokens(self, names: Collection[str]) -> bool:
        """Whether some of the named objectives look at single tokens."""
        return any(objective.reads_tokens for _, objective in self._objectives(names))

    def units(self, batch: Batch) -> dict[str, int | None]:
        """For each objective the terms that its mean is taken over; None when it couples the rows."""
        return {name: objective.units(batch) for name, objective in self._objectives()}

    def views(self, batch: Batch, needs: frozenset[View] | None = None) -> Views:
        """Run each tower once for every view in `needs`; None for all that some objective needs."""
        needs = self.needs() if needs is None else needs
        image: Tokens | None = self.image(batch.images, batch.kept_patches) if "image" in needs else None
        text: Tokens | None = self.text(batch.tokens, batch.token_mask) if "text" in needs else None
        return Views(
            image=image,
            image_embedding=None if image is None else project(self.image_projection, image.pooled),
            text=text,
            text_embedding=None if text is None else project(self.text_projection, text.pooled),
            image_masked=self._see_masked(batch) if "image_masked" in needs else None,
            text_masked=self._read_masked(batch) if "text_masked" in needs else None,
            vocabulary=self.text.embedding.weight,
        )

    def after_step(self) -> None:
        """Let every objective put its parameters back into range."""
        for _, objective in self._objectives():
            objective.after_step()

    def _objectives(self, names: Collection[str] | None = None) -> list[tuple[str, Objective]]:
        return [
            (name, module)
            for name, module in self.objectives.items()
            if isinstance(module, Objective) and (names is None or name in names)
        ]

    def _see_masked(self, batch: Batch) -> Tokens | None:
        if batch.masked_images is None:
            return None
        seen: Tokens = self.image(batch.images[batch.masked_images], batch.visible_patches)
        return seen

    def _read_masked(self, batch: Batch) -> Tokens | None:
        if batch.masked_reports is None:
            return None
        read: Tokens = self.text(batch.masked_tokens, batch.token_mask[batch.masked_reports])
        return read


def build_model(spec: Spec, vocabulary_size: int) -> VLPModel:
    """A fresh model whose weights are a function of `spec.seed` alone; the caller's random state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(spec.seed, "model"))
        return VLPModel(spec, vocabulary_size)


def build_image_encoder(spec: ModelSpec, channels: int) -> VisionTransformer | ResNet:
    """The image tower that `spec` names, for images of `channels` channels."""
    if spec.image.encoder == "vit":
        return VisionTransformer(spec.image, spec.image_size, channels)
    return ResNet(spec.image, channels)


def project(projection: nn.Linear, pooled: Tensor) -> Tensor:
    """(B, D) -> (B, E) unit rows, in float32 whatever the autocast: fresh embeddings differ by less than
    bfloat16 can tell."""
    with torch.autocast(pooled.device.type, enabled=False):
        return F.normalize(projection(pooled.float()), dim=-1)
