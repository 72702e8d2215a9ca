"""Text towers with byte-pair vocabularies, held against transformers' own tokenisers and models."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PREPARATION, SITES, tiny_spec, tiny_store
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from common.data.batches import Batches
from common.data.corpus import read_corpus, reading_of
from common.errors import ConfigurationError
from common.model.pretrained import PretrainedText
from common.model.tower_folder import read_vocabulary
from common.model_folder import write_model
from common.project import Project, create_project, open_project, weights_of
from common.text.byte_pairs import NEW, BytePairs, byte_pair_tokenizer
from common.text.ontology import sentences
from common.text.tokenizer import CLS, MASK, PAD, SEP, ReportTokenizer, mask_tokens

transformers = pytest.importorskip("transformers")

ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
CLIP_ENDS = ["<|startoftext|>", "<|endoftext|>"]
WIDTHS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def learned(kind: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Pieces and merges as such a folder has them, special tokens where that family puts them."""
    suffix = "</w>" if kind == "clip" else ""
    learner = Tokenizer(models.BPE(end_of_word_suffix=suffix))
    learner.pre_tokenizer = (
        pre_tokenizers.Sequence(
            [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        if suffix
        else pre_tokenizers.ByteLevel()
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    first = [] if suffix else ROBERTA_SPECIALS
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        show_progress=False,
        initial_alphabet=alphabet,
        special_tokens=[*first, *(letter + suffix for letter in alphabet if suffix)],
    )
    learner.train_from_iterator([text.lower() for text in sentences()], trainer)
    told = json.loads(learner.to_str())["model"]
    pieces: dict[str, int] = told["vocab"]
    for name in CLIP_ENDS if suffix else ["<mask>"]:
        pieces[name] = len(pieces)
    return pieces, [(left, right) for left, right in told["merges"]]


LEARNED = {kind: learned(kind) for kind in ("roberta", "clip")}


def their_tokenizer(kind: str) -> Any:
    pieces, merges = LEARNED[kind]
    if kind == "clip":
        return transformers.CLIPTokenizer(vocab=dict(pieces), merges=list(merges))
    return transformers.RobertaTokenizer(vocab=dict(pieces), merges=list(merges), add_prefix_space=True)


def their_model(kind: str) -> Any:
    pieces, _ = LEARNED[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if kind == "roberta":
            return transformers.RobertaModel(
                transformers.RobertaConfig(
                    vocab_size=len(pieces), max_position_embeddings=34, pad_token_id=1, **WIDTHS
                )
            ).eval()
        text = {
            **WIDTHS, "vocab_size": len(pieces), "max_position_embeddings": 32, "pad_token_id": 1,
            "bos_token_id": pieces[CLIP_ENDS[0]], "eos_token_id": pieces[CLIP_ENDS[1]],
        }  # fmt: skip
        vision = {**WIDTHS, "image_size": 16, "patch_size": 4}
        return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision)).eval()


def save_tower(folder: Path, kind: str, *, old_files: bool = False) -> Any:
    model = their_model(kind)
    model.save_pretrained(folder)
    if old_files:
        pieces, merges = LEARNED[kind]
        (folder / "vocab.json").write_text(json.dumps(pieces))
        (folder / "merges.txt").write_text(
            "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)
        )
    else:
        their_tokenizer(kind).save_pretrained(folder)
    return model


def project_with(tmp_path: Path, **changes: Any) -> Project:
    spec = tiny_spec(model__text__encoder=f"hf:{tmp_path / 'text'}", **changes)
    bank = tiny_store(tmp_path / "bank", rows=12)
    return create_project(tmp_path / "project", spec, sites=[*SITES], bank=bank)


def our_tokenizer(kind: str) -> tuple[ReportTokenizer, list[int]]:
    pieces, merges = LEARNED[kind]
    pairs = BytePairs(pieces, merges, "</w>" if kind == "clip" else "")
    return byte_pair_tokenizer(pairs, pairs.special_tokens, where="folder")


TOKENIZERS = {kind: our_tokenizer(kind) for kind in LEARNED}
THEIRS = {kind: their_tokenizer(kind) for kind in LEARNED}

kinds = pytest.mark.parametrize("kind", sorted(LEARNED))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=60)


@kinds
@settings(deadline=None)
@given(text=texts)
def test_text_is_cut_as_transformers_cuts_it(kind: str, text: str) -> None:
    tokenizer, order = TOKENIZERS[kind]
    ids, _ = tokenizer.encode([text], max_tokens=20)
    theirs = THEIRS[kind](text, truncation=True, max_length=20)["input_ids"]
    assert [order[i] for i in ids[0].tolist()] == theirs


@kinds
@pytest.mark.parametrize("old_files", [True, False])
def test_a_folder_gives_the_same_vocabulary_by_old_files_and_new(
    tmp_path: Path, kind: str, old_files: bool
) -> None:
    save_tower(tmp_path, kind, old_files=old_files)
    tokenizer, order = read_vocabulary(tmp_path)
    expected, places = TOKENIZERS[kind]
    assert order == places
    for text in ("Small pleural effusion, left. No pneumothorax", " the [DATE]  study"):
        assert tokenizer.pieces(text) == expected.pieces(text)


@kinds
def test_the_tower_says_what_transformers_says_of_the_same_words(tmp_path: Path, kind: str) -> None:
    theirs = save_tower(tmp_path / "text", kind)
    project = project_with(tmp_path)
    tower = project.fresh_model().text.eval()
    assert isinstance(tower, PretrainedText)
    read = ["Opacity on the left.", "No pleural effusion or pneumothorax is seen", ""]
    tokens, mask = project.tokenizer.encode(read, max_tokens=24)
    given = THEIRS[kind](read, padding=True, truncation=True, max_length=24, return_tensors="pt")
    assert given["attention_mask"].bool().equal(mask)
    with torch.no_grad():
        said = (theirs.text_model if kind == "clip" else theirs)(**given)
        found = tower(tokens, mask)
    torch.testing.assert_close(found.x[mask], said.last_hidden_state[mask], rtol=1e-4, atol=1e-5)
    pooled = said.pooler_output if kind == "clip" else said.last_hidden_state[:, 0]
    torch.testing.assert_close(found.pooled, pooled, rtol=1e-4, atol=1e-5)


@kinds
@settings(deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["effusion", "pneumothorax", "left", "zqx", ",", "-", "(", "."]),
        min_size=1,
        max_size=9,
    ),
    seed=st.integers(0, 1000),
)
def test_words_are_hidden_whole(kind: str, words: list[str], seed: int) -> None:
    tokenizer, _ = TOKENIZERS[kind]
    # Signs that touch are one word in these vocabularies.
    text = re.sub(r"([,\-(.]) (?=[,\-(.])", r"\1 x ", " ".join(words))
    text = re.sub(r" ([,.-])", r"\1", text)
    ids, mask = tokenizer.encode([text], max_tokens=80)
    chance = torch.Generator().manual_seed(seed)
    hidden, labels = mask_tokens(ids, mask, ratio=0.5, generator=chance, tokenizer=tokenizer)
    assert (hidden[labels >= 0] == MASK).all()
    shown = [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)]
    place = 1
    for word in shown:
        spelt = 0
        fates = set()
        while spelt < len(word):
            piece = tokenizer.decode([int(ids[0, place])]).strip()
            spelt += len(piece)
            if piece:  # a space by itself belongs to no word
                fates.add(bool(labels[0, place] >= 0))
            place += 1
        assert len(fates) == 1, (text, word)
    assert int(ids[0, place]) == SEP


@kinds
@given(seed=st.integers(0, 1000))
@settings(deadline=None)
def test_neighbouring_words_are_hidden_apart(kind: str, seed: int) -> None:
    tokenizer, _ = TOKENIZERS[kind]
    ids, mask = tokenizer.encode(["left-sided effusion, (small)"], max_tokens=80)
    chance = torch.Generator().manual_seed(seed)
    _, labels = mask_tokens(ids, mask, ratio=1e-9, generator=chance, tokenizer=tokenizer)
    spelt = tokenizer.decode(labels[labels >= 0]).strip()
    assert spelt in {"left", "-", "sided", "effusion", ",", "(", "small", ")", ""}


@kinds
def test_a_removed_identifier_is_read_as_a_blank_and_text_comes_back(kind: str) -> None:
    tokenizer, _ = TOKENIZERS[kind]
    assert tokenizer.pieces("seen by [NAME] today") == tokenizer.pieces("seen by ___ today")
    ids, _ = tokenizer.encode(["the heart is enlarged, left ventricle"], max_tokens=40)
    assert tokenizer.decode(ids[0]).replace(" ,", ",") == "the heart is enlarged, left ventricle"
    again = ReportTokenizer.from_bytes(tokenizer.to_bytes())
    assert again.digest() == tokenizer.digest()
    assert again.encode(["[MASK] <s> </s>"], max_tokens=40)[0][0, 1:-1].min() > MASK


@kinds
def test_what_clip_lacks_gets_the_mean_vector(kind: str) -> None:
    _, order = TOKENIZERS[kind]
    assert (order[MASK] == NEW) == (kind == "clip")
    pieces, _ = LEARNED[kind]
    names = CLIP_ENDS if kind == "clip" else ["<s>", "</s>"]
    assert [order[CLS], order[SEP]] == [pieces[name] for name in names]
    assert order[PAD] == pieces["<|endoftext|>" if kind == "clip" else "<pad>"]


@kinds
def test_such_towers_learn_from_all_objectives_and_their_export_loads(tmp_path: Path, kind: str) -> None:
    import common.export  # noqa: F401 - registers the model

    save_tower(tmp_path / "text", kind)
    project = project_with(tmp_path)
    model = project.fresh_model()
    corpus = read_corpus(
        tiny_store(tmp_path / "east"),
        "train",
        project.tokenizer,
        preparation=PREPARATION,
        reading=reading_of(project.spec),
    )
    found = model.losses(Batches(project.spec, project.tokenizer, corpus, corpus, "east").at(0))
    model.total(found).backward()
    assert found.keys() == set(project.spec.objectives.names)
    assert all(w.grad is not None and bool(w.grad.isfinite().all()) for w in model.parameters())
    again = open_project(project.folder).fresh_model()
    assert all(torch.equal(w, again.state_dict()[key]) for key, w in model.state_dict().items())
    write_model(tmp_path / "export", project, project.layout.flatten(weights_of(model)))
    loaded = transformers.AutoModel.from_pretrained(tmp_path / "export", local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "export", local_files_only=True)
    given = tokenizer(["opacity on the left, [DATE]"], return_tensors="pt")
    tokens, mask = project.tokenizer.encode(["opacity on the left, [DATE]"], max_tokens=24)
    assert given["input_ids"].equal(tokens)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.get_text_features(tokens, mask), model.eval().embed_texts(tokens, mask)
        )


@kinds
def test_frozen_vocabulary_rows_are_not_exchanged(tmp_path: Path, kind: str) -> None:
    save_tower(tmp_path / "text", kind)
    sent = project_with(tmp_path, train__vocabulary_rows="frozen").layout.names
    rows = {name for name in sent if "word_embeddings" in name or "token_embedding." in name}
    assert rows == set()


@pytest.mark.parametrize("damage", ["no merges", "merges", "kind", "ends", "vectors", "weights", "longer"])
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "text"
    save_tower(folder, "roberta", old_files=True)
    pieces, _ = LEARNED["roberta"]
    words = {
        "no merges": "has no vocabulary",
        "merges": "the merges are of pieces",
        "kind": "of type Unigram",
        "ends": r"no token for \[SEP\]",
        "vectors": "vectors",
        "weights": "the weights lack",
        "longer": "reads at most 32",
    }
    changes: dict[str, Any] = {"model__text__max_tokens": 33} if damage == "longer" else {}
    match damage:
        case "no merges":
            (folder / "merges.txt").unlink()
        case "merges":
            (folder / "merges.txt").write_text("#version: 0.2\nqq zz\n")
        case "kind":
            (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram", "vocab": []}}))
        case "ends":
            left = {piece: number for piece, number in pieces.items() if piece != "</s>"}
            (folder / "vocab.json").write_text(json.dumps(left))
        case "vectors":
            (folder / "vocab.json").write_text(json.dumps(pieces | {"zzzz": len(pieces)}))
        case "weights":
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ConfigurationError, match=words[damage]) as caught:
        project_with(tmp_path, **changes).fresh_model()
    assert "\n" not in str(caught.value)


def test_prompts_that_no_word_would_see_are_refused(tmp_path: Path) -> None:
    save_tower(tmp_path / "text", "clip")
    with pytest.raises(ConfigurationError, match="reads from left to right"):
        project_with(tmp_path, model__adaptation={"kind": "prompt", "towers": ["text"]}).fresh_model()


def test_prompts_steer_roberta(tmp_path: Path) -> None:
    save_tower(tmp_path / "text", "roberta")
    project = project_with(tmp_path, model__adaptation={"kind": "prompt", "towers": ["text"]})
    model = project.fresh_model().eval()
    tokens, mask = project.tokenizer.encode(["left", "no effusion"], max_tokens=8)
    with torch.no_grad():
        before = model.text(tokens, mask)
        model.text.prompts.copy_(3 * torch.randn(model.text.prompts.shape))
        after = model.text(tokens, mask)
    assert before.x.shape == after.x.shape
    assert not torch.allclose(before.pooled, after.pooled)
