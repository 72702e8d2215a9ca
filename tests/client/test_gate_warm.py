"""A warm app: each run in a fresh process, off the network, and never more than it may."""

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from flwr.app import ConfigRecord, RecordDict

from client.gate.forkserver import Seclusion
from client.gate.reach import NOWHERE
from client.gate.warm import AppEndedError, Limits, WarmApp
from client.gate.wire import Failure, Question
from common.errors import ConfigurationError, PeerError

pytestmark = pytest.mark.slow

APP = """
import ctypes, os, socket, subprocess, sys, time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
import common

app = ClientApp()
seen = []

def attempt(do):
    try:
        do()
        return "allowed"
    except OSError as error:
        return os.strerror(error.errno)

def call(function, *arguments):
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

libc = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438

@app.query("facts")
def facts(message, context):
    seen.append(context.run_id)
    said = {
        "pid": os.getpid(),
        "seen": len(seen),
        "socket": attempt(lambda: socket.socket().connect(("127.0.0.1", 9))),
        "outside": attempt(lambda: socket.create_connection(("192.0.2.1", 9), timeout=5)),
        "local": attempt(lambda: socket.socket(socket.AF_UNIX)),
        "program": attempt(lambda: subprocess.run(["/bin/true"])),
        "taken": attempt(lambda: call(libc.syscall, PIDFD_GETFD, os.pidfd_open(os.getpid()), 0, 0)),
        "read": attempt(lambda: call(libc.process_vm_readv, os.getpid(), None, 0, None, 0, 0)),
        "written": attempt(lambda: call(libc.process_vm_writev, os.getpid(), None, 0, None, 0, 0)),
        "common": common.__file__,
        "torch": "torch" in sys.modules,
        "site": context.node_config["site"],
        "asked": str(message.content["ask"]["what"]),
    }
    return Message(RecordDict({"facts": ConfigRecord(said)}), reply_to=message)

@app.query("raise")
def fail(message, context):
    raise ValueError("Jane Doe")

@app.query("die")
def die(message, context):
    os._exit(3)

@app.query("sleep")
def sleep(message, context):
    time.sleep(600)

@app.query("eat")
def eat(message, context):
    return Message(RecordDict({"x": ConfigRecord({"x": len(bytearray(1 << 30))})}), reply_to=message)

@app.query("flood")
def flood(message, context):
    return Message(RecordDict({"x": ConfigRecord({"x": bytes(1 << 20)})}), reply_to=message)
"""
PYPROJECT = '[tool.flwr.app.components]\nclientapp = "client.app:app"\n'
LIMITS = Limits(seconds=60, memory_bytes=512 << 20, starts_programs=False, reply_bytes=1 << 16, reach=NOWHERE)
HERE = {**os.environ, "OMP_NUM_THREADS": "1"}


def fab(app: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pyproject.toml", PYPROJECT)
        archive.writestr("client/__init__.py", "")
        archive.writestr("client/app.py", app)
        archive.writestr("common/__init__.py", "")
    return packed.getvalue()


def ask(warm: WarmApp, what: str, *, run: int = 1) -> RecordDict | Failure:
    content = RecordDict({"ask": ConfigRecord({"what": what})})
    question = Question(f"query.{what}", "", run, 7, {"site": "north"}, content)
    return warm.ask(question, still_wanted=lambda: True)


def facts(warm: WarmApp, *, run: int = 1) -> dict[str, object]:
    answer = ask(warm, "facts", run=run)
    assert isinstance(answer, RecordDict)
    return {**answer["facts"]}


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmApp]:
    with WarmApp(fab(APP), LIMITS, environment=HERE) as started:
        seclusion, _ = started.wait()
        assert seclusion == (Seclusion.CALLS if os.uname().sysname == "Linux" else Seclusion.NONE)
        yield started


def test_the_app_has_no_connection_and_no_other_program(warm: WarmApp) -> None:
    found = facts(warm)
    ways = ("socket", "outside", "local", "program", "taken", "read", "written")
    assert {name: found[name] for name in ways} == dict.fromkeys(ways, "Operation not permitted")


def test_an_app_that_needs_programs_reaches_them_and_nothing_else() -> None:
    limits = replace(LIMITS, starts_programs=True)
    with WarmApp(fab(APP), limits, environment=HERE) as started:
        if started.wait()[0] is not Seclusion.NETWORK:
            pytest.skip("this system lets nobody make a network namespace")
        found = facts(started)
    assert (found["program"], found["local"]) == ("allowed", "allowed")
    assert found["socket"] == "Connection refused"  # there is a loopback, and nobody on it
    assert found["outside"] == "Network is unreachable"


def test_the_code_is_the_approved_app_s_and_what_it_needs_was_imported_before(warm: WarmApp) -> None:
    found = facts(warm)
    assert "fedvlp-app-" in str(found["common"])
    assert found["torch"]
    assert (found["site"], found["asked"]) == ("north", "facts")


def test_one_run_has_one_process_and_the_next_a_fresh_one(warm: WarmApp) -> None:
    first, second, other = facts(warm, run=8), facts(warm, run=8), facts(warm, run=9)
    assert (first["seen"], second["seen"], other["seen"]) == (1, 2, 1)
    assert first["pid"] == second["pid"] != other["pid"]
    assert not psutil.pid_exists(int(str(first["pid"])))


def test_what_the_app_raises_comes_back_in_flower_s_words(warm: WarmApp) -> None:
    assert ask(warm, "raise") == Failure("<class 'ValueError'>:<'Jane Doe'>")


def test_a_process_that_ends_costs_its_message_and_not_the_next(warm: WarmApp) -> None:
    with pytest.raises(AppEndedError, match="ended before it answered"):
        ask(warm, "die")
    assert facts(warm)["seen"] == 1


def test_memory_has_an_end(warm: WarmApp) -> None:
    assert ask(warm, "eat") == Failure("<class 'MemoryError'>:<''>")


def test_more_bytes_than_a_reply_may_hold_are_not_read(warm: WarmApp) -> None:
    with pytest.raises(AppEndedError, match="too much"):
        ask(warm, "flood")
    assert facts(warm)["seen"] == 1


def test_time_has_an_end(warm: WarmApp) -> None:
    warm.limits = replace(LIMITS, seconds=1)
    with pytest.raises(AppEndedError, match="longer than 1 s"):
        ask(warm, "sleep")
    warm.limits = LIMITS
    assert facts(warm)["seen"] == 1


def test_a_run_that_was_stopped_ends_its_process(warm: WarmApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.gate.warm.HEARTBEAT_SECONDS", 0.1)
    question = Question("query.sleep", "", 1, 7, {"site": "north"}, RecordDict())
    with pytest.raises(AppEndedError, match="stopped"):
        warm.ask(question, still_wanted=lambda: False)


def test_nothing_is_left_of_an_app(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    with WarmApp(fab(APP), LIMITS, environment=HERE | {"TMPDIR": str(tmp_path)}) as started:
        started.wait()
        pid = int(str(facts(started)["pid"]))
    assert not psutil.pid_exists(pid)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_an_app_that_cannot_be_imported_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        WarmApp(fab("import no_such_package"), LIMITS, environment=HERE) as started,
        pytest.raises(PeerError, match="cannot be imported here"),
    ):
        started.wait()


def test_what_is_no_app_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigurationError, match="no Flower app"):
        WarmApp(b"zip", LIMITS, environment=HERE)
