"""The hub's state after a round, on disc whole or not at all, so that a run goes on where it stopped.

Shapes: N coordinates of the model, L tensors.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common.errors import IntegrityError
from common.files import whole_path
from common.project import Project
from common.regular_file import require_regular
from common.spec.privacy import JointPrivacySpec
from common.training.optimizer import learning_rate_at
from common.update import Layout, Vector
from server.optimizer import State, apply_update, fresh_state
from server.report.records import RoundRecord

KEPT = 3
"""Checkpoints that stay on disc; older ones are removed."""

CLIP_OVER_RMS = 100
"""A coordinate's bound next round, in root mean squares of its tensor's last mean update."""
LOWEST_CLIP_SHARE = 1e-3
"""No bound falls below this share of federation.update_clip: a tensor at rest must be able to move again."""


@dataclass
class GlobalState:
    """All that the hub carries from round to round."""

    round: int
    """Rounds finished."""
    weights: Vector
    """(N,)."""
    clips: Vector
    """(L,) bound on one coordinate of the next update, by tensor."""
    optimizer: State

    def advance(self, mean: Vector, project: Project) -> None:
        """Apply a round's mean update (N,) and set the next bounds from it.

        Under joint privacy it is minus a gradient: the optimiser takes it at the pace of `[train]`,
        parameters go back into their range as after a local step, and there are no bounds to set.
        """
        spec = project.spec
        optimizer, federation = spec.federation.server_optimizer, spec.federation
        if isinstance(spec.privacy, JointPrivacySpec):
            pace = learning_rate_at(self.round, federation.rounds, spec.train)
            apply_update(self.weights, mean, self.optimizer, optimizer, pace=pace)
            self.weights = project.in_range(self.weights)
        else:
            apply_update(self.weights, mean, self.optimizer, optimizer)
            self.clips = next_clips(mean, project.layout, lowest=LOWEST_CLIP_SHARE * federation.update_clip)
        self.round += 1


def fresh_global_state(project: Project) -> GlobalState:
    """The state before round 1: a function of the project alone."""
    model = project.fresh_model()
    weights = project.layout.flatten({name: tensor.numpy() for name, tensor in model.state_dict().items()})
    federation = project.spec.federation
    return GlobalState(
        round=0,
        weights=weights,
        clips=np.full(len(project.layout.names), federation.update_clip, dtype=np.float32),
        optimizer=fresh_state(federation.server_optimizer, len(weights)),
    )


def next_clips(mean: Vector, layout: Layout, *, lowest: float) -> Vector:
    """(L,) bounds that follow the public mean update (N,)."""
    bounds = [
        max(lowest, CLIP_OVER_RMS * float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))))
        for _, part in layout.split(mean)
    ]
    return np.array(bounds, dtype=np.float32)


def save_checkpoint(
    folder: Path, state: GlobalState, project: Project, record: RoundRecord | None = None
) -> Path:
    """Write `folder`/round-NNNN.safetensors and remove the ones before the last KEPT.

    `record` of the round, not judged yet, goes with it: a hub that is killed now has it nowhere else.

    Raises:
        ConfigurationError: the disk is full; earlier checkpoints are kept.
    """
    tensors = {"weights": state.weights, "clips": state.clips}
    tensors |= {f"optimizer/{name}": moment for name, moment in state.optimizer.items()}
    path = folder / f"round-{state.round:04d}.safetensors"
    with whole_path(path) as beside:
        metadata = {"round": json.dumps(state.round), "project": project.digest}
        if record is not None:
            metadata["record"] = record.model_dump_json()
        save_file(tensors, beside, metadata=metadata)
    for old in _checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def load_last_checkpoint(folder: Path, project: Project) -> GlobalState | None:
    """The state after the last finished round, or None before the first.

    Raises:
        IntegrityError: the checkpoint is another project's, or is damaged.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    path = found[-1]
    try:
        require_regular(path)
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError):
        raise _damaged(path) from None
    if metadata.get("project") != project.digest:
        raise IntegrityError(
            f"{path.name} belongs to another project; resume with the same spec, sites and bank, "
            "or name another --out"
        )
    return GlobalState(
        round=int(metadata["round"]),
        weights=tensors["weights"],
        clips=tensors["clips"],
        optimizer={
            name.removeprefix("optimizer/"): tensor
            for name, tensor in tensors.items()
            if name.startswith("optimizer/")
        },
    )


def last_record(folder: Path) -> RoundRecord | None:
    """What the last checkpoint says of its round, which was not judged yet; None without one.

    Raises:
        IntegrityError: the checkpoint is damaged.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    try:
        require_regular(found[-1])
        with safe_open(found[-1], framework="np") as file:
            record = (file.metadata() or {}).get("record")
        return None if record is None else RoundRecord.model_validate_json(record)
    except (SafetensorError, OSError, ValidationError):
        raise _damaged(found[-1]) from None


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(f"{path.name} is damaged; remove it to go on from the one before")


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("round-*.safetensors"))
