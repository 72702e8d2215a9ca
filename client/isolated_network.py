"""A network of this process's own, with nothing in it but the way to itself (Linux, network namespaces).

For an app that starts programs and connects to them, as training in several processes does. It needs no
rights where the system lets any user make namespaces; many containers do not.
Source: unshare(2), user_namespaces(7), netdevice(7).
"""

import ctypes
import os
import socket
import struct
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
REQUEST = "16sh14x"
"""A `struct ifreq` with the flags of an interface."""


def isolate_network() -> bool:
    """Leave the machine's network for good; False where the system does not allow it, and nothing is changed.

    This process must have no other threads; the processes that it starts are in the same network.
    """
    if sys.platform != "linux":
        return False
    user, group = os.geteuid(), os.getegid()
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if unshare(CLONE_NEWNET):  # only root may do that alone
        if unshare(CLONE_NEWUSER | CLONE_NEWNET):
            return False
        process = Path("/proc/self")
        (process / "setgroups").write_text("deny")
        (process / "uid_map").write_text(f"{user} {user} 1")
        (process / "gid_map").write_text(f"{group} {group} 1")
    _raise_loopback()
    return True


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack(REQUEST, b"lo", 0)
        _, flags = struct.unpack(REQUEST, fcntl.ioctl(any_socket, SIOCGIFFLAGS, asked))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack(REQUEST, b"lo", flags | IFF_UP))
