"""Every known mistake in private training, made in our code on purpose, is noticed."""

from pathlib import Path

import mistakes_around_steps
import mistakes_in_steps
import pytest
from mistakes_around_steps import Hospital
from privacy_mistake import ROWS, Mutant
from privacy_samples import private_spec
from tiny import SITES

from common.project import create_project
from common.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, stores: dict[str, Store], bank: Store) -> Hospital:
    folder: Path = tmp_path_factory.mktemp("mistakes")
    project = create_project(folder / "project", private_spec(), sites=[*SITES], bank=bank)
    return Hospital(project, stores, bank, folder)


def test_every_row_of_the_list_has_a_mutant() -> None:
    mutants = [*mistakes_in_steps.MUTANTS, *mistakes_around_steps.MUTANTS]
    assert {mutant.row for mutant in mutants} == {*ROWS}


@pytest.mark.parametrize("mutant", mistakes_in_steps.MUTANTS, ids=str)
def test_a_mistake_in_the_step_is_noticed(mutant: Mutant[None], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.break_(monkeypatch)
    assert mutant.alarms(None)


@pytest.mark.parametrize("mutant", mistakes_around_steps.MUTANTS, ids=str)
def test_a_mistake_around_the_step_is_noticed(
    mutant: Mutant[Hospital], hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant.break_(monkeypatch)
    assert mutant.alarms(hospital)


@pytest.mark.parametrize("alarms", mistakes_in_steps.ALARMS, ids=lambda alarms: alarms.__name__)
def test_a_right_step_raises_no_alarm(alarms: object) -> None:
    assert not alarms(None)


@pytest.mark.parametrize("alarms", mistakes_around_steps.ALARMS, ids=lambda alarms: alarms.__name__)
def test_right_surroundings_raise_no_alarm(alarms: object, hospital: Hospital) -> None:
    assert not alarms(hospital)
