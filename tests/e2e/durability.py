"""The disk's own flush counter beside the number of 250s: each is on the disk first, and many share one flush.

io_uring writes are invisible to strace, and a kill leaves the page cache alone; the block device's counter of flush
requests (the 16th field of /sys/block/*/stat, Documentation/block/stat.rst) is what cannot be talked round. Other
programs' flushes count as well, so the upper bound is checked against a machine that is otherwise quiet.
"""

import os
import time

from harness import Case, Postern, RawClient, Script, Sink, main, message, program, route_to, run, wait_until


def flushes(folder: str) -> int:
    """Flush requests that the whole disk under `folder` has completed."""
    device = os.stat(folder).st_dev
    path = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if os.path.exists(os.path.join(path, "partition")):
        path = os.path.dirname(path)  # flushes are counted by the whole disk
    with open(os.path.join(path, "stat"), encoding="ascii") as file:
        fields = file.read().split()
    if len(fields) < 16:
        raise AssertionError("this kernel does not count flushes (before 5.5)")
    return int(fields[15])


class Later(Script):
    """Deliveries must not add flushes of their own to the count: nothing is taken yet."""

    def greeting(self, session):
        return "421 4.3.2 later"


class Durability(Case):
    def start(self):
        sink = self.track(Sink(Later()))
        postern = Postern(self, route=[route_to(sink.port)])
        before = flushes(postern.folder)
        with open(self.path("probe"), "wb") as probe:
            for _ in range(20):
                probe.write(b"x")
                probe.flush()
                os.fdatasync(probe.fileno())
        self.assertGreaterEqual(flushes(postern.folder) - before, 20,
                                "the disk does not count: POSTERN_E2E_TMP must lie on a disk with a volatile cache")
        return postern

    def hand_in(self, port, count):
        with RawClient(port) as client:
            client.ehlo()
            for _ in range(count):
                answer = client.hand_in("alice@example.net", ["bob@remote.example"], message(body=b"x" * 70 + b"\r\n"))
                self.assertEqual(answer.code, 250, answer)

    def test_one_after_another(self):
        """Alone, every message needs a flush of its own before its 250."""
        postern = self.start()
        before = flushes(postern.folder)
        self.hand_in(postern.port(), 200)
        risen = flushes(postern.folder) - before
        print(f"200 messages one after another: {risen} flushes", flush=True)
        self.assertGreaterEqual(risen, 200)

    def test_many_sessions_share(self):
        """What finishes together shares a flush. A client as fast as the disk is needed, or nothing finishes together."""
        postern = self.start()
        sessions, messages = 50, 5000
        before, began = flushes(postern.folder), time.monotonic()
        status, out, error = run([program("smtp-source", "postfix"), "-s", str(sessions), "-m", str(messages), "-d",
                                  "-l", "1024", "-f", "alice@example.net", "-t", "bob@remote.example",
                                  f"inet:127.0.0.1:{postern.port()}"])
        risen, took = flushes(postern.folder) - before, time.monotonic() - began
        self.assertEqual(status, 0, out + error)
        wait_until(lambda: len(postern.events("accepted")) == messages, "every message in the log")
        print(f"{messages} messages in {sessions} sessions: {risen} flushes, {took:.2f} s", flush=True)
        self.assertGreater(risen, 0)
        self.assertLess(risen, messages * 0.5)


if __name__ == "__main__":
    main()
