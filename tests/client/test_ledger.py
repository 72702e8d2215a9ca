"""The privacy ledger: charged before it is spent, whole or refused, whatever happens around it."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import cli
from client.ledger import DATABASE, HEAD, Charge, Ledger
from client.spending import page_of, spending_of
from common.errors import FederationError, IntegrityError, PolicyError
from common.privacy.accounting import Steps, epsilon_of

ROUND = Charge(
    project="a" * 64,
    name="chest",
    round=1,
    mechanism="G",
    rate_numerator=2**32 // 50,
    noise_multiplier=1.0,
    steps=10,
    epsilon=3.0,
    delta=1e-5,
)
COST = epsilon_of([Steps(ROUND.rate_numerator, 1.0, 10)], 1e-5)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open_new(tmp_path / "ledger", population="north", epsilon=5.0, delta=1e-5)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm"))
    }


# --- charging ----------------------------------------------------------------------------------------------


def test_a_round_is_charged_in_full_before_it_ends_and_never_refunded(ledger: Ledger) -> None:
    number, head = ledger.reserve(ROUND)
    account = ledger.read()
    assert (number, account.head) == (2, head)
    assert account.spent() == [Steps(ROUND.rate_numerator, 1.0, 10)]
    ledger.end(number, "ABORT")
    assert ledger.read().spent() == account.spent()
    assert ledger.read().ended == {2: "ABORT"}


def test_the_same_round_run_again_is_charged_again(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.end(ledger.reserve(ROUND)[0], "DONE")
    assert epsilon_of(ledger.read().spent(), 1e-5) == pytest.approx(
        epsilon_of([Steps(ROUND.rate_numerator, 1.0, 30)], 1e-5)
    )


def test_joint_noise_is_charged_as_such_and_what_is_left_of_it_alone_is_said(ledger: Ledger) -> None:
    ledger.reserve(ROUND)
    ledger.reserve(replace(ROUND, noise_multiplier_alone=0.5))
    account = ledger.read()
    whole, alone = Steps(ROUND.rate_numerator, 1.0, 10), Steps(ROUND.rate_numerator, 0.5, 10)
    assert account.spent() == [whole, whole]
    assert account.spent_alone() == [whole, alone]
    spending = spending_of(account)
    assert spending.epsilon_alone == pytest.approx(epsilon_of([whole, alone], 1e-5))
    assert spending.epsilon_alone > 1.5 * spending.epsilon_spent
    assert f"work together: epsilon {spending.epsilon_alone:.2f}" in page_of(spending)


def test_a_line_without_joint_noise_is_written_as_it_always_was(ledger: Ledger) -> None:
    ledger.reserve(ROUND)
    with closing(sqlite3.connect(ledger.folder / DATABASE)) as book:
        ((body,),) = book.execute("SELECT body FROM entries WHERE number = 2")
    assert "noise_multiplier_alone" not in json.loads(body)
    spending = spending_of(ledger.read())
    assert spending.epsilon_alone == spending.epsilon_spent
    assert "work together" not in page_of(spending)


def test_a_projects_budget_is_kept_and_a_refusal_leaves_no_trace(ledger: Ledger) -> None:
    dear = replace(ROUND, epsilon=1.01 * COST)
    ledger.reserve(dear)
    before = bytes_of(ledger.folder)
    with pytest.raises(PolicyError, match=r"budget of project chest: epsilon .* nothing was spent") as caught:
        ledger.reserve(dear)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert caught.value.outward == "privacy budget refused"
    assert bytes_of(ledger.folder) == before


def test_the_population_is_protected_over_all_projects(tmp_path: Path) -> None:
    ledger = Ledger.open_new(tmp_path / "ledger", population="north", epsilon=1.2 * COST, delta=1e-5)
    ledger.reserve(ROUND)
    with pytest.raises(PolicyError, match="budget of population north"):
        ledger.reserve(replace(ROUND, project="b" * 64, name="spine", steps=60))
    assert len(ledger.read().reserved) == 1


def test_a_budget_can_be_used_to_the_last_step(tmp_path: Path) -> None:
    exact = epsilon_of([Steps(ROUND.rate_numerator, 1.0, 40)], 1e-5)
    ledger = Ledger.open_new(tmp_path / "ledger", population="north", epsilon=exact, delta=1e-5)
    for _ in range(4):
        ledger.reserve(ROUND)
    with pytest.raises(PolicyError):
        ledger.reserve(replace(ROUND, steps=1))


def test_a_clock_set_back_changes_no_decision(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.reserve(ROUND)
    monkeypatch.setattr("client.ledger._now", lambda: "1970-01-01T00:00:00+00:00")
    ledger.reserve(replace(ROUND, round=2))
    account = ledger.read()
    assert [line.round for line in account.reserved] == [1, 2]
    assert len(account.spent()) == 2


# --- a ledger that cannot be trusted -----------------------------------------------------------------------


def refuses(ledger: Ledger, kind: type[FederationError], words: str, *, known_head: str = "") -> None:
    with pytest.raises(kind, match=words) as caught:
        ledger.reserve(ROUND, known_head=known_head)
    assert "/" not in caught.value.outward


def test_without_a_ledger_nothing_is_trained(tmp_path: Path) -> None:
    refuses(Ledger(tmp_path / "none"), PolicyError, "no privacy ledger")
    assert not (tmp_path / "none").exists()


def test_a_ledger_is_never_replaced(ledger: Ledger) -> None:
    with pytest.raises(PolicyError, match="never replaced"):
        Ledger.open_new(ledger.folder, population="north", epsilon=50, delta=1e-5)


@pytest.mark.parametrize("name", [DATABASE, HEAD])
def test_a_lost_file_is_noticed(ledger: Ledger, name: str) -> None:
    (ledger.folder / name).unlink()
    refuses(ledger, IntegrityError, "damaged")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_truncated_ledger_is_noticed(ledger: Ledger, share: float) -> None:
    for _ in range(20):
        ledger.reserve(replace(ROUND, steps=1))
    path = ledger.folder / DATABASE
    os.truncate(path, int(path.stat().st_size * share))
    refuses(ledger, IntegrityError, "damaged")


def rewrite(ledger: Ledger, statement: str) -> None:
    with closing(sqlite3.connect(ledger.folder / DATABASE)) as book, book:
        book.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE number = 3",
        "DELETE FROM entries WHERE number = 2",
        "DELETE FROM entries",
        "UPDATE entries SET body = replace(body, '\"steps\":10', '\"steps\":1') WHERE number = 2",
        "UPDATE entries SET body = replace(body, '5.0', '50.0') WHERE number = 1",
        "UPDATE entries SET digest = 'x' WHERE number = 3",
        "DROP TABLE entries",
    ],
)
def test_an_entry_that_is_removed_or_changed_is_noticed(ledger: Ledger, statement: str) -> None:
    ledger.reserve(ROUND)
    ledger.reserve(ROUND)
    rewrite(ledger, statement)
    refuses(ledger, IntegrityError, "damaged")


def test_an_old_database_under_a_new_head_is_noticed(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve(ROUND)
    shutil.copy(ledger.folder / DATABASE, tmp_path / "old")
    ledger.reserve(ROUND)
    for path in ledger.folder.glob(f"{DATABASE}*"):
        path.unlink()
    shutil.copy(tmp_path / "old", ledger.folder / DATABASE)
    refuses(ledger, IntegrityError, "its last entries are missing")


def test_a_whole_old_copy_is_noticed_by_the_head_that_the_hub_remembers(
    ledger: Ledger, tmp_path: Path
) -> None:
    ledger.reserve(ROUND)
    shutil.copytree(ledger.folder, tmp_path / "backup")
    _, head = ledger.reserve(ROUND)
    restored = Ledger(tmp_path / "backup")
    refuses(restored, IntegrityError, "an old copy was restored", known_head=head)
    ledger.reserve(ROUND, known_head=head)


def test_a_fork_is_noticed(ledger: Ledger, tmp_path: Path) -> None:
    """Two copies that both go on have different entries from there."""
    shutil.copytree(ledger.folder, tmp_path / "fork")
    _, head = ledger.reserve(ROUND)
    fork = Ledger(tmp_path / "fork")
    fork.reserve(replace(ROUND, round=2))
    refuses(fork, IntegrityError, "old copy", known_head=head)


# --- real processes ----------------------------------------------------------------------------------------

PROTOCOL = """
import os, signal, sys
from pathlib import Path
import client.ledger as module
from client.ledger import Ledger
sys.path.insert(0, sys.argv[3])
from test_ledger import ROUND

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

point, folder = sys.argv[1], Path(sys.argv[2])
append, write = module._append, module.write_whole
def at(name):
    if point == name:
        die()

def appending(book, entry, previous):
    kind = entry.kind
    at(f"before {kind}")
    book.execute("BEGIN")
    head = append(book, entry, previous)
    at(f"inside {kind}")
    book.execute("COMMIT")
    at(f"after {kind}")
    return head

def writing(path, content, **options):
    at("before head")
    write(path, content, **options)
    at("after head")

module._append, module.write_whole = appending, writing
ledger = Ledger(folder)
number, _ = ledger.reserve(ROUND)
at("before release")
with (folder / "released").open("a") as file:
    file.write("x")
    file.flush()
    os.fsync(file.fileno())
at("after release")
ledger.end(number, "DONE")
"""
POINTS = [
    *(f"{when} {kind}" for kind in ("RESERVE", "DONE") for when in ("before", "inside", "after")),
    *("before head", "after head", "before release", "after release", "nowhere"),
]


def run_protocol(point: str, folder: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROTOCOL, point, str(folder), str(Path(__file__).parent)],
        check=False,
        capture_output=True,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def released(ledger: Ledger) -> int:
    path = ledger.folder / "released"
    return len(path.read_text()) if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_whenever_a_process_is_killed_no_less_is_charged_than_released(ledger: Ledger, point: str) -> None:
    assert (run_protocol(point, ledger.folder) == 0) == (point == "nowhere")
    account = ledger.read()
    assert len(account.reserved) >= released(ledger)
    assert len(account.reserved) == (point not in ("before RESERVE", "inside RESERVE"))
    ledger.reserve(ROUND)  # and the ledger works on
    assert len(ledger.read().reserved) == len(account.reserved) + 1


@pytest.mark.slow
def test_two_processes_take_turns_and_together_stay_within_the_budget(tmp_path: Path) -> None:
    budget = epsilon_of([Steps(ROUND.rate_numerator, 1.0, 55)], 1e-5)
    ledger = Ledger.open_new(tmp_path / "ledger", population="north", epsilon=budget, delta=1e-5)
    code = (
        "import sys; from pathlib import Path; from client.ledger import Ledger\n"
        "from common.errors import PolicyError\n"
        "sys.path.insert(0, sys.argv[2]); from test_ledger import ROUND\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "try:\n    while True: ledger.reserve(ROUND)\n"
        "except PolicyError: pass\n"
    )
    command = [sys.executable, "-c", code, str(ledger.folder), str(Path(__file__).parent)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(ledger.read().reserved) == 5


FULL_DISK = """
import os, sys
from pathlib import Path
from client.ledger import Ledger
from common.errors import ConfigurationError
disk = Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
from test_ledger import ROUND

ledger = Ledger.open_new(disk / "ledger", population="north", epsilon=5.0, delta=1e-5)
ledger.reserve(ROUND)
filler = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
try:
    while True:
        os.write(filler, bytes(512))
except OSError:
    pass
for _ in range(3):
    try:
        ledger.reserve(ROUND)
        sys.exit("a round was allowed on a full disk")
    except ConfigurationError as error:
        print(error)
(disk / "filler").unlink()
os.close(filler)
assert len(ledger.read().reserved) >= 1
ledger.reserve(ROUND)
"""


@pytest.mark.slow
def test_a_full_disk_refuses_before_anything_is_read(tmp_path: Path) -> None:
    """On a real file system of 256 KiB, in a mount namespace that ends with the process."""
    inside = 'mount -t tmpfs -o size=256k tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    command = ["unshare", "--mount", "sh", "-c", inside]
    done = subprocess.run(
        [*command, "sh", str(tmp_path), sys.executable, FULL_DISK, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("make room") == 3


# --- in plain words ----------------------------------------------------------------------------------------


def test_the_page_says_what_is_spent_left_and_possible(ledger: Ledger) -> None:
    ledger.end(ledger.reserve(ROUND)[0], "DONE")
    ledger.reserve(replace(ROUND, round=2))
    spending = spending_of(ledger.read())
    (project,) = spending.projects
    twice = epsilon_of([Steps(ROUND.rate_numerator, 1.0, 20)], 1e-5)
    assert project.epsilon_spent == spending.epsilon_spent == pytest.approx(twice)
    assert project.epsilon_reported < project.epsilon_spent
    assert (project.rounds_charged, project.rounds_unfinished, project.steps) == (2, 1, 20)
    fits = ROUND.rate_numerator, 1.0
    assert epsilon_of([Steps(*fits, 20 + 10 * project.rounds_left)], 1e-5) <= 3.0
    assert epsilon_of([Steps(*fits, 30 + 10 * project.rounds_left)], 1e-5) > 3.0
    page = page_of(spending)
    for words in (
        "of epsilon 5 is spent",
        "project chest",
        "1 of them unfinished",
        "more fit",
        "add or remove",
    ):
        assert words in page


def test_the_command_opens_shows_and_refuses(tmp_path: Path) -> None:
    runner, home = CliRunner(), ["--home", str(tmp_path)]
    opened = runner.invoke(
        cli, ["ledger", "open", "--population", "north", "--epsilon", "8", "--delta", "1e-6", *home]
    )
    assert opened.exit_code == 0, opened.output
    Ledger(tmp_path / "ledger").reserve(ROUND)
    shown = runner.invoke(cli, ["ledger", "--json", *home])
    assert json.loads(shown.output)["projects"][0]["rounds_charged"] == 1
    assert "no project" not in runner.invoke(cli, ["ledger", *home]).output
    again = runner.invoke(
        cli, ["ledger", "open", "--population", "north", "--epsilon", "8", "--delta", "1e-6", *home]
    )
    assert isinstance(again.exception, PolicyError)
    absent = runner.invoke(cli, ["ledger", "--home", str(tmp_path / "absent")])
    assert isinstance(absent.exception, PolicyError)
