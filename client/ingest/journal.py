"""What came of each image file, kept beside a store so that no file is read twice.

    journal   sealed blocks: what came of some files, their headers included; see `client.ingest.sealed`
    pixels    prepared frames that are not in the finished store, end to end

Pixels are synced before the block that tells of them is written, and what a killed ingest leaves behind the
last whole block is cut off, so the two always fit together. Frames of the finished store are read from its
`images.u8`.

A file counts as unchanged while its size, the times of its last change of content and of status, and its
inode are the same; the time of the last change of status is one that no program can set back.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from client.ingest.deidentify import Identifiers
from client.ingest.images.header import Header
from client.ingest.images.picture import Picture
from client.ingest.rejected import Reason
from client.ingest.sealed import Sealer, open_at, sync
from common.files import whole_file
from common.imaging.marks import Marks
from common.store import IMAGES, Images

JOURNAL, PIXELS = "journal", "pixels"

BLOCK_FILES = 64
"""Files of a block, and so the most that a killed ingest reads again beside those that were in flight."""

AGAIN = frozenset({Reason.UNREADABLE, Reason.DECODER_TIMED_OUT})
"""What may be the fault of the moment: such a file is read again by the next ingest."""

Stamp = tuple[int, ...]
"""Size in bytes, times of the last change of content and of status in nanoseconds, inode."""


def stamp_of(path: Path) -> Stamp | None:
    """The file's stamp as it is now; None where the system withholds it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@dataclass(frozen=True)
class Read:
    """A file that was read: whom it shows, and where its frames lie."""

    header: Header
    numbers: tuple[int, ...]
    """(F,) which frames of the file these are."""
    marks: Marks
    digest: str
    """Of the frames; two files with the same one show the same."""
    position: int
    """Of the first frame, counted in frames."""
    in_store: bool
    """Whether the frames lie in the finished store, or still in `PIXELS`."""


Outcome = Read | Reason
Entry = tuple[Stamp, Outcome]


class Journal:
    """The journal of one store, open for one ingest."""

    def __init__(
        self,
        folder: Path,
        store: Path,
        *,
        key: bytes,
        recipe: str,
        frame_shape: tuple[int, ...],
        store_digest: str,
    ) -> None:
        """Read what is in `folder`; what was sealed with another key or made by another recipe is forgotten.

        Args:
            folder: of the journal and the pixels.
            store: the finished store.
            key: 32 bytes.
            recipe: everything besides the file that decides what becomes of it.
            frame_shape: (C, S, S).
            store_digest: SHA-256 of the finished store's images; "" where there is no store.
        """
        self._folder, self._sealer, self._frame_shape = folder, Sealer(key), frame_shape
        self._first = {"recipe": recipe, "store": store_digest}
        self._entries: dict[str, Entry] = {}
        self._waiting: dict[str, Entry] = {}
        self._people: dict[Identifiers, Identifiers] = {}
        self._num_blocks, size = self._replay(recipe, store_digest)
        self._num_frames = max(map(_end_in_pixels, self._entries.values()), default=0)
        self._journal = open_at(folder / JOURNAL, size)
        self._pixels = open_at(folder / PIXELS, self._num_frames * self._frame_bytes)
        self._images = (store / IMAGES).open("rb") if store_digest else None
        if not size:
            self._append(self._first)

    def _replay(self, recipe: str, store_digest: str) -> tuple[int, int]:
        """Take over what is still true; return the number of blocks and of bytes that stay."""
        num_blocks, size, store_is_ours = 0, 0, False
        for content, end in self._sealer.read(self._folder / JOURNAL):
            assert isinstance(content, dict)
            if num_blocks == 0:
                if content["recipe"] != recipe:
                    break
                store_is_ours = content["store"] == store_digest
            else:
                told = _told(content, self._people)
                self._entries |= {
                    path: entry for path, entry in told if store_is_ours or not _is_in_store(entry)
                }
            num_blocks, size = num_blocks + 1, end
        return num_blocks, size

    @property
    def _frame_bytes(self) -> int:
        return int(np.prod(self._frame_shape))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._journal, self._pixels, self._images):
            if file is not None:
                file.close()

    def known(self, path: str, stamp: Stamp | None) -> Outcome | None:
        """What came of the file when it was read as it is now; None if it is to be read."""
        then, outcome = self._entries.get(path, (None, None))
        return outcome if then is not None and then == stamp else None

    def keep(self, path: str, stamp: Stamp | None, outcome: Picture | Reason) -> Outcome:
        """Keep what came of a file: for good once its block is full, or after `flush`."""
        kept = outcome if isinstance(outcome, Reason) else self._put(outcome)
        if stamp is not None and kept not in AGAIN:
            self._waiting[path] = stamp, kept
            if len(self._waiting) >= BLOCK_FILES:
                self.flush()
        return kept

    def _put(self, picture: Picture) -> Read:
        content, position = picture.frames.tobytes(), self._num_frames
        self._pixels.write(content)
        self._num_frames += len(picture.numbers)
        header = _interned(picture.header, self._people)
        return Read(header, picture.numbers, picture.marks, _digest(content), position, in_store=False)

    def flush(self) -> None:
        """Make everything that was kept outlast this process."""
        sync(self._pixels)
        if self._waiting:
            self._append(_written(self._waiting.items()))
            self._entries |= self._waiting
            self._waiting = {}

    def _append(self, content: object) -> None:
        self._sealer.write(self._journal, self._num_blocks, content)
        sync(self._journal)
        self._num_blocks += 1

    def frames(self, read: Read) -> Images:
        """(F, C, S, S) prepared frames of a file; after `flush`."""
        content = self._content(read)
        return np.frombuffer(content, np.uint8).reshape(len(read.numbers), *self._frame_shape)

    def _content(self, read: Read) -> bytes:
        file = self._images if read.in_store else self._pixels
        assert file is not None, "no frame lies in a store that is not there"
        size = self._frame_bytes
        return os.pread(file.fileno(), len(read.numbers) * size, read.position * size)

    def write_next(
        self, folder: Path, paths: Iterable[str], rows: Mapping[str, int], *, store_digest: str
    ) -> None:
        """Write to `folder` the journal and the pixels that belong to a new store.

        Args:
            folder: where the new store waits to take the place of the old one.
            paths: all files of this ingest; what is known of any others is forgotten.
            rows: path -> where in the new store's images its first frame is; no path for files not in it.
            store_digest: of the new store's images.
        """
        with (
            whole_file(folder / PIXELS, mode=0o600) as pixels,
            whole_file(folder / JOURNAL, mode=0o600) as file,
        ):
            self._sealer.write(file, 0, self._first | {"store": store_digest})
            entries = self._moved(paths, rows, pixels)
            blocks = iter(lambda: list(islice(entries, BLOCK_FILES)), [])
            for number, block in enumerate(blocks, start=1):
                self._sealer.write(file, number, _written(block))

    def _moved(
        self, paths: Iterable[str], rows: Mapping[str, int], pixels: BinaryIO
    ) -> Iterator[tuple[str, Entry]]:
        """The entries of `paths`; frames that are not in the new store go to `pixels`."""
        for path in paths:
            if path not in self._entries:
                continue
            stamp, outcome = self._entries[path]
            if isinstance(outcome, Read) and path in rows:
                outcome = replace(outcome, position=rows[path], in_store=True)
            elif isinstance(outcome, Read):
                position = pixels.tell() // self._frame_bytes
                pixels.write(self._content(outcome))
                outcome = replace(outcome, position=position, in_store=False)
            yield path, (stamp, outcome)


def _is_in_store(entry: Entry) -> bool:
    return isinstance(entry[1], Read) and entry[1].in_store


def _end_in_pixels(entry: Entry) -> int:
    outcome = entry[1]
    if isinstance(outcome, Reason) or outcome.in_store:
        return 0
    return outcome.position + len(outcome.numbers)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _interned(header: Header, people: dict[Identifiers, Identifiers]) -> Header:
    """The header with the one copy that is kept of its identifiers: those of a study are mostly the same."""
    return replace(header, identifiers=people.setdefault(header.identifiers, header.identifiers))


_FIELDS = tuple(field.name for field in fields(Header) if field.name not in ("identifiers", "person"))


def _written(entries: Iterable[tuple[str, Entry]]) -> dict[str, list[Any]]:
    """A block: its files, and the identifiers that they point to."""
    people: dict[Identifiers, int] = {}
    files: list[Any] = []
    for path, (stamp, outcome) in entries:
        if isinstance(outcome, Reason):
            files.append([path, stamp, outcome.value])
            continue
        person = people.setdefault(outcome.header.identifiers, len(people))
        header = [getattr(outcome.header, name) for name in _FIELDS]
        rest = [outcome.numbers, asdict(outcome.marks), outcome.digest, outcome.position, outcome.in_store]
        files.append([path, stamp, header, person, *rest])
    return {"people": [asdict(one) for one in people], "files": files}


def _told(block: dict[str, Any], known: dict[Identifiers, Identifiers]) -> Iterator[tuple[str, Entry]]:
    people = [Identifiers(**{name: tuple(values) for name, values in one.items()}) for one in block["people"]]
    for path, stamp, first, *rest in block["files"]:
        if not rest:
            yield path, (tuple(stamp), Reason(first))
            continue
        person, numbers, marks, digest, position, in_store = rest
        header = Header(**dict(zip(_FIELDS, first, strict=True)), identifiers=people[person])
        read = Read(_interned(header, known), tuple(numbers), Marks(**marks), digest, position, in_store)
        yield path, (tuple(stamp), read)
