"""Run a gate: `python -m client.gate SETTINGS`; `fedvlp-site start` does, with the SuperNode beside it."""

import logging
import signal
import sys
from pathlib import Path

from client.confinement import hide_memory
from client.gate.executor import Gate
from client.gate.settings import read_settings
from common.errors import FederationError


def main(settings: Path) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s gate: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hide_memory()
    try:
        with Gate(read_settings(settings)) as gate:
            return gate.run()
    except KeyboardInterrupt:
        return 0
    except FederationError as error:
        print(f"fedvlp-site: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
