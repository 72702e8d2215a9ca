"""The trained model as a folder that `transformers` and `safetensors` load.

    config.json, model.safetensors   `AutoModel.from_pretrained(folder)` after `import common.export`
    tokenizer files                  `AutoTokenizer.from_pretrained(folder)`, nothing to import first

Shapes: B rows, C channels, S pixels a side, T word pieces, E embedding width.
"""

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from common.model.encoders import sine_positions
from common.model.vlp import VLPModel
from common.project import Project
from common.spec.run import Spec
from common.update import Vector


class FedVLPConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]  # transformers is untyped
    """What is needed to build the model again."""

    model_type = "fedvlp"

    def __init__(self, spec: dict[str, Any] | None = None, vocabulary_size: int = 0, **kwargs: Any) -> None:
        self.spec = spec
        self.vocabulary_size = vocabulary_size
        super().__init__(**kwargs)


class FedVLP(PreTrainedModel):  # type: ignore[no-untyped-call]  # transformers is untyped
    """The pretrained towers behind the method names that `CLIPModel` uses."""

    config_class = FedVLPConfig
    base_model_prefix = "fedvlp"
    _supports_sdpa = True

    def __init__(self, config: FedVLPConfig) -> None:
        super().__init__(config)
        self.vlp = VLPModel(Spec.model_validate(config.spec), config.vocabulary_size)
        self.post_init()  # type: ignore[no-untyped-call]  # transformers is untyped

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Fill in positions: loading leaves memory that no file fills, and only weights are in the file."""
        for name, positions in module.named_buffers(recurse=False):
            assert name == "positions", "every buffer is computed here"
            positions.copy_(sine_positions(math.isqrt(len(positions)), positions.shape[1]))

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, S, S) grey values in 0..1 -> (B, E) unit rows."""
        return self.vlp.embed_images(pixel_values)

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) word pieces -> (B, E) unit rows."""
        return self.vlp.embed_texts(input_ids, attention_mask.bool())

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(images, texts) cosine similarities."""
        return self.get_image_features(pixel_values) @ self.get_text_features(input_ids, attention_mask).T


AutoConfig.register(FedVLPConfig.model_type, FedVLPConfig)
AutoModel.register(FedVLPConfig, FedVLP)


def export_model(folder: Path, project: Project, weights: Vector) -> None:
    """Write the model with `weights` (N,) and its tokenizer to `folder`, whole or not at all."""
    config = FedVLPConfig(project.spec.model_dump(mode="json"), project.tokenizer.vocabulary_size)
    model = FedVLP(config)
    tensors = project.layout.unflatten(weights)
    model.vlp.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in tensors.items()})
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        model.save_pretrained(beside)
        project.tokenizer.to_transformers(max_tokens=project.spec.model.text.max_tokens).save_pretrained(
            beside
        )
        if folder.exists():
            shutil.rmtree(folder)
        beside.chmod(0o755)
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
