"""What the hub remembers of the hospitals' privacy ledgers: their heads, against a restored old copy.

OUT/ledgers.json   site -> digest of its ledger's last entry, and the steps charged to this project

A head says nothing about patients. A hospital whose ledger does not know the head that it once sent refuses.
"""

from pathlib import Path

from pydantic import RootModel

from common.files import write_whole
from common.messages import LedgerWord
from common.privacy.accounting import Steps, reported_epsilon
from common.project import Project
from common.spec.privacy import LocalPrivacySpec
from server.report.records import PrivacyStatement

FILE = "ledgers.json"


class LedgerHeads:
    """The last word of every hospital's ledger, kept in a run's folder."""

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        self._words: dict[str, LedgerWord] = {}
        if self._path.exists():
            self._words = RootModel[dict[str, LedgerWord]].model_validate_json(self._path.read_bytes()).root

    @property
    def heads(self) -> dict[str, str]:
        """Site -> digest."""
        return {site: word.head for site, word in self._words.items()}

    def remember(self, site: str, word: LedgerWord | None) -> None:
        """Keep what `site` said, at once."""
        if word is not None:
            self._words[site] = word
            write_whole(self._path, RootModel(self._words).model_dump_json(indent=2).encode() + b"\n")

    def epsilon(self, site: str, project: Project) -> float | None:
        """What the project spent of each patient of `site`, by its ledger; None without privacy."""
        privacy, word = project.spec.privacy, self._words.get(site)
        if not isinstance(privacy, LocalPrivacySpec):
            return None
        steps = Steps(privacy.rate_numerator, privacy.noise_multiplier, 0 if word is None else word.steps)
        return reported_epsilon([steps], privacy.delta)


def statement_of(project: Project) -> PrivacyStatement | None:
    """What an epsilon of this project's report means; never quote one without it."""
    privacy = project.spec.privacy
    if not isinstance(privacy, LocalPrivacySpec):
        return None
    return PrivacyStatement(
        unit="one patient at one site, with all studies",
        relation="add or remove one patient",
        delta=privacy.delta,
        mechanism=privacy.mechanism,
        sampling=f"Poisson, each patient with probability {privacy.rate_numerator} / 2^32 in each step",
        noise_multiplier=privacy.noise_multiplier,
        accountant="privacy loss distribution (dp-accounting), over all charged steps of this project",
        scope="every update that left the site; losses, counts, norms and times were withheld",
        adversary="sees all updates and models, chooses the models sent, knows all other patients",
        hospitals_per_patient=privacy.hospitals_per_patient,
        tuned_on=privacy.tuned_on,
    )
