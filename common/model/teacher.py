"""A model that this program trained before, such as a teacher: a project carries a copy of its folder."""

import json
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from common.errors import ConfigurationError
from common.model.tower_folder import Architecture
from common.model.vlp import VLPModel
from common.regular_file import read_regular_text, require_regular
from common.spec.run import Spec
from common.text.tokenizer import ReportTokenizer

CONFIG, WEIGHTS, VOCABULARY = "config.json", "model.safetensors", "tokenizer.json"
FILES = (CONFIG, WEIGHTS, VOCABULARY)
MODEL_TYPE = "fedvlp"
"""What config.json says of a model of this program."""
PREFIX = "vlp."
"""Of every weight's name in the folder."""


TEACHER = "objectives.distillation.teacher"


def is_of_this_program(folder: Path) -> bool:
    """Whether `folder` says that this program wrote it."""
    try:
        told = json.loads(read_regular_text(folder / CONFIG))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("model_type") == MODEL_TYPE


def copy_model(source: Path, target: Path, *, key: str) -> list[Path]:
    """Take the model folder `source`, named by `key` of the spec, into a project; return the files written.

    Raises:
        ConfigurationError: a file of it is missing.
    """
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise ConfigurationError(
            f"{key} = '{source}' lacks {', '.join(missing)}; name the model/ folder of a finished run"
        )
    target.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(source / name, target / name)) for name in FILES]


def read_teacher(folder: Path, spec: Spec, tokenizer: ReportTokenizer) -> VLPModel:
    """The model in `folder`, for a run of `spec` that reads with `tokenizer`.

    Raises:
        ConfigurationError: it is no model of this program, reads other word pieces, or sees images that were
            prepared otherwise.
    """
    theirs, model = read_model(folder, key=TEACHER)
    if ReportTokenizer.load(folder / VOCABULARY).digest() != tokenizer.digest():
        raise ConfigurationError(
            f"{TEACHER} reads other word pieces than this project: train it with the "
            "same public bank, ontology and model.text.vocabulary_size"
        )
    if theirs.preparation != spec.preparation:
        raise ConfigurationError(
            f"{TEACHER} sees images prepared otherwise: [data.images] and model.image_size must be those of "
            "its spec"
        )
    return model


def read_model(folder: Path, *, key: str) -> tuple[Spec, VLPModel]:
    """The model in `folder`, which `key` of the spec names, and the spec of its run.

    Raises:
        ConfigurationError: it is no model of this program.
    """
    try:
        config = json.loads(read_regular_text(folder / CONFIG))
        require_regular(folder / WEIGHTS)
        theirs = Spec.model_validate(config["spec"])
        towers = {name: Architecture(**told) for name, told in config["towers"].items()}
        model = VLPModel(theirs, config["vocabulary_size"], towers)
        weights = load_file(folder / WEIGHTS)
        model.load_state_dict({name.removeprefix(PREFIX): weight for name, weight in weights.items()})
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError):
        raise ConfigurationError(
            f"{key} is no model of this version; name the model/ folder of a finished run"
        ) from None
    return theirs, model
