"""The trained model for `transformers`: once this is imported, `AutoModel.from_pretrained(folder)` loads it.

`common.model_folder` writes the folder. Shapes: B rows, C channels, S pixels a side, T word pieces, E
embedding width.
"""

import math
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from common.model.encoders import sine_positions
from common.model.teacher import MODEL_TYPE
from common.model.tower_folder import Architecture
from common.model.vlp import VLPModel
from common.spec.run import Spec


class FedVLPConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]  # transformers is untyped
    """What is needed to build the model again."""

    model_type = MODEL_TYPE

    def __init__(
        self,
        spec: dict[str, Any] | None = None,
        vocabulary_size: int = 0,
        towers: dict[str, dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.spec = spec
        self.vocabulary_size = vocabulary_size
        self.towers = towers or {}
        super().__init__(**kwargs)


class FedVLP(PreTrainedModel):  # type: ignore[no-untyped-call]  # transformers is untyped
    """The pretrained towers behind the method names that `CLIPModel` uses."""

    config_class = FedVLPConfig
    base_model_prefix = "fedvlp"
    _supports_sdpa = True

    def __init__(self, config: FedVLPConfig) -> None:
        super().__init__(config)
        towers = {name: Architecture(**told) for name, told in config.towers.items()}
        self.vlp = VLPModel(Spec.model_validate(config.spec), config.vocabulary_size, towers)
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
