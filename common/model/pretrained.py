"""Towers from local Hugging Face folders: BERT-like; ViT, DINOv2, ResNet, ConvNeXt, CLIP's image tower.

Nothing is fetched. A project carries its own copy of the folders, so that every hospital starts from the
bytes it approved.
Shapes: B rows, C channels, S pixels a side, N patches, T word pieces, D width, V vocabulary.
"""

import json
import shutil
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import ConfigurationError
from common.model.encoders import Tokens, paint_over
from common.model.prompts import mask_with_prompts, prompted, prompts_of
from common.spec.model import ModelSpec
from common.text.tokenizer import ReportTokenizer

CONFIG, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
VOCABULARY_FILES = ("vocab.txt", "tokenizer.json", "tokenizer_config.json")

WITHIN_CLIP = {"clip": "vision_config", "siglip": "vision_config"}
"""Models of two towers, and where the image tower's settings lie."""

TEXT_TYPES = ("bert", "distilbert", "electra")
"""Text towers whose vocabulary is WordPiece."""


@dataclass(frozen=True)
class Architecture:
    """What is needed to build a tower again, without its weights."""

    config: dict[str, Any]
    """As config.json says."""
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Of each channel, as preprocessor_config.json says; of images only."""

    @classmethod
    def of_folder(cls, folder: Path) -> "Architecture":
        """Read the settings in `folder`.

        Raises:
            ConfigurationError: there are none.
        """
        config = _read_json(folder / CONFIG)
        seen = _read_json(folder / PREPROCESSOR) if (folder / PREPROCESSOR).exists() else {}
        mean, std = seen.get("image_mean") or cls.mean, seen.get("image_std") or cls.std
        return cls(config, tuple(float(value) for value in mean), tuple(float(value) for value in std))

    def to_json(self) -> dict[str, Any]:
        """As it stands beside an exported model."""
        return {"config": self.config, "mean": self.mean, "std": self.std}


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

        kind = architecture.config.get("model_type", "")
        if kind in WITHIN_CLIP:
            part = dict(architecture.config.get(WITHIN_CLIP[kind]) or {})
            part["model_type"] = f"{kind}_vision_model"
            config = AutoConfig.for_model(**part)
        else:
            config = AutoConfig.for_model(**architecture.config)
        self.model = models.from_config(config, dtype=torch.float32)
        _drop_pooler(self.model, keep=kind in WITHIN_CLIP)
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
    """A BERT-like text tower of `transformers`; a report is pooled at its [CLS]."""

    def __init__(self, architecture: Architecture, spec: ModelSpec, vocabulary_size: int) -> None:
        """Build it with fresh weights.

        Raises:
            ConfigurationError: the spec asks for longer texts, or for heads that do not divide the width.
        """
        super().__init__()
        from transformers import AutoConfig, AutoModel  # seconds to import, and few runs need it

        models: Any = AutoModel  # whose functions carry no types

        config = AutoConfig.for_model(
            **{**architecture.config, "vocab_size": vocabulary_size, "pad_token_id": 0}
        )
        self.model = models.from_config(config, dtype=torch.float32)
        _drop_pooler(self.model)
        self.width = int(config.hidden_size)
        if spec.text.max_tokens > config.max_position_embeddings:
            raise ConfigurationError(
                f"model.text.max_tokens = {spec.text.max_tokens}, but {spec.text.pretrained} reads at most "
                f"{config.max_position_embeddings}"
            )
        if self.width % spec.text.heads:
            raise ConfigurationError(
                f"model.text.heads = {spec.text.heads} does not divide {self.width}, the width of "
                f"{spec.text.pretrained}; the objectives' decoders have that width"
            )

    @property
    def embedding(self) -> nn.Embedding:
        """The vectors of word pieces."""
        vectors = self.model.get_input_embeddings()
        assert isinstance(vectors, nn.Embedding)
        return vectors

    def forward(self, tokens: Tensor, mask: Tensor) -> Tokens:
        """Encode (B, T) word-piece ids; `mask` (B, T) is False on padding."""
        prompts = prompts_of(self)
        visible = mask_with_prompts(mask, prompts).long()
        with prompted(self.model, prompts):
            x: Tensor = self.model(input_ids=tokens, attention_mask=visible).last_hidden_state
        x = x[:, : tokens.shape[1]]
        return Tokens(x, mask, x[:, 0])


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


def copy_folder(source: Path, target: Path, *, text: bool) -> list[Path]:
    """Take what a tower needs from the Hugging Face folder `source`; return the files written.

    Raises:
        ConfigurationError: `source` is no such folder, or its weights are not safetensors.
    """
    names = [CONFIG, WEIGHTS, *(VOCABULARY_FILES if text else (PREPROCESSOR,))]
    if not (source / WEIGHTS).exists():
        raise ConfigurationError(
            f"{source} has no {WEIGHTS}; give a local Hugging Face folder, and convert weights in pickles "
            "(*.bin) with save_pretrained first"
        )
    kind = _read_json(source / CONFIG).get("model_type")
    if text and kind not in TEXT_TYPES:
        raise ConfigurationError(
            f"{source} holds a text tower of type {kind}; types with a WordPiece vocabulary work: "
            + ", ".join(TEXT_TYPES)
        )
    target.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(source / name, target / name)) for name in names if (source / name).exists()]


def read_vocabulary(folder: Path) -> tuple[ReportTokenizer, list[int]]:
    """The folder's WordPiece vocabulary with our special tokens first, and each piece's number in the folder.

    Raises:
        ConfigurationError: it is no WordPiece vocabulary, or lacks a special token.
    """
    if (folder / "vocab.txt").exists():
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        pieces = {piece: number for number, piece in enumerate(lines)}
    else:
        pieces = _read_json(folder / "tokenizer.json").get("model", {}).get("vocab") or {}
    told = _read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    return ReportTokenizer.of_pieces(
        pieces, lowercase=bool(told.get("do_lower_case", True)), where=str(folder)
    )


def load_weights(tower: PretrainedImage | PretrainedText, folder: Path) -> None:
    """Put the weights in `folder` into `tower`, the word-piece vectors in our order.

    Raises:
        ConfigurationError: the weights do not fit the settings beside them.
    """
    from transformers import AutoModel, CLIPVisionModel, SiglipVisionModel, logging  # seconds to import

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would run over our own

    kind = _read_json(folder / CONFIG).get("model_type", "")
    classes: dict[str, Any] = {"clip": CLIPVisionModel, "siglip": SiglipVisionModel}
    loader: Any = classes.get(kind, AutoModel) if isinstance(tower, PretrainedImage) else AutoModel
    try:
        theirs = loader.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(f"{folder}: {str(error).splitlines()[0]}") from None
    _drop_pooler(theirs, keep=kind in WITHIN_CLIP)
    _freeze_statistics(theirs)
    weights = theirs.state_dict()
    if isinstance(tower, PretrainedText):
        _, order = read_vocabulary(folder)
        vectors = theirs.get_input_embeddings().weight
        name = next(name for name, weight in theirs.named_parameters() if weight is vectors)
        weights[name] = vectors.detach()[order]
    tower.model.load_state_dict(weights)


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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigurationError(
            f"{path} cannot be read; give a local Hugging Face folder (config.json, model.safetensors)"
        ) from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds no settings; give a local Hugging Face folder")
    return content
