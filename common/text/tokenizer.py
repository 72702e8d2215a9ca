"""The vocabulary of reports, trained on public text or a pretrained tower's own, and whole-word masking.

Shapes: B texts in a batch, T tokens of the longest, V pieces in the vocabulary.
"""

import hashlib
import json
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from common.errors import ConfigurationError, IntegrityError
from common.files import write_whole
from common.regular_file import read_regular
from common.text.placeholders import TOKEN
from common.text.word_bounds import CONTINUES, word_bounds

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""In the order of their ids."""

REMOVED = "\N{FULL BLOCK}"
"""What the tokenizer makes of a placeholder: a sign that no vocabulary has."""

IGNORED = -100
"""Label of a token that is not to be predicted; the default of `torch.nn.functional.cross_entropy`."""

MIN_FREQUENCY = 2
"""A pair of pieces seen less often than this is not joined."""

TEXTS_AT_ONCE = 1000
"""Texts whose words are counted together: each call into the library takes as long as a sentence."""


class ReportTokenizer:
    """Turns reports into ids and back; never changes once made.

    Text is lower-cased, stripped of accents, split at spaces and punctuation, then into pieces. A special
    token written out in a report ("[MASK]") is ordinary text; a placeholder ("[NAME]") is one [UNK]. A
    pretrained tower's vocabulary keeps its own rules; see `common.text.byte_pairs` for byte pairs.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Wrap `tokenizer`, whose special tokens have the ids 0 to 4."""
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.starts_word, self.ends_word = word_bounds(tokenizer)
        """(V,) bool: a piece begins a word if it is the first, if it says so, or if the one before ends
        one."""

    @classmethod
    def of_pieces(cls, pieces: dict[str, int], *, lowercase: bool, where: str) -> tuple[Self, list[int]]:
        """A tokenizer of given WordPiece pieces, special tokens first, and each piece's number in `pieces`.

        Raises:
            ConfigurationError: `pieces`, which came from `where`, lack a special token.
        """
        missing = [token for token in SPECIAL_TOKENS if token not in pieces]
        if missing:
            raise ConfigurationError(f"{where}: no WordPiece vocabulary with {', '.join(missing)}")
        ordinary = sorted(set(pieces) - set(SPECIAL_TOKENS), key=lambda piece: pieces[piece])
        ordered = [*SPECIAL_TOKENS, *ordinary]
        vocabulary = {piece: number for number, piece in enumerate(ordered)}
        return cls(_assembled(vocabulary, lowercase=lowercase)), [pieces[piece] for piece in ordered]

    @property
    def vocabulary_size(self) -> int:
        """V, the special tokens included."""
        return len(self.starts_word)

    def encode(
        self, texts: Sequence[str], *, max_tokens: int, pad_to: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Ids of `texts`, each between [CLS] and [SEP] and cut at `max_tokens`.

        Args:
            texts: B reports; an empty one gives [CLS] [SEP].
            max_tokens: at least 2; the last token of a text that is cut is [SEP] as well.
            pad_to: T at least; without it T is the length of the longest text of the batch.

        Returns:
            (B, T) int64 ids and (B, T) bool mask, False on padding.
        """
        assert max_tokens >= 2, "room for [CLS] and [SEP]"
        # One text at a time: a batch would start threads, which a forked process must not inherit.
        rows = [self._tokenizer.encode(text).ids for text in texts]
        rows = [row if len(row) <= max_tokens else [*row[: max_tokens - 1], SEP] for row in rows]
        width = max([pad_to or 0, *map(len, rows)])
        ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows], dtype=torch.int64)
        ids = ids.reshape(len(rows), width)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return ids, torch.arange(width) < lengths[:, None]

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Text of one row of ids, special tokens left out."""
        listed = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        return self._tokenizer.decode(listed, skip_special_tokens=True)

    def pieces(self, text: str) -> list[str]:
        """Pieces of `text`, without special tokens."""
        return self._tokenizer.encode(text, add_special_tokens=False).tokens

    def to_bytes(self) -> bytes:
        """The whole tokenizer as JSON; the same tokenizer always gives the same bytes."""
        return self._tokenizer.to_str().encode()

    @classmethod
    def from_bytes(cls, content: bytes, *, where: str = "tokenizer") -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            IntegrityError: `content`, which came from `where`, is no tokenizer of ours.
        """
        try:
            if json.loads(content)["model"]["type"] not in ("WordPiece", "BPE"):
                raise ValueError("another kind of tokenizer")
            tokenizer = Tokenizer.from_buffer(content)
            if [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] != [PAD, UNK, CLS, SEP, MASK]:
                raise ValueError("other special tokens")
            if sorted(tokenizer.get_vocab().values()) != list(range(tokenizer.get_vocab_size())):
                raise ValueError("gaps between the ids")
        except Exception:  # the library raises bare Exception on a file it cannot read
            raise IntegrityError(
                f"{where} is not a tokenizer of this program; copy it again or train it anew"
            ) from None
        return cls(tokenizer)

    def save(self, path: Path) -> None:
        """Write one JSON file."""
        write_whole(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ConfigurationError: there is no such file.
            IntegrityError: the file is no tokenizer of ours.
        """
        try:
            content = read_regular(path)
        except OSError as error:
            reason = (error.strerror or "cannot be read").lower()
            raise ConfigurationError(f"tokenizer {path}: {reason}; give the path of its JSON file") from None
        return cls.from_bytes(content, where=path.name)

    def digest(self) -> str:
        """SHA-256 of `to_bytes`, hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def transformers_files(self, *, max_tokens: int) -> dict[str, bytes]:
        """File name -> content of a folder that `transformers.AutoTokenizer` loads offline.

        Args:
            max_tokens: length at which `truncation=True` cuts.
        """
        pad, unk, cls, sep, mask = SPECIAL_TOKENS
        config = {
            "backend": "tokenizers",
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": pad,
            "unk_token": unk,
            "cls_token": cls,
            "sep_token": sep,
            "mask_token": mask,
            "model_max_length": max_tokens,
            "model_input_names": ["input_ids", "attention_mask"],
            "split_special_tokens": True,
        }
        return {
            "tokenizer.json": self.to_bytes(),
            "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True).encode() + b"\n",
        }


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int) -> ReportTokenizer:
    """Learn pieces from `texts`, which must be public: a vocabulary tells rare words, such as names.

    The same texts, in any order, give the same bytes in any process: the library numbers single letters in
    the order of a hash map and breaks ties by these numbers, so we number them ourselves. All printable ASCII
    is in the vocabulary as long as there is room, so that plain text never becomes [UNK].

    Args:
        texts: read once; held in memory.
        vocabulary_size: upper bound on V, at least 64; a small corpus gives fewer pieces.

    Raises:
        ConfigurationError: `texts` has no word at all, or `vocabulary_size` is too small.
    """
    if vocabulary_size < 64:
        raise ConfigurationError(f"a vocabulary of {vocabulary_size} pieces is too small; give at least 64")
    corpus = [TOKEN.sub(" ", text) for text in texts]
    words = _words(corpus)
    if not words:
        raise ConfigurationError("no word to train a tokenizer on; give the bank's reports or the ontology")
    letters, continuations = _alphabet(words, room=vocabulary_size - len(SPECIAL_TOKENS))
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=[*SPECIAL_TOKENS, *continuations],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    learner = _assembled({})
    learner.train_from_iterator(corpus, trainer)
    # Built anew from the bare vocabulary: for the learner, continuations are special tokens.
    return ReportTokenizer(_assembled(learner.get_vocab()))


def mask_tokens(
    ids: Tensor,
    mask: Tensor,
    *,
    ratio: float,
    generator: torch.Generator,
    tokenizer: ReportTokenizer,
    random_share: float = 0.0,
    kept_share: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Hide whole words: a word's pieces are hidden together, special tokens never.

    Every row hides `ratio` of its words, rounded up or down at random so that the mean is exact, and at least
    one if it has any. Same generator state, same result, on any device.
    Source: Devlin et al. 2019, arXiv:1810.04805, section 3.1 (whole words: their 2019 update).

    Args:
        ids: (B, T) int64.
        mask: (B, T) bool, False on padding.
        ratio: share of the words, 0 to 1.
        generator: on the CPU.
        tokenizer: tells which pieces continue a word.
        random_share: share of the hidden tokens that become a random piece instead of [MASK]; BERT: 0.1.
        kept_share: share of the hidden tokens that stay as they are; BERT: 0.1.

    Returns:
        (B, T) ids with words hidden, and (B, T) labels: the true id where hidden, `IGNORED` elsewhere.
    """
    hidden = _chosen_words(ids, mask, ratio=ratio, generator=generator, tokenizer=tokenizer)
    fate = torch.rand(ids.shape, generator=generator).to(ids.device)
    pieces = torch.randint(len(SPECIAL_TOKENS), tokenizer.vocabulary_size, ids.shape, generator=generator)
    shown = torch.where(fate < random_share, pieces.to(ids.device), MASK)
    shown = torch.where(fate >= 1 - kept_share, ids, shown)
    return torch.where(hidden, shown, ids), torch.where(hidden, ids, IGNORED)


def _chosen_words(
    ids: Tensor, mask: Tensor, *, ratio: float, generator: torch.Generator, tokenizer: ReportTokenizer
) -> Tensor:
    """(B, T) bool, True on every piece of the words to hide."""
    ordinary = mask & (ids >= len(SPECIAL_TOKENS))
    in_word = ordinary & ~tokenizer.ends_word.to(ids.device)[ids]
    follows = torch.nn.functional.pad(in_word, (1, 0))[:, :-1]
    starts = ordinary & (tokenizer.starts_word.to(ids.device)[ids] | ~follows)
    word = starts.long().cumsum(1) - 1  # (B, T) which word of its row a piece belongs to
    num_words = starts.sum(1)
    rounding = torch.rand(len(ids), generator=generator).to(ids.device)
    num_hidden = (ratio * num_words + rounding).floor().long().clamp(min=1)
    lottery = torch.rand(ids.shape, generator=generator).to(ids.device)  # column w is the ticket of word w
    absent = torch.arange(ids.shape[1], device=ids.device) >= num_words[:, None]
    place = lottery.masked_fill(absent, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
    return ordinary & (place.gather(1, word.clamp(min=0)) < num_hidden[:, None])


def _assembled(vocabulary: dict[str, int], *, lowercase: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL_TOKENS[UNK]))
    removed = normalizers.Replace(Regex(TOKEN.pattern), f" {REMOVED} ")
    tokenizer.normalizer = normalizers.Sequence([removed, normalizers.BertNormalizer(lowercase=lowercase)])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUES)
    tokenizer.post_processor = processors.BertProcessing(
        (SPECIAL_TOKENS[SEP], SEP), (SPECIAL_TOKENS[CLS], CLS)
    )
    if vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def _words(corpus: list[str]) -> Counter[str]:
    """How often each lower-case word or punctuation mark occurs."""
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for start in range(0, len(corpus), TEXTS_AT_ONCE):
        texts = "\n".join(corpus[start : start + TEXTS_AT_ONCE])
        for run, times in Counter(normalizer.normalize_str(texts).split()).items():
            parts = [run] if run.isalnum() else [word for word, _ in splitter.pre_tokenize_str(run)]
            for word in parts:
                words[word] += times
    return words


def _alphabet(words: Counter[str], *, room: int) -> tuple[list[str], list[str]]:
    """Letters that may begin a word, and `##` pieces that may continue one; at most `room` together.

    Frequent letters come first, then the rest of printable ASCII; a letter that may stand inside a word takes
    two places.
    """
    alphanumeric = string.ascii_lowercase + string.digits
    seen = Counter(dict.fromkeys(alphanumeric + string.punctuation, 0))
    inside = set(alphanumeric)
    for word, count in words.items():
        seen.update(dict.fromkeys(word, count))
        inside.update(word[1:])
    del seen[REMOVED]
    letters: list[str] = []
    for letter in sorted(seen, key=lambda letter: (-seen[letter], letter)):
        room -= 2 if letter in inside else 1
        if room < 0:
            break
        letters.append(letter)
    return sorted(letters), [CONTINUES + letter for letter in sorted(letters) if letter in inside]
