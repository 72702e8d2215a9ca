"""A hospital's privacy ledger: what was spent of its patients, written down before it is spent.

FOLDER/ledger.sqlite   a chain of entries: each carries the SHA-256 of the one before
FOLDER/head            the digest of the last entry, once more
FOLDER/lock            held by the process that reads or appends

One ledger is the account of one patient population over all projects, runs and restarts. A round is charged
by RESERVE before anything private is read, in full, and never refunded; DONE or ABORT only says how it
ended. So a process that is killed at any instant has charged at least what it released. SQLite writes ahead
and syncs at every commit.

A ledger that is missing, damaged, cut short or older than its own head, or older than the head that the hub
remembers, refuses: nothing is trained. Times are notes; no decision reads them, so a clock may be wrong.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.canonical import canonical
from common.errors import ConfigurationError, IntegrityError, PolicyError
from common.files import write_whole
from common.privacy.accounting import Steps, epsilon_of
from common.regular_file import read_regular_text

DATABASE, HEAD, LOCK = "ledger.sqlite", "head", "lock"
GENESIS = "0" * 64
"""What the first entry follows."""
SLACK = 1e-9
"""Relative room for rounding when a budget is exactly used up."""

_TABLE = "CREATE TABLE entries (number INTEGER PRIMARY KEY, body TEXT NOT NULL, digest TEXT NOT NULL)"


class Entry(BaseModel):
    """A frozen line of the ledger; a key that we do not know is damage."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    time: str


class Opened(Entry):
    """The first line: the policy of the hospital."""

    kind: Literal["OPEN"] = "OPEN"
    population: str
    epsilon: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)


class Reserved(Entry):
    """A round is about to read patients."""

    kind: Literal["RESERVE"] = "RESERVE"
    project: str
    """Digest of the approved project."""
    name: str
    round: int
    mechanism: Literal["R", "G"]
    rate_numerator: int = Field(gt=0, le=2**32)
    noise_multiplier: float = Field(gt=0)
    steps: int = Field(gt=0)
    epsilon: float
    """Of the project at this site, with `delta`."""
    delta: float
    noise_multiplier_alone: float | None = Field(default=None, gt=0)
    """Under joint privacy: what this hospital's own share of the noise keeps, were all others to collude."""

    @property
    def charged(self) -> Steps:
        """What it costs."""
        return Steps(self.rate_numerator, self.noise_multiplier, self.steps)

    @property
    def charged_alone(self) -> Steps:
        """What it costs against the hub and all other hospitals together."""
        multiplier = self.noise_multiplier_alone or self.noise_multiplier
        return Steps(self.rate_numerator, multiplier, self.steps)


class Ended(Entry):
    """How a reserved round ended; changes nothing in what was spent."""

    kind: Literal["DONE", "ABORT"]
    reservation: int


@dataclass(frozen=True)
class Charge:
    """A round that wants to read patients; all of it is public."""

    project: str
    name: str
    round: int
    mechanism: Literal["R", "G"]
    rate_numerator: int
    noise_multiplier: float
    steps: int
    epsilon: float
    delta: float
    noise_multiplier_alone: float | None = None


@dataclass(frozen=True)
class Account:
    """A ledger that was read and found whole."""

    policy: Opened
    reserved: tuple[Reserved, ...]
    ended: Mapping[int, str]
    """Number of a reservation -> DONE or ABORT; missing where the process died."""
    digests: tuple[str, ...]
    """Of all entries, in order."""
    numbers: tuple[int, ...]
    """Of the reservations."""

    @property
    def head(self) -> str:
        """Digest of the last entry."""
        return self.digests[-1]

    def spent(self, project: str | None = None) -> list[Steps]:
        """Steps that were charged, by `project` or by all."""
        return [line.charged for line in self.reserved if project in (None, line.project)]

    def spent_alone(self, project: str | None = None) -> list[Steps]:
        """The same against the hub and all other hospitals together."""
        return [line.charged_alone for line in self.reserved if project in (None, line.project)]


class Ledger:
    """The ledger in one folder; every call opens, checks and closes it, so processes can take turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open_new(cls, folder: Path, *, population: str, epsilon: float, delta: float) -> "Ledger":
        """Begin the account of `population`: whole, or not at all.

        Raises:
            PolicyError: there is a ledger already; it is never replaced.
        """
        if folder.exists():
            raise PolicyError(f"{folder} exists: a ledger is never replaced, as it holds what was spent")
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            ledger = cls(beside)
            (beside / LOCK).touch()
            policy = Opened(time=_now(), population=population, epsilon=epsilon, delta=delta)
            with _telling_disk(), closing(ledger._connect("rwc")) as book:
                book.execute(_TABLE)
                head = _append(book, policy, GENESIS)
            write_whole(beside / HEAD, head.encode())
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return cls(folder)

    def read(self) -> Account:
        """The whole account, checked.

        Raises:
            PolicyError: there is no ledger.
            IntegrityError: it is damaged, cut short, or older than its head.
        """
        with self._locked(), closing(self._connect()) as book:
            return self._checked(book)

    def reserve(self, charge: Charge, *, known_head: str = "") -> tuple[int, str]:
        """Charge a round before it reads anything private, or refuse and leave no trace.

        Args:
            charge: the round.
            known_head: digest that the hub remembers of this ledger; "" if it does not know it.

        Returns:
            The reservation's number and the new head.

        Raises:
            PolicyError: it does not fit the project's budget or the population's.
            IntegrityError: the ledger is damaged, or older than `known_head`.
            ConfigurationError: the disk is full; nothing was spent.
        """
        with self._locked(), _telling_disk(), closing(self._connect()) as book:
            account = self._checked(book)
            if known_head and known_head not in account.digests:
                raise IntegrityError(
                    f"{self.folder}: the hub remembers an entry that this ledger does not have: an old copy "
                    f"was "
                    "restored; put the newest back, or nothing can be trained on these patients",
                    outward="ledger older than the hub remembers",
                )
            _require_budget(account, charge)
            line = Reserved(time=_now(), **asdict(charge))
            head = _append(book, line, account.head)
            number = len(account.digests) + 1
        write_whole(self.folder / HEAD, head.encode())
        return number, head

    def end(self, reservation: int, kind: Literal["DONE", "ABORT"]) -> str:
        """Write down how a reserved round ended, and return the new head."""
        with self._locked(), _telling_disk(), closing(self._connect()) as book:
            account = self._checked(book)
            head = _append(book, Ended(time=_now(), kind=kind, reservation=reservation), account.head)
        write_whole(self.folder / HEAD, head.encode())
        return head

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time; the lock of a process that dies is free at once."""
        try:
            descriptor = os.open(self.folder / LOCK, os.O_RDWR)
        except OSError:
            raise PolicyError(
                f"{self.folder} holds no privacy ledger, so nothing may be trained: begin one with "
                "`fedvlp-site ledger open`, or restore the newest copy if there was one",
                outward="no privacy ledger",
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _connect(self, mode: Literal["rw", "rwc"] = "rw") -> sqlite3.Connection:
        path = (self.folder / DATABASE).absolute()
        try:
            book = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise self._damaged(str(error)) from None
        try:
            book.execute("PRAGMA journal_mode = WAL")
            book.execute("PRAGMA synchronous = FULL")
        except sqlite3.DatabaseError as error:
            book.close()
            if _says_full(error):
                raise _disk_full() from None
            raise self._damaged(str(error)) from None
        return book

    def _checked(self, book: sqlite3.Connection) -> Account:
        try:
            rows = book.execute("SELECT number, body, digest FROM entries ORDER BY number").fetchall()
            account = _account(rows)
            head = read_regular_text(self.folder / HEAD, encoding="ascii")
        except (sqlite3.DatabaseError, ValidationError, ValueError, OSError) as error:
            raise self._damaged(type(error).__name__) from None
        if head not in account.digests:
            raise self._damaged("its last entries are missing")
        return account

    def _damaged(self, how: str) -> IntegrityError:
        return IntegrityError(
            f"{self.folder}: the privacy ledger is damaged ({how}): nothing can be trained on these patients "
            "until its newest copy is restored",
            outward="privacy ledger damaged",
        )


def _account(rows: list[tuple[int, str, str]]) -> Account:
    """Entries by kind, their chain recomputed.

    Raises:
        ValueError: the chain does not hold.
    """
    previous, reserved, numbers, ended = GENESIS, [], [], {}
    if not rows:
        raise ValueError("no entries")
    for place, (number, body, digest) in enumerate(rows, start=1):
        if number != place or digest != _digest(body, previous):
            raise ValueError(f"entry {place}")
        previous = digest
        kind = json.loads(body)["kind"]
        if place == 1:
            policy = Opened.model_validate_json(body)
        elif kind == "RESERVE":
            reserved.append(Reserved.model_validate_json(body))
            numbers.append(number)
        else:
            end = Ended.model_validate_json(body)
            ended[end.reservation] = end.kind
    digests = tuple(digest for _, _, digest in rows)
    return Account(policy, tuple(reserved), ended, digests, tuple(numbers))


def _require_budget(account: Account, charge: Charge) -> None:
    new = Steps(charge.rate_numerator, charge.noise_multiplier, charge.steps)
    for whose, spent, epsilon, delta in (
        (f"project {charge.name}", account.spent(charge.project), charge.epsilon, charge.delta),
        (
            f"population {account.policy.population}",
            account.spent(),
            account.policy.epsilon,
            account.policy.delta,
        ),
    ):
        after = epsilon_of([*spent, new], delta)
        if not after <= epsilon * (1 + SLACK):
            raise PolicyError(
                f"privacy budget of {whose}: epsilon {epsilon_of(spent, delta):.2f} of {epsilon:g} is spent, "
                f"this "
                f"round would make it {after:.2f} at delta {delta:g}; nothing was read and nothing was spent",
                outward="privacy budget refused",
            )


def _append(book: sqlite3.Connection, entry: Entry, previous: str) -> str:
    body = canonical(entry.model_dump(exclude_none=True)).decode()
    digest = _digest(body, previous)
    book.execute("INSERT INTO entries (body, digest) VALUES (?, ?)", (body, digest))
    return digest


def _digest(body: str, previous: str) -> str:
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _telling_disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if _says_full(error):
            raise _disk_full() from None
        raise


def _says_full(error: sqlite3.DatabaseError) -> bool:
    return "full" in str(error) or "disk I/O" in str(error)


def _disk_full() -> ConfigurationError:
    return ConfigurationError(
        "the disk of the privacy ledger is full or cannot be written: nothing was spent and nothing was "
        "read; "
        "make room and run again",
        outward="privacy ledger cannot be written",
    )
