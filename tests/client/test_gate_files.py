"""What an approved app reaches of a site's files: what it trains on, and no more (Linux, Landlock)."""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from consortium_samples import Consortium, found
from flwr.app import ConfigRecord, RecordDict

from client.audit import AUDIT
from client.clock import SiteClock
from client.gate.reach import NOWHERE, reach_of
from client.gate.warm import Limits, WarmApp
from client.gate.wire import Question
from client.home import IDENTITY, KIT, NODE_KEY
from client.landlock import can_confine_files
from client.round import TRAINING
from common.project import Project
from common.store import Store

pytestmark = pytest.mark.skipif(not can_confine_files(), reason="this kernel has no Landlock of Linux 6.2")

APP = """
import json, os, signal, tempfile
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

def attempt(do, *arguments):
    try:
        do(*arguments)
        return "allowed"
    except OSError as error:
        return os.strerror(error.errno)

def read(path):
    os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()

def change(path):
    open(path, "ab").close()

def empty(path):
    os.truncate(path, 0)

def make(path):
    open(path, "xb").close()

def remove(path):
    os.unlink(path)

def move(path):
    os.rename(path, path + ".moved")

def scratch(path):
    tempfile.TemporaryFile().close()

def wake(path):
    os.kill(os.getppid(), 0)  # the fork server, which is in the same bounds

def disturb(path):
    os.kill(int(path), 0)

at_import = attempt(read, KEY)

@app.query("reach")
def reach(message, context):
    asked = json.loads(message.content["ask"]["what"])
    told = [attempt(globals()[way], path) for way, path in asked]
    said = ConfigRecord({"told": told, "at import": at_import})
    return Message(RecordDict({"told": said}), reply_to=message)
"""
PYPROJECT = '[tool.flwr.app.components]\nclientapp = "client.app:app"\n'
LIMITS = Limits(seconds=60, memory_bytes=None, starts_programs=False, reply_bytes=1 << 16, reach=NOWHERE)
DENIED = os.strerror(13)


def fab(key: Path) -> bytes:
    """An app that reaches for `key` when it is imported."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pyproject.toml", PYPROJECT)
        archive.writestr("client/__init__.py", "")
        archive.writestr("client/app.py", f"KEY = {str(key)!r}\n{APP}")
    return packed.getvalue()


def told(warm: WarmApp, *asked: tuple[str, object]) -> list[str]:
    """What came of each way to reach a path."""
    what = json.dumps([(way, str(path)) for way, path in asked])
    content = RecordDict({"ask": ConfigRecord({"what": what})})
    answer = warm.ask(Question("query.reach", "", 1, 7, {}, content), still_wanted=lambda: True)
    assert isinstance(answer, RecordDict), answer
    assert answer["told"]["at import"] == DENIED
    said = answer["told"]["told"]
    assert isinstance(said, list)
    return [str(one) for one in said]


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Consortium:
    chest = found(tmp_path_factory.mktemp("consortium"))
    chest.approvals("east").approve(chest.bundle(project).project.folder, now=chest.founded)
    home = chest.homes["east"].folder
    for name in ("patient-links.csv", "pseudonym.key", "logs/client.gate.log", "run/secret", "ledger/head"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("of this site")
    SiteClock(home).noted()
    return chest


@pytest.fixture(scope="module")
def home(chest: Consortium) -> Path:
    return chest.homes["east"].folder


@pytest.fixture(scope="module")
def limits(chest: Consortium, home: Path, stores: dict[str, Store], bank: Store) -> Limits:
    node = chest.node("east", stores, bank) | {"ledger": str(home / "ledger")}
    return replace(LIMITS, reach=reach_of(node, None, secure=False))


@pytest.fixture(scope="module")
def warm(limits: Limits, home: Path) -> Iterator[WarmApp]:
    with WarmApp(fab(home / NODE_KEY), limits, environment=os.environ) as started:
        assert started.wait()[1]
        yield started


def test_an_app_reads_what_it_trains_on_and_what_was_decided(
    warm: WarmApp, chest: Consortium, home: Path, stores: dict[str, Store], bank: Store
) -> None:
    bundle = chest.approvals("east").statements()[-1].bundle
    paths = [
        *(stores["east"].folder, stores["east"].folder / "index.parquet", bank.folder / "images.u8"),
        *(home / "approvals.json", home / KIT, home / "clock" / "latest-time"),
        *(
            home / "projects" / bundle / "bundle.json",
            Path(json.__file__),
            "/proc/self/status",
            "/dev/urandom",
        ),
    ]
    assert told(warm, *(("read", path) for path in paths)) == ["allowed"] * len(paths)


def test_an_app_writes_what_must_be_written_down(warm: WarmApp, home: Path) -> None:
    folders = [home / AUDIT, home / "secagg", home / TRAINING, home / "ledger"]
    asked = [(way, folder / "it") for folder in folders for way in ("make", "change", "empty", "remove")]
    asked += [("scratch", ""), ("wake", "")]
    assert told(warm, *asked) == ["allowed"] * len(asked)


def test_an_app_reaches_nothing_else(
    warm: WarmApp, home: Path, stores: dict[str, Store], tmp_path: Path
) -> None:
    (tmp_path / "export.dcm").write_text("of a patient")
    secrets = [home / IDENTITY, home / NODE_KEY, home / "patient-links.csv", home / "pseudonym.key"]
    others = [home, home / "logs" / "client.gate.log", home / "run" / "secret", tmp_path / "export.dcm", "/"]
    asked: list[tuple[str, object]] = [("read", path) for path in (*secrets, *others, "/etc/hostname")]
    held = [home / "approvals.json", home / KIT, home / "clock" / "latest-time"]
    held += [*stores["east"].folder.glob("*"), *(home / "projects").glob("*/app.fab")]
    asked += [(way, path) for path in held for way in ("change", "empty", "remove", "move")]
    asked += [("make", folder / "new") for folder in (home, home / "projects", tmp_path)]
    before = {path: path.read_bytes() for path in held}
    assert told(warm, *asked) == [DENIED] * len(asked)
    assert {path: path.read_bytes() for path in held} == before


def test_an_app_disturbs_no_other_process(warm: WarmApp) -> None:
    """On newer kernels; on others the account's processes are its own."""
    said = told(warm, ("disturb", os.getpid()))
    assert said == [os.strerror(1)] or os.uname().release < "6.12"


def test_secure_aggregation_needs_the_keys_that_sign_and_seal(
    limits: Limits, chest: Consortium, home: Path, stores: dict[str, Store], bank: Store
) -> None:
    reach = reach_of(chest.node("east", stores, bank), None, secure=True)
    secure = replace(limits, reach=reach)
    with WarmApp(fab(home / NODE_KEY), secure, environment=os.environ) as started:
        started.wait()
        keys = [("read", home / name) for name in (IDENTITY, "sealing.key", NODE_KEY)]
        assert told(started, *keys) == ["allowed", "allowed", DENIED]


def test_an_app_that_cannot_reach_what_was_decided_anew_is_started_anew(
    warm: WarmApp, chest: Consortium
) -> None:
    assert warm.running
    chest.approvals("east").revoke(now=chest.founded)
    assert not warm.running
