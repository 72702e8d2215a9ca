"""The hub's door: who passes the SuperLink's lock, and what the reverse proxy is told."""

import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import pytest
from consortium_samples import Consortium, found
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import ListRunsResponse
from flwr.proto.run_pb2 import Run
from flwr.proto.run_pb2 import RunStatus as ProtoStatus
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
from server.patience import LAST_SECONDS, Patience
from server.service_cli import pass_on
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


def test_a_site_is_let_in_as_soon_as_the_superlink_answers_again(chest: Consortium) -> None:
    ledger, clock = Ledger(), Clock()
    admission = Admission(chest.hub, ledger, Patience(clock))  # type: ignore[arg-type]
    ledger.broken = True
    admission.refresh()
    ledger.broken = False
    admission.refresh()
    assert ledger.names == []  # not asked again at once
    clock.seconds += LAST_SECONDS
    admission.refresh()
    assert ledger.names == ["east", "north", "west"]


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


def test_the_proxy_listens_at_the_port_that_kits_name_unless_told(say: Say, tmp_path: Path) -> None:
    hub, out = tmp_path / "hub", tmp_path / "door"
    words = ["--home", hub, "--hub", "hub.example.org:9443", "--without-password"]
    assert say("fedvlp-server", "init", "study-group", *words)[0] == 0
    for options, port in (([], 9443), (["--listen", "8443"], 8443)):
        assert say("fedvlp-server", "proxy", "--home", hub, "--out", out, *options)[0] == 0
        assert f"listen {port} ssl;" in (out / "nginx.conf").read_text()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--listen", "hub:443"),
        ("--listen", "0"),
        ("--listen", ""),
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


def test_who_watches_a_run_reads_what_the_app_says_and_what_goes_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The lines of a real run, with one more."""
    for line in (
        "INFO :      Start `flwr-serverapp` process",
        "Successfully installed fedvlp to apps/fedvlp.fedvlp.0.1.0.a8c36cc3.",
        "demo: rounds: 15/15",
        "ERROR :     ServerApp thread raised an exception: no space left on device",
        "INFO :      ",
    ):
        pass_on(line)
    assert capsys.readouterr().out == (
        "demo: rounds: 15/15\nERROR :     ServerApp thread raised an exception: no space left on device\n"
    )


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
        self.away = False
        self.loses_answers = False
        self.known: dict[str, int] = {}
        """Folder of a run -> its number."""
        self.state = RunStatus(finished=False, completed=False, details="")

    def start(self, fab: bytes, config: dict[str, object]) -> int:
        assert fab == b"fab"
        self._answer()
        self.resumed.append(config["resume"])
        self.known[str(config["out"])] = len(self.resumed)
        if self.loses_answers:
            raise PeerError("the SuperLink does not answer (start-run: ReadTimeout); see its log")
        return len(self.resumed)

    def find(self, run: int) -> RunStatus | None:
        self._answer()
        return self.state

    def going_on(self, config: dict[str, object]) -> int | None:
        self._answer()
        return None if self.state.finished else self.known.get(str(config["out"]))

    def _answer(self) -> None:
        if self.away:
            raise PeerError("the SuperLink does not answer (list-runs: ConnectError); see its log")


class Clock:
    """Seconds that pass when a test says so."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Hub:
    """A hub's runs, its SuperLink and its clock; every session of the SuperLink begins empty."""

    runs: UnfinishedRuns
    link: Starts
    clock: Clock

    def begin(self, session: str) -> None:
        self.runs.interior.announce(RunningHub(format=1, address="127.0.0.1:1", session=session))
        self.link.known.clear()

    def tend(self, times: int = 1) -> None:
        for _ in range(times):
            self.runs.tend(cast(Control, self.link))

    def start(self, bundle: Path, out: Path) -> None:
        self.runs.start(bundle, out, resume=False, control=cast(Control, self.link))


@pytest.fixture
def hub(chest: Consortium) -> Hub:
    clock = Clock()
    hub = Hub(UnfinishedRuns(Interior(chest.hub), Patience(clock)), Starts(), clock)
    hub.begin("first")
    return hub


def test_a_run_outlives_its_hub_and_its_app_and_ends_once(
    chest: Consortium, project: Project, tmp_path: Path, hub: Hub
) -> None:
    bundle, link = chest.bundle(project).project.folder, hub.link
    hub.start(bundle, tmp_path / "out")
    with pytest.raises(PolicyError, match="has not ended"):
        hub.start(bundle, tmp_path / "other")
    hub.tend()
    assert link.resumed == [False]
    hub.begin("second")  # the hub was killed and came back
    hub.tend(times=2)
    assert link.resumed == [False, True]
    link.state = RunStatus(True, False, "No heartbeat received from the task")  # the app was killed
    hub.tend()
    assert link.resumed == [False, True, True]
    link.state = RunStatus(True, False, "store north: too small")  # it ended by itself
    hub.tend()
    assert (link.resumed, list(hub.runs.all())) == ([False, True, True], [])


def test_a_superlink_that_is_away_costs_no_run(
    chest: Consortium, project: Project, tmp_path: Path, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.start(chest.bundle(project).project.folder, tmp_path / "out")
    hub.link.away = True
    for session in ("first", "second"):  # it is asked how the run is, and then to take it up
        hub.begin(session)
        for _ in range(20):
            hub.tend()
            hub.clock.seconds += LAST_SECONDS
    assert [one.out for one in hub.runs.all()] == [tmp_path / "out"]
    assert [record.message.count("is kept and tried again") for record in caplog.records] == [1]
    hub.link.away = False
    hub.tend()
    assert hub.link.resumed == [False, True]
    assert "answers again" in caplog.records[-1].message


def test_a_start_of_which_the_answer_was_lost_is_not_made_twice(
    chest: Consortium, project: Project, tmp_path: Path, hub: Hub
) -> None:
    hub.start(chest.bundle(project).project.folder, tmp_path / "out")
    hub.begin("second")
    hub.link.loses_answers = True
    hub.tend()
    hub.link.loses_answers = False
    hub.clock.seconds += LAST_SECONDS
    hub.tend()
    assert (hub.link.resumed, [one.run for one in hub.runs.all()]) == ([False, True], [2])


def test_what_fails_again_and_again_is_tried_less_and_less(hub: Hub) -> None:
    patience, tries = Patience(hub.clock), []
    for _ in range(300):
        if patience.may_try("this"):
            patience.failed("this")
            tries.append(hub.clock.seconds)
        hub.clock.seconds += 1
    assert tries == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert patience.may_try("that")


def test_a_run_is_found_again_by_its_settings_as_long_as_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"out": "runs/a", "resume": True}
    said = {
        number: Run(
            run_id=number, override_config=user_config_to_proto(own), status=ProtoStatus(status=state)
        )
        for number, own, state in (
            (1, config, "finished"),
            (2, config | {"out": "runs/b"}, "running"),
            (3, config, "running"),
        )
    }
    link = object.__new__(Control)  # one that is connected to nothing
    monkeypatch.setattr(link, "_call", lambda *_: ListRunsResponse(run_dict=said), raising=False)
    assert link.going_on(config) == 3
    assert link.going_on(config | {"resume": False}) is None
    assert (link.find(1), link.find(4)) == (RunStatus(True, False, ""), None)
    with pytest.raises(PeerError, match="does not know run 4"):
        link.status(4)
