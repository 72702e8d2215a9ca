"""Pretrained towers as others save them, tiny and with weights of our own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers


def save_bert(folder: Path, pieces: Sequence[str], *, seed: int, lowercase: bool = True) -> Any:
    """Save a BERT of one layer that reads `pieces` to `folder`; return it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.BertModel(
            transformers.BertConfig(
                vocab_size=len(pieces), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=16, max_position_embeddings=32,
            )
        )  # fmt: skip
    model.eval().save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    return model
