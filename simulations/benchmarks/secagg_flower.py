"""Flower's own SecAgg+, for comparison only: its functions, in the order of its mod and its workflow.

Nothing of it protects anybody (its masks have seeds of 32 bits); FedVLP measures it and never runs it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord
from flwr.client.mod.secure_aggregation.secaggplus_mod import (
    SecAggPlusState,
    _collect_masked_vectors,
    _setup,
    _share_keys,
)
from flwr.common import bytes_to_ndarray, ndarrays_to_parameters
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_extract,
    get_parameters_shape,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

from common.secagg.terms import threshold
from common.update import Vector

CLIPPING_RANGE, TARGET_RANGE, MOD_RANGE, MAX_WEIGHT = 8.0, 1 << 22, 1 << 32, 1000.0
"""Flower's defaults."""


@dataclass(frozen=True)
class Peer:
    """What Flower's implementation costs."""

    client_seconds: float
    """CPU seconds of one site in a round."""
    hub_seconds: float
    bytes_per_parameter: float


def measure_flower(update: Vector, *, sites: int) -> Peer:
    """One site's part of a round, and the hub's with the same masked vector from every site."""
    needed = threshold(sites)
    clients = {nid: SecAggPlusState(nid=nid) for nid in range(1, sites + 1)}
    settings: dict[str, int | float] = {
        Key.SAMPLE_NUMBER: sites,
        Key.SHARE_NUMBER: sites,
        Key.THRESHOLD: needed,
        Key.CLIPPING_RANGE: CLIPPING_RANGE,
        Key.TARGET_RANGE: TARGET_RANGE,
        Key.MOD_RANGE: MOD_RANGE,
        Key.MAX_WEIGHT: MAX_WEIGHT,
    }
    keys = {nid: _setup(state, ConfigRecord({**settings})) for nid, state in clients.items()}
    adverts = ConfigRecord(
        {str(nid): [said[Key.PUBLIC_KEY_1], said[Key.PUBLIC_KEY_2]] for nid, said in keys.items()}  # type: ignore[misc]  # Flower's values are wider than its records
    )
    shared = {nid: _share_keys(state, adverts) for nid, state in clients.items() if nid > 1}
    parameters = ndarrays_to_parameters([update])

    started = time.process_time()
    _setup(SecAggPlusState(nid=1), ConfigRecord({**settings}))
    _share_keys(clients[1], adverts)
    sources = sorted(shared)
    texts = [_sealed_for(shared[nid], 1) for nid in sources]
    delivery = ConfigRecord({Key.SOURCE_LIST: sources, Key.CIPHERTEXT_LIST: texts})
    masked = _collect_masked_vectors(clients[1], delivery, 500, parameters)[Key.MASKED_PARAMETERS]
    client_seconds = time.process_time() - started
    assert isinstance(masked, list)
    vectors = [part for part in masked if isinstance(part, bytes)]

    shares = {nid: create_shares(state.rd_seed, needed, sites) for nid, state in clients.items()}
    started = time.process_time()
    _aggregate(vectors, shares, sites)
    hub_seconds = time.process_time() - started
    return Peer(client_seconds, hub_seconds, sum(map(len, vectors)) / len(update))


def _sealed_for(said: Mapping[str, object], receiver: int) -> bytes:
    destinations, texts = said[Key.DESTINATION_LIST], said[Key.CIPHERTEXT_LIST]
    assert isinstance(destinations, list)
    assert isinstance(texts, list)
    return bytes(texts[destinations.index(receiver)])


def _aggregate(vectors: list[bytes], shares: dict[int, list[bytes]], sites: int) -> list[np.ndarray]:
    """Flower's collect and unmask stages at the hub, nobody dropped."""
    total = [bytes_to_ndarray(part) for part in vectors]
    for _ in range(sites - 1):
        total = parameters_addition(total, [bytes_to_ndarray(part) for part in vectors])
    total = parameters_mod(total, MOD_RANGE)
    for held in shares.values():
        mask = pseudo_rand_gen(combine_shares(held), MOD_RANGE, get_parameters_shape(total))
        total = parameters_subtraction(total, mask)
    factor, total = factor_extract(parameters_mod(total, MOD_RANGE))
    mean = dequantize(total, CLIPPING_RANGE, TARGET_RANGE)
    for part in mean:
        part += -(sites - 1) * CLIPPING_RANGE
        part *= TARGET_RANGE / max(1, factor)
    return mean
