"""A hospital's part of a round under privacy: charged first, and only noise and public facts leave."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from one_site import ask
from privacy_samples import private_spec
from tiny import SITES, first_instruction, node_config

from client.ledger import Ledger
from client.round import open_site
from common.messages import Answer, Instruction
from common.project import Project, create_project
from common.store import Store
from common.update import sum_names


@pytest.fixture(scope="module")
def private_project(tmp_path_factory: pytest.TempPathFactory, bank: Store) -> Project:
    folder = tmp_path_factory.mktemp("private") / "project"
    return create_project(folder, private_spec(), sites=[*SITES], bank=bank)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open_new(tmp_path / "ledger", population="east", epsilon=30.0, delta=1e-2)


@pytest.fixture
def node(private_project: Project, stores: dict[str, Store], bank: Store, ledger: Ledger) -> dict[str, str]:
    return node_config(private_project, stores, "east", bank) | {"ledger": str(ledger.folder)}


def answered(node: dict[str, str], said: Instruction) -> Answer:
    reply = ask(node, said.to_records())
    assert not reply.has_error(), reply.error.reason
    return Answer.from_records(reply.content)


def refusal(node: dict[str, str], said: Instruction) -> str:
    reply = ask(node, said.to_records())
    assert reply.has_error()
    return str(reply.error.reason)


def test_nothing_leaves_but_the_update_public_numbers_and_the_ledgers_head(
    node: dict[str, str], ledger: Ledger, private_project: Project
) -> None:
    reply = ask(node, first_instruction(private_project).to_records())
    assert {name: sorted(record) for name, record in reply.content.items()} == {
        "round": ["model", "project", "round"],
        "update": ["high", "low"],
        "sums": ["sums"],
        "ledger": ["head", "steps"],
    }
    answer = Answer.from_records(reply.content)
    sums = dict(zip(sum_names(private_project.spec.objectives.names), answer.sums.tolist(), strict=True))
    told = {name for name, value in sums.items() if value}
    assert told <= {"weight", "steps", "clipped"}  # no losses, no counts of rows, no times
    assert sums["weight"] == private_project.spec.federation.weight_cap
    assert answer.ledger is not None
    assert answer.ledger.head == ledger.read().head
    assert answer.ledger.steps == 2


def test_a_round_is_reserved_before_training_and_ended_after(
    node: dict[str, str], ledger: Ledger, private_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def training(*_: object, **__: object) -> None:
        seen.append((len(ledger.read().reserved), dict(ledger.read().ended)))

    monkeypatch.setattr("client.protection.train_privately", training)
    answered(node, first_instruction(private_project))
    assert seen == [(1, {})]
    assert list(ledger.read().ended.values()) == ["DONE"]


def test_a_round_that_fails_stays_charged(
    node: dict[str, str], ledger: Ledger, private_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError("mueller_hans")

    monkeypatch.setattr("client.protection.train_privately", failing)
    assert "mueller" not in refusal(node, first_instruction(private_project))
    assert list(ledger.read().ended.values()) == ["ABORT"]
    assert len(ledger.read().reserved) == 1


def test_the_same_instruction_again_draws_other_noise_and_is_charged_again(
    node: dict[str, str], ledger: Ledger, private_project: Project
) -> None:
    said = first_instruction(private_project)
    first, second = (answered(node, said) for _ in range(2))
    assert not np.array_equal(first.sums, second.sums) or first.ledger != second.ledger
    with pytest.raises(AssertionError):
        assert_array_equal(first.planes.low, second.planes.low)
    assert second.ledger is not None
    assert second.ledger.steps == 4


def test_a_spent_budget_refuses_and_reads_nothing(
    tmp_path: Path, node: dict[str, str], private_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Ledger.open_new(tmp_path / "small", population="east", epsilon=0.01, delta=1e-2)
    monkeypatch.setattr("client.protection.train_privately", lambda *_, **__: pytest.fail("read"))
    said = refusal(node | {"ledger": str(small.folder)}, first_instruction(private_project))
    assert "PolicyError'>:<'privacy budget refused'>" in said
    assert small.read().spent() == []


def test_a_restored_old_ledger_refuses_what_the_hub_remembers_better(
    node: dict[str, str], private_project: Project
) -> None:
    said = first_instruction(private_project)
    rolled_back = Instruction(**{**vars(said), "ledgers": {"east": "f" * 64}})
    assert "ledger older than the hub remembers" in refusal(node, rolled_back)


@pytest.mark.parametrize("where", ["", "absent"])
def test_without_a_ledger_the_hospital_stays_out(
    node: dict[str, str], private_project: Project, tmp_path: Path, where: str
) -> None:
    folder = str(tmp_path / where) if where else ""
    assert "no privacy ledger" in refusal(node | {"ledger": folder}, first_instruction(private_project))


def test_a_site_counts_by_its_public_size_class(
    tmp_path: Path, stores: dict[str, Store], bank: Store, ledger: Ledger
) -> None:
    spec = private_spec(patients={"east": 5, "north": 5, "west": 5}, federation__weighting="examples")
    project = create_project(tmp_path / "project", spec, sites=[*SITES], bank=bank)
    site = open_site(node_config(project, stores, "east", bank) | {"ledger": str(ledger.folder)})
    assert site.weight == 5
    assert site.train_rows == 12
