"""What must not happen, tried on a hub behind a real nginx and on sites as `fedvlp-site start` runs them.

The hub ships an app that east approved and that misbehaves on demand (`hostile_app`); its own half says
anything to anybody. Each refusal is looked for by its code and its line.
"""

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from consortium_samples import Consortium, found
from flwr.common.constant import ErrorCode
from hostile_app import question, write_app
from hub_door import PATIENCE_SECONDS, Door, needs_nginx, opened, until
from saying import Say
from tiny import SITES, tiny_spec

from client.approvals import APPROVALS, PROJECTS
from client.audit import AUDIT, LOG, Audit
from client.egress import REFUSED
from client.outward import SCRUBBED
from common.approval import Statement
from common.bundle_folder import Bundle
from common.messages import HELLO, TRAIN
from common.processes.child import Child, stop
from common.project import create_project
from common.store import Store
from server.approvals import Signatories
from server.flower_app import build_app
from server.interior import Interior

pytestmark = [pytest.mark.slow, needs_nginx]

CLOCK = """
import datetime, time

real, now = datetime.datetime, time.time

class Off(real):
    @classmethod
    def now(cls, tz=None):
        return real.now(tz) - datetime.timedelta(minutes=10)

datetime.datetime, time.time = Off, lambda: now() - 600
"""
"""A machine whose clock is ten minutes late, for every Python that finds this as its `sitecustomize`."""


@dataclass(frozen=True)
class Told:
    """What the hub got."""

    code: int | None
    reason: str | None
    records: tuple[str, ...] = ()
    hello: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Yard:
    """All that runs, and the hub's line to its own half of the app."""

    door: Door
    bundle: Bundle
    sites: dict[str, Child]
    ear: Path
    """Folder where the hub's half of the app listens."""
    numbers: Iterator[int]

    @property
    def chest(self) -> Consortium:
        return self.door.chest

    @property
    def home(self) -> Path:
        """East's."""
        return self.chest.homes["east"].folder

    def ask(self, what: str, *, site: str = "east", stage: str = TRAIN, **more: int) -> Told:
        place = self.ear / str(next(self.numbers))
        words = question(self.bundle.project, **more)
        place.with_suffix(".part").write_text(
            json.dumps({"site": site, "stage": stage, "what": what, "round": words})
        )
        place.with_suffix(".part").rename(place.with_suffix(".ask"))
        assert until(place.with_suffix(".told").exists), self.sites[site].output()
        return Told(**json.loads(place.with_suffix(".told").read_text()))


def site_command(door: Door, name: str, home: Path, store: Store, **more: str) -> Child:
    words = ("start", "--home", str(home), "--store", str(store.folder))
    command = [sys.executable, "-P", "-m", "client", *words]
    return Child(name, command, environment=os.environ | more, log=door.folder / f"{name}.log")


def begin(hub: Consortium, fab: bytes, ear: Path) -> None:
    """Start the hub's half of the app; again if the machine was too busy for Flower's patience with it."""
    ear.mkdir()
    with Interior(hub.hub).control() as control:
        runs = [control.start(fab, {"folder": str(ear)})]

        def listens() -> bool:
            if control.status(runs[-1]).finished:
                runs.append(control.start(fab, {"folder": str(ear)}))
            return (ear / "ready").exists()

        assert until(listens, seconds=3 * PATIENCE_SECONDS), f"{len(runs)} attempts"


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory, stores: dict[str, Store], bank: Store) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("refusals")
    project = create_project(folder / "unsigned", tiny_spec(), sites=[*SITES], bank=bank)
    fab = build_app(write_app(folder / "app")).fab
    late = folder / "late"
    late.mkdir()
    (late / "sitecustomize.py").write_text(CLOCK)
    with opened(folder / "chest") as door:
        chest = door.chest
        bundle = chest.bundle(project, fab=fab)
        chest.approvals("east").approve(bundle.project.folder, now=chest.founded)
        foreign = found(folder / "foreign", sites=["south"], hub=f"127.0.0.1:{door.port}").homes["south"]
        homes = {name: home.folder for name, home in chest.homes.items()} | {"south": foreign.folder}
        shims: dict[str, dict[str, str]] = {"west": {"PYTHONPATH": str(late)}}
        sites: dict[str, Child] = {}
        try:
            begin(chest, fab, ear := folder / "ear")
            for name, home in homes.items():
                sites[name] = site_command(door, name, home, stores["east"], **shims.get(name, {}))
            assert until(lambda: door.online() >= {"east", "north"}), sites["east"].output()
            yield Yard(door, bundle, sites, ear, count())
            (ear / "end").touch()
        finally:
            stop([*sites.values()])


# --- an approved app that does what nobody approved -------------------------------------------------------


def test_an_answer_as_approved_passes(yard: Yard) -> None:
    assert yard.ask("as_approved") == Told(None, None, ["round", "sums", "update"], {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("an_extra_tensor", ErrorCode.CLIENT_APP_RAISED_EXCEPTION, REFUSED),
        ("the_raw_weights", ErrorCode.CLIENT_APP_RAISED_EXCEPTION, REFUSED),
        ("a_patient_s_name", ErrorCode.CLIENT_APP_RAISED_EXCEPTION, SCRUBBED),
        ("a_patient_s_name_in_words_of_ours", ErrorCode.CLIENT_APP_RAISED_EXCEPTION, SCRUBBED),
        ("a_crash", ErrorCode.CLIENT_APP_CRASHED, "the app's process ended"),
    ],
)
def test_what_a_misbehaving_app_gets_out(yard: Yard, what: str, code: int, words: str) -> None:
    told = yard.ask(what)
    assert (told.code, words in str(told.reason), "Doe" in str(told.reason)) == (code, True, False), told
    last = Audit(yard.home / AUDIT).read().lines[-1]
    assert (last.event, words in str(last.reason), "Doe" in str(last.reason)) == ("REFUSED", True, False)


def test_an_app_that_opens_a_socket_reaches_nobody(yard: Yard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        told = yard.ask("a_socket", listener=listener.getsockname()[1])
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (told.code, SCRUBBED in str(told.reason)) == (ErrorCode.CLIENT_APP_RAISED_EXCEPTION, True)
    assert "Operation not permitted" in yard.sites["east"].output()


# --- who is not let in ------------------------------------------------------------------------------------


def test_a_clock_off_by_ten_minutes_is_named(yard: Yard) -> None:
    west = yard.sites["west"]
    assert until(lambda: "the hub; set this machine's clock" in west.output()), west.output()
    assert "behind the hub" in west.output()
    assert "connected" not in west.output()
    stop([west])


def test_a_hub_of_a_foreign_authority_is_not_spoken_to(yard: Yard) -> None:
    south = yard.sites["south"]
    assert until(lambda: "its certificate comes from" in south.output()), south.output()
    assert "connected" not in south.output()
    stop([south])


# --- an app that must not run -----------------------------------------------------------------------------

Change = Callable[[Yard], AbstractContextManager[object]]


def byte_changed(name: str) -> Change:
    """In the site's own copy of the approved bundle."""

    @contextmanager
    def change(yard: Yard) -> Iterator[None]:
        path = yard.home / PROJECTS / yard.bundle.digest / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        yield
        path.write_bytes(whole)

    return change


def said(statement: Callable[[Yard], object]) -> Change:
    """East's people say something more; then it is as if they had not."""

    @contextmanager
    def change(yard: Yard) -> Iterator[None]:
        before = (yard.home / APPROVALS).read_bytes()
        statement(yard)
        yield
        (yard.home / APPROVALS).write_bytes(before)

    return change


def approve_another_app(yard: Yard) -> None:
    other = yard.chest.bundle(yard.bundle.project, version=2, fab=b"another")
    yard.chest.approvals("east").approve(other.project.folder, now=yard.chest.founded)


def revoke(yard: Yard) -> None:
    yard.chest.approvals("east").revoke(now=datetime.now(UTC))


def approve_what_has_expired(yard: Yard) -> None:
    past = replace(yard.chest, founded=yard.chest.founded - timedelta(days=40))
    fab = (yard.bundle.project.folder / "app.fab").read_bytes()
    old = past.bundle(yard.bundle.project, version=2, fab=fab)
    yard.chest.approvals("east").approve(old.project.folder, now=past.founded)


def put_in_force(yard: Yard, digest: str, *, signed_by: str = "east") -> None:
    statement = Statement(
        format=1, site="east", bundle=digest, decision="approve", sequence=2, made=datetime.now(UTC)
    ).signed_by(yard.chest.homes[signed_by].identity())
    path = yard.home / APPROVALS
    path.write_text(json.dumps([*json.loads(path.read_bytes()), json.loads(statement.to_bytes())]))


def put_another_operator_s_in_force(yard: Yard) -> None:
    another = yard.door.folder / "another operator"
    theirs = found(another, sites=()).bundle(yard.bundle.project, fab=b"fab")
    shutil.copytree(theirs.project.folder, yard.home / PROJECTS / theirs.digest)
    put_in_force(yard, theirs.digest)


@contextmanager
def full_disc(yard: Yard) -> Iterator[None]:
    """Every write to the audit log fails for lack of room."""
    log, aside = yard.home / AUDIT, yard.home / "aside"
    log.rename(aside)
    log.mkdir()
    (log / LOG).symlink_to("/dev/full")
    yield
    shutil.rmtree(log)
    aside.rename(log)


MUST_NOT_RUN: dict[str, tuple[Change, str]] = {
    "unapproved bundle": (said(approve_another_app), "code not approved at this site"),
    "one byte changed in FAB": (byte_changed("app.fab"), "project bundle damaged"),
    "one byte changed in spec": (byte_changed("spec.json"), "project bundle damaged"),
    "one byte changed in lock": (byte_changed("requirements.lock"), "project bundle damaged"),
    "expired": (said(approve_what_has_expired), "project bundle expired"),
    "revoked": (said(revoke), "project revoked at this site"),
    "wrong operator key": (
        said(put_another_operator_s_in_force),
        "project bundle not signed by this consortium's operator",
    ),
    "another site's key": (
        said(lambda yard: put_in_force(yard, yard.bundle.digest, signed_by="west")),
        "approval not signed by this site",
    ),
}


@pytest.mark.parametrize("what", MUST_NOT_RUN)
def test_an_app_that_is_not_approved_now_does_not_run(yard: Yard, what: str) -> None:
    change, words = MUST_NOT_RUN[what]
    with change(yard):
        told = yard.ask("as_approved")
    assert (told.code, told.reason) == (ErrorCode.INVALID_FAB, words)
    last = Audit(yard.home / AUDIT).read().lines[-1]
    assert (last.event, last.reason) == ("REFUSED", words)


def test_a_site_that_never_approved_anything_runs_nothing(yard: Yard) -> None:
    told = yard.ask("as_approved", site="north")
    assert (told.code, told.reason) == (ErrorCode.INVALID_FAB, "no project approved at this site")


def test_nothing_leaves_unlogged_when_the_disc_is_full(yard: Yard) -> None:
    for what, stage in (("as_approved", TRAIN), ("", HELLO)):
        with full_disc(yard):
            told = yard.ask(what, stage=stage)
        assert (told.code, told.reason, told.records) == (
            ErrorCode.CLIENT_APP_RAISED_EXCEPTION,
            "audit log cannot be written",
            (),
        )


# --- at the hub that runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "code", "line"),
    [
        ("app.fab", 6, "app.fab differs from what the operator signed"),
        ("spec.json", 6, "spec.json differs from what the operator signed"),
        ("requirements.lock", 6, "requirements.lock differs from what the operator signed"),
        ("expired", 4, "expired on"),
        ("another operator's", 6, "does not bear the signature of this consortium's operator"),
        ("half of bundle.json", 6, "is no whole project bundle"),
    ],
)
def test_the_hub_starts_no_run_of_a_bundle_that_is_not_in_order(
    yard: Yard, say: Say, tmp_path: Path, what: str, code: int, line: str
) -> None:
    folder, chest = tmp_path / "bundle", yard.chest
    if what == "expired":
        chest = replace(chest, founded=chest.founded - timedelta(days=40), folder=tmp_path)
        folder = chest.bundle(yard.bundle.project).project.folder
    elif what == "another operator's":
        folder = found(tmp_path / "other", sites=()).bundle(yard.bundle.project).project.folder
    else:
        shutil.copytree(yard.bundle.project.folder, folder)
        path = folder / what.removeprefix("half of ")
        whole = path.read_bytes()
        half = whole[: len(whole) // 2]
        path.write_bytes(half if what.startswith("half") else whole[:-1] + bytes([whole[-1] ^ 1]))
    words = ("run", folder, "--out", tmp_path / "out", "--home", yard.chest.hub.folder)
    ended, told = say("fedvlp-server", *words)
    assert (ended, told.count("\n"), line in told) == (code, 1, True), told
    assert not (tmp_path / "out").exists()


def test_an_approval_cannot_be_replayed(
    yard: Yard, say: Say, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    approved = bytes.fromhex(yard.ask("", stage=HELLO).hello["statement"])
    with said(revoke)(yard):
        revoked = bytes.fromhex(yard.ask("", stage=HELLO).hello["statement"])
    replayed = bytes.fromhex(yard.ask("", stage=HELLO).hello["statement"])  # the site's home was put back
    assert approved == replayed != revoked
    hub = Signatories(yard.chest.box, yard.bundle.manifest)
    hub.hear("east", approved)
    assert [*hub.current()] == ["east"]
    hub.hear("east", revoked)
    hub.hear("east", replayed)
    hub.hear("north", approved)
    assert [*hub.current()] == []
    assert ["is a replay" in caplog.messages[0], "statement of east" in caplog.messages[1]] == [True, True]
    (tmp_path / "approval.json").write_bytes(replayed)
    receive = ("project", "receive", tmp_path / "approval.json", "--home", yard.chest.hub.folder)
    code, told = say("fedvlp-server", *receive)
    assert (code, told.count("\n"), "is a replay" in told) == (4, 1, True), told


# --- who is not let in any more ---------------------------------------------------------------------------


def test_another_site_s_key_starts_nothing(yard: Yard, tmp_path: Path, stores: dict[str, Store]) -> None:
    home = tmp_path / "home"
    shutil.copytree(yard.chest.homes["west"].folder, home, ignore=shutil.ignore_patterns("run", "logs"))
    shutil.copyfile(yard.home / "node.key", home / "node.key")
    thief = site_command(yard.door, "thief", home, stores["east"])
    assert until(lambda: not thief.running)
    assert thief.reap() == 6
    assert "the kit names other keys than those of this site" in thief.output()
    assert yard.door.online() == {"east", "north"}


def test_a_removed_site_is_shut_out_and_told(yard: Yard) -> None:
    assert yard.door.run("remove", "north").returncode == 0
    north = yard.sites["north"]
    assert until(lambda: "does not let this site in" in north.output()), north.output()
    assert yard.door.online() == {"east"}
