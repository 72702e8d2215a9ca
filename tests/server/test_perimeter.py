"""The hub's door: who passes the SuperLink's lock, and what the reverse proxy is told."""

import shutil
import stat
import subprocess
from pathlib import Path
from typing import cast

import httpx
import pytest
from consortium_samples import Consortium, found
from hypothesis import given
from hypothesis import strategies as st
from saying import Say

from client.home import Home
from common.errors import ConfigurationError, PeerError, PolicyError
from common.project import Project
from server.admission import Admission
from server.control import Control, RunStatus
from server.interior import Interior, RunningHub
from server.members import Members
from server.superlink import OperatorOnly, Receive, Scope, Send, authorization
from server.unfinished import Unfinished, UnfinishedRuns

SECRET = bytes(range(32))


@pytest.fixture
def chest(tmp_path: Path) -> Consortium:
    return found(tmp_path)


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


async def ask(path: str, headers: dict[str, str]) -> int:
    transport = httpx.ASGITransport(app=OperatorOnly(inside, SECRET))
    async with httpx.AsyncClient(transport=transport, base_url="https://hub") as client:
        return (await client.post(path, headers=headers)).status_code


def asked(path: str, **headers: str) -> int:
    import asyncio

    return asyncio.run(ask(path, headers))


@pytest.mark.parametrize("path", ["/v1/fleet/pull-messages", "/v1/runtime/acquire-task", "/health"])
def test_nodes_and_executors_pass_the_lock_by_credentials_of_their_own(path: str) -> None:
    assert asked(path) == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/control/start-run", "/v1/control/list-nodes", "/docs", "/", "/v1/fleet", "/health/", "/V1/fleet/x"],
)
def test_everything_else_needs_the_operators_secret(path: str) -> None:
    assert asked(path) == 401
    assert asked(path, Authorization=authorization(bytes(32))) == 401
    assert asked(path, Authorization=authorization(SECRET)) == 200


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_no_other_word_opens_the_lock(word: str) -> None:
    assert asked("/v1/control/start-run", Authorization=word) == 401


class Ledger:
    """A SuperLink's list of nodes."""

    def __init__(self) -> None:
        self.nodes: dict[int, str] = {}
        self.broken = False

    def register(self, name: str, public_key: bytes) -> int:
        if self.broken:
            raise PeerError("the SuperLink refused register-node")
        assert b"PUBLIC KEY" in public_key
        self.nodes[len(self.nodes) + 1] = name
        return len(self.nodes)

    def unregister(self, node: int) -> None:
        if self.broken:
            raise PeerError("the SuperLink refused unregister-node")
        self.nodes[node] = ""

    @property
    def names(self) -> list[str]:
        return sorted(filter(None, self.nodes.values()))


def test_who_is_let_in_follows_the_members(chest: Consortium, tmp_path: Path) -> None:
    ledger = Ledger()
    admission = Admission(chest.hub, ledger)  # type: ignore[arg-type]
    admission.refresh()
    assert ledger.names == ["east", "north", "west"]
    Members(chest.hub).remove("north", now=chest.founded)
    admission.refresh()
    admission.refresh()
    assert ledger.names == ["east", "west"]
    request = Home(tmp_path / "south").request("south", now=chest.founded)
    Members(chest.hub).admit(request, password=None, roster=None, now=chest.founded)
    again = Home(tmp_path / "north again").request("north", now=chest.founded)
    Members(chest.hub).admit(again, password=None, roster=None, now=chest.founded)
    admission.refresh()
    assert ledger.names == ["east", "north", "south", "west"]


def test_a_damaged_member_file_lets_nobody_in_or_out(chest: Consortium) -> None:
    ledger = Ledger()
    admission = Admission(chest.hub, ledger)  # type: ignore[arg-type]
    admission.refresh()
    Members(chest.hub).remove("west", now=chest.founded)
    broken = chest.hub.folder / "members" / "east.json"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:40])
    admission.refresh()
    assert ledger.names == ["east", "north", "west"]
    broken.write_bytes(whole)
    admission.refresh()
    assert ledger.names == ["east", "north"]


def test_a_key_that_the_superlink_refuses_does_not_stop_the_hub(chest: Consortium) -> None:
    ledger = Ledger()
    ledger.broken = True
    Admission(chest.hub, ledger).refresh()  # type: ignore[arg-type]
    assert ledger.names == []


def test_a_site_that_the_superlink_does_not_shut_out_at_once_is_shut_out_later(chest: Consortium) -> None:
    ledger = Ledger()
    admission = Admission(chest.hub, ledger)  # type: ignore[arg-type]
    admission.refresh()
    Members(chest.hub).remove("west", now=chest.founded)
    ledger.broken = True
    admission.refresh()
    assert ledger.names == ["east", "north", "west"]
    ledger.broken = False
    admission.refresh()
    assert ledger.names == ["east", "north"]


def test_the_proxy_gets_what_it_needs_and_no_key_of_the_operator(
    say: Say, chest: Consortium, tmp_path: Path
) -> None:
    code, said = say("fedvlp-server", "proxy", "--home", chest.hub.folder, "--out", tmp_path / "door")
    assert (code, "nginx -t -c" in said) == (0, True)
    names = sorted(path.name for path in (tmp_path / "door").iterdir())
    assert names == ["authority.pem", "inside.pem", "nginx.conf", "server.key", "server.pem"]
    assert stat.S_IMODE((tmp_path / "door" / "server.key").stat().st_mode) == 0o600
    before = (tmp_path / "door" / "inside.pem").read_bytes()
    assert say("fedvlp-server", "proxy", "--home", chest.hub.folder, "--out", tmp_path / "door")[0] == 0
    assert (tmp_path / "door" / "inside.pem").read_bytes() == before  # a proxy that runs trusts the hub still


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--listen", "hub:443"),
        ("--listen", "0"),
        ("--listen", "443 ssl; include /etc/passwd"),
        ("--access-log", "off; return 200"),
        ("--scratch", "/tmp/a b"),
    ],
)
def test_what_nginx_could_misread_is_refused(
    say: Say, chest: Consortium, tmp_path: Path, option: str, value: str
) -> None:
    code, said = say(
        "fedvlp-server", "proxy", "--home", chest.hub.folder, "--out", tmp_path / "door", option, value
    )
    assert (code, option in said, (tmp_path / "door").exists()) == (2, True, False)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize(
    "further", [[], ["--client-certificates"], ["--access-log", "off", "--listen", "[::1]:8443"]]
)
def test_nginx_takes_the_settings(say: Say, chest: Consortium, tmp_path: Path, further: list[str]) -> None:
    out = tmp_path / "door"
    options = ["--listen", "8443", "--scratch", tmp_path, *further]
    assert say("fedvlp-server", "proxy", "--home", chest.hub.folder, "--out", out, *options)[0] == 0
    checked = subprocess.run(["nginx", "-t", "-c", str(out / "nginx.conf")], capture_output=True, text=True)
    assert (checked.returncode, "warn" in checked.stderr) == (0, False), checked.stderr


def test_commands_say_that_no_hub_runs(say: Say, chest: Consortium, tmp_path: Path) -> None:
    for words in (["status"], ["run", tmp_path, "--out", tmp_path / "run"]):
        code, said = say("fedvlp-server", *words, "--home", chest.hub.folder)
        assert (code, "fedvlp-server start" in said) == (2, True), said
    assert "nothing runs" in say("fedvlp-server", "stop", "--home", chest.hub.folder)[1]
    code, said = say("fedvlp-server", "start", "--home", tmp_path / "nobody")
    assert (code, "fedvlp-server init" in said) == (2, True)


def test_a_second_hub_on_one_home_is_refused(say: Say, chest: Consortium) -> None:
    with Interior(chest.hub).alone():
        code, said = say("fedvlp-server", "start", "--home", chest.hub.folder)
    assert (code, "runs on" in said) == (2, True)


def test_a_run_that_ended_is_forgotten_and_a_changed_bundle_does_not_go_on(
    chest: Consortium, tmp_path: Path
) -> None:
    interior = Interior(chest.hub)
    interior.announce(RunningHub(format=1, address="127.0.0.1:1", session="second"))
    runs = UnfinishedRuns(interior)
    one = Unfinished(format=1, bundle=tmp_path / "gone", out=tmp_path / "out", session="first", run=4)
    path = interior.folder / "runs" / "a.json"
    path.parent.mkdir()
    (interior.folder / "runs" / f"{runs.log_of(one.out).stem.removeprefix('run-')}.json").write_text(
        one.model_dump_json()
    )
    runs.tend(None)  # type: ignore[arg-type]  # nobody is asked: this hub never heard of the run
    assert list(runs.all()) == []
    path.write_text("{")
    with pytest.raises(ConfigurationError, match="damaged"):
        list(runs.all())


class Starts:
    """A SuperLink's runs."""

    def __init__(self) -> None:
        self.resumed: list[object] = []
        self.state = RunStatus(finished=False, completed=False, details="")

    def start(self, fab: bytes, config: dict[str, object]) -> int:
        assert fab == b"fab"
        self.resumed.append(config["resume"])
        return len(self.resumed)

    def status(self, run: int) -> RunStatus:
        return self.state


def test_a_run_outlives_its_hub_and_its_app_and_ends_once(
    chest: Consortium, project: Project, tmp_path: Path
) -> None:
    interior, hub = Interior(chest.hub), Starts()
    runs, control = UnfinishedRuns(interior), cast(Control, hub)

    def begin(session: str) -> None:
        interior.announce(RunningHub(format=1, address="127.0.0.1:1", session=session))

    begin("first")
    bundle = chest.bundle(project).project.folder
    runs.start(bundle, tmp_path / "out", resume=False, control=control)
    with pytest.raises(PolicyError, match="has not ended"):
        runs.start(bundle, tmp_path / "other", resume=False, control=control)
    runs.tend(control)
    assert hub.resumed == [False]
    begin("second")  # the hub was killed and came back: it begins empty
    runs.tend(control)
    runs.tend(control)
    assert hub.resumed == [False, True]
    hub.state = RunStatus(True, False, "No heartbeat received from the task")  # the app was killed
    runs.tend(control)
    assert hub.resumed == [False, True, True]
    hub.state = RunStatus(True, False, "store north: too small")  # it ended by itself
    runs.tend(control)
    assert (hub.resumed, list(runs.all())) == ([False, True, True], [])
