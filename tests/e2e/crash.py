"""kill -9 under load, again and again on the same spool: everything that was answered 250 is delivered at least once.

SIGKILL leaves the page cache alone, so this shows the order of things (record whole before 250, outcomes, recovery),
not that data reached the disk: that is durability.py's part and the simulator's.
"""

import os
import random
import threading
import time

from harness import PATIENCE, SANITIZED, Case, Disconnected, Postern, RawClient, Script, Sink, main, message, route_to

ROUNDS = int(os.environ.get("POSTERN_CRASH_ROUNDS", "5" if SANITIZED else "20"))
SEED = int(os.environ.get("POSTERN_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
CLIENTS = 8


class Moody(Script):
    """A next hop that is sometimes slow, sometimes says 451 for some recipients, and sometimes hangs up."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.calm = False

    def mood(self):
        with self.lock:
            return 1.0 if self.calm else self.random.random()

    def rcpt(self, session, address, parameters):
        return "451 4.2.0 not now" if self.mood() < 0.05 else None

    def message(self, session, kept):
        mood = self.mood()
        if mood < 0.1:
            time.sleep(0.02)
        return "451 4.3.0 not now" if mood > 0.95 and not self.calm else None


class Loader(threading.Thread):
    """Hands in messages until the server dies; remembers (message id, recipient) of those answered 250."""

    def __init__(self, port, round_number, number, seed):
        super().__init__(daemon=True)
        self.port, self.prefix = port, f"{round_number}.{number}"
        self.random = random.Random(f"{seed}/{self.prefix}")
        self.acknowledged: list[tuple[str, str]] = []
        self.attempts = 0
        self.refused: list[str] = []

    def run(self):
        try:
            with RawClient(self.port) as client:
                client.ehlo()
                while True:
                    self.one(client)
        except (Disconnected, ConnectionError, OSError):
            return

    def one(self, client):
        self.attempts += 1
        message_id = f"{self.prefix}.{self.attempts}@crash.example"
        recipients = [f"r{number}@remote.example" for number in range(self.random.choice((1, 1, 1, 2, 5)))]
        # Most small, some in several blocks, some larger than the spool keeps inline.
        size = self.random.choice((1, 20, 20, 200, 2000)) if self.random.random() < 0.97 else 9000
        content = message(message_id=message_id, body=b"some octets of a body, line after line\r\n" * size)
        if self.random.random() < 0.5:
            answer = client.hand_in("alice@example.net", recipients, content)
        else:
            lines = ["MAIL FROM:<alice@example.net>", *(f"RCPT TO:<{each}>" for each in recipients)]
            for reply in client.pipeline(lines):
                if reply.code != 250:
                    self.refused.append(repr(reply))
            answer = client.bdat(content, 40000)
        if answer.code == 250:
            self.acknowledged += [(message_id, each) for each in recipients]
        else:
            self.refused.append(repr(answer))
            client.command("RSET")


class Crash(Case):
    def test_kill_9_under_load(self):
        print(f"seed {SEED}, {ROUNDS} rounds (POSTERN_CRASH_SEED repeats it)", flush=True)
        source = random.Random(SEED)
        mood = Moody(SEED)
        sink = self.track(Sink(mood))
        postern = Postern(self, route=[route_to(sink.port, connections=4)], queue={"retry_seconds": [1]}, start=False)
        acknowledged, attempts, began = [], 0, time.monotonic()
        for number in range(ROUNDS):
            # The number of workers changes between runs: recovery adopts every log it finds.
            postern.change(workers=source.choice((1, 2)))
            postern.start()
            loaders = [Loader(postern.port(), number, each, SEED) for each in range(CLIENTS)]
            for loader in loaders:
                loader.start()
            time.sleep(source.uniform(0.05, 0.8))  # not a wait for anything: the moment of the blow
            postern.kill9()
            for loader in loaders:
                loader.join(PATIENCE)
                self.assertFalse(loader.is_alive())
                acknowledged += loader.acknowledged
                attempts += loader.attempts
                self.assertEqual(loader.refused, [])
        mood.calm = True
        postern.start()
        seen: set[tuple[str, str]] = set()
        deliveries = 0
        wanted = set(acknowledged)
        self.assertEqual(len(wanted), len(acknowledged))

        def all_there(messages):
            nonlocal deliveries
            for each in messages[deliveries:]:
                message_id = each.header("Message-ID").strip("<>")
                seen.update((message_id, recipient) for recipient in each.recipients)
            deliveries = len(messages)
            return wanted <= seen

        try:
            sink.wait_until(all_there, "all acknowledged messages", PATIENCE * 3)
        except AssertionError as error:
            lost = sorted(wanted - seen)
            raise AssertionError(f"seed {SEED}: lost {len(lost)} of {len(wanted)} acknowledged: {lost[:10]}") from error
        self.assertGreater(len(wanted), ROUNDS)
        # No recovery in ordinary crashes finds damage: only torn tails are to be expected.
        print(f"{len(wanted)} acknowledged recipients of {attempts} messages in {ROUNDS} crashes, "
              f"{sum(len(each.recipients) for each in sink.messages) - len(wanted)} more deliveries than that, "
              f"{time.monotonic() - began:.1f} s", flush=True)
        self.assertEqual(postern.stop(), 0)


if __name__ == "__main__":
    main()
