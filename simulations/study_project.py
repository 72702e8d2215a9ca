"""The project of a study's one seed: what its models are trained and judged by."""

from collections.abc import Mapping
from pathlib import Path

from common.project import MANIFEST, Project, create_project, open_project
from common.spec.run import Spec
from common.store import Store


def study_project(folder: Path, spec: Spec, *, sites: Mapping[str, Path], bank: Store | None) -> Project:
    """The project in `folder`, made there if a study that was stopped has not left it.

    Raises:
        FederationError: `bank` does not fit the spec, or the project was changed.
    """
    if (folder / MANIFEST).exists():
        return open_project(folder)
    return create_project(folder, spec, sites=list(sites), bank=bank)
