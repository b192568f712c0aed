"""What the comparisons share: a folder of their own, a peer's fair settings, and the CPU time of a process tree."""

import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "e2e"))

# What a busy relay would set: no throttles meant for strangers, as much concurrency as the machine bears.
POSTFIX_FAIR = {
    "default_process_limit": "250", "in_flow_delay": "0", "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0", "smtpd_client_message_rate_limit": "0",
    "smtpd_client_recipient_rate_limit": "0", "smtpd_error_sleep_time": "0", "smtpd_soft_error_limit": "100000",
    "smtpd_hard_error_limit": "100000", "default_destination_concurrency_limit": "100",
    "initial_destination_concurrency": "20", "qmgr_message_active_limit": "100000", "smtpd_timeout": "300s",
}


class Scratch:
    """A folder, and programs that end with it: what the harness otherwise gets from a test case."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="postern-compare-", dir=os.environ.get("POSTERN_E2E_TMP") or None)
        os.chmod(self.folder, 0o755)
        self.programs = []

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def track(self, started):
        self.programs.append(started)
        return started

    def close(self):
        for each in reversed(self.programs):
            each.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def own_memory(pid: int) -> int:
    """Octets of a process that are its own, not shared, not a file's."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"Pss_Anon:\s+(\d+) kB", file.read()).group(1)) * 1024


def descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    children.setdefault(int(file.read().rsplit(")", 1)[1].split()[1]), []).append(int(name))
            except OSError:
                continue
    found, todo = [], [pid]
    while todo:
        each = todo.pop()
        found.append(each)
        todo += children.get(each, [])
    return found


def cpu_of_tree(pid: int) -> float:
    """CPU seconds of a process, its living descendants, and what they have waited for."""
    ticks = 0
    for each in descendants(pid):
        try:
            with open(f"/proc/{each}/stat", encoding="ascii", errors="replace") as file:
                ticks += sum(int(field) for field in file.read().rsplit(")", 1)[1].split()[11:15])
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")
