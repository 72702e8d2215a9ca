"""The store and the privacy ledger, held against the approved project, and the audit log."""

from pathlib import Path

from client.audit import Audit
from client.doctor.finding import Finding, failed, passed, refusals, warned
from client.ingest.quality import require_quality
from client.ledger import Ledger
from common.bundle_folder import Bundle
from common.store import Store


def examine_store(folder: Path | None, bundle: Bundle | None) -> list[Finding]:
    """Whether the store is whole, and good enough for the project."""
    findings: list[Finding] = []
    if folder is None:
        return [warned("store", "not looked at", "name it with --store")]
    with refusals("store", findings):
        store = Store(folder)
        store.verify()
        rows = len(store.rows("train"))
        if not rows:
            return [failed("store", f"{store.name} has no training rows", "ingest more, or split otherwise")]
        if bundle is None:
            return [passed("store", f"{store.name}: {len(store):,} rows, {rows:,} to train on, whole")]
        wanted = bundle.project.spec.preparation
        if store.manifest.preparation != wanted:
            return [
                failed(
                    "store",
                    f"{store.name} was prepared otherwise than project {bundle.manifest.name} asks",
                    "ingest again with --spec of the project",
                )
            ]
        require_quality(store, bundle.project.spec.data.quality)
        findings.append(
            passed("store", f"{store.name}: {rows:,} rows to train on, whole, prepared and good as asked")
        )
    return findings


def examine_ledger(folder: Path, *, site: str, bundle: Bundle | None) -> list[Finding]:
    """Whether the ledger is whole, and there where the project has a budget."""
    findings: list[Finding] = []
    epsilon = None if bundle is None else bundle.manifest.epsilon.get(site)
    if not folder.exists():
        if epsilon is None:
            return [passed("ledger", "none; needed only under differential privacy")]
        return [
            failed(
                "ledger", f"none, and the project may spend epsilon {epsilon:g}", "`fedvlp-site ledger open`"
            )
        ]
    with refusals("ledger", findings):
        account = Ledger(folder).read()
        findings.append(
            passed("ledger", f"{account.policy.population}: whole, {len(account.reserved)} rounds charged")
        )
    return findings


def examine_audit(folder: Path) -> list[Finding]:
    """Whether the audit log is whole, up to its head."""
    findings: list[Finding] = []
    audit = Audit(folder)
    if not audit.exists:
        return [passed("audit log", "none yet; it begins with the hub's first message")]
    with refusals("audit log", findings):
        record = audit.read()
        told = f"{record.head.number:,} lines, whole, head {record.head.digest[:12]}"
        if record.half:
            told += "; a process was killed as it wrote, the next line will say so"
        findings.append(passed("audit log", told))
    return findings
