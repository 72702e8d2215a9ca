"""Byte-pair vocabularies of pretrained towers, GPT-2's kind (RoBERTa) and CLIP's, with our special tokens.

Source: Radford et al. 2019 (GPT-2), section 2.2, after Sennrich et al. 2016, arXiv:1508.07909.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from common.errors import ConfigurationError
from common.text.placeholders import TOKEN
from common.text.tokenizer import CLS, SEP, SPECIAL_TOKENS, UNK, ReportTokenizer
from common.text.word_bounds import ENDS, SPACE

BLANK = " ___"
"""What is read where an identifier was removed; public report collections write it so."""

NEW = -1
"""Number of a special token that the folder's vocabulary does not have."""

CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP cuts text into words (Radford et al. 2021, arXiv:2103.00020)."""


@dataclass(frozen=True)
class BytePairs:
    """A vocabulary as its folder has it."""

    pieces: Mapping[str, int]
    """Special tokens among them."""
    merges: Sequence[tuple[str, str]]
    suffix: str = ""
    """Of pieces that end a word: `</w>` in CLIP's kind."""
    rules: Mapping[str, Any] = field(default_factory=dict)
    """`normalizer` and `pre_tokenizer` as tokenizer.json has them; empty for those of its kind."""

    @property
    def special_tokens(self) -> tuple[str | None, ...]:
        """What this kind calls padding, unknown, beginning, end and mask, if the folder does not say."""
        if self.suffix:
            return "<|endoftext|>", "<|endoftext|>", "<|startoftext|>", "<|endoftext|>", None
        return "<pad>", "<unk>", "<s>", "</s>", "<mask>"


def byte_pair_tokenizer(
    vocabulary: BytePairs, special: Sequence[str | None], *, where: str
) -> tuple[ReportTokenizer, list[int]]:
    """A tokenizer that cuts text as `vocabulary` does, and each piece's number there, special tokens first.

    In GPT-2's kind a text's first word reads as if a space stood before it: sentences of a report are shown
    in any order, and a word must not change with its place.

    Args:
        vocabulary: of the folder.
        special: its names for padding, unknown, beginning, end and mask; None for one it lacks.
        where: it came from.

    Raises:
        ConfigurationError: it is not made of bytes, its merges do not fit its pieces, or it cannot begin or
            end a text.
    """
    missing = [SPECIAL_TOKENS[at] for at in (CLS, SEP) if special[at] not in vocabulary.pieces]
    if missing:
        raise ConfigurationError(f"{where}: the vocabulary has no token for {', '.join(missing)}")
    numbers = dict(vocabulary.pieces)
    renamed = [NEW if name is None else numbers.get(name, NEW) for name in special]
    ordinary = sorted(set(numbers) - set(special) - set(SPECIAL_TOKENS), key=lambda piece: numbers[piece])
    ordered = {piece: place for place, piece in enumerate([*SPECIAL_TOKENS, *ordinary])}
    try:
        model = models.BPE(
            ordered,
            list(vocabulary.merges),
            unk_token=SPECIAL_TOKENS[UNK],
            end_of_word_suffix=vocabulary.suffix,
        )
    except Exception:  # the library raises bare Exception on merges of pieces that are not there
        raise ConfigurationError(f"{where}: the merges are of pieces that the vocabulary lacks") from None
    rules = vocabulary.rules or _rules_of_kind(clip=bool(vocabulary.suffix))
    if "ByteLevel" not in json.dumps(rules.get("pre_tokenizer")):
        raise ConfigurationError(f"{where}: the vocabulary is not made of bytes, and other kinds do not work")
    tokenizer = Tokenizer.from_str(
        json.dumps(json.loads(Tokenizer(model).to_str()) | _our_rules(rules, clip=bool(vocabulary.suffix)))
    )
    tokenizer.decoder = _decoder(clip=bool(vocabulary.suffix))
    tokenizer.post_processor = processors.BertProcessing(
        (SPECIAL_TOKENS[SEP], SEP), (SPECIAL_TOKENS[CLS], CLS)
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return ReportTokenizer(tokenizer), [*renamed, *(numbers[piece] for piece in ordinary)]


def _rules_of_kind(*, clip: bool) -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    if clip:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        words = pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [words, pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    told: dict[str, Any] = json.loads(tokenizer.to_str())
    return told


def _our_rules(rules: Mapping[str, Any], *, clip: bool) -> dict[str, Any]:
    """`rules` after blanks for placeholders, and with a space before the first word but in CLIP's kind."""
    blanks = Tokenizer(models.BPE())
    blanks.normalizer = normalizers.Replace(Regex(f" ?{TOKEN.pattern}"), BLANK)
    first = json.loads(blanks.to_str())["normalizer"]
    theirs = [rules["normalizer"]] if rules.get("normalizer") else []
    before = rules["pre_tokenizer"]
    return {
        "normalizer": {"type": "Sequence", "normalizers": [first, *theirs]},
        "pre_tokenizer": before if clip else _with_space(before),
    }


def _with_space(rule: dict[str, Any]) -> dict[str, Any]:
    if rule["type"] == "Sequence":
        return {**rule, "pretokenizers": [_with_space(part) for part in rule["pretokenizers"]]}
    return {**rule, "add_prefix_space": True} if rule["type"] == "ByteLevel" else rule


def _decoder(*, clip: bool) -> decoders.Sequence:
    if clip:
        ended = decoders.Replace(ENDS, SPACE)
        return decoders.Sequence([ended, decoders.ByteLevel(), decoders.Strip(" ", 0, 1)])
    return decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
