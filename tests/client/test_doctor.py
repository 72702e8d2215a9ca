"""The doctor finds what is wrong, names it, and says what to do; each fault is a real one on the loopback."""

import json
import os
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from connect_proxy import proxying
from consortium_samples import Consortium, found
from saying import Say
from tiny import tiny_store

from client.audit import AUDIT, LOG, Audit
from client.audit_line import Event
from client.doctor import machine
from client.doctor.finding import Finding, exit_code, failed, passed
from client.doctor.network import examine_network
from client.doctor.packages import examine_packages
from client.doctor.papers import examine_papers
from client.doctor.records import examine_audit, examine_ledger, examine_store
from client.ledger import Ledger
from common.bundle_folder import Bundle
from common.project import Project
from common.store import IMAGES, Store
from server.authority import Authority, new_authority, new_key, pem_of, private_pem_of


def find(findings: list[Finding], check: str) -> Finding:
    found = [finding for finding in findings if finding.check == check]
    assert len(found) == 1, findings
    return found[0]


# --- the network -------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """Answers as a SuperLink does; the class is made anew for each server."""

    ahead = 0.0
    health = 200
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self.health)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(401)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(time.time() + self.ahead)

    def log_message(self, *said: object) -> None:
        pass

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving(folder: Path, authority: Authority, *, names: tuple[str, ...] = ("127.0.0.1",), days: int = 90,
            **traits: object) -> Iterator[str]:  # fmt: skip
    """A hub on the loopback, with a certificate of `authority`; yields its address."""
    key = new_key()
    certificate = authority.server_certificate(key.public_key(), names, days=days)
    (folder / "s.pem").write_bytes(pem_of(certificate))
    (folder / "s.key").write_bytes(private_pem_of(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "s.pem", folder / "s.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (Hub,), traits), bind_and_activate=True)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def authority() -> Authority:
    return new_authority("chest authority")


@pytest.fixture
def trusted(tmp_path: Path, authority: Authority) -> Path:
    path = tmp_path / "authority.pem"
    path.write_bytes(pem_of(authority.certificate))
    return path


def test_a_good_line_passes_every_check(tmp_path: Path, authority: Authority, trusted: Path) -> None:
    with serving(tmp_path, authority) as hub:
        findings, line = examine_network(hub, trusted, environment={})
    assert {finding.check: finding.status for finding in findings} == dict.fromkeys(
        ("proxy", "name", "port", "TLS", "round trip", "clock", "line"), "pass"
    )
    assert line is not None
    assert line.megabytes_per_second is not None
    assert exit_code(findings) == 0


def test_a_connection_that_somebody_intercepts_is_named_with_its_issuer(
    tmp_path: Path, trusted: Path
) -> None:
    with serving(tmp_path, new_authority("Middlebox Inc")) as hub:
        findings, line = examine_network(hub, trusted, environment={})
    finding = find(findings, "TLS")
    assert (
        "intercepted: its certificate comes from CN=Middlebox Inc, not from CN=chest authority"
        in finding.found
    )
    assert exit_code(findings) == 6
    assert line is None


def test_a_certificate_that_ended_or_names_another_host_is_told_apart_from_interception(
    tmp_path: Path, authority: Authority, trusted: Path
) -> None:
    with serving(tmp_path, authority, days=0) as hub:
        ended, _ = examine_network(hub, trusted, environment={})
    assert "held until" in find(ended, "TLS").found
    with serving(tmp_path, authority, names=("hub.example.org",)) as hub:
        elsewhere, _ = examine_network(hub, trusted, environment={})
    assert "is not for 127.0.0.1" in find(elsewhere, "TLS").found
    assert exit_code(ended) == exit_code(elsewhere) == 6
    with serving(tmp_path, authority, days=5) as hub:
        soon, _ = examine_network(hub, trusted, environment={})
    assert (find(soon, "TLS").status, exit_code(soon)) == ("warn", 0)


@pytest.mark.parametrize(("ahead", "status"), [(600, "fail"), (-600, "fail"), (-8, "fail"), (60, "warn")])
def test_a_clock_that_the_hub_would_refuse_fails(
    tmp_path: Path, authority: Authority, trusted: Path, ahead: float, status: str
) -> None:
    """A node may be 5 s ahead of the hub and 300 s behind."""
    with serving(tmp_path, authority, ahead=ahead) as hub:
        findings, _ = examine_network(hub, trusted, environment={})
    clock = find(findings, "clock")
    assert clock.status == status
    assert ("behind" if ahead > 0 else "ahead of") in clock.found
    assert exit_code(findings) == (5 if status == "fail" else 0)


@pytest.mark.parametrize("account", [None, "north:p@ss word"])
def test_the_way_leads_through_a_connect_proxy(
    tmp_path: Path, authority: Authority, trusted: Path, account: str | None
) -> None:
    with serving(tmp_path, authority) as hub, proxying(account=account) as (port, heard):
        name = "" if account is None else "north:p%40ss%20word@"
        environment = {"HTTPS_PROXY": f"http://{name}127.0.0.1:{port}", "NO_PROXY": "localhost"}
        findings, line = examine_network(hub, trusted, environment=environment)
        assert set(heard) == {f"CONNECT {hub} passes"}
        assert line is not None
        assert find(findings, "line").status == "pass"
        assert f"127.0.0.1:{port}" in find(findings, "proxy").found
        assert "p@ss" not in str(findings)
        heard.clear()
        findings, _ = examine_network(hub, trusted, environment=environment | {"NO_PROXY": "127.0.0.1"})
        assert not heard
        assert exit_code(findings) == 0


def test_a_proxy_that_refuses_and_a_port_or_name_that_is_not_there_are_told_apart(
    tmp_path: Path, authority: Authority, trusted: Path
) -> None:
    with serving(tmp_path, authority) as hub, proxying(allow=False) as (port, _):
        environment = {"https_proxy": f"127.0.0.1:{port}"}
        findings, line = examine_network(hub, trusted, environment=environment)
        assert "does not let us through" in find(findings, "port").found
        assert "403 Forbidden" in find(findings, "port").found
        assert line is None
    findings, _ = examine_network(hub, trusted, environment={})
    assert "does not answer" in find(findings, "port").found
    findings, _ = examine_network("no-such-host.invalid:443", trusted, environment={})
    assert find(findings, "name").status == "fail"
    assert exit_code(findings) == 5


def test_a_proxy_that_wants_an_account_says_so(tmp_path: Path, authority: Authority, trusted: Path) -> None:
    with serving(tmp_path, authority) as hub, proxying(account="north:word") as (port, _):
        environment = {"https_proxy": f"http://127.0.0.1:{port}"}
        findings, _ = examine_network(hub, trusted, environment=environment)
    assert "NAME:PASSWORD@" in find(findings, "port").fix


@pytest.mark.parametrize("url", ["socks5://proxy:1080", "https://proxy:3128", "http://proxy:port", "http://"])
def test_a_proxy_of_another_kind_is_refused(trusted: Path, url: str) -> None:
    findings, line = examine_network("hub.example.org:443", trusted, environment={"https_proxy": url})
    assert [(finding.check, finding.status) for finding in findings] == [("proxy", "fail")]
    assert line is None


def test_a_hub_that_is_unwell_fails(tmp_path: Path, authority: Authority, trusted: Path) -> None:
    with serving(tmp_path, authority, health=503) as hub:
        findings, _ = examine_network(hub, trusted, environment={})
    assert "HTTP 503" in find(findings, "round trip").found


# --- papers, records, machine ------------------------------------------------------------------------------


@pytest.fixture
def chest(tmp_path: Path) -> Consortium:
    return found(tmp_path)


@pytest.fixture
def approved(chest: Consortium, project: Project) -> Bundle:
    folder = chest.bundle(project).project.folder
    return chest.approvals("east").approve(folder, now=chest.founded)[0]


def test_whole_papers_pass(chest: Consortium, approved: Bundle) -> None:
    findings, bundle = examine_papers(chest.homes["east"], now=chest.founded)
    assert {finding.status for finding in findings} == {"pass"}
    assert bundle is not None
    assert bundle.digest == approved.digest


def key_for_all(chest: Consortium) -> None:
    (chest.homes["east"].folder / "node.key").chmod(0o644)


def kit_of_another(chest: Consortium) -> None:
    shutil.copyfile(chest.homes["west"].folder / "kit.json", chest.homes["east"].folder / "kit.json")


def another_authority(chest: Consortium) -> None:
    (chest.homes["east"].folder / "authority.pem").write_bytes(pem_of(new_authority("other").certificate))


def half_a_kit(chest: Consortium) -> None:
    path = chest.homes["east"].folder / "kit.json"
    path.write_bytes(path.read_bytes()[:100])


def another_fab(chest: Consortium) -> None:
    next((chest.homes["east"].folder / "projects").glob("*/app.fab")).write_bytes(b"other")


def revoked(chest: Consortium) -> None:
    chest.approvals("east").revoke(now=chest.founded)


def no_roster(chest: Consortium) -> None:
    (chest.homes["east"].folder / "roster.json").write_text("{}")


@pytest.mark.parametrize(
    ("harm", "check", "code"),
    [
        (key_for_all, "permissions", 6),
        (kit_of_another, "kit", 6),
        (half_a_kit, "kit", 6),
        (another_authority, "kit", 6),
        (another_fab, "project", 6),
        (revoked, "project", 5),
        (no_roster, "roster", 5),
    ],
)
def test_what_is_wrong_with_the_papers_is_found(
    chest: Consortium, approved: Bundle, harm: Callable[[Consortium], None], check: str, code: int
) -> None:
    harm(chest)
    findings, _ = examine_papers(chest.homes["east"], now=chest.founded)
    assert find([one for one in findings if one.check == check], check).status == "fail"
    assert all(one.fix for one in findings if one.status != "pass")
    assert exit_code(findings) == code


def test_papers_that_end_soon_are_a_warning_and_a_late_clock_a_failure(
    chest: Consortium, approved: Bundle
) -> None:
    home = chest.homes["east"]
    soon, _ = examine_papers(home, now=chest.founded + timedelta(days=27))
    assert find(soon, "project").status == "warn"
    ends, _ = examine_papers(home, now=chest.founded + timedelta(days=380))
    assert find(ends, "kit").status == "warn"
    assert "expired" in find(ends, "project").found
    late, _ = examine_papers(home, now=chest.founded - timedelta(minutes=10))
    assert "10 minutes ahead of this machine's clock" in find(late, "kit").found


def test_stores_and_ledgers_are_held_against_the_project(
    tmp_path: Path, approved: Bundle, stores: dict[str, Store]
) -> None:
    assert examine_store(stores["east"].folder, approved)[0].status == "pass"
    assert examine_store(None, approved)[0].status == "warn"
    other = tiny_store(tmp_path / "other", size=32)
    assert "prepared otherwise" in examine_store(other.folder, approved)[0].found
    (other.folder / IMAGES).write_bytes(b"")
    assert examine_store(other.folder, approved)[0].status == "fail"

    place = tmp_path / "ledger"
    assert examine_ledger(place, site="east", bundle=approved)[0].status == "pass"
    private = approved.manifest.model_copy(update={"epsilon": {"east": 8.0}})
    needy = Bundle(private, approved.project)
    assert "epsilon 8" in examine_ledger(place, site="east", bundle=needy)[0].found
    Ledger.open_new(place, population="chest", epsilon=8, delta=1e-6)
    assert examine_ledger(place, site="east", bundle=needy)[0].status == "pass"
    (place / "head").write_text("0" * 64)
    assert exit_code(examine_ledger(place, site="east", bundle=needy)) == 6


def test_packages_that_differ_from_the_approved_ones_are_named(approved: Bundle) -> None:
    assert examine_packages(approved)[0].status == "pass"
    assert examine_packages(None) == []
    lock = approved.project.folder / "requirements.lock"
    lock.write_text("torch==0.1\nno-such-package==1\npydantic==0.1 ; python_version > '3'\n# a==1\n")
    finding = examine_packages(approved)[0]
    assert finding.status == "fail"
    assert "instead of 0.1, no-such-package missing instead of 1, pydantic" in finding.found


def test_a_machine_without_room_for_the_model_fails(tmp_path: Path) -> None:
    findings = machine.examine_machine(tmp_path, model_bytes=10**15)
    assert find(findings, "disc").status == find(findings, "memory").status == "fail"
    assert exit_code(findings) == 5


def test_a_driver_that_does_not_answer_is_a_failure_and_none_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find(machine.examine_machine(tmp_path, model_bytes=0), "GPU").status == "warn"
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert find(machine.examine_machine(tmp_path, model_bytes=0), "GPU").status == "fail"


def test_signatures_weigh_more_than_networks() -> None:
    line, seal = failed("a", "b", "c"), failed("a", "b", "c", integrity=True)
    assert [exit_code(case) for case in ([], [passed("a", "b")], [line], [line, seal, line])] == [0, 0, 5, 6]


# --- at the terminal ---------------------------------------------------------------------------------------


def test_the_command_says_all_of_it(
    say: Say, tmp_path: Path, chest: Consortium, approved: Bundle, stores: dict[str, Store],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    home = chest.homes["east"]
    with ExitStack() as stack:
        hub = stack.enter_context(serving(tmp_path, chest.hub.authority(None)))
        signing = chest.hub.operator(None)
        home.join(
            home.kit().model_copy(update={"hub": hub}).signed_by(signing), operator=None, now=chest.founded
        )
        options = ("--home", "east", "--store", stores["east"].folder)
        code, said = say("fedvlp-site", "doctor", "--json", *options)
        findings = [Finding.model_validate(one) for one in json.loads(said)["findings"]]
        assert code == 0, said
        assert find(findings, "round").status == "pass"
        assert "MB up" in find(findings, "round").found
        code, said = say("fedvlp-site", "doctor", *options)
        assert said.count("pass") >= 10
    assert say("fedvlp-site", "doctor", *options)[0] == 5
    (home.folder / "identity.key").chmod(0o640)
    code, said = say("fedvlp-site", "doctor", *options)
    assert code == 6
    assert "-> chmod 600" in said
    (home.folder / "kit.json").write_text("{")
    code, said = say("fedvlp-site", "doctor", *options)
    assert code == 6
    assert "no whole kit" in said
    code, said = say("fedvlp-site", "doctor", "--home", "nowhere")
    assert (code, said.count("\n")) == (2, 1)


def test_the_audit_log_is_checked_to_its_head(tmp_path: Path) -> None:
    folder = tmp_path / AUDIT
    assert examine_audit(folder)[0].status == "pass"
    for number in (1, 2):
        Audit(folder).append(Event(event="ASKED", stage="train", round=number))
    assert "2 lines, whole" in examine_audit(folder)[0].found
    (folder / LOG).write_bytes(b"")
    assert "line 1: missing" in examine_audit(folder)[0].found
    assert exit_code(examine_audit(folder)) == 6
