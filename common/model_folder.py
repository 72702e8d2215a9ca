"""A trained model as a folder that `transformers` and `safetensors` load.

    config.json, model.safetensors         `AutoModel.from_pretrained(folder)` after `import common.export`
    tokenizer.json, tokenizer_config.json  `AutoTokenizer.from_pretrained(folder)`, nothing to import first

Written without `transformers`, which takes longer to import than a small federation to run.
Shapes: N coordinates of the model.
"""

import json
from pathlib import Path

import torch
from safetensors.numpy import save_file

from common.files import whole_folder
from common.model.adaptation import merged_state
from common.model.teacher import MODEL_TYPE
from common.project import Project
from common.update import Vector, Weights

ARCHITECTURE = "FedVLP"
"""Name of the class in `common.export`."""


def write_model(folder: Path, project: Project, weights: Vector) -> None:
    """Write the model with `weights` (N,) and its tokenizer to `folder`, whole or not at all."""
    tensors = _whole_model(project, weights)
    tokenizer = project.tokenizer.transformers_files(max_tokens=project.spec.model.text.max_tokens)
    with whole_folder(folder) as beside:
        save_file(
            {f"vlp.{name}": array for name, array in tensors.items()},
            beside / "model.safetensors",
            metadata={"format": "pt"},
        )
        (beside / "config.json").write_text(
            json.dumps(_model_config(project), indent=2, sort_keys=True) + "\n"
        )
        for name, content in tokenizer.items():
            (beside / name).write_bytes(content)


def _whole_model(project: Project, weights: Vector) -> Weights:
    """Every tensor of the model, those that no run changes included; adapters are merged."""
    exchanged = project.layout.unflatten(weights)
    model = project.fresh_model()
    if exchanged.keys() == model.state_dict().keys():
        return exchanged
    model.load_exchanged({name: torch.from_numpy(array.copy()) for name, array in exchanged.items()})
    return {name: tensor.detach().numpy() for name, tensor in merged_state(model).items()}


def _model_config(project: Project) -> dict[str, object]:
    model = project.spec.model
    if not model.prompted:  # adapters are merged; prompts are read as long as the model is
        model = model.model_copy(update={"adaptation": None})
    spec = project.spec.model_copy(update={"model": model})
    return {
        "architectures": [ARCHITECTURE],
        "dtype": "float32",
        "model_type": MODEL_TYPE,
        "spec": spec.model_dump(mode="json"),
        "vocabulary_size": project.tokenizer.vocabulary_size,
        "towers": {name: tower.to_json() for name, tower in project.towers.items()},
    }
