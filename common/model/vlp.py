"""The vision-language model: the towers, a shared space, fusion, and the objectives' heads.

Shapes: B rows, P public pairs, C channels, S pixels a side, T word pieces, E embedding width.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.model.encoders import ResNet, TextTransformer, Tokens, VisionTransformer
from common.model.fusion import Fusion
from common.model.pretrained import PretrainedImage, PretrainedText
from common.model.prompts import embeddings_of, give_prompts
from common.model.tabular import TabularEncoder
from common.model.tower_folder import Architecture
from common.objectives.base import Loss, Objective, Reference, View, Views
from common.objectives.registry import Sizes, build_objectives
from common.seeds import derive_seed, seed_chance
from common.spec.model import ModelSpec
from common.spec.run import Spec

VOCABULARY_ROWS = frozenset(
    {
        "text.embedding.weight",
        "text.model.embeddings.word_embeddings.weight",
        "text.model.embeddings.token_embedding.weight",
        "objectives.masked_language.bias",
        "objectives.captioning.bias",
    }
)
"""Tensors with a row for every word piece; the row of a rare word tells who used it."""


class VLPModel(nn.Module):
    """Everything that is trained, and so everything that is exchanged."""

    def __init__(
        self, spec: Spec, vocabulary_size: int, towers: Mapping[str, Architecture] = MappingProxyType({})
    ) -> None:
        """Build it with fresh weights.

        Args:
            spec: of the run.
            vocabulary_size: V.
            towers: "image" and "text" -> the architecture of a tower from a Hugging Face folder.

        Raises:
            ConfigurationError: such a tower does not fit the spec.
        """
        super().__init__()
        self.image = build_image_encoder(spec.model, spec.data.images.channels, towers.get("image"))
        self.text = build_text_encoder(spec.model, vocabulary_size, towers.get("text"))
        self.image_projection = nn.Linear(self.image.width, spec.model.embedding_width, bias=False)
        self.text_projection = nn.Linear(self.text.width, spec.model.embedding_width, bias=False)
        sizes = Sizes(
            self.image.width,
            spec.data.images.channels,
            self.text.width,
            vocabulary_size,
            self.image.sees_hidden,
        )
        self.objectives = nn.ModuleDict(build_objectives(spec, sizes))
        if spec.model.fusion is not None:
            self.fusion = Fusion(spec.model.fusion, self.image.width, self.text.width)
        if spec.model.metadata is not None:
            self.metadata = TabularEncoder(spec.model.metadata)
            self.metadata_projection = nn.Linear(
                spec.model.metadata.width, spec.model.embedding_width, bias=False
            )
        for name in spec.model.prompted:
            assert spec.model.adaptation is not None
            _give_prompts(self.get_submodule(name), spec.model.adaptation.prompt_tokens)
        self._remembered: tuple[VLPModel, ...] = ()
        self._teachers: tuple[VLPModel, ...] = ()
        self.weights = {name: getattr(spec.objectives, name).weight for name in spec.objectives.names}

    def embed_images(self, images: Tensor) -> Tensor:
        """(B, C, S, S) grey values in 0..1 -> (B, E) unit rows."""
        return project(self.image_projection, self.image(images).pooled)

    def embed_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, T) word pieces -> (B, E) unit rows."""
        return project(self.text_projection, self.text(tokens, mask).pooled)

    def embed_metadata(self, metadata: Tensor) -> Tensor:
        """(B, M) codes -> (B, E) unit rows; only a model with a metadata tower can."""
        return project(self.metadata_projection, self.metadata(metadata).pooled)

    @torch.no_grad()
    def with_public(self, batch: Batch) -> Batch:
        """`batch` with its public pairs encoded, as constants: done once, whatever parts it is cut into."""
        public = batch.public
        if public is None or public.image_embedding is not None:
            return batch
        encoded = replace(
            public,
            image_embedding=self.embed_images(public.images),
            text_embedding=self.embed_texts(public.tokens, public.token_mask),
        )
        return replace(batch, public=encoded)

    def losses(self, batch: Batch, names: Collection[str] | None = None) -> dict[str, Loss]:
        """Each objective's loss on the rows it can use; an objective without such rows is absent."""
        batch = self.with_public(batch)
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

    @property
    def couples_rows(self) -> bool:
        """Whether some objective's loss on a row depends on other private rows of the batch."""
        return any(objective.couples_rows for _, objective in self._objectives())

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Until the block ends, keep the model as it is now, the global model, to compare with."""
        if not self.needs() & {"reference", "drift"}:
            yield
            return
        apart = {id(self._teachers): ()}  # a teacher needs no copy
        self._remembered = (copy.deepcopy(self, apart).eval().requires_grad_(requires_grad=False),)
        try:
            yield
        finally:
            self._remembered = ()

    def learn_from(self, teacher: "VLPModel") -> None:
        """Let `teacher` say what it makes of each batch; it stays as it is, and is no part of this model."""
        self._teachers = (teacher.eval().requires_grad_(requires_grad=False),)

    def views(self, batch: Batch, needs: frozenset[View] | None = None) -> Views:
        """Run each tower once for every view in `needs`; None for all that some objective needs."""
        needs = self.needs() if needs is None else needs
        image: Tokens | None = self.image(batch.images, batch.kept_patches) if "image" in needs else None
        text: Tokens | None = self.text(batch.tokens, batch.token_mask) if "text" in needs else None
        second = batch.second if "second" in needs else None
        return Views(
            image=image,
            image_embedding=None if image is None else project(self.image_projection, image.pooled),
            text=text,
            text_embedding=None if text is None else project(self.text_projection, text.pooled),
            image_masked=self._see_masked(batch) if "image_masked" in needs else None,
            text_masked=self._read_masked(batch) if "text_masked" in needs else None,
            vocabulary=self.text.embedding.weight,
            metadata_embedding=(
                self.embed_metadata(batch.metadata)
                if "metadata" in needs and batch.metadata is not None
                else None
            ),
            second_image_embedding=None if second is None else self.embed_images(second.images),
            second_text_embedding=(
                None if second is None else self.embed_texts(second.tokens, second.token_mask)
            ),
            reference=_said_by(self._global_model(), batch) if "reference" in needs else None,
            teacher=self._taught(batch) if "teacher" in needs else None,
            drift=self._drift().expand(len(batch)) if "drift" in needs else None,
            fusion=getattr(self, "fusion", None),
        )

    def exchanged(self) -> dict[str, Tensor]:
        """The tensors that are trained, and so exchanged, by name: all but frozen ones."""
        return {
            name: tensor.detach()
            for name, tensor in self.state_dict(keep_vars=True).items()
            if tensor.requires_grad or not isinstance(tensor, nn.Parameter)
        }

    def load_exchanged(self, tensors: Mapping[str, Tensor]) -> None:
        """Put what `exchanged` gave, at another model of the same project, into this one."""
        held = self.exchanged()
        shapes = {name: tensor.shape for name, tensor in held.items()}
        assert {name: tensor.shape for name, tensor in tensors.items()} == shapes, "another model's weights"
        with torch.no_grad():
            for name, tensor in tensors.items():
                held[name].copy_(tensor)

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

    def _global_model(self) -> "VLPModel":
        """What `remembering` keeps; outside of it nothing was learned yet, and this is the global model."""
        if not self._remembered:
            return self
        (remembered,) = self._remembered
        return remembered.to(next(self.parameters()).device)

    def _taught(self, batch: Batch) -> Reference:
        assert self._teachers, "the spec names a teacher, and the project gives it to the model"
        (teacher,) = self._teachers
        return _said_by(teacher.to(next(self.parameters()).device), batch)

    def _drift(self) -> Tensor:
        """() squared distance of the weights to the global model's."""
        then = dict(self._global_model().named_parameters())
        apart = [
            (weight - then[name].detach()).square().sum()
            for name, weight in self.named_parameters()
            if weight.requires_grad
        ]
        return torch.stack(apart).sum()


@torch.no_grad()
def _said_by(model: VLPModel, batch: Batch) -> Reference:
    return Reference(model.embed_images(batch.images), model.embed_texts(batch.tokens, batch.token_mask))


def build_model(
    spec: Spec, vocabulary_size: int, towers: Mapping[str, Architecture] = MappingProxyType({})
) -> VLPModel:
    """A fresh model whose weights are a function of `spec.seed` alone; the caller's random state is kept."""
    with torch.random.fork_rng(devices=[]):
        seed_chance(derive_seed(spec.seed, "model"))
        model = VLPModel(spec, vocabulary_size, towers)
    if spec.train.vocabulary_rows == "frozen":
        for name, weight in model.named_parameters():
            if name in VOCABULARY_ROWS:
                weight.requires_grad_(False)
    return model


def build_image_encoder(
    spec: ModelSpec, channels: int, architecture: Architecture | None
) -> VisionTransformer | ResNet | PretrainedImage:
    """The image tower that `spec` names, for images of `channels` channels.

    Raises:
        ConfigurationError: a pretrained one does not fit.
    """
    if architecture is not None:
        return PretrainedImage(architecture, spec, channels)
    if spec.image.encoder == "vit":
        return VisionTransformer(spec.image, spec.image_size, channels)
    return ResNet(spec.image, channels)


def build_text_encoder(
    spec: ModelSpec, vocabulary_size: int, architecture: Architecture | None
) -> TextTransformer | PretrainedText:
    """The text tower that `spec` names.

    Raises:
        ConfigurationError: a pretrained one does not fit.
    """
    if architecture is not None:
        return PretrainedText(architecture, spec, vocabulary_size)
    return TextTransformer(spec.text, vocabulary_size)


def _give_prompts(tower: nn.Module, count: int) -> None:
    """Prompts as wide as what the tower's layers are fed with."""
    if isinstance(tower, PretrainedImage):
        embeddings_of(tower.model)
    if isinstance(tower, PretrainedText):
        give_prompts(tower, count, tower.embedding.embedding_dim)
        return
    assert isinstance(tower, VisionTransformer | TextTransformer | PretrainedImage)
    give_prompts(tower, count, tower.width)


def project(projection: nn.Linear, pooled: Tensor) -> Tensor:
    """(B, D) -> (B, E) unit rows, in float32 whatever the autocast: fresh embeddings differ by less than
    bfloat16 can tell."""
    with torch.autocast(pooled.device.type, enabled=False):
        return F.normalize(projection(pooled.float()), dim=-1)
