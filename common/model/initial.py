"""Training that goes on from a model of an earlier run, of public data say, instead of fresh weights."""

from pathlib import Path

import torch

from common.errors import ConfigurationError
from common.model.prompts import PROMPTS
from common.model.teacher import VOCABULARY, read_model
from common.model.vlp import VLPModel
from common.spec.run import Spec
from common.text.tokenizer import ReportTokenizer

INITIAL = "model.initial"
HEADS = "objectives."
"""Begins the names of the objectives' weights, which two runs need not have in common."""


def read_initial_vocabulary(folder: Path) -> ReportTokenizer:
    """The vocabulary of the model in `folder`, and so of the run that starts from it."""
    return ReportTokenizer.load(folder / VOCABULARY)


def start_from(model: VLPModel, folder: Path, spec: Spec) -> None:
    """Give the fresh `model` of a run of `spec` the weights in `folder`; it has no adapters yet.

    Heads of objectives that the earlier run did not have, and prompts, stay fresh; heads that only it had are
    left out.

    Raises:
        ConfigurationError: `folder` holds no model of this program, or one with other towers, or one that
            sees images prepared otherwise.
    """
    theirs, earlier = read_model(folder, key=INITIAL)
    if theirs.preparation != spec.preparation:
        raise ConfigurationError(
            f"{INITIAL} sees images prepared otherwise: [data.images] and model.image_size must be those of "
            "its spec"
        )
    found, wanted = earlier.state_dict(), model.state_dict()
    other = sorted(
        name
        for name in found.keys() | wanted.keys()
        if not (name.startswith(HEADS) or name.endswith(PROMPTS))
        and (name not in found or name not in wanted or found[name].shape != wanted[name].shape)
    )
    if other:
        raise ConfigurationError(
            f"{INITIAL} has another shape than [model] says, first in {other[0]}; "
            "write [model] as its spec does"
        )
    with torch.no_grad():
        for name, weight in wanted.items():
            if name in found and found[name].shape == weight.shape:
                weight.copy_(found[name])
