"""Towers from local Hugging Face folders: BERT, RoBERTa, CLIP's text tower; ViT, DINOv2, ResNet, ConvNeXt,
CLIP's image tower.

Shapes: B rows, C channels, S pixels a side, N patches, T word pieces, D width, V vocabulary.
"""

from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import ConfigurationError
from common.model.encoders import Tokens, paint_over
from common.model.prompts import mask_with_prompts, prompted, prompts_of
from common.model.tower_folder import WITHIN_CLIP, Architecture, read_vocabulary
from common.spec.model import ModelSpec
from common.text.byte_pairs import NEW
from common.text.tokenizer import CLS, PAD, SEP


class PretrainedImage(nn.Module):
    """An image tower of `transformers` behind the interface of our own; patches only, no class tokens."""

    sees_hidden = True
    """Hidden patches are painted over, and every patch gives a token."""

    def __init__(self, architecture: Architecture, spec: ModelSpec, channels: int) -> None:
        """Build it with fresh weights.

        Raises:
            ConfigurationError: the spec says something else of patches or channels.
        """
        super().__init__()
        from transformers import AutoConfig, AutoModel  # seconds to import, and few runs need it

        models: Any = AutoModel  # whose functions carry no types

        config = AutoConfig.for_model(**architecture.tower("vision"))
        self.model = models.from_config(config, dtype=torch.float32)
        _drop_pooler(self.model, keep=architecture.kind in WITHIN_CLIP)
        _freeze_statistics(self.model)
        self.mean, self.std = architecture.mean, architecture.std
        self.interpolates = "interpolate_pos_encoding" in signature(self.model.forward).parameters
        self.width = int(getattr(config, "hidden_size", 0) or config.hidden_sizes[-1])
        self.patch_pixels = _cell_of(config)
        self.grid = spec.image_size // self.patch_pixels
        if self.patch_pixels != spec.image.patch_pixels:
            raise ConfigurationError(
                f"model.image.patch_pixels = {spec.image.patch_pixels}, but a token of "
                f"{spec.image.pretrained} stands for {self.patch_pixels} pixels a side; write that"
            )
        if channels not in (1, 3):
            raise ConfigurationError(
                f"{spec.image.pretrained} takes one channel or three, and data.images gives {channels}"
            )

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Encode (B, C, S, S) grey values in 0..1, C 1 or 3.

        Args:
            images: (B, C, S, S); one channel is shown three times.
            keep: (B, K) indices of the patches to see, the others are painted mean grey; all when None.
        """
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (self.mean, self.std))
        pixels = (images.expand(-1, 3, -1, -1) - mean) / std
        if keep is not None:
            pixels = paint_over(pixels, keep, self.patch_pixels)
        options = {"interpolate_pos_encoding": True} if self.interpolates else {}
        prompts = prompts_of(self)
        with prompted(self.model, prompts):
            said = self.model(pixel_values=pixels, **options)
        last: Tensor = said.last_hidden_state
        if prompts is not None:
            last = last[:, : -len(prompts)]
        pooled = getattr(said, "pooler_output", None)
        if last.ndim == 4:
            last = last.flatten(2).transpose(1, 2)
            pooled = last.mean(dim=1)
        elif pooled is None:
            pooled = last[:, 0] if last.shape[1] > self.grid**2 else last.mean(dim=1)
        x = last[:, -(self.grid**2) :]
        return Tokens(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device), pooled)


class PretrainedText(nn.Module):
    """A text tower of `transformers`; a report is pooled at its [CLS], but by CLIP, which reads from left to
    right, at its [SEP]."""

    def __init__(self, architecture: Architecture, spec: ModelSpec, vocabulary_size: int) -> None:
        """Build it with fresh weights.

        Raises:
            ConfigurationError: the spec asks for longer texts, for heads that do not divide the width, or for
                prompts that no word would see.
        """
        super().__init__()
        from transformers import AutoConfig, AutoModel  # seconds to import, and few runs need it

        models: Any = AutoModel  # whose functions carry no types

        told = architecture.tower("text")
        ours = {"vocab_size": vocabulary_size, "pad_token_id": PAD, "bos_token_id": CLS, "eos_token_id": SEP}
        config = AutoConfig.for_model(**(told | ours))
        self.model = models.from_config(config, dtype=torch.float32)
        _drop_pooler(self.model)
        self.width = int(config.hidden_size)
        self.causal = config.model_type == "clip_text_model"
        self.first_position = 1 + int(told.get("pad_token_id", 1)) if config.model_type == "roberta" else 0
        self.longest = int(config.max_position_embeddings) - self.first_position
        if spec.text.max_tokens > self.longest:
            raise ConfigurationError(
                f"model.text.max_tokens = {spec.text.max_tokens}, but {spec.text.pretrained} reads at most "
                f"{self.longest}"
            )
        if self.width % spec.text.heads:
            raise ConfigurationError(
                f"model.text.heads = {spec.text.heads} does not divide {self.width}, the width of "
                f"{spec.text.pretrained}; the objectives' decoders have that width"
            )
        if self.causal and "text" in spec.prompted:
            raise ConfigurationError(
                f"model.adaptation.kind = 'prompt': {spec.text.pretrained} reads from left to right, and no "
                'word would see prompts behind it; write kind = "lora", or leave "text" out of '
                "model.adaptation.towers"
            )

    @property
    def embedding(self) -> nn.Embedding:
        """The vectors of word pieces."""
        vectors = self.model.get_input_embeddings()
        assert isinstance(vectors, nn.Embedding)
        return vectors

    def forward(self, tokens: Tensor, mask: Tensor) -> Tokens:
        """Encode (B, T) word-piece ids; `mask` (B, T) is False on padding, which is at the end."""
        prompts = prompts_of(self)
        visible = mask_with_prompts(mask, prompts).long()
        options = {"position_ids": self._positions(tokens)} if self.first_position else {}
        with prompted(self.model, prompts):
            x: Tensor = self.model(input_ids=tokens, attention_mask=visible, **options).last_hidden_state
        x = x[:, : tokens.shape[1]]
        if not self.causal:
            return Tokens(x, mask, x[:, 0])
        last = mask.sum(dim=1) - 1
        return Tokens(x, mask, x[torch.arange(len(x), device=x.device), last])

    def _positions(self, tokens: Tensor) -> Tensor:
        """(1, T): RoBERTa counts from behind its own number for padding, which is not ours."""
        return self.first_position + torch.arange(tokens.shape[1], device=tokens.device)[None]


class FrozenNorm(nn.Module):
    """A BatchNorm whose statistics are what they were, as a scale and a shift per channel."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
        self.weight = nn.Parameter(scale)
        self.bias = nn.Parameter(norm.bias.detach() - norm.running_mean * scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return x * self.weight[:, None, None] + self.bias[:, None, None]


def load_weights(tower: PretrainedImage | PretrainedText, folder: Path) -> None:
    """Put the weights in `folder` into `tower`, the word-piece vectors in our order.

    Raises:
        ConfigurationError: the weights do not fit the settings or the vocabulary beside them.
    """
    from transformers import logging  # seconds to import

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would run over our own

    kind = Architecture.of_folder(folder).kind
    try:
        theirs, report = _loader(tower, kind).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(f"{folder}: {str(error).splitlines()[0]}") from None
    missing = sorted(name for name in report["missing_keys"] if "pooler." not in name)
    if missing:
        raise ConfigurationError(f"{folder}: the weights lack {missing[0]}, which its settings ask for")
    _drop_pooler(theirs, keep=kind in WITHIN_CLIP)
    _freeze_statistics(theirs)
    weights = theirs.state_dict()
    if isinstance(tower, PretrainedText):
        vectors = theirs.get_input_embeddings().weight
        name = next(name for name, weight in theirs.named_parameters() if weight is vectors)
        weights[name] = _vectors_in_our_order(vectors.detach(), folder)
    tower.model.load_state_dict(weights)


def _loader(tower: PretrainedImage | PretrainedText, kind: str) -> Any:
    """The class of `transformers` that reads the one tower out of a folder of this kind."""
    from transformers import AutoModel, CLIPTextModel, CLIPVisionModel, SiglipVisionModel

    if isinstance(tower, PretrainedText):
        return CLIPTextModel if kind == "clip" else AutoModel
    return {"clip": CLIPVisionModel, "siglip": SiglipVisionModel}.get(kind, AutoModel)


def _vectors_in_our_order(vectors: Tensor, folder: Path) -> Tensor:
    """(their V, D) -> (V, D); a special token that they lack has the mean of all, which says nothing."""
    _, order = read_vocabulary(folder)
    if max(order) >= len(vectors):
        raise ConfigurationError(
            f"{folder}: the vocabulary has a piece {max(order)}, and the weights have {len(vectors)} vectors"
        )
    numbers = torch.tensor(order)
    ours = vectors[numbers.clamp(min=0)]
    return torch.where((numbers == NEW)[:, None], vectors.mean(dim=0), ours)


def _drop_pooler(model: nn.Module, *, keep: bool = False) -> None:
    """Leave out the head that old checkpoints often lack, and that we do not read."""
    pooler = getattr(model, "pooler", None)
    if pooler is not None and not keep and not isinstance(pooler, nn.AdaptiveAvgPool2d):
        model.register_module("pooler", None)


def _freeze_statistics(model: nn.Module) -> None:
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, FrozenNorm(child))


def _cell_of(config: Any) -> int:
    """Pixels a side that one token stands for."""
    if config.model_type == "resnet":
        return int(4 * 2 ** (len(config.hidden_sizes) - 1 + bool(config.downsample_in_first_stage)))
    if config.model_type in ("convnext", "convnextv2"):
        return int(config.patch_size * 2 ** (len(config.hidden_sizes) - 1))
    return int(config.patch_size)
