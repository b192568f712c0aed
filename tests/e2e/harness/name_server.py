"""A real name server for the zone "test.": NSD on a port of its own; and a switch before it that loses questions."""

import os
import socket
import struct
import threading

from . import environment
from .process import Program, wait_until

_SETTINGS = """
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  xfrdfile: ""
  xfrdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  server-count: 1
  verbosity: 1
remote-control:
  control-enable: no
zone:
  name: "test."
  zonefile: "{folder}/test.zone"
"""

_HEAD = """$ORIGIN test.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 5
@ NS ns
ns A 127.0.0.1
"""


def question(name: str, number: int = 1) -> bytes:
    """A question for the MX of `name`."""
    labels = b"".join(bytes([len(each)]) + each.encode("ascii") for each in name.split("."))
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 15, 1)


class NameServer:
    """Authoritative for "test."; `records` are lines of the zone. stop() and start() keep the port."""

    name = "nsd"

    def __init__(self, case, records: str):
        self.folder = case.path("nsd")
        os.makedirs(self.folder, exist_ok=True)
        self.port = environment.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.config = self._write("nsd.conf", _SETTINGS.format(port=self.port, folder=self.folder))
        self._write("test.zone", _HEAD + records)
        self.program = None
        case.track(self)
        self.start()

    def _write(self, name: str, text: str) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self) -> None:
        command = [environment.program("nsd", "nsd"), "-d", "-c", self.config]
        self.program = Program(self.name, command, self.folder, namespace=True)
        wait_until(self._answers, lambda: f"nsd to answer; its log:\n{self.log()}", every=0.05)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.5)
            try:
                probe.connect(("127.0.0.1", self.port))
                probe.send(question("test"))
                return probe.recv(512)[3] & 0x0F == 0
            except OSError:
                return False

    def stop(self) -> None:
        self.program.kill()

    kill = stop

    def log(self) -> str:
        return self.program.log() if self.program else ""


class Switch:
    """Passes UDP questions on to a name server and its answers back; loses those whose name is in `lost`."""

    name = "switch"

    def __init__(self, case, server: NameServer):
        self.server = server
        self.lost: set[str] = set()
        self.asked: list[tuple[str, int]] = []  # name, type
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        case.track(self)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                packet, client = self.socket.recvfrom(4096)
            except OSError:
                return
            labels, at = [], 12
            while packet[at]:
                labels.append(packet[at + 1:at + 1 + packet[at]].decode("ascii").lower())
                at += 1 + packet[at]
            name = ".".join(labels)
            self.asked.append((name, int.from_bytes(packet[at + 1:at + 3], "big")))
            if name in self.lost:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as onward:
                onward.settimeout(2)
                try:
                    onward.connect(("127.0.0.1", self.server.port))
                    onward.send(packet)
                    self.socket.sendto(onward.recv(4096), client)
                except OSError:
                    pass

    def count(self, name: str, record_type: int) -> int:
        return self.asked.count((name, record_type))

    def kill(self) -> None:
        self.socket.close()

    def log(self) -> str:
        return "\n".join(f"{name} {record_type}" for name, record_type in self.asked[-50:])
