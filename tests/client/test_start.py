"""`fedvlp-site start` where it must refuse, and what a gate's settings may say."""

import base64
import fcntl
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from consortium_samples import found
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)
from typer.testing import CliRunner

from client.cli import cli
from client.gate.settings import read_settings
from client.site_processes import SiteWork
from common.errors import ConfigurationError, FederationError


def start(home: Path, store: Path) -> FederationError:
    answer = CliRunner().invoke(cli, ["start", "--home", str(home), "--store", str(store)])
    assert isinstance(answer.exception, FederationError)
    return answer.exception


def test_a_second_process_on_one_home_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    home = found(tmp_path, sites=["north"]).homes["north"].folder
    (home / "run").mkdir()
    with (home / "run" / "lock").open("w+") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "in use by process 4711" in str(start(home, tmp_path))
    assert not (home / "logs").exists()


def test_a_home_without_a_kit_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    assert "fedvlp-site init" in str(start(tmp_path / "home", tmp_path))


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    home = found(tmp_path, sites=["north"]).homes["north"].folder
    assert "--store" in str(start(home, tmp_path / "no-store"))


@pytest.mark.parametrize("named", [False, True])
def test_the_ledger_of_the_home_is_the_one_that_is_charged_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    home, elsewhere = found(tmp_path, sites=["north"]).homes["north"].folder, tmp_path / "elsewhere"
    elsewhere.mkdir()
    started: list[SiteWork] = []
    monkeypatch.setattr(SiteWork, "keep_running", lambda self, say: started.append(self))
    options = ["--ledger", str(elsewhere)] if named else []
    words = ["start", "--home", str(home), "--store", str(tmp_path), *options]
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert started[0].node["ledger"] == str(elsewhere if named else home / "ledger")


def test_of_a_site_s_processes_the_one_that_calls_the_hub_knows_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, seen = found(tmp_path, sites=["north"]).homes["north"], {}

    def look(
        name: str, command: object, *, environment: dict[str, str], log: Path, rotated: bool
    ) -> MagicMock:
        assert rotated
        seen[log.stem] = environment.get("HTTPS_PROXY")
        if len(seen) == 2:
            raise KeyboardInterrupt
        return MagicMock(running=False, news=list)

    monkeypatch.setenv("HTTPS_PROXY", "http://north:word@proxy:3128")
    monkeypatch.setattr("common.processes.party.Child", look)
    with pytest.raises(KeyboardInterrupt):
        SiteWork(home, {}, None, 1).keep_running(print)
    assert seen == {"client.gate": None, "client.supernode": "http://north:word@proxy:3128"}


def under_a_password(key: Path) -> None:
    """As `ssh-keygen -p` leaves it: OpenSSH's PROTOCOL.key, with a private half that nobody can open."""

    def text(content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + content

    public = load_ssh_private_key(key.read_bytes(), None).public_key()
    blob = base64.b64decode(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    head = b"openssh-key-v1\0" + text(b"aes256-ctr") + text(b"bcrypt")
    locked = head + text(text(bytes(16)) + bytes([0, 0, 0, 16])) + bytes([0, 0, 0, 1]) + text(blob)
    body = base64.encodebytes(locked + text(bytes(64)))
    key.write_bytes(b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + body + b"-----END OPENSSH PRIVATE KEY-----\n")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_another_site(path: Path) -> None:
    shutil.copyfile(path.parents[1] / "west" / path.name, path)


def of_another_consortium(path: Path) -> None:
    found(path.parents[1] / "other", sites=["north"])
    shutil.copyfile(path.parents[1] / "other" / "north" / path.name, path)


@pytest.mark.parametrize(
    ("name", "change", "code", "line"),
    [
        ("identity.key", Path.unlink, 2, "is no identity; make one with"),
        ("identity.key", a_folder, 2, "identity.key: Is a directory; it must be a file of the account"),
        ("identity.key", of_another_site, 6, "the kit names other keys than those of this site"),
        ("node.key", a_folder, 2, "node.key: Is a directory"),
        ("node.key", under_a_password, 2, "is damaged or no node key"),
        ("node.key", of_another_site, 6, "the kit names other keys than those of this site"),
        ("authority.pem", of_another_consortium, 6, "authority.pem differs from the kit"),
        ("kit.json", of_another_site, 6, "the kit is for site west, this is north"),
        ("kit.json", of_another_consortium, 6, "the kit names other keys"),
        ("kit.json", lambda path: path.write_bytes(path.read_bytes()[:99]), 6, "is no whole kit"),
    ],
)
def test_a_home_that_is_not_in_order_starts_nothing(
    tmp_path: Path, name: str, change: Callable[[Path], object], code: int, line: str
) -> None:
    home = found(tmp_path, sites=["north", "west"]).homes["north"].folder
    change(home / name)
    refused = start(home, tmp_path)
    assert (refused.exit_code, line in str(refused), "\n" in str(refused)) == (code, True, False), refused
    assert not (home / "logs").exists()


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("", "Invalid JSON"),
        ('{"runtime": "127.0.0.1:1", "secret": "s", "node": {}, "memory_gib": null}', "rule: Field required"),
        ('{"runtime": "127.0.0.1:1", "secret": "s", "node": {}, "memory_gib": null, "rule": {}}', "rule"),
    ],
)
def test_a_gate_without_a_rule_does_not_start(tmp_path: Path, said: str, complaint: str) -> None:
    path = tmp_path / "gate.json"
    path.write_text(said)
    with pytest.raises(ConfigurationError, match=complaint):
        read_settings(path)


def test_an_approved_rule_needs_a_home_that_joined(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    rule = f'{{"kind": "approved", "home": "{tmp_path}"}}'
    path.write_text(
        f'{{"runtime": "127.0.0.1:1", "secret": "{os.devnull}", "node": {{}}, "memory_gib": null, '
        f'"rule": {rule}}}'
    )
    with pytest.raises(ConfigurationError, match="joined no consortium"):
        _ = read_settings(path).parsed_rule
