"""A program that a test starts: its output in files, readiness by what it says, and a certain end.

Every child gets a parent-death signal, so that even a killed test leaves nothing behind. Start programs from the main
thread only: the signal is tied to the thread that made the child.
"""

import os
import re
import signal
import subprocess
import time

from . import environment


def wait_until(condition, what: str, seconds: float | None = None, every: float = 0.01):
    """Polls until `condition()` is true and returns its value; AssertionError after `seconds`."""
    deadline = time.monotonic() + (environment.PATIENCE if seconds is None else seconds)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what() if callable(what) else what}")
        time.sleep(every)


class Program:
    """One run of a command. `namespace`: in mount and pid namespaces of its own, so that its children end with it."""

    def __init__(self, name: str, command: list[str], folder: str, *, namespace: bool = False, env=None, cwd=None):
        self.name = name
        os.makedirs(folder, exist_ok=True)
        self.log_path = os.path.join(folder, f"{name}.log")
        guard = ["setpriv", "--pdeathsig", "KILL", "--"]
        if namespace:
            environment.need_root(f"{name} runs in namespaces of its own")
            # The shell stays as the namespace's first process: a server that changes its user loses the death signal.
            guard += ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private", "--",
                      "sh", "-c", '"$@"; exit $?', "init"]
        self.log_start = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(guard + command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=env, cwd=cwd, start_new_session=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def log(self) -> str:
        """What this run has written so far."""
        with open(self.log_path, "rb") as file:
            file.seek(self.log_start)
            return file.read().decode("utf-8", "replace")

    def wait_for_line(self, pattern: str, seconds: float | None = None, after: int = 0) -> re.Match:
        """Waits for a log line; `after` skips that many characters of this run's log."""
        compiled = re.compile(pattern, re.MULTILINE)

        def look():
            found = compiled.search(self.log(), after)
            if not found and not self.alive():
                found = compiled.search(self.log(), after)
                if not found:
                    raise AssertionError(f"{self.name} ended (status {self.process.returncode}) before saying "
                                         f"/{pattern}/:\n{self.log()[-4000:]}")
            return found

        return wait_until(look, lambda: f"{self.name} to say /{pattern}/; it said:\n{self.log()[-4000:]}", seconds)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float | None = None) -> int:
        try:
            return self.process.wait(environment.PATIENCE if seconds is None else seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end; its log:\n{self.log()[-4000:]}") from None

    def terminate(self, seconds: float | None = None) -> int:
        """SIGTERM; returns the exit status."""
        if self.alive():
            self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to the program and what it started in its session; returns when it is gone."""
        if self.alive():
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()


def run(command: list[str], *, stdin: bytes = b"", seconds: float = 60.0, env=None):
    """Runs a command to its end; returns (status, stdout, stderr) as (int, str, str)."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=seconds, env=env, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmRSS of process {pid}")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that were waited for."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(int(fields[index]) for index in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")
