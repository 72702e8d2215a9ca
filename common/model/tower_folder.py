"""A local Hugging Face folder that a tower comes from: its settings, its vocabulary, a project's copy.

Nothing is fetched. A project carries its own copy of the folders, so that every hospital starts from the
bytes it approved.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.errors import ConfigurationError
from common.regular_file import read_regular_text
from common.text.byte_pairs import BytePairs, byte_pair_tokenizer
from common.text.tokenizer import ReportTokenizer
from common.text.word_bounds import ENDS

CONFIG, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
PIECES, MERGES, WORDPIECES, TOKENIZER = "vocab.json", "merges.txt", "vocab.txt", "tokenizer.json"
TOKENIZER_CONFIG, SPECIAL_MAP = "tokenizer_config.json", "special_tokens_map.json"
VOCABULARY_FILES = (WORDPIECES, PIECES, MERGES, TOKENIZER, TOKENIZER_CONFIG, SPECIAL_MAP)

WITHIN_CLIP = ("clip", "siglip")
"""Models of two towers, each with its settings in a table of its own."""

TEXT_TYPES = ("bert", "distilbert", "electra", "roberta", "clip", "clip_text_model")
"""Text towers whose vocabulary is WordPiece or byte pairs."""

ROLES = (("pad",), ("unk",), ("cls", "bos"), ("sep", "eos"), ("mask",))
"""What folders call our special tokens, in the order of their ids."""


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

    @property
    def kind(self) -> str:
        """The type of model that the folder holds."""
        return str(self.config.get("model_type", ""))

    def tower(self, side: Literal["vision", "text"]) -> dict[str, Any]:
        """Settings of one tower, its type among them, whether the folder holds that one or two."""
        if self.kind not in WITHIN_CLIP:
            return self.config
        part = self.config.get(f"{side}_config") or {}
        return {**part, "model_type": f"{self.kind}_{side}_model"}

    def to_json(self) -> dict[str, Any]:
        """As it stands beside an exported model."""
        return {"config": self.config, "mean": self.mean, "std": self.std}


def copy_folder(source: Path, target: Path, *, text: bool) -> list[Path]:
    """Take what a tower needs from the Hugging Face folder `source`; return the files written.

    Raises:
        ConfigurationError: `source` is no such folder, or its weights are not safetensors.
    """
    names = [CONFIG, WEIGHTS, *(VOCABULARY_FILES if text else (PREPROCESSOR,))]
    if not (source / WEIGHTS).is_file():
        raise ConfigurationError(
            f"{source} has no {WEIGHTS}; give a local Hugging Face folder, and convert weights in pickles "
            "(*.bin) with save_pretrained first"
        )
    kind = Architecture.of_folder(source).kind
    if text and kind not in TEXT_TYPES:
        raise ConfigurationError(
            f"{source} holds a text tower of type {kind}; types with a vocabulary of WordPieces or byte "
            f"pairs work: {', '.join(TEXT_TYPES)}"
        )
    target.mkdir(parents=True, exist_ok=True)
    there = [name for name in names if (source / name).is_file()]
    return [Path(shutil.copyfile(source / name, target / name)) for name in there]


def read_vocabulary(folder: Path) -> tuple[ReportTokenizer, list[int]]:
    """The folder's vocabulary with our special tokens first, and each piece's number in the folder.

    A number is `common.text.byte_pairs.NEW` for a special token that the folder lacks.

    Raises:
        ConfigurationError: it has none of WordPieces or byte pairs, or that lacks a special token.
    """
    told = _told(folder / TOKENIZER_CONFIG)
    if (folder / WORDPIECES).exists():
        lines = _text(folder / WORDPIECES).splitlines()
        return _word_pieces({piece: number for number, piece in enumerate(lines)}, told, folder)
    whole = _told(folder / TOKENIZER)
    model = whole.get("model") or {}
    if model.get("type") == "WordPiece":
        return _word_pieces(model.get("vocab") or {}, told, folder)
    if model and model.get("type") != "BPE":
        raise ConfigurationError(
            f"{folder}: a vocabulary of type {model.get('type')}; WordPiece and BPE work"
        )
    pairs = _pairs_of(whole) if model else _pairs_in_files(folder)
    named = _told(folder / SPECIAL_MAP) | told
    special = [
        next((_content(named[f"{name}_token"]) for name in names if named.get(f"{name}_token")), usual)
        for names, usual in zip(ROLES, pairs.special_tokens, strict=True)
    ]
    return byte_pair_tokenizer(pairs, special, where=str(folder))


def _word_pieces(
    pieces: dict[str, int], told: dict[str, Any], folder: Path
) -> tuple[ReportTokenizer, list[int]]:
    return ReportTokenizer.of_pieces(
        pieces, lowercase=bool(told.get("do_lower_case", True)), where=str(folder)
    )


def _pairs_of(whole: dict[str, Any]) -> BytePairs:
    model = whole["model"]
    added = {token["content"]: token["id"] for token in whole.get("added_tokens") or []}
    merges = [_merge(merge) if isinstance(merge, str) else (merge[0], merge[1]) for merge in model["merges"]]
    rules = {name: whole.get(name) for name in ("normalizer", "pre_tokenizer")}
    return BytePairs(model["vocab"] | added, merges, model.get("end_of_word_suffix") or "", rules)


def _pairs_in_files(folder: Path) -> BytePairs:
    if not (folder / MERGES).exists():
        raise ConfigurationError(
            f"{folder} has no vocabulary; give its {WORDPIECES}, its {TOKENIZER}, or {PIECES} and {MERGES}"
        )
    pieces = _read_json(folder / PIECES)
    lines = _text(folder / MERGES).split("\n")
    merges = [_merge(line) for line in lines if line and not line.startswith("#version")]
    return BytePairs(pieces, merges, ENDS if any(piece.endswith(ENDS) for piece in pieces) else "")


def _merge(line: str) -> tuple[str, str]:
    left, _, right = line.partition(" ")
    return left, right


def _content(token: Any) -> str:
    """A special token's text: folders write it bare, or in a table of its properties."""
    return str(token["content"] if isinstance(token, dict) else token)


def _told(path: Path) -> dict[str, Any]:
    return _read_json(path) if path.exists() else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except ValueError:
        raise _unreadable(path) from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds no settings; give a local Hugging Face folder")
    return content


def _text(path: Path) -> str:
    try:
        return read_regular_text(path)
    except (OSError, UnicodeDecodeError):
        raise _unreadable(path) from None


def _unreadable(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be read; give a local Hugging Face folder (config.json, model.safetensors)"
    )
