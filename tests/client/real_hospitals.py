"""Stores of the real hospital folders, against what those who made the folders say of them.

`python tests/client/real_hospitals.py --stores DIR --home DIR` prints the figures of stores that
`fedvlp-site ingest` made, DIR/NAME from each folder NAME.
"""

import argparse
import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from pydicom import dcmread

from client.ingest.account import Account, read_account
from client.ingest.pseudonyms import Pseudonyms, open_pseudonyms
from common.store import IMAGES as IMAGES_FILE
from common.store import Store
from common.text.placeholders import TOKEN

DATA = Path(__file__).parents[2].parent / "shared" / "data"
IMAGES = {
    **{"north-general": 136, "river-ct": 209, "ultrasound-ward": 117, "university-chest": 157},
    **{"europa-clinic": 113, "spine-clinic": 251, "abdominal-centre": 539, "neuro-institute": 635},
    **{"public-bank": 280, "archive-unreported": 875},
}
"""3,312 in all."""
SHORTEST_SOUGHT_IN_BYTES = 6
"""Characters; shorter strings stand in compressed bytes by chance."""


class Hospital:
    """A hospital's folder, and the store that the command made of it."""

    def __init__(self, name: str, store: Path, pseudonyms: Pseudonyms) -> None:
        self.name, self.folder, self.store = name, store, Store(store)
        self.pseudonyms = pseudonyms
        self.account: Account | None = read_account(store)

    def texts(self) -> dict[str, str]:
        """Pseudonym of an instance -> all sections of its report."""
        sections = self.store.sections()
        instances = self.store.column("instance")
        return {name: "\n".join(text.values()) for name, text in zip(instances, sections, strict=True)}


def written_reports(hospital: str) -> Iterator[tuple[str, list[str], str]]:
    """Accession number, the images it names and the text of every report, read without our readers."""
    folder = DATA / "hospitals" / hospital
    if (path := folder / "reports.csv").exists():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["accession_number"], row["sop_instance_uids"].split(), row["report"]
    if (path := folder / "reports.ndjson").exists():
        for report in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            links = [media["link"]["identifier"]["value"] for media in report["media"]]
            uids = [link.removeprefix("urn:oid:") for link in links]
            yield report["identifier"][0]["value"], uids, report["conclusion"]
    for path in sorted(folder.glob("reports/*.txt")):
        yield path.stem, [], path.read_text(encoding="utf-8")
    for path in sorted(folder.glob("dicom/*/SR*.dcm")):
        dataset = dcmread(path)
        items = list(dataset.ContentSequence)
        texts = [item.TextValue for item in items if item.ValueType == "TEXT"]
        images = [one for item in items if item.ValueType == "IMAGE" for one in item.ReferencedSOPSequence]
        text = "\n".join(text if isinstance(text, str) else "\\".join(text) for text in texts)
        yield str(dataset.AccessionNumber), [one.ReferencedSOPInstanceUID for one in images], text


def expected_texts(hospital: Hospital) -> dict[str, list[str]]:
    """Pseudonym of every instance -> the texts of its reports, by the truth file's accession numbers."""
    with (DATA / "truth" / hospital.name / "labels.csv").open(encoding="utf-8", newline="") as file:
        accessions = {row["sop_instance_uid"]: row["accession"] for row in csv.DictReader(file)}
    of_accession: defaultdict[str, list[str]] = defaultdict(list)
    for uid, accession in accessions.items():
        of_accession[accession].append(uid)
    expected: dict[str, list[str]] = {hospital.pseudonyms.instance(uid): [] for uid in accessions}
    for accession, uids, text in written_reports(hospital.name):
        assert all(accessions[uid] == accession for uid in uids)
        for uid in uids or of_accession[accession]:
            expected[hospital.pseudonyms.instance(uid)].append(text)
    return expected


@cache
def planted() -> frozenset[str]:
    """Every planted string of every hospital, in small letters."""
    strings: set[str] = set()
    for path in DATA.glob("truth/*/planted_identifiers.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            strings |= {" ".join(row["string"].split()).lower() for row in csv.DictReader(file)}
    return frozenset(strings)


@cache
def _any_planted() -> re.Pattern[str]:
    strings = sorted(planted(), key=len, reverse=True)
    return re.compile(r"(?<![^\W_])(?:" + "|".join(map(re.escape, strings)) + r")(?![^\W_])", re.IGNORECASE)


def planted_left(hospital: Hospital) -> list[str]:
    """Planted strings of any hospital in a store: as words of its index, in any case and over line breaks,
    and as bytes of its other files."""
    told = " ".join(str(hospital.store.index.to_pylist()).replace("\\n", " ").split())
    left = _any_planted().findall(told)
    long = [string.encode() for string in planted() if len(string) >= SHORTEST_SOUGHT_IN_BYTES]
    # Grey values are no text; see `numbers_in_pixels`.
    for path in sorted(set(hospital.folder.rglob("*")) - {hospital.folder / IMAGES_FILE}):
        content = b" ".join(path.read_bytes().lower().split()) if path.is_file() else b""
        left += [f"{path.name}: {string.decode()}" for string in long if string in content]
    return left


def numbers_in_pixels(stores: Iterable[Path]) -> tuple[set[str], float]:
    """Planted numbers of seven digits among the grey values, and how many chance would put there.

    Neighbours of grey 48 to 57 spell digits. Had the numbers nothing to do with the images, each would be one
    of the 9 million that do not begin with 0, whichever of them the images spell.
    """
    numbers = {string for string in planted() if re.fullmatch(r"[1-9]\d{6}", string)}
    spelt: set[str] = set()
    for store in stores:
        content = (store / IMAGES_FILE).read_bytes()
        spelt |= {number.decode() for number in re.findall(rb"(?=([1-9]\d{6}))", content)}
    return numbers & spelt, len(numbers) * len(spelt) / 9e6


def word_counts(text: str) -> Counter[str]:
    """How often each word stands in a text, placeholders left out."""
    return Counter(re.findall(r"[^\W_]+", TOKEN.sub(" ", text)))


def other_words(hospital: Hospital) -> tuple[int, int]:
    """Words of the reports that are in no planted string: written, and lost on the way to the store."""
    texts, expected = hospital.texts(), expected_texts(hospital)
    written, lost = 0, 0
    once = {tuple(reports): name for name, reports in expected.items()}
    for reports, name in once.items():
        words = word_counts(_any_planted().sub(" ", "\n".join(reports)))
        written, lost = written + words.total(), lost + (words - word_counts(texts[name])).total()
    return written, lost


def wrongly_paired(hospital: Hospital) -> list[str]:
    """Images that have a report in the store and not in truth, or the reverse, or another's words."""
    texts, wrong = hospital.texts(), []
    for name, reports in expected_texts(hospital).items():
        written, left = word_counts("\n".join(reports)), word_counts(texts.get(name, ""))
        if bool(reports) != bool(texts.get(name)) or (left - written).total():
            wrong.append(name)
    return wrong


@dataclass(frozen=True)
class Figures:
    """What came of one folder, or of all."""

    images: int
    """Files of the folder that hold one."""
    in_store: int
    refused: int
    wrongly_paired: int
    planted_left: int
    other_words: int
    other_words_lost: int

    @property
    def kept(self) -> float:
        """Share of the words that were not planted and are in the store."""
        return 1 - self.other_words_lost / self.other_words if self.other_words else 1.0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(mine + theirs for mine, theirs in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[int, ...]:
        return tuple(asdict(self).values())


def figures(hospital: Hospital) -> Figures:
    """Measure a store."""
    assert hospital.account is not None
    written, lost = other_words(hospital)
    return Figures(
        images=IMAGES[hospital.name],
        in_store=len(set(hospital.store.column("instance")) - {""}),
        refused=sum(hospital.account.files.refused.values()),
        wrongly_paired=len(wrongly_paired(hospital)),
        planted_left=len(planted_left(hospital)),
        other_words=written,
        other_words_lost=lost,
    )


def main() -> None:
    """Print a line for each store, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True, help="the --home that was used for ingest")
    asked = parser.parse_args()
    pseudonyms = open_pseudonyms(asked.home, create=False)
    every = {name: figures(Hospital(name, asked.stores / name, pseudonyms)) for name in sorted(IMAGES)}
    first, *rest = every.values()
    print(f"{len(planted())} planted strings")
    titles = ("images", "stored", "refused", "mispaired", "planted", "words", "lost", "kept")
    print(f"{'':<20}" + "".join(f"{title:>10}" for title in titles))
    for name, one in {**every, "all": sum(rest, start=first)}.items():
        counts = "".join(f"{count:>10,}" for count in asdict(one).values())
        print(f"{name:<20}{counts}{one.kept:>10.2%}")
    found, expected = numbers_in_pixels(asked.stores / name for name in every)
    print(f"planted numbers among the grey values: {len(found)}, by chance {expected:.2f}")


if __name__ == "__main__":
    main()
