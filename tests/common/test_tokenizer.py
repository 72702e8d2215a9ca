import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor

from common.errors import ConfigurationError, IntegrityError
from common.text.ontology import sentences
from common.text.placeholders import Kind
from common.text.tokenizer import (
    CLS,
    IGNORED,
    MASK,
    PAD,
    REMOVED,
    SEP,
    SPECIAL_TOKENS,
    UNK,
    ReportTokenizer,
    _words,
    mask_tokens,
    train_tokenizer,
)

CORPUS = tuple(sentences())
TOKENIZER = train_tokenizer(CORPUS, vocabulary_size=1024)

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)
batches = st.lists(printable, min_size=1, max_size=6)
seeds = st.integers(0, 2**32 - 1)

TRAIN_AND_PRINT_DIGEST = """
from common.text.ontology import sentences
from common.text.tokenizer import train_tokenizer
print(train_tokenizer(sentences(), vocabulary_size=1024).digest())
"""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encoded(texts: list[str]) -> tuple[Tensor, Tensor]:
    return TOKENIZER.encode(texts, max_tokens=48)


@pytest.mark.parametrize(("hash_seed", "parallel"), [("1", "true"), ("77", "false")])
def test_another_process_learns_the_same_bytes(hash_seed: str, parallel: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TOKENIZERS_PARALLELISM": parallel}
    printed = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_PRINT_DIGEST],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.strip() == TOKENIZER.digest()


@pytest.mark.parametrize("kind", Kind)
def test_a_placeholder_is_one_unknown_word_and_teaches_no_piece(kind: Kind) -> None:
    ids, _ = encoded([f"seen by{kind.token}."])
    assert (ids == UNK).sum() == 1
    assert TOKENIZER.pieces(f"{kind.token}'s nodule") == ["[UNK]", "'", *TOKENIZER.pieces("s nodule")]
    flooded = [f"{kind.token} {text} {kind.token}{REMOVED}" for text in CORPUS]
    assert train_tokenizer(flooded, vocabulary_size=1024).to_bytes() == TOKENIZER.to_bytes()


@given(st.lists(st.text(max_size=40), max_size=6), st.integers(1, 4))
@settings(max_examples=300)
def test_words_are_counted_as_the_tokenizer_splits_each_text(texts: list[str], at_once: int) -> None:
    splitter, normalizer = BertPreTokenizer(), BertNormalizer(lowercase=True)
    expected = Counter(
        word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )
    with patch("common.text.tokenizer.TEXTS_AT_ONCE", at_once):
        assert _words(texts) == expected


def test_the_order_of_the_texts_does_not_matter() -> None:
    assert train_tokenizer(reversed(CORPUS), vocabulary_size=1024).to_bytes() == TOKENIZER.to_bytes()


def test_other_texts_give_another_digest() -> None:
    assert train_tokenizer(CORPUS[:200], vocabulary_size=1024).digest() != TOKENIZER.digest()


@pytest.mark.parametrize("size", [64, 100, 500, 1024])
def test_the_vocabulary_size_is_an_upper_bound(size: int) -> None:
    assert 64 <= train_tokenizer(CORPUS, vocabulary_size=size).vocabulary_size <= size


def test_special_tokens_have_the_first_ids() -> None:
    vocabulary = json.loads(TOKENIZER.to_bytes())["model"]["vocab"]
    assert [vocabulary[token] for token in SPECIAL_TOKENS] == [PAD, UNK, CLS, SEP, MASK] == [0, 1, 2, 3, 4]


@given(printable)
@settings(deadline=None)
def test_plain_text_is_never_unknown(text: str) -> None:
    ids, _ = TOKENIZER.encode([text], max_tokens=200)
    assert UNK not in ids


def test_frequent_letters_come_first_when_room_is_short() -> None:
    small = train_tokenizer(["789 %"] * 9, vocabulary_size=64)
    assert UNK not in small.encode(["987 %"], max_tokens=20)[0]


def test_a_frequent_word_is_one_piece() -> None:
    assert TOKENIZER.pieces("Pneumothorax") == ["pneumothorax"]


def test_decoding_gives_the_lower_case_text_back() -> None:
    ids, _ = encoded(["No pleural EFFUSION in the left hemithorax"])
    assert TOKENIZER.decode(ids[0]) == "no pleural effusion in the left hemithorax"


def test_a_special_token_written_in_a_report_is_plain_text() -> None:
    ids, mask = encoded(["[MASK] effusion [SEP] [PAD]"])
    assert ids[0, mask[0]].tolist().count(SEP) == 1
    assert not torch.isin(ids[0, mask[0]], torch.tensor([MASK, PAD])).any()
    assert encoded(["[MASK]"])[0].equal(
        ReportTokenizer.from_bytes(TOKENIZER.to_bytes()).encode(["[MASK]"], max_tokens=48)[0]
    )


@given(batches, st.integers(2, 40))
@settings(deadline=None)
def test_rows_begin_with_cls_end_with_sep_and_pad_to_the_longest(texts: list[str], max_tokens: int) -> None:
    ids, mask = TOKENIZER.encode(texts, max_tokens=max_tokens)
    lengths = mask.sum(1)
    assert ids.dtype == torch.int64
    assert mask.dtype == torch.bool
    assert ids.shape == mask.shape == (len(texts), int(lengths.max()))
    assert lengths.max() <= max_tokens
    assert (ids[:, 0] == CLS).all()
    assert (ids[torch.arange(len(texts)), lengths - 1] == SEP).all()
    assert (mask == (torch.arange(ids.shape[1]) < lengths[:, None])).all()
    assert (ids[~mask] == PAD).all()


@given(batches)
@settings(deadline=None)
def test_a_text_is_encoded_alike_alone_and_in_a_batch(texts: list[str]) -> None:
    ids, mask = encoded(texts)
    for text, row, valid in zip(texts, ids, mask, strict=True):
        assert encoded([text])[0][0].equal(row[valid])


def test_pads_further_when_asked() -> None:
    ids, mask = TOKENIZER.encode(["effusion"], max_tokens=48, pad_to=20)
    assert ids.shape == (1, 20)
    assert mask.sum() == 3


def test_an_empty_batch_has_no_rows() -> None:
    ids, mask = TOKENIZER.encode([], max_tokens=8, pad_to=8)
    assert ids.shape == mask.shape == (0, 8)


def test_continuing_pieces_do_not_start_a_word() -> None:
    vocabulary = json.loads(TOKENIZER.to_bytes())["model"]["vocab"]
    assert len(vocabulary) == TOKENIZER.vocabulary_size
    assert all(TOKENIZER.starts_word[i] == (not piece.startswith("##")) for piece, i in vocabulary.items())


def test_comes_back_from_its_file(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "tokenizer.json")
    again = ReportTokenizer.load(tmp_path / "tokenizer.json")
    assert again.digest() == TOKENIZER.digest()
    assert again.digest() == hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest()
    assert again.encode(CORPUS[:20], max_tokens=32)[0].equal(TOKENIZER.encode(CORPUS[:20], max_tokens=32)[0])


def renumbered() -> bytes:
    return TOKENIZER.to_bytes().replace(b'"[PAD]":0', b'"[PAD]":9999')


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[]", b"{}", b'{"model": 3}', renumbered()])
def test_refuses_a_file_that_is_no_tokenizer(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"^report\.json is not a tokenizer.*again"):
        ReportTokenizer.load(tmp_path / "report.json")


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.json: no such file"):
        ReportTokenizer.load(tmp_path / "absent.json")


@pytest.mark.parametrize("texts", [[], [""], ["  \n"]])
def test_refuses_to_learn_from_nothing(texts: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="no word"):
        train_tokenizer(texts, vocabulary_size=100)


def test_refuses_a_vocabulary_without_room_for_the_alphabet() -> None:
    with pytest.raises(ConfigurationError, match="at least 64"):
        train_tokenizer(CORPUS, vocabulary_size=20)


def test_auto_tokenizer_loads_the_export_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, content in TOKENIZER.transformers_files(max_tokens=48).items():
        (tmp_path / name).write_bytes(content)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    texts = [*CORPUS[:30], "a [MASK] in a report", "word " * 100]
    ids, mask = encoded(texts)
    theirs = loaded(texts, padding=True, truncation=True, return_tensors="pt")
    assert theirs["input_ids"].equal(ids)
    assert theirs["attention_mask"].bool().equal(mask)
    assert loaded.mask_token_id == MASK


@given(batches, st.floats(0, 1), seeds)
@settings(deadline=None)
def test_masking_hides_whole_words_only_and_remembers_them(texts: list[str], ratio: float, seed: int) -> None:
    ids, mask = encoded(texts)
    masked, labels = mask_tokens(ids, mask, ratio=ratio, generator=seeded(seed), tokenizer=TOKENIZER)
    hidden = labels != IGNORED
    assert torch.equal(masked[~hidden], ids[~hidden])
    assert (masked[hidden] == MASK).all()
    assert torch.equal(labels[hidden], ids[hidden])
    assert (ids[hidden] >= len(SPECIAL_TOKENS)).all()
    assert mask[hidden].all()
    continues = ~TOKENIZER.starts_word[ids]
    assert torch.equal(hidden[:, 1:][continues[:, 1:]], hidden[:, :-1][continues[:, 1:]])


@given(batches, st.floats(0, 1), seeds)
@settings(deadline=None)
def test_masking_hides_the_asked_share_of_words_and_at_least_one(
    texts: list[str], ratio: float, seed: int
) -> None:
    ids, mask = encoded(texts)
    _, labels = mask_tokens(ids, mask, ratio=ratio, generator=seeded(seed), tokenizer=TOKENIZER)
    starts = TOKENIZER.starts_word[ids] & mask & (ids >= len(SPECIAL_TOKENS))
    words, hidden = starts.sum(1), (starts & (labels != IGNORED)).sum(1)
    assert ((hidden >= 1) == (words >= 1)).all()
    assert (hidden <= words).all()
    assert ((hidden - ratio * words).abs() < 1 + 1e-4).logical_or(hidden == 1).all()


@given(st.sampled_from(range(0, len(CORPUS) - 8)), seeds)
@settings(max_examples=20, deadline=None)
def test_masking_follows_its_generator(start: int, seed: int) -> None:
    ids, mask = encoded(list(CORPUS[start : start + 8]))
    first, again = (
        mask_tokens(ids, mask, ratio=0.5, generator=seeded(seed), tokenizer=TOKENIZER, random_share=0.1)
        for _ in range(2)
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


@pytest.mark.parametrize("ratio", [0.15, 0.5])
def test_every_word_is_hidden_as_often_as_the_ratio_says(ratio: float) -> None:
    ids, mask = encoded([CORPUS[0]] * 4000)
    _, labels = mask_tokens(ids, mask, ratio=ratio, generator=seeded(0), tokenizer=TOKENIZER)
    share = (labels != IGNORED).float().mean(0)[1 : int(mask[0].sum()) - 1]
    assert torch.allclose(share, torch.full_like(share, ratio), atol=5 * (ratio * (1 - ratio) / 4000) ** 0.5)


def test_bert_masks_eighty_replaces_ten_and_keeps_ten_percent() -> None:
    ids, mask = encoded([CORPUS[0]] * 4000)
    masked, labels = mask_tokens(
        ids, mask, ratio=0.5, generator=seeded(1), tokenizer=TOKENIZER, random_share=0.1, kept_share=0.1
    )
    hidden = labels != IGNORED
    shown, true = masked[hidden], labels[hidden]
    assert (shown == MASK).float().mean() == pytest.approx(0.8, abs=0.01)
    assert (shown == true).float().mean() == pytest.approx(0.1, abs=0.01)
    assert (shown >= MASK).all()


def test_a_cut_word_hides_its_first_half_alone() -> None:
    pieces = TOKENIZER.pieces("xylophonist")
    ids, mask = TOKENIZER.encode(["xylophonist"], max_tokens=len(pieces))
    masked, _ = mask_tokens(ids, mask, ratio=0.15, generator=seeded(0), tokenizer=TOKENIZER)
    assert masked.tolist() == [[CLS, *[MASK] * (len(pieces) - 2), SEP]]


def test_a_row_that_begins_inside_a_word_counts_the_rest_as_a_word() -> None:
    ids, mask = TOKENIZER.encode(["xylophonist effusion"], max_tokens=48)
    tail, valid = ids[:, 2:], mask[:, 2:]
    _, labels = mask_tokens(tail, valid, ratio=0.5, generator=seeded(0), tokenizer=TOKENIZER)
    hidden = labels[0] != IGNORED
    rest, next_word = hidden[:-2], hidden[-2]  # before [SEP]
    assert torch.equal(rest, (~next_word).expand_as(rest))
