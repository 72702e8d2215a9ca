"""Reading what may be broken or hostile: whatever a library raises becomes a reason, and goes to the log.

pydicom, Pillow and the codecs behind them raise almost anything at such bytes: there is no list to narrow to.
The log has the kind of error only: its text may quote a header.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from client.ingest.rejected import Reason

log = logging.getLogger("fedvlp")

Read = TypeVar("Read")


def attempt(read: Callable[[], Read], otherwise: Reason) -> Read | Reason:
    """What `read` gives, or `otherwise` when it raises.

    Raises:
        MemoryError: for the worker process to answer.
    """
    try:
        return read()
    except MemoryError:
        raise
    except Exception as error:
        log.info("%s: %s", otherwise, type(error).__name__)
        return otherwise
