"""`quality.json`: the figures of a store, measured once and kept beside it.

The record names what it was made from (the store's digest, the account of its ingest) and by which program
(the digest of the source that measures), and ends with a checksum over all of it. A record that is missing,
of another store or program, or changed by hand is measured again, never believed. That is a guard against
accidents, not against the hospital itself: whoever owns the store can also compute a checksum, and deceives
nobody but the hospital.
"""

import hashlib
import logging
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from client.ingest.account import ACCOUNT
from client.ingest.quality.figures import RECORD, Quality
from client.ingest.rejected import REJECTED
from common.errors import ConfigurationError
from common.files import sha256_of, write_whole
from common.regular_file import read_regular
from common.store import Store

log = logging.getLogger("fedvlp")

MEASURING = ("client.ingest.quality", "client.ingest.deidentify", "common.text")
"""Packages whose source decides what is found."""


class Record(BaseModel):
    """What `quality.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: str
    """SHA-256, hex; see `inputs_of`."""
    program: str
    """SHA-256, hex; see `program`."""
    quality: Quality
    checksum: str = ""
    """SHA-256, hex, of this document with an empty checksum."""

    def sealed(self) -> "Record":
        """The same with its checksum."""
        bare = self.model_copy(update={"checksum": ""})
        return bare.model_copy(
            update={"checksum": hashlib.sha256(bare.model_dump_json().encode()).hexdigest()}
        )


def judged(store: Store) -> Quality:
    """The figures of `store`, from its record if that is to be believed, else measured and recorded.

    A folder that cannot be written to is no obstacle: the figures are then measured by every process anew.
    """
    inputs = inputs_of(store)
    kept = _read(store)
    if kept is not None and (kept.inputs, kept.program) == (inputs, program()) and kept == kept.sealed():
        return kept.quality
    from client.ingest.quality.measure import measure  # which nobody needs where a store is known already

    quality = measure(store)
    made = Record(inputs=inputs, program=program(), quality=quality).sealed()
    try:
        write_whole(store.folder / RECORD, made.model_dump_json(indent=1).encode() + b"\n", mode=0o600)
    except (OSError, ConfigurationError) as error:
        log.warning("quality of store %s is not kept (%s); it will be measured again", store.name, error)
    return quality


def inputs_of(store: Store) -> str:
    """One SHA-256 for all that is measured: the store's content and what ingest tells about its making."""
    beside = [
        sha256_of(store.folder / name) for name in (ACCOUNT, REJECTED) if (store.folder / name).exists()
    ]
    return hashlib.sha256("\n".join([store.name, store.digest(), *beside]).encode()).hexdigest()


@cache
def program() -> str:
    """One SHA-256 for the source that measures; another version of it measures again."""
    digest = hashlib.sha256()
    for package in MEASURING:
        for name, content in sorted(_sources(package)):
            digest.update(f"{package}/{name}:{len(content)}\n".encode() + content)
    return digest.hexdigest()


def _sources(package: str) -> Iterator[tuple[str, bytes]]:
    """What lies in `package`, which is not imported for it."""
    found = find_spec(package)
    assert found is not None
    for folder in found.submodule_search_locations or ():
        for entry in Path(folder).iterdir():
            if entry.name.endswith((".py", ".toml")):
                yield entry.name, entry.read_bytes()


def _read(store: Store) -> Record | None:
    try:
        return Record.model_validate_json(read_regular(store.folder / RECORD))
    except (OSError, ValidationError):
        return None
