"""The hub's own processes: the SuperLink, where messages meet, and the executor that starts ServerApps."""

from pathlib import Path

from common.processes.party import Party
from server import superlink
from server.credentials import ServerCertificate

HOST = "127.0.0.1"
SUPERLINK, SUPEREXEC = superlink.__name__, "flower-superexec"


def spawn_hub(
    hub: Party, *, port: int, certificate: ServerCertificate, executor_secret: Path, operator_secret: Path
) -> None:
    """Start both on the loopback, as children of `hub`; neither installs anything, apps have own processes.

    The SuperLink keeps its state in memory: Flower's SQLite file fails for large models ("database is
    locked"), and our checkpoints, not Flower, outlive a restart.
    """
    hub.spawn_module(
        SUPERLINK,
        [
            *("--host", HOST, "--port", str(port)),
            *("--ssl-certfile", str(certificate.certificate)),
            *("--ssl-keyfile", str(certificate.key)),
            *("--ssl-ca-certfile", str(certificate.authority)),
            *("--isolation", "process", "--superexec-auth-secret-file", str(executor_secret)),
            "--enable-supernode-auth",
            "--disable-runtime-dependency-installation",
        ],
        further={superlink.SECRET_FILE: str(operator_secret)},
    )
    hub.spawn(
        SUPEREXEC,
        [
            *("--runtime-api-address", f"{HOST}:{port}", "--root-certificates", str(certificate.authority)),
            *("--superexec-auth-secret-file", str(executor_secret)),
        ],
    )
