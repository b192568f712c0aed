"""The spool's file system fills up: 452 at MAIL, before the client sends a body; nothing acknowledged is lost; and the
service resumes by itself when there is space again."""

import os
import subprocess

from harness import (PATIENCE, Case, Postern, RawClient, Script, Sink, main, message, program, route_to, run,
                     wait_until, with_private_mounts)

SENDER, RECIPIENT = "alice@example.net", "bob@remote.example"
DISK_BYTES = 420 << 20
LINE = b"0123456789abcdef" * 3 + b"0123456789abcd\r\n"


class Gate(Script):
    """A next hop that says "later" until it is opened."""

    open = False

    # Not at the greeting: a hop that does not work is left alone for longer and longer.
    def mail(self, session, address, parameters):
        return None if self.open else "450 4.3.2 later"


class DiskFull(Case):
    def setUp(self):
        image, self.disk = self.path("disk.img"), self.path("disk")
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
        os.mkdir(self.disk)
        for command in ([program("mkfs.ext4", "e2fsprogs"), "-q", "-m", "0", image],
                        [program("mount", "mount"), "-o", "loop", image, self.disk]):
            status, out, error = run(command)
            self.assertEqual(status, 0, out + error)
        self.addCleanup(self.unmount)
        self.gate = Gate()
        self.sink = self.track(Sink(self.gate))
        self.postern = Postern(self, spool=os.path.join(self.disk, "spool"), workers=1,
                               queue={"retry_seconds": [1]}, route=[route_to(self.sink.port)])
        self.acknowledged: list[str] = []

    def unmount(self):
        self.postern.kill()
        subprocess.run(["umount", self.disk], check=False)

    def free_bytes(self) -> int:
        state = os.statvfs(self.disk)
        return state.f_bavail * state.f_frsize

    def offer(self, octets: int, *, size: bool = True):
        """One message; returns (the command that decided, its reply)."""
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            name = f"{len(self.acknowledged)}.{octets}@full.example"
            content = message(message_id=name, body=LINE * (octets // len(LINE)))
            answer = client.command(f"MAIL FROM:<{SENDER}>" + (f" SIZE={len(content)}" if size else ""))
            if answer.code != 250:
                return "MAIL", answer
            self.assertEqual(client.command(f"RCPT TO:<{RECIPIENT}>").code, 250)
            answer = client.data(content)
            if answer.code == 250:
                self.acknowledged.append(name)
            return "DATA", answer

    def fill(self, octets: int):
        """Hands in until it is refused; the refusal must come at MAIL and say 452."""
        for _ in range(DISK_BYTES // octets + 100):
            where, answer = self.offer(octets)
            if answer.code != 250:
                self.assertEqual((where, answer.code, answer.enhanced), ("MAIL", 452, "4.3.1"), answer)
                return
        self.fail("the disk never filled up")

    def all_delivered(self):
        wanted = set(self.acknowledged)
        self.sink.wait_until(lambda kept: wanted <= {each.header("Message-ID").strip("<>") for each in kept},
                             f"all {len(wanted)} acknowledged messages", PATIENCE * 3)

    def resumes(self):
        wait_until(lambda: self.offer(1 << 20)[1].code == 250, "a message to be accepted again", every=0.2)

    def test_full_of_large_messages(self):
        """Bodies in files of their own; and a crash while full."""
        self.fill(2 << 20)
        self.assertGreater(len(self.acknowledged), 20)
        self.assertGreater(self.free_bytes(), 0)
        self.postern.kill9()
        self.postern.start()
        where, answer = self.offer(8 << 20)
        self.assertEqual((where, answer.code), ("MAIL", 452), answer)
        self.gate.open = True
        self.all_delivered()
        self.resumes()
        self.all_delivered()
        self.assertEqual(self.postern.stop(), 0)

    def test_full_of_small_messages(self):
        """Bodies in the log itself: the outcomes that free it must still find room."""
        self.fill(180 << 10)
        self.assertGreater(len(self.acknowledged), 300)
        self.gate.open = True
        self.all_delivered()
        self.resumes()
        self.all_delivered()

    def test_full_by_others(self):
        """Another program takes the space and gives it back."""
        hog = os.path.join(self.disk, "hog")
        with open(hog, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(self.free_bytes() - (20 << 20), 1 << 20))
        where, answer = self.offer(4 << 20)
        self.assertEqual((where, answer.code, answer.enhanced), ("MAIL", 452, "4.3.1"), answer)
        os.unlink(hog)
        self.resumes()
        self.gate.open = True
        self.all_delivered()

    def test_without_size_nothing_is_lost(self):
        """A client that does not announce SIZE may be refused after the body; 250 still means kept."""
        self.fill(2 << 20)
        for _ in range(3):
            _, answer = self.offer(3 << 20, size=False)
            self.assertIn(answer.code, (250, 452), answer)
        self.gate.open = True
        self.all_delivered()
        self.resumes()


if __name__ == "__main__":
    with_private_mounts()
    main()
