"""The reverse proxy before the hub: nginx's settings, and the certificates that they name.

OUT/nginx.conf          see the template beside this module
OUT/server.pem, .key    the hub's certificate of the consortium; the key is read by its owner only
OUT/inside.pem          vouches for the SuperLink behind it
OUT/authority.pem       vouches for hospitals, where they show certificates

The proxy needs nothing else of the hub's home, so it need not see the operator's keys.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from common.errors import ConfigurationError
from common.files import write_whole
from server.home import AUTHORITY, SERVER, SERVER_KEY, HubHome
from server.interior import Interior

TEMPLATE = Path(__file__).with_name("nginx.conf.jinja")
BODY_MEGABYTES = 8
"""Flower cuts a model into pieces of 5 MB; a request adds its envelope."""

_LISTEN = re.compile(r"(?:(?:[0-9.]+|\[[0-9A-Fa-f:]+\]):)?([0-9]{1,5})")
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@+-]+")
"""What may stand in nginx's settings without quotes."""
LAST_PORT = 65535


@dataclass(frozen=True)
class ProxyTerms:
    """What the operator says of it."""

    listen: str
    """[ADDRESS:]PORT that hospitals connect to."""
    hub_port: int
    """The hub's, on the loopback."""
    client_certificates: bool
    """Whether hospitals must show the certificate of their kit."""
    access_log: str
    """A file, syslog:server=..., or off."""
    scratch: Path
    """Folder that nginx may write to."""


def write_proxy(home: HubHome, out: Path, terms: ProxyTerms) -> Path:
    """Write the settings into the folder `out` and return the file.

    Raises:
        ConfigurationError: a term cannot stand in nginx's settings, or the home is no consortium's.
    """
    consortium = home.consortium()
    listen = _LISTEN.fullmatch(terms.listen)
    if not listen or not 0 < int(listen[1]) <= LAST_PORT:
        raise ConfigurationError(f"--listen {terms.listen} is not [ADDRESS:]PORT, such as 10.0.0.5:443")
    for option, value in (("--access-log", terms.access_log), ("--scratch", str(terms.scratch.resolve()))):
        if not _PLAIN.fullmatch(value):
            raise ConfigurationError(f"{option} {value!r} holds characters that nginx does not take")
    settings = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    text = settings.from_string(TEMPLATE.read_text()).render(
        consortium=" ".join(consortium.name.split()),
        terms=terms,
        scratch=terms.scratch.resolve(),
        body_megabytes=BODY_MEGABYTES,
    )
    inside = Interior(home).certificate().authority
    for source, name, mode in (
        (home.folder / SERVER, SERVER, 0o644),
        (home.folder / SERVER_KEY, SERVER_KEY, 0o600),
        (home.folder / AUTHORITY, AUTHORITY, 0o644),
        (inside, "inside.pem", 0o644),
    ):
        write_whole(out / name, source.read_bytes(), mode=mode)
    write_whole(out / "nginx.conf", text.encode())
    return out / "nginx.conf"
