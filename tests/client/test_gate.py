"""The gate with apps that do what nobody approved: what runs, what the hub is told, what is written down."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from consortium_samples import Consortium, found
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import ErrorCode
from site_time import set_clock
from tiny import SITES, first_instruction, tiny_spec

from client.audit import AUDIT, Audit
from client.egress import REFUSED
from client.gate.executor import Gate
from client.gate.forkserver import Seclusion
from client.gate.rules import NOT_APPROVED
from client.gate.settings import ApprovedSettings, GateSettings
from client.gate.warm import WarmApp
from client.outward import SCRUBBED
from common.bundle_folder import Bundle
from common.files import sha256_of
from common.messages import HELLO, TRAIN, Answer
from common.project import create_project
from common.store import Store
from server.flower_app import app_folder, build_app
from simulations.local_grid import FIRST_NODE, be_the_hub, node_context

pytestmark = pytest.mark.slow

APP = """
import os, socket
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

def opens_a_socket(message):
    socket.create_connection(("127.0.0.1", 9))

def names_a_patient(message):
    raise ValueError("Jane Doe, born 1950-01-01")

def sends_raw_weights(message):
    return RecordDict({"update": ArrayRecord({"weights": message.content["model"]["weights"]})})

def sends_words(message):
    return RecordDict({"note": ConfigRecord({"note": "Jane Doe"})})

def crashes(message):
    os._exit(1)

@app.train()
def train(message, context):
    content = globals()[message.metadata.group_id](message)
    return Message(content, reply_to=message)
"""
PYPROJECT = '[tool.flwr.app.components]\nclientapp = "client.app:app"\n'


@dataclass
class FakeTask:
    """A task as the SuperNode would give it, and what came back."""

    fab_hash: str
    message: Message
    context: Context
    kind: str = "flwr-clientapp"
    answered: RecordDict | None = None
    refused: tuple[int, str] | None = None
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None

    def pull(self) -> tuple[Message, Context]:
        self.before()
        return self.message, self.context

    def wanted(self) -> bool:
        return True

    def answer(self, content: RecordDict) -> None:
        self.answered = content

    def refuse(self, code: int, reason: str) -> None:
        self.refused = (code, reason)

    def close(self) -> None:
        self.after()


@dataclass
class Site:
    """East, with an approved bundle and a gate that gets the tasks of a test."""

    chest: Consortium
    bundle: Bundle
    settings: GateSettings

    @property
    def home(self) -> Path:
        return self.chest.homes["east"].folder

    def task(self, what: str = "", *, kind: str = TRAIN, fab: str | None = None) -> FakeTask:
        be_the_hub()
        content = RecordDict() if kind == HELLO else first_instruction(self.bundle.project).to_records()
        message = Message(content, FIRST_NODE, kind, group_id=what)
        return FakeTask(fab or self.bundle.manifest.fab, message, node_context(FIRST_NODE, {}))

    def log(self) -> list[tuple[str, str | None]]:
        return [(line.event, line.reason) for line in Audit(self.home / AUDIT).read().lines]

    def run(self, *tasks: FakeTask, before: Callable[[], object] = lambda: None) -> None:
        """Through a gate; `before` happens once it has begun."""
        waiting = list(tasks)

        class Tasks:
            def __init__(self, *_: object) -> None: ...
            def __enter__(self) -> "Tasks":
                before()
                return self

            def __exit__(self, *_: object) -> None: ...
            def acquire(self) -> FakeTask:
                if not waiting:
                    raise KeyboardInterrupt
                return waiting.pop(0)

        with pytest.MonkeyPatch.context() as patch, Gate(self.settings) as gate:
            patch.setattr("client.gate.executor.Tasks", Tasks)
            with pytest.raises(KeyboardInterrupt):
                gate.run()


def packed(app: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("pyproject.toml", PYPROJECT)
        archive.writestr("client/__init__.py", "")
        archive.writestr("client/app.py", app)
    return held.getvalue()


def site_with(tmp_path: Path, stores: dict[str, Store], bank: Store, fab: bytes, days: float = 30) -> Site:
    chest = found(tmp_path)
    project = create_project(tmp_path / "unsigned", tiny_spec(), sites=[*SITES], bank=bank)
    bundle = chest.bundle(project, fab=fab, days=days)
    chest.approvals("east").approve(bundle.project.folder, now=chest.founded)
    (tmp_path / "secret").write_bytes(b"secret")
    settings = GateSettings(
        runtime="127.0.0.1:1",
        secret=tmp_path / "secret",
        rule=ApprovedSettings(kind="approved", home=chest.homes["east"].folder),
        node={**chest.node("east", stores, bank)},
        memory_gib=None,
    )
    return Site(chest, bundle, settings)


@pytest.fixture
def site(tmp_path: Path, stores: dict[str, Store], bank: Store) -> Site:
    return site_with(tmp_path, stores, bank, packed(APP))


def refusals(site: Site, *whats: str) -> list[tuple[int, str] | None]:
    tasks = [site.task(what) for what in whats]
    site.run(*tasks)
    assert [task.answered for task in tasks] == [None] * len(tasks)
    return [task.refused for task in tasks]


def test_an_app_gets_nothing_out_that_was_not_approved(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    whats = {
        "opens_a_socket": SCRUBBED,
        "names_a_patient": SCRUBBED,
        "sends_raw_weights": REFUSED,
        "sends_words": REFUSED,
        "crashes": "the app's process ended",
    }
    told = refusals(site, *whats)
    for said, words in zip(told, whats.values(), strict=True):
        assert said is not None
        assert words in said[1]
        assert "Jane" not in said[1]
    assert [code for code, _ in told if code] == [
        *[ErrorCode.CLIENT_APP_RAISED_EXCEPTION] * 4,
        ErrorCode.CLIENT_APP_CRASHED,
    ]
    assert [event for event, _ in site.log()] == ["REFUSED"] * 5
    assert "Jane" not in str(site.log())


def test_another_app_and_an_agent_are_refused_by_one_line(site: Site) -> None:
    other, agent = site.task(fab="0" * 64), site.task()
    agent.kind = "flwr-agentapp"
    site.run(other, agent)
    assert other.refused == agent.refused == (ErrorCode.INVALID_FAB, NOT_APPROVED)
    assert site.log() == [("REFUSED", NOT_APPROVED)] * 2


def test_a_revocation_stops_the_site_at_the_next_message(site: Site) -> None:
    task, hello = site.task("sends_words"), site.task(kind=HELLO)
    site.run(task, hello, before=lambda: site.chest.approvals("east").revoke(now=datetime.now(UTC)))
    assert task.refused == (ErrorCode.INVALID_FAB, "project revoked at this site")
    assert hello.answered is not None
    assert b'"revoke"' in bytes(hello.answered["hello"]["statement"])


def test_an_expiry_stops_the_site_at_the_next_message(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    task, again = site.task("sends_words"), site.task("sends_words")
    site.run(task, before=lambda: set_clock(monkeypatch, timedelta(days=31)))
    assert task.refused == (ErrorCode.INVALID_FAB, "project bundle expired")
    set_clock(monkeypatch, timedelta(0))  # a site that was started anew remembers the time that it saw
    site.run(again)
    assert again.refused == (ErrorCode.INVALID_FAB, "clock of this site was set back")


def test_a_byte_changed_in_the_approved_bundle_runs_nothing(site: Site) -> None:
    """Before the site starts and while it runs; what is whole again runs again."""
    folder = site.chest.approvals("east").folder_of(site.bundle.digest)
    names = ["app.fab", "spec.json", "requirements.lock", "tokenizer.json", "new"]
    whole = {name: (folder / name).read_bytes() for name in names[:-1]}

    def damage(name: str) -> None:
        content = whole.get(name, b"x")
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def mend(name: str) -> None:
        (folder / name).unlink() if name == "new" else (folder / name).write_bytes(whole[name])

    def changed_by_then(name: str) -> FakeTask:
        task = site.task("sends_words")
        task.before = lambda: damage(name)
        task.after = lambda: mend(name)
        return task

    damage("app.fab")
    at_the_start, another = site.task("x"), site.task("x", fab=sha256_of(folder / "app.fab"))
    another.after = lambda: mend("app.fab")
    later, honest = [changed_by_then(name) for name in names], [site.task("sends_words") for _ in range(2)]
    site.run(at_the_start, another, honest[0], *later, honest[1])
    for task in (at_the_start, another, *later):
        assert task.refused == (ErrorCode.INVALID_FAB, "project bundle damaged")
    assert [task.refused for task in honest] == [(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, REFUSED)] * 2


def test_the_approved_app_trains_behind_the_gate_and_every_step_is_written_down(
    tmp_path: Path, stores: dict[str, Store], bank: Store
) -> None:
    site = site_with(tmp_path, stores, bank, build_app(app_folder(tmp_path / "app")).fab)
    hello, task = site.task(kind=HELLO), site.task()
    site.run(hello, task)
    assert hello.answered is not None
    assert hello.answered["hello"]["site"] == "east"
    assert task.refused is None
    assert task.answered is not None
    assert Answer.from_records(task.answered).round == 1
    lines = Audit(site.home / AUDIT).read().lines
    assert [line.event for line in lines] == ["LEFT", "ASKED", "ANSWERED", "LEFT"]
    assert lines[2].sha256 == lines[3].sha256


def test_an_audit_log_that_cannot_be_written_lets_nothing_out(site: Site) -> None:
    (site.home / AUDIT).write_text("in the way")
    hello = site.task(kind=HELLO)
    site.run(hello)
    assert hello.answered is None
    assert hello.refused is not None
    assert "audit log" in hello.refused[1]


def test_a_damaged_home_is_told_in_words_of_ours_and_no_message_stays_unanswered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SuperNode waits for an answer to every message, and asks for nothing else meanwhile."""
    (site.home / "approvals.json").write_text("[")
    hello, task = site.task(kind=HELLO), site.task("sends_words")
    site.run(hello, task)
    assert hello.refused == task.refused == (ErrorCode.INVALID_FAB, "approvals damaged")

    def fail(*_: object, **__: object) -> None:
        raise OSError("/data/Müller^Anna.dcm")

    monkeypatch.setattr("client.gate.executor.require", fail)
    unforeseen = site.task("sends_words")
    site.run(unforeseen)
    assert unforeseen.refused == (ErrorCode.CLIENT_APP_CRASHED, SCRUBBED)
    assert site.log()[-1] == ("REFUSED", SCRUBBED)


def test_a_site_that_wants_files_confined_runs_nothing_where_that_cannot_be(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unconfined(self: WarmApp, **_: object) -> tuple[Seclusion, bool]:
        return Seclusion.CALLS, False

    monkeypatch.setattr(WarmApp, "wait", unconfined)
    strict = replace(site, settings=site.settings.model_copy(update={"require_landlock": True}))
    task, other = strict.task("sends_words"), site.task("sends_words")
    strict.run(task)
    assert task.refused == (ErrorCode.INVALID_FAB, "the app cannot be confined at this site")
    assert "--require-landlock" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        site.run(other)
    assert caplog.text.count("files OFF") == 1
