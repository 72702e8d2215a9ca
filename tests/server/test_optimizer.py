from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from common.spec.federation import ServerOptimizerSpec
from common.update import Vector
from server.optimizer import State, apply_update, fresh_state

KINDS = ["fedavg", "momentum", "adam"]


def vector(*values: float) -> Vector:
    return np.array(values, np.float32)


def two_steps(spec: ServerOptimizerSpec, first: Vector, second: Vector) -> tuple[Vector, State]:
    weights, state = np.zeros_like(first), fresh_state(spec, len(first))
    apply_update(weights, first, state, spec)
    apply_update(weights, second, state, spec)
    return weights, state


def spec(**changes: Any) -> ServerOptimizerSpec:
    return ServerOptimizerSpec(**changes)


def test_federated_averaging_with_rate_one_gives_the_mean_model() -> None:
    weights, trained = vector(1, -2, 3), vector(1.5, -2.5, 0)
    apply_update(weights, trained - weights, fresh_state(spec(), 3), spec())
    assert_array_equal(weights, trained)


def test_the_rate_scales_the_step() -> None:
    half, _ = two_steps(spec(learning_rate=0.5), vector(1, -1), vector(2, 4))
    assert_allclose(half, [1.5, 1.5])


def test_two_steps_of_nesterovs_momentum() -> None:
    a, b, beta, rate = vector(1, -2), vector(3, 0.5), 0.75, 0.5
    weights, state = two_steps(spec(kind="momentum", momentum=beta, learning_rate=rate), a, b)
    # m1 = a, step a + beta m1; m2 = beta a + b, step b + beta m2.
    assert_allclose(state["first"], beta * a + b, rtol=1e-6)
    assert_allclose(weights, rate * ((1 + beta) * a + b + beta * (beta * a + b)), rtol=1e-6)


def test_two_steps_of_adam() -> None:
    a, b = vector(1, -2, 0), vector(3, 0.5, 0)
    beta, beta2, tau, rate = 0.5, 0.9, 1e-3, 0.1
    weights, state = two_steps(
        spec(kind="adam", momentum=beta, beta2=beta2, adaptivity=tau, learning_rate=rate), a, b
    )
    first, second = (1 - beta) * a, (1 - beta2) * a**2
    expected = rate * first / (np.sqrt(second) + tau)
    first, second = beta * first + (1 - beta) * b, beta2 * second + (1 - beta2) * b**2
    expected = expected + rate * first / (np.sqrt(second) + tau)
    assert_allclose(state["first"], first, rtol=1e-5)
    assert_allclose(state["second"], second, rtol=1e-5)
    assert_allclose(weights, expected, rtol=1e-5)
    assert weights[2] == 0


def test_momentum_zero_is_federated_averaging() -> None:
    a, b = vector(1, -2), vector(3, 0.5)
    assert_array_equal(two_steps(spec(kind="momentum", momentum=0), a, b)[0], two_steps(spec(), a, b)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_everything_stays_float32_and_is_changed_in_place(kind: str) -> None:
    weights, chosen = vector(1, 2), spec(kind=kind)
    state = fresh_state(chosen, 2)
    held = [weights, *state.values()]
    mean = vector(0.5, -0.5)
    apply_update(weights, mean, state, chosen)
    assert all(one is other for one, other in zip(held, [weights, *state.values()], strict=True))
    assert {array.dtype for array in held} == {np.dtype(np.float32)}
    assert_array_equal(mean, vector(0.5, -0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_do_not_show(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 100)).astype(np.float32)
    whole, _ = two_steps(spec(kind=kind), a, b)
    monkeypatch.setattr("server.optimizer.CHUNK", 7)
    assert_array_equal(two_steps(spec(kind=kind), a, b)[0], whole)


def test_moments_are_as_many_as_the_rule_needs() -> None:
    assert [list(fresh_state(spec(kind=kind), 3)) for kind in KINDS] == [[], ["first"], ["first", "second"]]
