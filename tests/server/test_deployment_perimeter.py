"""The hub as hospitals meet it: real processes behind a real nginx, and hospitals with Flower's own node."""

import os
import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)
from hub_door import NGINX, Door, needs_nginx, opened, until

from client.home import Home
from common.processes.child import Child, stop
from common.processes.party import environment
from server.members import Members
from simulations.deployment.loopback import free_port

pytestmark = [pytest.mark.slow, needs_nginx]

PROTOBUF = {"content-type": "application/protobuf", "accept": "application/protobuf"}
INSIDE = ("/v1/control/list-nodes", "/v1/control/start-run", "/v1/runtime/acquire-task")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(tmp_path_factory.mktemp("perimeter")) as made:
        yield made


def test_fleet_and_health_pass_and_nothing_else(door: Door) -> None:
    with door.client() as hospital:
        assert hospital.get("/health").status_code == 200
        unsigned = hospital.post("/v1/fleet/pull-messages", content=b"", headers=PROTOBUF)
        assert (unsigned.status_code, "SuperNode" in unsigned.text) == (401, True)  # Flower's own answer
        for path in (
            "/v1/control/list-nodes",
            "/v1/control/start-run",
            "/v1/runtime/acquire-task",
            "/docs",
            "/",
        ):
            assert hospital.post(path, content=b"", headers=PROTOBUF).status_code == 403, path
        for path in (
            "/v1/fleet/..%2fcontrol/list-nodes",
            "/v1/fleet/../control/list-nodes",
            "//v1/control/list-nodes",
        ):
            request = hospital.build_request("POST", "/", content=b"", headers=PROTOBUF)
            request.extensions["target"] = path.encode()
            assert hospital.send(request).status_code in (400, 401, 403, 404), path
        assert hospital.get("/v1/fleet/pull-messages").status_code == 403
        secret = (door.chest.hub.folder / "service" / "operator.secret").read_bytes().hex()
        stolen = PROTOBUF | {"authorization": f"Bearer {secret}"}
        assert hospital.post("/v1/control/list-nodes", content=b"", headers=stolen).status_code == 403


def test_the_inner_port_asks_for_the_secret(door: Door) -> None:
    inside = ssl.create_default_context(cafile=str(door.chest.hub.folder / "service" / "authority.pem"))
    with httpx.Client(base_url=f"https://127.0.0.1:{door.inner}", verify=inside, trust_env=False) as local:
        for path in INSIDE:
            assert local.post(path, content=b"", headers=PROTOBUF).status_code in (401, 403), path
    listening = {
        one.laddr.ip
        for one in psutil.net_connections("inet")
        if one.status == "LISTEN" and one.laddr.port == door.inner
    }
    assert listening == {"127.0.0.1"}


def test_a_piece_of_a_model_passes_and_a_larger_body_does_not(door: Door) -> None:
    with door.client() as hospital:
        piece = hospital.post("/v1/fleet/push-object", content=bytes(5_300_000), headers=PROTOBUF)
        assert piece.status_code != 413
        large = hospital.post("/v1/fleet/push-object", content=bytes(8_400_000), headers=PROTOBUF)
        assert large.status_code == 413


def test_tls_1_2_is_refused(door: Door) -> None:
    old = ssl.create_default_context(cafile=str(door.chest.hub.folder / "authority.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with door.client(old) as hospital, pytest.raises(httpx.ConnectError, match=r"(?i)protocol.version"):
        hospital.get("/health")


def test_a_caller_who_is_too_fast_is_slowed(door: Door) -> None:
    with door.client() as hospital:
        began = time.monotonic()
        answers = [hospital.get("/health").status_code for _ in range(150)]
    assert set(answers) == {200}
    assert time.monotonic() - began > 1.0  # 100 a second


def test_members_connect_while_they_are_members_and_nobody_else_does(door: Door, tmp_path: Path) -> None:
    stranger = Home(tmp_path / "stranger")
    request = stranger.request("south", now=door.chest.founded)
    north, intruder = door.node(door.chest.homes["north"], "north"), door.node(stranger, "stranger")
    children = [north, intruder]
    try:
        assert until(lambda: door.online() == {"north"}), north.output() + door.hub.output()
        assert until(lambda: not intruder.running)
        Members(door.chest.hub).admit(request, password=None, roster=None, now=door.chest.founded)
        assert until(lambda: "south is let in" in door.hub.output(), seconds=10)
        children.append(south := door.node(stranger, "south"))
        assert until(lambda: door.online() == {"north", "south"}), south.output()
        said = door.run("status")
        assert ("south  connected" in said.stdout, "east  not connected" in said.stdout) == (True, True), said
        assert door.run("remove", "north").returncode == 0
        assert until(lambda: not north.running), north.output()
        assert door.online() == {"south"}
        assert south.running
    finally:
        stop(children)


def test_only_who_shows_a_certificate_passes_where_the_operator_wants_that(
    door: Door, tmp_path: Path
) -> None:
    port, out = free_port(), tmp_path / "door"
    terms = ["--listen", f"127.0.0.1:{port}", "--port", door.inner, "--scratch", tmp_path]
    assert door.run("proxy", "--out", out, *terms, "--client-certificates").returncode == 0
    strict = Child(
        "strict nginx",
        [str(NGINX), "-c", str(out / "nginx.conf"), "-g", "daemon off;"],
        environment=environment(os.environ, home=tmp_path / "flower", threads=1),
        log=tmp_path / "nginx.log",
    )
    authority, east = str(door.chest.hub.folder / "authority.pem"), door.chest.homes["east"]
    key = load_ssh_private_key(east.node_key.read_bytes(), None)  # Flower's format; TLS programs want PEM
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "east.key").write_bytes(pem)
    known, unknown = (ssl.create_default_context(cafile=authority) for _ in range(2))
    known.load_cert_chain(east.folder / "certificate.pem", tmp_path / "east.key")

    def health(trusted: ssl.SSLContext) -> int:
        with httpx.Client(verify=trusted, trust_env=False) as hospital:
            try:
                return hospital.get(f"https://127.0.0.1:{port}/health").status_code
            except httpx.TransportError:
                return 0

    try:
        assert until(lambda: health(known) == 200, seconds=20), strict.output()
        assert health(unknown) == 400
    finally:
        stop([strict])


def test_the_hub_ends_cleanly_and_leaves_nothing(door: Door) -> None:
    children = psutil.Process(door.hub.pid).children(recursive=True)
    assert len(children) >= 2
    os.kill(door.hub.pid, signal.SIGTERM)
    assert until(lambda: not door.hub.running, seconds=30)
    assert door.hub.reap() == 0, door.hub.output()
    assert "the hub has ended" in door.hub.output()
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert not (door.chest.hub.folder / "service" / "hub.json").exists()
    with door.client() as hospital:
        assert hospital.get("/health").status_code == 502
