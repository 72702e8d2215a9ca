"""The private project of the tiny hospitals, and the patients of one."""

import pytest
from privacy_samples import open_population, private_spec
from tiny import SITES

from common.privacy.units import Population
from common.project import Project, create_project
from common.store import Store


@pytest.fixture(scope="session")
def private_project(tmp_path_factory: pytest.TempPathFactory, bank: Store) -> Project:
    return create_project(
        tmp_path_factory.mktemp("private") / "project", private_spec(), sites=[*SITES], bank=bank
    )


@pytest.fixture(scope="session")
def population(private_project: Project, stores: dict[str, Store], bank: Store) -> Population:
    """The six training patients of the first hospital."""
    return open_population(private_project, stores["east"], bank)
