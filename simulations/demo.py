"""The whole way in one command: phantom hospitals, their stores, a federation, its comparison, the report.

OUT/hospitals/   DICOM, reports and truth of every phantom hospital and of the public bank
OUT/stores/      what ingest makes of them
OUT/...          the federated run, comparison.json and report.html
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.ingest.build import Target, ingest
from client.ingest.pseudonyms import Pseudonyms, Shares
from client.ingest.survey import Source, survey
from client.ingest.truth import join_truth
from common.errors import ConfigurationError
from common.imaging.preparation import Preparation
from common.spec.run import Spec, read_spec
from common.store import Store, write_labels
from common.terminal import progress
from server.report.records import Comparison
from simulations.comparison import compare
from simulations.federation import Federation
from simulations.phantom.folders import DICOM, REPORTS, TRUTH, make_hospitals
from simulations.phantom.hospital import BANK

EXPERIMENTS = Path(__file__).parent / "experiments"
DEMO_SPEC = EXPERIMENTS / "demo.toml"

SHARES = Shares(train=0.65, validation=0.1)


@dataclass(frozen=True)
class Size:
    """How much is drawn; the demo's own size unless given."""

    hospitals: int = 4
    studies: int = 220
    """Mean over hospitals."""
    bank_studies: int = 100


@dataclass(frozen=True)
class Phantoms:
    """Ingested phantom hospitals."""

    sites: dict[str, Path]
    """Name -> store."""
    bank: Path


def run_demo(
    out: Path, *, workers: int, seed: int | None = None, spec: Path = DEMO_SPEC, size: Size = Size()
) -> Comparison:
    """Make everything under `out` and set federated beside central and local-only training.

    Args:
        out: a folder that is absent or empty.
        workers: processes at a time.
        seed: instead of the spec's.
        spec: what is trained.
        size: what is drawn for it.

    Raises:
        ConfigurationError: `out` holds something already.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigurationError(f"{out} is not empty: name another --out, or remove it")
    run = read_spec(spec, seed=seed)
    phantoms = make_phantom_stores(out, run, size, workers=workers)
    return compare(Federation(run, phantoms.sites, phantoms.bank, out), workers=workers)


def make_phantom_stores(out: Path, spec: Spec, size: Size, *, workers: int) -> Phantoms:
    """Draw phantom hospitals and take them in as a real hospital would, through DICOM and CSV."""
    with progress("phantom hospitals: studies", size.hospitals * size.studies + size.bank_studies) as advance:
        folders = make_hospitals(
            out / "hospitals",
            hospitals=size.hospitals,
            studies=size.studies,
            bank_studies=size.bank_studies,
            seed=spec.seed,
            workers=workers,
            on_study=lambda: advance(1, ""),
        )
    stores = _ingest_all(folders, out, spec.preparation, workers, seed=spec.seed)
    bank = stores.pop(BANK)
    return Phantoms(stores, bank)


def _ingest_all(
    folders: Sequence[Path], out: Path, preparation: Preparation, workers: int, *, seed: int
) -> dict[str, Path]:
    # Phantoms have no patients to protect: from the seed, so that the split repeats as all else does.
    pseudonyms = Pseudonyms(hashlib.sha256(f"phantom patients {seed}".encode()).digest())
    stores = {}
    with progress("ingest: hospitals", len(folders)) as advance:
        for folder in folders:
            stores[folder.name] = out / "stores" / folder.name
            _ingest(folder, stores[folder.name], preparation, workers, pseudonyms)
            advance(1, folder.name)
    return stores


def _ingest(
    folder: Path, store: Path, preparation: Preparation, workers: int, pseudonyms: Pseudonyms
) -> None:
    target = Target(store, folder.name, preparation, SHARES)
    found = survey(Source(folder / DICOM, [folder / REPORTS]), store)
    ingest(found, target, pseudonyms, workers=workers)
    truth = join_truth(Store(store), folder / TRUTH, columns=[], pseudonyms=pseudonyms)
    write_labels(store, truth.labels)
