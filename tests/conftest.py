"""What many tests stand on: three tiny hospitals, a public bank, and their project."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # worker processes whose threads spin take 3 times as long

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from saying import Say
from tiny import PREPARATION, SITES, tiny_spec, tiny_store

from common.data.corpus import Corpus, read_corpus
from common.project import Project, create_project
from common.spec.run import Spec
from common.store import Store


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Run a command in `tmp_path`: exit code, and all that it said."""
    from client.cli import main as site_main
    from server.cli import main as server_main

    def run(program: str, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", [program, *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            {"fedvlp-site": site_main, "fedvlp-server": server_main}[program]()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out + said.err

    return run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Training sets the number of threads of the process; put it back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def spec() -> Spec:
    """All three objectives, two anchors in a batch of six."""
    return tiny_spec()


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """Three hospitals; read only."""
    folder = tmp_path_factory.mktemp("stores")
    return {site: tiny_store(folder / site, seed=number) for number, site in enumerate(SITES)}


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The public bank; read only."""
    return tiny_store(tmp_path_factory.mktemp("public") / "bank", seed=99, rows=12)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, spec: Spec, bank: Store) -> Project:
    """The project of the tiny spec; read only."""
    return create_project(tmp_path_factory.mktemp("approved") / "project", spec, sites=[*SITES], bank=bank)


@pytest.fixture(scope="session")
def corpus(project: Project, stores: dict[str, Store]) -> Corpus:
    """Training rows of the first hospital."""
    return read_corpus(stores["east"], "train", project.tokenizer, preparation=PREPARATION)


@pytest.fixture(scope="session")
def anchors(project: Project, bank: Store) -> Corpus:
    """All rows of the bank."""
    return read_corpus(bank, None, project.tokenizer, preparation=PREPARATION)
