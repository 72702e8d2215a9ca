"""A proxy that knows CONNECT and nothing else, as stands between hospitals and the world.

In a test's own process it is a `ConnectProxy`; `connect_proxy.py PORT [NAME:PASSWORD]` runs one on the
loopback that prints a line for every CONNECT.
"""

import base64
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer

HOST = "127.0.0.1"
FORBIDDEN, UNKNOWN = b"403 Forbidden", b"407 Proxy Authentication Required"
PIECE_BYTES = 1 << 16


class ConnectProxy(ThreadingTCPServer):
    """Listens on the loopback; every name leads to the loopback too, since a test has no name server."""

    daemon_threads, allow_reuse_address, block_on_close = True, True, False

    def __init__(
        self, *, port: int = 0, account: str | None = None, allow: bool = True, hear: Callable[[str], None]
    ) -> None:
        """`hear` is told every "host:port" that was asked for, and the answer."""
        super().__init__((HOST, port), _Tunnel)
        self.account, self.allow, self.hear = account, allow, hear

    def answer(self, authorization: str) -> bytes:
        """A refusal, or b"" for nothing against it."""
        if self.account is not None:
            word = base64.b64encode(self.account.encode()).decode()
            if authorization != f"Basic {word}":
                return UNKNOWN
        return b"" if self.allow else FORBIDDEN


class _Tunnel(StreamRequestHandler):
    server: ConnectProxy

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split(" ")
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        refusal = self.server.answer(headers.get("proxy-authorization", ""))
        if method != "CONNECT":
            refusal = FORBIDDEN
        self.server.hear(f"{method} {target} {refusal.decode() or 'passes'}")
        if refusal:
            self.wfile.write(b"HTTP/1.1 " + refusal + b"\r\n\r\n")
            return
        with socket.create_connection((HOST, int(target.rpartition(":")[2]))) as onward:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(onward, self.connection), daemon=True)
            back.start()
            _pump(self.connection, onward)
            back.join(5)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(PIECE_BYTES):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def proxying(*, account: str | None = None, allow: bool = True) -> Iterator[tuple[int, list[str]]]:
    """A proxy in this process; yields its port and the lines that it heard."""
    heard: list[str] = []
    with ConnectProxy(account=account, allow=allow, hear=heard.append) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield proxy.server_address[1], heard
        finally:
            proxy.shutdown()
            thread.join()


if __name__ == "__main__":
    with ConnectProxy(
        port=int(sys.argv[1]), account=(*sys.argv[2:], None)[0], hear=lambda line: print(line, flush=True)
    ) as here:
        here.serve_forever()
