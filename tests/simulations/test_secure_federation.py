"""The real apps with secure aggregation: the same weights as without, whoever drops out, and nothing beside."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.testing import assert_array_equal
from tiny import tiny_spec, tiny_store

from client import app as client_app
from client.secagg import DATABASE, STAGE, UPDATE
from common.errors import PeerError
from common.messages import CONSENT, HELLO, INPUT, REVEAL, SHARE, TRAIN, Step
from common.project import open_project
from common.spec.run import Spec
from common.store import Store
from common.update import Vector
from server.checkpoint import load_last_checkpoint
from server.cohort import exchange
from server.report.records import read_rounds, read_run
from simulations.federation import Federation, run_federation
from simulations.grid import Fault, Faults, InProcessGrid

SITES = ("east", "north", "south", "west")
STAGES = (TRAIN, SHARE, INPUT, CONSENT, REVEAL)
SECURE = {"mode": "sa1", "min_sites": 3, "rare_rows": "frozen"}


def spec(mode: str = "sa1", **changes: Any) -> Spec:
    """A round or two of four sites; nothing is judged."""
    settings: dict[str, Any] = {
        "evaluation__retrieval": False,
        "evaluation__zero_shot": [],
        "data__anchor_pairs": 0,
        "train__vocabulary_rows": "frozen",
        "train__local_steps": 1,
        "federation__rounds": 2,
        "federation__min_sites": 3,
        "secure_aggregation": SECURE if mode == "sa1" else {"mode": "off"},
    }
    return tiny_spec(**settings | changes)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("four")
    return {site: tiny_store(folder / site, seed=number).folder for number, site in enumerate(SITES)}


def run(out: Path, four: Mapping[str, Path], spec: Spec, **options: Any) -> Vector:
    """The weights after the last finished round."""
    run_federation(Federation(spec, four, None, out), **{"workers": 1} | options)
    return weights_at(out)


def weights_at(out: Path) -> Vector:
    state = load_last_checkpoint(out / "checkpoints", open_project(out / "project"))
    assert state is not None
    return state.weights


@pytest.mark.parametrize("profile", ["wide", "thin"])
def test_training_ends_in_the_weights_of_the_plain_run(tmp_path: Path, four: dict[str, Path], profile: str) -> None:
    plain = run(tmp_path / "plain", four, spec("off", federation__profile=profile))
    secure = run(tmp_path / "secure", four, spec(federation__profile=profile))
    assert_array_equal(secure, plain)
    start = open_project(tmp_path / "plain" / "project")
    assert (plain != start.layout.flatten({n: t.numpy() for n, t in start.fresh_model().state_dict().items()})).any()
    rounds = read_rounds(tmp_path / "secure")
    assert [[site.status for site in record.sites] for record in rounds] == [["ok"] * 4] * 2
    for site in rounds[0].sites:
        assert (site.examples, site.seconds_training, site.losses, site.validation) == (0, 0.0, {}, {})
