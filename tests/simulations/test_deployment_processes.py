"""A deployment on this machine: who may join, who notices what, and that nothing is left behind."""

import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import tomli_w
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_private_key
from flwr.common.config import parse_config_args
from flwr.proto.runtime_pb2 import AcquireTaskRequest

import common
from client.node_key import write_node_key
from common.errors import ConfigurationError, InputRefusedError, PeerError
from common.processes import party
from common.processes.child import Child, stop
from common.processes.party import environment
from server import flower_app
from server.credentials import issue_server_certificate
from server.flower_app import build_app
from simulations.deployment import LoopbackDeployment, app_folder
from simulations.deployment.loopback import free_port

SITES = ("north", "east", "south")

PYPROJECT = """
[project]
name = "toy"
version = "0.1.0"
description = "one message to every site"
dependencies = ["flwr>=1.41.0,<1.42"]
[tool.flwr.app]
publisher = "fedvlp"
[tool.flwr.app.components]
serverapp = "server_app:app"
clientapp = "client_app:app"
[tool.flwr.app.config]
out = ""
sleeper = ""
refusal = ""
crash = ""
"""

SERVER_APP = """
import json, time
from pathlib import Path
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import ServerApp
import common
from common.errors import InputRefusedError

app = ServerApp()

@app.main()
def main(grid, context):
    config = context.run_config
    if config["refusal"]:
        raise InputRefusedError(config["refusal"])
    if config["crash"]:
        raise RuntimeError(config["crash"])
    names = {node.node_id: node.name for node in grid.get_nodes()}
    print("asking", " ".join(sorted(names.values())))
    content = lambda: RecordDict({"ask": ConfigRecord({"sleeper": config["sleeper"]})})
    asked = {}
    for node in sorted(names):
        [sent] = grid.push_messages([Message(content(), node, MessageType.TRAIN)])
        asked[sent] = names[node]
    answers, began = {}, time.monotonic()
    while len(answers) < len(asked):
        for reply in grid.pull_messages([sent for sent in asked if asked[sent] not in answers]):
            name = asked[reply.metadata.reply_to_message_id]
            answers[name] = {"seconds": time.monotonic() - began} | (
                {"error": reply.error.code} if reply.has_error() else dict(reply.content["answer"])
            )
        time.sleep(0.2)
    Path(config["out"]).write_text(json.dumps(answers))
"""

CLIENT_APP = """
import os, time
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    config = context.node_config
    if message.content["ask"]["sleeper"] == config["site"]:
        Path(config["note"]).write_text("asleep")
        time.sleep(600)
    answer = {"site": config["site"], "quoted": config["quoted"], "threads": os.environ["OMP_NUM_THREADS"]}
    return Message(RecordDict({"answer": ConfigRecord(answer)}), reply_to=message)
"""

AWKWARD = """it's a "quoted" = value, with\ttab and ü"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "toy"
    folder.mkdir()
    for name, content in (
        ("pyproject.toml", PYPROJECT),
        ("server_app.py", SERVER_APP),
        ("client_app.py", CLIENT_APP),
    ):
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def notes() -> Iterator[Path]:
    """Where an app that is kept off other files may write, though its site has no home."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def deployment(
    toy: Path, notes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoopbackDeployment]:
    sites = {name: {"site": name, "note": str(notes / name), "quoted": AWKWARD} for name in SITES}
    with LoopbackDeployment(tmp_path_factory.mktemp("deployment"), app=toy, sites=sites) as running:
        yield running


@pytest.mark.slow
def test_every_site_answers_with_its_own_settings(deployment: LoopbackDeployment, tmp_path: Path) -> None:
    lines: list[str] = []
    deployment.run({"out": str(tmp_path / "out.json")}, timeout_seconds=120, on_line=lines.append)
    answers = json.loads((tmp_path / "out.json").read_text())
    assert {name: answer["site"] for name, answer in answers.items()} == {name: name for name in SITES}
    assert {answer["quoted"] for answer in answers.values()} == {AWKWARD}
    assert {answer["threads"] for answer in answers.values()} == {"1"}
    assert "asking east north south" in lines


@pytest.mark.slow
def test_the_hub_speaks_only_tls_and_only_with_its_own_authority(deployment: LoopbackDeployment) -> None:
    with httpx.Client(trust_env=False) as stranger:
        with pytest.raises(httpx.TransportError):
            stranger.get(f"http://{deployment.address}/health")
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.get(f"https://{deployment.address}/health")
    with deployment.control() as control:
        assert control.answers()


@pytest.mark.slow
def test_an_executor_without_the_secret_gets_no_work(deployment: LoopbackDeployment) -> None:
    trusted = ssl.create_default_context(cafile=str(deployment.authority))
    with httpx.Client(verify=trusted, trust_env=False) as thief:
        answer = thief.post(
            f"https://{deployment.address}/v1/runtime/acquire-task",
            content=AcquireTaskRequest(supported_task_types=["flwr-serverapp"]).SerializeToString(),
            headers={"content-type": "application/protobuf", "accept": "application/protobuf"},
        )
    assert answer.status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.slow
@pytest.mark.parametrize("has_key", [True, False])
def test_a_node_without_a_registered_key_is_refused(
    deployment: LoopbackDeployment, tmp_path: Path, has_key: bool
) -> None:
    write_node_key(tmp_path / "node.key")
    intruder = Child(
        "intruder",
        [
            str(Path(sys.executable).parent / "flower-supernode"),
            *("--superlink", deployment.address, "--root-certificates", str(deployment.authority)),
            *("--port", str(free_port()), "--isolation", "process"),
            *(("--auth-supernode-private-key", str(tmp_path / "node.key")) if has_key else ()),
        ],
        environment=environment(os.environ, home=tmp_path / "home", threads=1),
        log=tmp_path / "intruder.log",
    )
    try:
        assert wait_for(lambda: not intruder.running, seconds=30)
        assert "could not establish a connection" in intruder.last_words()
    finally:
        stop([intruder])
    with deployment.control() as control:
        assert set(control.online_since()) == set(SITES)


@pytest.mark.slow
def test_an_app_that_crashes_is_one_line(deployment: LoopbackDeployment) -> None:
    with pytest.raises(PeerError, match="the run failed: no such atlas; see ") as caught:
        deployment.run({"crash": "no such\natlas"}, timeout_seconds=120)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_refusal_by_the_hub_keeps_its_class_and_words(deployment: LoopbackDeployment) -> None:
    with pytest.raises(InputRefusedError, match=r"^store north: too small; ingest again$"):
        deployment.run({"refusal": "store north: too small; ingest again"}, timeout_seconds=120)


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_stopped(deployment: LoopbackDeployment, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="longer than 1 s"):
        deployment.run({"out": str(tmp_path / "out.json")}, timeout_seconds=1)


@pytest.mark.slow
def test_a_killed_site_is_an_error_the_others_finish_and_it_may_come_back(
    deployment: LoopbackDeployment, notes: Path, tmp_path: Path
) -> None:
    def kill_when_busy() -> None:
        assert wait_for((notes / "east").exists, seconds=60)
        deployment.kill_site("east")

    killer = threading.Thread(target=kill_when_busy)
    killer.start()
    deployment.run({"out": str(tmp_path / "out.json"), "sleeper": "east"}, timeout_seconds=180)
    killer.join()
    answers = json.loads((tmp_path / "out.json").read_text())
    assert answers["east"]["error"] == 5  # Flower: node unavailable
    assert {answers[name]["site"] for name in ("north", "south")} == {"north", "south"}
    deployment.start_site("east")
    with deployment.control() as control:
        assert set(control.online_since()) == set(SITES)


@pytest.mark.slow
def test_a_stopped_site_leaves_at_once_and_may_come_back(
    deployment: LoopbackDeployment,
) -> None:
    with deployment.control() as control:
        deployment.stop_site("south")
        assert "south" not in control.online_since()
        deployment.start_site("south")
        assert "south" in control.online_since()


@pytest.mark.slow
def test_no_process_outlives_the_deployment(toy: Path, tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    started = set[psutil.Process]()
    sites = {"north": {"site": "north", "note": str(tmp_path / "note"), "quoted": ""}}

    def interrupt(line: str) -> None:
        now = set(psutil.Process().children(recursive=True)) - before
        started.update(process for process in now if before.isdisjoint(process.parents()))
        if line.startswith("asking"):
            raise KeyboardInterrupt

    def run_until_interrupted() -> None:
        with LoopbackDeployment(tmp_path / "deployment", app=toy, sites=sites) as deployment:
            deployment.run({"sleeper": "north"}, timeout_seconds=120, on_line=interrupt)

    with pytest.raises(KeyboardInterrupt):
        run_until_interrupted()
    assert len(started) >= 5  # SuperLink, SuperNode, executor, gate, the ServerApp
    assert wait_for(lambda: not any(alive(process) for process in started), seconds=5)


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = f"""
        import os, time
        from pathlib import Path
        from common.processes.child import Child
        log = Path({str(tmp_path / "log")!r})
        child = Child("sleeper", ["/bin/sleep", "600"], environment=os.environ, log=log)
        print(child.pid, flush=True)
        time.sleep(600)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert wait_for(lambda: child.cmdline()[:1] == ["/bin/sleep"], seconds=10)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert wait_for(lambda: not alive(child), seconds=5)


def test_a_child_that_will_not_end_is_ended_with_what_it_started(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 600 & echo $!; wait; sleep 600"
    child = Child("stubborn", ["/bin/sh", "-c", script], environment=os.environ, log=tmp_path / "log")
    assert wait_for(lambda: child.last_words() != "", seconds=10)
    grandchild = psutil.Process(int(child.last_words()))
    stop([child], grace_seconds=0.3)
    assert not child.running
    assert wait_for(lambda: not alive(grandchild), seconds=5)


def test_a_child_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    script = r"printf 'starting\n\033[91mport in use\033[0m\n\n"
    script += r"WARNING :   EXPERIMENTAL: it may change\nINFO:     Finished\n'; exit 3"
    child = Child("hub", ["/bin/sh", "-c", script], environment=os.environ, log=tmp_path / "log")
    assert wait_for(lambda: not child.running, seconds=10)
    with pytest.raises(PeerError, match=r"^hub ended with exit code 3, saying: port in use; see "):
        child.require_running()


def test_the_authority_vouches_for_the_loopback_and_private_files_are_private(tmp_path: Path) -> None:
    paths = issue_server_certificate(tmp_path)
    public = write_node_key(tmp_path / "node.key")
    assert {path.stat().st_mode & 0o777 for path in (paths.key, tmp_path / "node.key")} == {0o600}
    private = load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    assert private.public_key() == load_pem_public_key(public)
    for host in ("127.0.0.1", "localhost"):
        assert handshake(paths.certificate, paths.key, trusted=paths.authority, host=host)
    assert not handshake(paths.certificate, paths.key, trusted=paths.authority, host="example.org")
    other = issue_server_certificate(tmp_path / "other")
    assert not handshake(paths.certificate, paths.key, trusted=other.authority, host="localhost")


def test_settings_reach_flower_whatever_they_hold(tmp_path: Path) -> None:
    settings = {"site": AWKWARD, "rounds": 3, "rate": 0.5, "resume": True, "a.b": "c"}
    (tmp_path / "node.toml").write_text(tomli_w.dumps(settings))
    assert parse_config_args([str(tmp_path / "node.toml")]) == settings


def test_flower_is_steered_by_us_alone(tmp_path: Path) -> None:
    steered = environment({"FLWR_DATABASE": "x", "FLWR_HOME": "y", "LANG": "C"}, home=tmp_path, threads=2)
    assert "FLWR_DATABASE" not in steered
    assert steered["FLWR_HOME"] == str(tmp_path)
    assert (steered["FLWR_TELEMETRY_ENABLED"], steered["FLWR_DISABLE_UPDATE_CHECK"]) == ("0", "1")
    assert (steered["LANG"], steered["OMP_NUM_THREADS"]) == ("C", "2")


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("10.0.0.7,.ward.example", "10.0.0.7,.ward.example,")]
)
def test_the_loopback_and_what_the_hospital_names_are_reached_without_a_proxy(
    tmp_path: Path, before: str, after: str
) -> None:
    steered = environment({"HTTPS_PROXY": "p:1", "NO_PROXY": before}, home=tmp_path, threads=1)
    assert steered["no_proxy"] == steered["NO_PROXY"] == f"{after}127.0.0.1,localhost"
    assert steered["HTTPS_PROXY"] == "p:1"


def test_only_programs_that_call_the_hub_know_the_proxy_and_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[str]] = {}

    def look(name: str, command: object, *, environment: dict[str, str], log: Path, rotated: bool) -> None:
        assert not rotated
        seen[log.stem] = {variable for variable in environment if "@proxy" in environment[variable]}

    monkeypatch.setenv("HTTPS_PROXY", "http://north:word@proxy:3128")
    monkeypatch.setenv("all_proxy", "http://north:word@proxy:3128")
    monkeypatch.setattr(party, "Child", look)
    site = party.Party("north", folder=tmp_path, logs=tmp_path, threads=1)
    site.spawn_module("client.gate", [])
    site.spawn("flower-supernode", [])
    site.spawn_module("client.supernode", [], outwards=True)
    known = {"HTTPS_PROXY", "all_proxy"}
    assert seen == {"client.gate": set(), "flower-supernode": known, "client.supernode": known}


def test_the_assembled_app_holds_what_fab_include_names_and_nothing_else(tmp_path: Path) -> None:
    repository = Path(common.__file__).parents[1]
    patterns = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["flwr"]["app"][
        "fab-include"
    ]
    included = {path for pattern in patterns for path in repository.glob(pattern)}
    expected = included | {repository / "pyproject.toml", repository / "LICENSE"}
    assembled = contents(app_folder(tmp_path))
    assert assembled == {str(path.relative_to(repository)): path.read_bytes() for path in expected}
    assert {Path(name).parts[0] for name in assembled} == {
        "LICENSE",
        "pyproject.toml",
        "client",
        "common",
        "server",
    }


def test_an_installed_wheel_assembles_the_same_app_from_what_it_carries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Path(common.__file__).parents[1]
    from_checkout = contents(app_folder(tmp_path))
    site_packages, carried = tmp_path / "site-packages", tmp_path / "packaged"
    for package in ("client", "common", "server"):
        shutil.copytree(repository / package, site_packages / package)
    (site_packages / "LICENSE").write_text("of another distribution")
    monkeypatch.setattr(common, "__file__", str(site_packages / "common" / "__init__.py"))
    monkeypatch.setattr(flower_app, "PACKAGED", carried)
    with pytest.raises(ConfigurationError, match=r"carries no pyproject\.toml"):
        app_folder(tmp_path)
    carried.mkdir()
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copyfile(repository / name, carried / name)
    assert contents(app_folder(tmp_path)) == from_checkout


def test_the_same_app_is_the_same_bundle_with_the_settings_it_declares(toy: Path) -> None:
    assert build_app(toy) == build_app(toy)
    assert build_app(toy).settings == {"out", "sleeper", "refusal", "crash"}


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "a b"])
def test_a_site_name_that_is_no_folder_name_is_refused(toy: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        LoopbackDeployment(tmp_path, app=toy, sites={name: {}})


def test_a_folder_that_is_no_app_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no Flower app"):
        LoopbackDeployment(tmp_path, app=tmp_path, sites={"north": {}})


FAKE_SIMULATOR = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done
exit 5
"""


def local_script(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of deploy/local.sh beside a simulator that prints its words and exits with 5."""
    script, simulator = tmp_path / "deploy" / "local.sh", tmp_path / ".venv" / "bin" / "fedvlp-sim"
    for path, content in (
        (script, (Path(common.__file__).parents[1] / "deploy" / "local.sh").read_text()),
        (simulator, FAKE_SIMULATOR),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(content)
        path.chmod(0o755)
    (tmp_path / "a spec.toml").touch()
    return subprocess.run(
        [str(script), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )


def test_the_local_script_passes_sites_options_and_the_exit_code_on(tmp_path: Path) -> None:
    done = local_script(
        tmp_path, "-o", "o ut", "a spec.toml", "north=s 1", "south=s2", "--", "--bank", "the bank"
    )
    assert done.returncode == 5
    assert done.stdout.splitlines() == [
        *("run", "a spec.toml", "--engine", "deployment", "--out", "o ut"),
        *("--site", "north=s 1", "--site", "south=s2", "--bank", "the bank"),
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "usage: deploy/local.sh"),
        (("a spec.toml",), "usage: deploy/local.sh"),
        (("a spec.toml", "--", "--seed"), "usage: deploy/local.sh"),
        (("missing.toml", "north=x"), "local.sh: no run spec at missing.toml"),
        (("a spec.toml", "north"), "local.sh: 'north' is not NAME=STORE"),
    ],
)
def test_the_local_script_refuses_wrong_usage_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], line: str
) -> None:
    done = local_script(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def wait_for(happened: object, *, seconds: float) -> bool:
    assert callable(happened)
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(happened())


def handshake(certificate: Path, key: Path, *, trusted: Path, host: str) -> bool:
    """Whether a client that trusts `trusted` accepts the certificate for `host`; no socket is opened."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=str(trusted))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return client.version() is not None
