"""A process that appends to an audit log until it is killed."""

import sys
from pathlib import Path

from client.audit import Audit
from client.audit_line import Event


def append_for_ever(folder: Path) -> None:
    audit, number = Audit(folder), 0
    while True:
        number += 1
        audit.append(Event(event="ASKED", stage="train", round=number))


if __name__ == "__main__":
    append_for_ever(Path(sys.argv[1]))
