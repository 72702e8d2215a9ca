"""What may leave a hospital after each stage: the very records, names, types, sizes and bytes, and no other.

The list follows from the approved project alone. It is held against every reply in the app's process, and
again in the gate's, which the app cannot reach. Shapes: N coordinates of the model, K sums.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.common.constant import SType
from numpy.lib.format import write_array_header_1_0

from client.ledger import Ledger
from common.approval import Statement
from common.errors import FederationError, IntegrityError, PolicyError
from common.messages import CONSENT, HELLO, INPUT, REVEAL, SHARE, TRAIN
from common.project import Project
from common.secagg.keys import SIGNATURE_BYTES
from common.secagg.messages import SEALED_BYTES, Advert, Shares, table_from_bytes, table_to_bytes
from common.signed import parse_signed
from common.spec.privacy import PatientPrivacySpec
from common.update import sum_names

REFUSED = "reply refused by the egress guard of this site"

Check = Callable[[object], bool]
Allowed = Mapping[str, Mapping[str, Check]]
"""Record -> entry -> what its value must be."""

PUBLIC_SUMS = frozenset({"weight", "steps", "clipped"})
"""Under privacy the others are zero: no noise covers them."""
UNMASKED = 100.0
"""Chi-square of the upper four bits of N coordinates over their 16 values. Masked ones exceed it by chance in
fewer than 1 of 1e13 rounds; an update in the clear, which holds at most 2/3 of the values, does so from
N = 200 on."""


@dataclass(frozen=True)
class Egress:
    """The guard of one hospital in one approved project."""

    site: str
    project: Project
    ledger: Path | None
    """Folder of the privacy ledger; None without one."""

    def require(self, stage: str, asked: RecordDict, reply: RecordDict) -> None:
        """Let `reply` pass only if it is what may answer `asked` at `stage`.

        Raises:
            PolicyError: it holds anything else, or lacks something.
        """
        _require(self._allowed(stage, asked), reply, stage)

    def _allowed(self, stage: str, asked: RecordDict) -> Allowed:
        said = asked.get("round")
        if not isinstance(said, ConfigRecord):
            raise _refusal(stage, "the hub's message names no round")
        secure = self.project.spec.secure_aggregation.mode == "sa1"
        if stage == TRAIN and not secure:
            origin = {key: _equal(said.get(key)) for key in ("round", "model")}
            origin["project"] = _equal(self.project.digest)
            return {"round": origin, **self._update(sums=self._sums), **self._receipt}
        sites = len(self.project.manifest.sites)
        bodies: dict[str, Check] = {
            TRAIN: self._is_advert,
            SHARE: lambda body: _is_table(body, entry_bytes=SEALED_BYTES, sites=sites),
            INPUT: _equal(b""),
            CONSENT: lambda body: isinstance(body, bytes) and len(body) == SIGNATURE_BYTES,
            REVEAL: _is_shares,
        }
        if not secure or stage not in bodies:
            raise _refusal(stage, "the approved project has no such stage")
        origin = {key: _equal(said.get(key)) for key in ("round", "attempt")}
        step = {"round": origin | {"body": bodies[stage]}}
        if stage == TRAIN:
            return {**step, **self._receipt}
        return {**step, **self._update(masked=True, sums=None)} if stage == INPUT else step

    def _update(self, *, masked: bool = False, sums: Check | None) -> Allowed:
        """(N,) coordinates in one plane or two, and (K,) sums."""
        count, wide = self.project.layout.num_coordinates, self.project.profile.word_bits == 24
        planes: dict[str, Check] = {"low": lambda held: _is_vector(held, np.uint16, count, masked=masked)}
        if wide:
            planes["low"] = lambda held: _is_vector(held, np.uint16, count)
            planes["high"] = lambda held: _is_vector(held, np.uint8, count, masked=masked)
        names = sum_names(self.project.spec.objectives.names)

        def is_sums(held: object) -> bool:
            return _is_vector(held, np.uint64, len(names)) and (sums is None or sums(held))

        return {"update": planes, "sums": {"sums": is_sums}}

    def _sums(self, held: object) -> bool:
        """Whether the sums in the clear say no more than the project's privacy allows."""
        privacy = self.project.spec.privacy
        if not isinstance(privacy, PatientPrivacySpec):
            return True
        names = sum_names(self.project.spec.objectives.names)
        sums = dict(zip(names, _vector(held, np.uint64).tolist(), strict=True))
        weight = self.project.spec.federation.weight_cap
        if self.project.spec.federation.weighting != "equal":
            weight = min(privacy.patients[self.site], weight)
        return sums["weight"] == weight and all(
            not number for name, number in sums.items() if name not in PUBLIC_SUMS
        )

    @property
    def _receipt(self) -> Allowed:
        """Under privacy the ledger's word, and it must be what this site's ledger says; nothing without."""
        if not isinstance(self.project.spec.privacy, PatientPrivacySpec):
            return {}
        if self.ledger is None:
            raise _refusal(TRAIN, "a private update without a ledger")
        account = Ledger(self.ledger).read()
        steps = sum(spent.count for spent in account.spent(self.project.digest))
        return {"ledger": {"head": _equal(account.head), "steps": _equal(steps)}}

    def _is_advert(self, body: object) -> bool:
        place = self.project.roster.place_of(self.site)
        return _same(body, lambda data: _own_advert(data, place))


def require_hello(site: str, reply: RecordDict) -> None:
    """Let an introduction pass only if it is this site's name and its project or its last statement.

    Raises:
        PolicyError: it holds anything else, or lacks something.
    """
    said = reply.get("hello")
    word: dict[str, Check] = {"statement": lambda held: _is_statement(held, site)}
    if isinstance(said, ConfigRecord) and "project" in said:
        word = {"project": _is_digest}
    _require({"hello": {"site": _equal(site), **word}}, reply, HELLO)


def _require(allowed: Allowed, reply: RecordDict, stage: str) -> None:
    _require_names(set(reply), set(allowed), stage, "records")
    for name, checks in allowed.items():
        record = reply[name]
        if not isinstance(record, ArrayRecord if name in ("update", "sums") else ConfigRecord):
            raise _refusal(stage, f"record '{name}' is of another kind")
        _require_names(set(record), set(checks), stage, f"entries in '{name}'")
        for key, check in checks.items():
            if not check(record[key]):
                raise _refusal(stage, f"'{key}' in '{name}' is not what the approved project sends")


def _require_names(found: set[str], wanted: set[str], stage: str, what: str) -> None:
    if found != wanted:
        raise _refusal(stage, f"{len(found - wanted)} {what} too many, {len(wanted - found)} too few")


def _refusal(stage: str, why: str) -> PolicyError:
    return PolicyError(
        f"{stage}: {why}; nothing left. The app does not do what was approved: tell the operator",
        outward=REFUSED,
    )


def _equal(value: object) -> Check:
    return lambda held: type(held) is type(value) and held == value


def _is_vector(held: object, dtype: type[np.generic], count: int, *, masked: bool = False) -> bool:
    """Whether it is (count,) of `dtype`, not a byte more, and if `masked` is asked for, looks it."""
    kind = np.dtype(dtype)
    if not isinstance(held, Array):
        return False
    if (held.dtype, tuple(held.shape), held.stype) != (str(kind), (count,), SType.NUMPY):
        return False
    header = _header(kind, count)
    if len(held.data) != len(header) + count * kind.itemsize or not held.data.startswith(header):
        return False
    return not masked or _looks_masked(_vector(held, dtype))


def _vector(held: object, dtype: type[np.generic]) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    assert isinstance(held, Array)
    kind = np.dtype(dtype)
    return np.frombuffer(held.data, kind, offset=len(_header(kind, held.shape[0])))


def _header(kind: np.dtype[np.generic], count: int) -> bytes:
    """The bytes before a vector's own, as `common.messages.array_of` writes them."""
    header = BytesIO()
    write_array_header_1_0(header, {"descr": kind.str, "fortran_order": False, "shape": (count,)})
    return header.getvalue()


def _looks_masked(words: np.ndarray[tuple[int], np.dtype[np.generic]]) -> bool:
    """Whether the upper four bits are as evenly spread as those of a random pad."""
    upper = np.right_shift(words, 8 * words.itemsize - 4).astype(np.uint8)
    counts = np.bincount(upper, minlength=16)
    expected = len(words) / 16
    return bool(((counts - expected) ** 2).sum() <= UNMASKED * expected)


def _is_digest(held: object) -> bool:
    return isinstance(held, str) and len(held) == 64 and not set(held) - set("0123456789abcdef")


def _is_statement(held: object, site: str) -> bool:
    if held == b"":
        return True  # of a site that never approved anything
    if not isinstance(held, bytes):
        return False
    try:
        statement = parse_signed(held, Statement, where="the reply")
    except FederationError:
        return False
    return statement.site == site and statement.to_bytes() == held


def _own_advert(data: bytes, place: int) -> bytes:
    advert = Advert.from_bytes(data)
    return advert.to_bytes() if advert.site == place else b""


def _is_table(body: object, *, entry_bytes: int, sites: int) -> bool:
    return _same(body, lambda data: _bounded_table(data, entry_bytes, sites))


def _bounded_table(data: bytes, entry_bytes: int, sites: int) -> bytes:
    table = table_from_bytes(data, entry_bytes=entry_bytes)
    return table_to_bytes(table) if all(place < sites for place in table) else b""


def _is_shares(body: object) -> bool:
    return _same(body, lambda data: Shares.from_bytes(data).to_bytes())


def _same(body: object, again: Callable[[bytes], bytes]) -> bool:
    """Whether `body` is a message that is read and written again to the same bytes."""
    try:
        return isinstance(body, bytes) and again(body) == body
    except IntegrityError:
        return False
