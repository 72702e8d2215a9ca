"""How the hub turns the mean update into the next model; all state is plain vectors that a checkpoint keeps.

Source: Reddi et al. 2021, arXiv:2003.00295 (FedAvgM, FedAdam); Nesterov's form as in Douillard et al. 2023,
arXiv:2311.08105. Shapes: N coordinates of the model.
"""

import numpy as np

from common.spec.federation import ServerOptimizerSpec
from common.update import CHUNK, Vector

State = dict[str, Vector]


def fresh_state(spec: ServerOptimizerSpec, coordinates: int) -> State:
    """Zero moments: none for FedAvg, one for momentum, two for Adam."""
    moments = {"fedavg": (), "momentum": ("first",), "adam": ("first", "second")}[spec.kind]
    return {name: np.zeros(coordinates, dtype=np.float32) for name in moments}


def apply_update(
    weights: Vector, mean: Vector, state: State, spec: ServerOptimizerSpec, *, pace: float = 1.0
) -> None:
    """Move `weights` (N,) by the mean update (N,), at `pace` times the spec's learning rate.

    `weights` and `state` are changed in place.
    """
    for begin in range(0, len(weights), CHUNK):
        part = slice(begin, begin + CHUNK)
        weights[part] += np.float32(pace * spec.learning_rate) * _direction(mean[part], state, part, spec)


def _direction(mean: Vector, state: State, part: slice, spec: ServerOptimizerSpec) -> Vector:
    if spec.kind == "fedavg":
        return mean
    beta = np.float32(spec.momentum)
    if spec.kind == "momentum":
        state["first"][part] = beta * state["first"][part] + mean
        return mean + beta * state["first"][part]
    beta2 = np.float32(spec.beta2)
    state["first"][part] = beta * state["first"][part] + (1 - beta) * mean
    state["second"][part] = beta2 * state["second"][part] + (1 - beta2) * np.square(mean)
    spread = np.sqrt(state["second"][part]) + np.float32(spec.adaptivity)
    return np.divide(state["first"][part], spread, dtype=np.float32)
