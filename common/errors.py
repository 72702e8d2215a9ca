"""What can go wrong, and the exit code a person sees.

FederationError
├── ConfigurationError   2  a spec, an argument or an environment that cannot work
├── InputRefusedError    3  images, reports or a store that must not be trained on
├── PolicyError          4  forbidden by a hospital's policy or its privacy budget
├── PeerError            5  another party, or the network to it, failed
├── IntegrityError       6  a digest, signature or checksum does not match
└── WithheldError       70  our bug; the details stay in the hospital's log
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

log = logging.getLogger("fedvlp")


class FederationError(Exception):
    """A refusal or failure that we foresaw; `str(error)` is one line: what, where, what to do next.

    That line is for the person at this machine and may name files. `outward` is what other parties may read.
    """

    exit_code = 70

    def __init__(self, line: str, *, outward: str = "") -> None:
        super().__init__(line)
        self.outward = outward or type(self).__name__


class ConfigurationError(FederationError):
    """A spec, an argument or an environment (a full disk) that cannot work."""

    exit_code = 2


class InputRefusedError(FederationError):
    """Images, reports or a store that must not be trained on."""

    exit_code = 3


class PolicyError(FederationError):
    """Something a hospital's policy or its privacy budget forbids."""

    exit_code = 4


class PeerError(FederationError):
    """Another party, or the network to it, failed."""

    exit_code = 5


class IntegrityError(FederationError):
    """A digest, signature or checksum does not match."""

    exit_code = 6


class WithheldError(FederationError):
    """An unexpected error whose text stays where it happened."""

    exit_code = 70


@contextmanager
def withhold_details(doing: str = "") -> Iterator[None]:
    """Keep the text of errors inside the hospital.

    Flower sends `str(error)` to the server, and a path or a header may name a patient. What was foreseen goes
    out as its `outward` words; anything else as its type and a reference to the hospital's log, which also
    names what was being done.
    """
    at = f"{doing} " if doing else ""
    try:
        yield
    except FederationError as error:
        log.error("%srefused: %s", at, error)
        raise type(error)(error.outward, outward=error.outward) from None
    except Exception as error:
        reference = uuid4().hex[:8]
        log.exception("%sfailure %s", at, reference)
        raise WithheldError(f"{type(error).__name__}; hospital log, reference {reference}") from None
