"""The state of a round between two steps, on the hospital's own disc: a killed site goes on where it was."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from common.errors import IntegrityError
from common.files import whole_path
from common.regular_file import require_regular
from common.spec.run import Spec
from common.training.losses import LossSums
from common.training.optimizer import MeanWeights

WEIGHT, MOMENT, MEAN = "weight", "moment", "mean"
"""Kinds of tensors in the file: the model's, the optimiser's, and the mean over the steps."""

STATE = "round"
"""Metadata key of the rest."""

OWNER_ONLY = 0o600
"""The state holds weights that nothing protects yet."""


@dataclass(frozen=True)
class RoundState:
    """Everything that the next step depends on, but for what spec, site and step number give."""

    key: str
    """Of `round_key`."""
    steps_taken: int
    tensors: dict[str, Tensor]
    losses: LossSums

    @classmethod
    def of(
        cls,
        key: str,
        steps_taken: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        means: MeanWeights | None,
        losses: LossSums,
    ) -> "RoundState":
        """The state as it is; a view of it, to be written before the next step."""
        tensors = {f"{WEIGHT}/{name}": tensor for name, tensor in model.state_dict().items()}
        for place, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{MOMENT}/{place}/{name}": tensor for name, tensor in moments.items()}
        if means is not None:
            tensors |= {f"{MEAN}/{name}": tensor for name, tensor in means.means.items()}
        return cls(key, steps_taken, tensors, losses)

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, means: MeanWeights | None
    ) -> LossSums:
        """Put the state back into a model, optimiser and mean of the same spec; return the losses so far."""
        model.load_state_dict(self._under(WEIGHT))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self._under(MOMENT).items():
            place, _, moment = name.partition("/")
            moments.setdefault(int(place), {})[moment] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        if means is not None:
            for name, tensor in self._under(MEAN).items():
                means.means[name].copy_(tensor)
        return self.losses

    def _under(self, kind: str) -> dict[str, Tensor]:
        start = f"{kind}/"
        return {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def round_key(spec: Spec, site: str, first_step: int, steps: int, model: nn.Module) -> str:
    """Names a round by all that decides how it ends: spec, site, steps and the weights it starts from."""
    digest = hashlib.sha256(f"{spec.digest()}/{site}/{first_step}/{steps}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_state(path: Path, state: RoundState) -> None:
    """Replace what `path` holds by `state`; a kill leaves the one or the other, whole.

    Raises:
        ConfigurationError: the disk is full.
    """
    told = {"key": state.key, "steps_taken": state.steps_taken, "losses": asdict(state.losses)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    with whole_path(path, mode=OWNER_ONLY) as beside:
        save_file(tensors, beside, metadata={STATE: json.dumps(told)})


def read_state(path: Path, key: str) -> RoundState | None:
    """The state that `path` holds of the round `key`; None when there is none, or that of another round.

    Raises:
        IntegrityError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        require_regular(path)
        with safe_open(path, framework="pt") as file:
            told = json.loads(file.metadata()[STATE])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise IntegrityError(
            f"{path} is damaged; delete it, and the round is trained from its beginning",
            outward="the state of the round is damaged",
        ) from None
    if told["key"] != key:
        return None
    return RoundState(key, told["steps_taken"], tensors, LossSums(**told["losses"]))
