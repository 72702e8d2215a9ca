"""`fedvlp-site start` where it must refuse, and what a gate's settings may say."""

import fcntl
import os
from pathlib import Path

import pytest
from consortium_samples import found
from typer.testing import CliRunner

from client.cli import cli
from client.gate.settings import read_settings
from client.site_processes import SiteWork
from common.errors import ConfigurationError


def start(home: Path, store: Path) -> ConfigurationError:
    answer = CliRunner().invoke(cli, ["start", "--home", str(home), "--store", str(store)])
    assert isinstance(answer.exception, ConfigurationError)
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
