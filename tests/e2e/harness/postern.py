"""The program under test: settings from keyword arguments, start and end, its ports and its log."""

import os
import re
import signal

from . import environment, process
from .toml_text import write_toml

_PAIR = re.compile(r'([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|[^\s]*)')
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def parse_logfmt(line: str) -> dict[str, str]:
    fields = {}
    for key, value in _PAIR.findall(line):
        if value.startswith('"'):
            value = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), value[1:-1])
        fields[key] = value
    return fields


class Postern:
    """`postern serve` on private settings. Keyword arguments become top-level settings; `service` and `route` are
    lists of tables. A service without `listen` listens on 127.0.0.1, port 0. The spool survives stop(), kill() and
    start()."""

    def __init__(self, case, *, name: str = "postern", start: bool = True, **settings):
        self.case = case
        self.name = name
        self.folder = case.path(name)
        os.makedirs(self.folder, exist_ok=True)
        self.config = os.path.join(self.folder, "postern.toml")
        self.control = os.path.join(self.folder, "control")
        self.settings = {
            "hostname": "mail.example.net", "local_domains": ["example.net"], "lan": ["127.0.0.1/32"],
            "spool": os.path.join(self.folder, "spool"), "postmaster": "postmaster@example.net",
            "state": os.path.join(self.folder, "state"),
            "admin": {"socket": self.control}, "limits": {"connections": 10000},
            "service": [{"name": "smtp"}],
        }
        if "dovecot" not in settings.get("users", {}):  # users come from one of them
            self.settings["users"] = {"store": os.path.join(self.folder, "users.db")}
        self.program: process.Program | None = None
        self.ports: dict[str, int] = {}
        self.change(**settings)
        case.track(self)
        if start:
            self.start()

    # --- settings -------------------------------------------------------------------------------------------------
    def change(self, **settings) -> None:
        """Replaces top-level settings (tables are merged) and writes the file."""
        for key, value in settings.items():
            if isinstance(value, dict):
                value = {**self.settings.get(key, {}), **value}
            self.settings[key] = value
        for service in self.settings["service"]:
            service.setdefault("listen", ["127.0.0.1:0"])
        self.write(write_toml(self.settings))

    def write(self, text: str) -> None:
        # Renamed into place: a reload must never meet half a file.
        with open(self.config + ".new", "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.rename(self.config + ".new", self.config)

    # --- life -----------------------------------------------------------------------------------------------------
    def start(self, *, ready: bool = True, seconds: float | None = None) -> None:
        command = [environment.postern_binary(), "serve", "--config", self.config]
        self.program = process.Program(self.name, command, self.folder)
        if ready:
            self.program.wait_for_line(r"\bevent=ready\b", seconds)
            self.ports = {}
            for event in self.events("listening"):
                self.ports.setdefault(event["service"], int(event["address"].rpartition(":")[2]))

    def port(self, service: str = "smtp") -> int:
        return self.ports[service]

    @property
    def pid(self) -> int:
        return self.program.pid

    def stop(self, seconds: float | None = None) -> int:
        """SIGTERM and wait; the exit status."""
        return self.program.terminate(seconds)

    def kill9(self) -> None:
        self.program.signal(signal.SIGKILL)
        self.program.wait()

    def reload(self) -> dict[str, str]:
        """SIGHUP; waits for the line that says how it went."""
        before = len(self.program.log())
        self.program.signal(signal.SIGHUP)
        self.program.wait_for_line(r"\bevent=reload\w*\b.*\n", after=before)
        return parse_logfmt(re.search(r".*\bevent=reload\w*\b.*", self.program.log()[before:]).group(0))

    def kill(self) -> None:
        if self.program:
            self.program.kill()

    # --- log ------------------------------------------------------------------------------------------------------
    def log(self) -> str:
        return self.program.log() if self.program else ""

    def events(self, event: str | None = None) -> list[dict[str, str]]:
        lines = [parse_logfmt(line) for line in self.log().splitlines()]
        return [line for line in lines if "event" in line and (event is None or line["event"] == event)]

    # --- the command line -----------------------------------------------------------------------------------------
    def run(self, *arguments: str, stdin: bytes = b"", seconds: float = 60.0):
        """Runs the program with arguments of its own; (status, stdout, stderr)."""
        return process.run([environment.postern_binary(), *arguments], stdin=stdin, seconds=seconds)

    def user(self, *arguments: str, password: str | None = None) -> str:
        """`postern user ...` on these settings; what it printed. AssertionError when it refuses. `password`: handed
        over on standard input."""
        stdin = b"" if password is None else password.encode("utf-8") + b"\n"
        more = [] if password is None else ["--stdin"]
        status, out, error = self.run("user", "--config", self.config, *arguments, *more, stdin=stdin)
        if status != 0:
            raise AssertionError(f"postern user {' '.join(arguments)}: {out}{error}")
        return out

    def queue(self, *arguments: str):
        return self.run("queue", *arguments, "--socket", self.control)


def route_to(port: int, domain: str = "*", protocol: str = "smtp", **more) -> dict:
    return {"domain": domain, "to": [f"{protocol}:127.0.0.1:{port}"], **more}


def submission_services(mechanisms, *, auth=None, **more) -> list[dict]:
    """Services "submission" (STARTTLS, port 587's way) and "submissions" (implicit TLS, port 465's), alike but for
    that."""
    return [{"name": name, "tls": tls, "submission": True, **more, "relay": {"require_auth": True},
             "auth": {"mechanisms": list(mechanisms), **(auth or {})}}
            for name, tls in (("submission", "starttls"), ("submissions", "implicit"))]
