"""What the tests find around them: the program under test, the peers, scratch space, the size of the run.

Nothing is installed or downloaded here. What is missing makes a test fail with the name of the package, never skip.
"""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import sys

SANITIZED = os.environ.get("POSTERN_SANITIZED", "") not in ("", "0")

# Every wait in these tests is a loop that ends as soon as the thing is there; this only bounds a failing one.
PATIENCE = 60.0 if SANITIZED else 20.0


class Missing(AssertionError):
    """Something the test needs is not on this machine."""


def postern_binary() -> str:
    path = os.environ.get("POSTERN", "")
    if not path:
        raise Missing("set POSTERN to the path of the built program, e.g. POSTERN=build/release/bin/postern")
    if not os.access(path, os.X_OK):
        raise Missing(f"POSTERN={path}: not an executable file")
    return os.path.abspath(path)


def program(name: str, package: str) -> str:
    """The path of an installed program; Debian keeps some of these in sbin, which may not be in PATH."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/lib/postfix/sbin")
    if not found:
        raise Missing(f"{name} not found: install the Debian package {package} (see packages.txt)")
    return found


def peer_folder(name: str) -> str:
    default = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "postern", "peers")
    folder = os.path.join(os.environ.get("POSTERN_PEERS", default), name)
    if not os.path.isdir(folder):
        raise Missing(f"{folder} not found: run unpack_peers.sh")
    return folder


def need_root(why: str) -> None:
    if os.geteuid() != 0:
        raise Missing(f"this test must run as root: {why}")


def free_port(address: str = "127.0.0.1") -> int:
    """A port that was free a moment ago, for servers that cannot bind port 0 themselves; callers retry on a clash."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def take_private_network() -> None:
    """A network namespace with nothing but loopback: no other test takes this one's ports, or finds its own taken.

    Without the right to make one the machine's loopback serves, and clashes are unlikely.
    """
    clone_new_network, set_flags, is_up = 0x40000000, 0x8914, 1  # sched.h, linux/sockios.h, net/if.h
    if ctypes.CDLL(None, use_errno=True).unshare(clone_new_network) != 0:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH22x", b"lo", is_up))


def with_private_mounts() -> None:
    """Starts the test file again in a mount namespace of its own, so that what it mounts ends with it."""
    if os.environ.get("POSTERN_PRIVATE_MOUNTS") == "1":
        return
    need_root("it mounts a small file system")
    os.environ["POSTERN_PRIVATE_MOUNTS"] = "1"
    unshare = program("unshare", "util-linux")
    os.execv(unshare, [unshare, "--mount", "--propagation", "private", "--", sys.executable, *sys.argv])
