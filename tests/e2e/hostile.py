"""Strangers: garbage, wrong protocols, slow and greedy clients, smuggling. The server answers, sheds, stays small."""

import random
import resource
import socket
import threading
import time

from harness import (PATIENCE, SANITIZED, Case, Disconnected, Postern, RawClient, Sink, main, message, resident_bytes,
                     route_to, wait_until)

SENDER, RECIPIENT = "alice@example.net", "bob@remote.example"


class HostileCase(Case):
    def start(self, service=None, **settings):
        self.sink = self.track(Sink())
        self.postern = Postern(self, service=[{"name": "smtp", **(service or {})}], route=[route_to(self.sink.port)],
                               **settings)

    def still_serves(self):
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            answer = client.hand_in(SENDER, [RECIPIENT], message(subject="still here"))
            self.assertEqual(answer.code, 250, answer)
        self.sink.wait_until(lambda kept: any(each.header("Subject") == "still here" for each in kept),
                             "a good message")

    def only_good_mail_arrived(self):
        self.assertEqual({each.header("Subject") for each in self.sink.messages}, {"still here"})


class WrongProtocols(HostileCase):
    def test_http_is_dropped_without_a_word(self):
        self.start()
        for verb in ("GET", "POST", "CONNECT", "PUT", "HEAD", "OPTIONS"):
            request = f"{verb} /index.html HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nMAIL FROM:<{SENDER}>\r\n"
            with self.subTest(verb=verb), RawClient(self.postern.port()) as client:
                client.send(request.encode())
                self.assertTrue(client.closed_by_server())
                self.assertEqual(client.buffer, b"")
        # Hidden behind good commands as a browser can be made to do (a POST body that speaks SMTP).
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            client.send(b"POST / HTTP/1.0\r\nRSET\r\n")
            self.assertTrue(client.closed_by_server())
            self.assertEqual(client.buffer, b"")
        self.still_serves()

    def test_tls_on_a_plain_port(self):
        self.start()
        hello = bytes.fromhex("16030100c8010000c40303") + bytes(range(200)) + b"\x00" * 50
        with RawClient(self.postern.port()) as client:
            client.send(hello)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.closed_by_server())
            self.assertLess(len(client.buffer), 2000)
        self.still_serves()

    def test_garbage(self):
        seed = random.SystemRandom().randrange(1 << 31)
        print(f"seed {seed}")
        source = random.Random(seed)
        self.start({"errors": 0})
        for number in range(200):
            octets = source.randbytes(source.choice((1, 10, 1000, 30000)))
            if number % 3 == 0:
                octets = bytes(source.choices(b"MAILFROMRCPTDATABDAT :<>@\r\n\0\xff0123456789", k=2000))
            try:
                with RawClient(self.postern.port()) as client:
                    client.send(octets)
                    if number % 2:
                        client.reset()
                    else:
                        client.socket.shutdown(socket.SHUT_WR)
                        self.assertTrue(client.closed_by_server(), f"seed {seed}, {number}")
            except ConnectionError:
                pass
        self.still_serves()
        self.only_good_mail_arrived()

    def test_long_lines(self):
        self.start({"errors": 0})
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            for octets in (b"NOOP " + b"x" * 10_000, b"x" * 10_000, b"MAIL FROM:<" + b"a" * 5000 + b"@example.net>"):
                answer = client.command(octets)
                self.assertIn(answer.code, (500, 501, 552), answer)
                self.assertTrue(answer.enhanced.startswith("5."), answer)
            # RFC 5321 section 4.5.3.1.4 allows 512 octets and extensions lengthen MAIL and RCPT.
            longest = f"{'a' * 64}@{'b' * 59}.{'c' * 60}.{'d' * 59}.example"
            answer = client.command(f"MAIL FROM:<{longest}> SIZE=1000 BODY=8BITMIME")
            self.assertEqual(answer.code, 250, answer)
            self.assertEqual(client.command("NOOP " + "y" * 400).code, 250)
        with RawClient(self.postern.port()) as client:
            client.send(b"x" * 1_000_000)
            self.assertEqual(client.reply().code, 421)
            self.assertTrue(client.closed_by_server())
        self.still_serves()

    def test_control_characters_do_not_reach_the_log(self):
        self.start({"errors": 0})
        with RawClient(self.postern.port()) as client:
            for line in (b"EHLO \x1b[31mred", b"EHLO a\0b", b"MAIL FROM:<a\x07@example.net>", b"\x1b]0;title\x07",
                         b"EHLO x\r event=accepted forged=1"):
                self.assertEqual(client.command(line).code // 100, 5)
        self.still_serves()
        log = self.postern.log()
        self.assertFalse(any(character in log for character in "\x1b\x07\0\r"))
        self.assertFalse(any(event.get("forged") for event in self.postern.events()))


class Smuggling(HostileCase):
    def test_only_one_end_of_data(self):
        """CRLF.CRLF and nothing else; bare CR and LF are refused once, after the true end, and nothing is executed."""
        self.start({"errors": 0})
        hidden = (b"MAIL FROM:<admin@example.net>\r\nRCPT TO:<victim@remote.example>\r\nDATA\r\n"
                  b"Subject: smuggled\r\n\r\nx")
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n\n.\n\n", b"\r\n.\r\r\n",
                    b"\r\n\0.\r\n", b"\r\n.\0\r\n"):
            with self.subTest(end=end), RawClient(self.postern.port()) as client:
                client.ehlo()
                for line in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>"):
                    self.assertEqual(client.command(line).code, 250)
                self.assertEqual(client.command("DATA").code, 354)
                client.send(message(subject="outer", body=b"first") + end + hidden + b"\r\n.\r\n")
                answer = client.reply()
                if b"\0" not in end:  # a NUL breaks no line: whether it is taken is not the question here
                    self.assertEqual((answer.code, answer.enhanced[:2]), (550, "5."), answer)
                # One reply, not more: the next one is NOOP's.
                self.assertEqual(client.command("NOOP").code, 250)
                self.assertEqual(client.command("MAIL FROM:<>").code, 250)
        self.still_serves()
        self.assertNotIn("smuggled", {each.header("Subject") for each in self.sink.messages})
        self.assertFalse(any("victim@remote.example" in each.recipients for each in self.sink.messages))

    def test_bare_line_ends_in_commands(self):
        """A bare LF or CR does not end a command either."""
        self.start({"errors": 0})
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            client.send(b"NOOP\nMAIL FROM:<a@example.net>\r\n")
            self.assertEqual(client.reply().code // 100, 5)
            self.assertEqual(client.command("RCPT TO:<bob@example.net>").code, 503)

    def test_bdat_is_drained_before_it_fails(self):
        """Octets of a refused chunk are octets, not commands."""
        self.start({"errors": 0})
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            inner = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@remote.example>\r\n"
            client.send(f"BDAT {len(inner)} LAST\r\n".encode() + inner)
            self.assertEqual(client.reply().code, 503)
            self.assertEqual(client.command("RCPT TO:<bob@example.net>").code, 503)

    def test_data_without_recipients(self):
        self.start({"errors": 0})
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            replies = client.pipeline([f"MAIL FROM:<{SENDER}>", "RCPT TO:<a!b@example.net>", "DATA"])
            self.assertEqual([reply.code for reply in replies[:2]], [250, 550])
            self.assertIn(replies[2].code, (503, 554))


class Limits(HostileCase):
    def test_size(self):
        self.start(limits={"message_bytes": 1_000_000})
        with RawClient(self.postern.port()) as client:
            self.assertEqual(client.ehlo()["SIZE"], "1000000")
            answer = client.command(f"MAIL FROM:<{SENDER}> SIZE=1000001")
            self.assertEqual((answer.code, answer.enhanced), (552, "5.3.4"), answer)
            answer = client.hand_in(SENDER, [RECIPIENT], message(body=(b"y" * 78 + b"\r\n") * 20_000))
            self.assertEqual((answer.code, answer.enhanced), (552, "5.3.4"), answer)
            for line in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>"):
                self.assertEqual(client.command(line).code, 250)
            self.assertEqual(client.bdat((b"z" * 78 + b"\r\n") * 20_000, 400_000).code, 552)
        self.still_serves()
        self.only_good_mail_arrived()

    def test_endless_data(self):
        """300 MB into a 1 MB limit: nothing is kept, memory stays where it was."""
        self.start(limits={"message_bytes": 1_000_000})
        before = resident_bytes(self.postern.pid)
        piece = (b"z" * 98 + b"\r\n") * 10_000
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            for line in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>"):
                self.assertEqual(client.command(line).code, 250)
            self.assertEqual(client.command("DATA").code, 354)
            try:
                for _ in range(300):
                    client.send(piece)
                client.send(b".\r\n")
                self.assertEqual(client.reply().code, 552)
            except (ConnectionError, Disconnected):
                pass  # hanging up on such a client is as good
        self.assertLess(resident_bytes(self.postern.pid) - before, (256 if SANITIZED else 48) << 20)
        self.still_serves()

    def test_recipients(self):
        self.start(limits={"recipients": 10})
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            replies = client.pipeline([f"MAIL FROM:<{SENDER}>"] + [f"RCPT TO:<r{n}@remote.example>" for n in range(12)])
            self.assertEqual([reply.code for reply in replies], [250] * 11 + [452] * 2)
            self.assertEqual(replies[-1].enhanced, "4.5.3")
            self.assertEqual(client.data(message()).code, 250)
        self.assertEqual(len(self.sink.wait_for(1)[0].recipients), 10)

    def test_errors(self):
        self.start({"errors": 5})
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            codes = []
            try:
                for _ in range(20):
                    codes.append(client.command("WHAT").code)
            except (Disconnected, ConnectionError):
                pass
        self.assertEqual(codes[-1], 421, codes)
        self.assertLessEqual(len(codes), 6)
        self.still_serves()

    def test_connections_of_one_machine(self):
        self.start(limits={"connections_per_machine": 5})
        open_now = [RawClient(self.postern.port()) for _ in range(5)]
        with RawClient(self.postern.port()) as sixth:
            self.assertEqual(sixth.greeting.code, 421, sixth.greeting)
            self.assertTrue(sixth.closed_by_server())
        with RawClient(self.postern.port(), source="127.0.0.2") as other:
            self.assertEqual(other.greeting.code, 220)
        open_now.pop().close()

        def admitted():
            with RawClient(self.postern.port()) as client:
                return client.greeting.code == 220

        wait_until(admitted, "a place to become free", every=0.05)
        for client in open_now:
            client.close()
        wait_until(admitted, "all places to become free", every=0.05)
        self.still_serves()

    def test_connections_in_all(self):
        self.start(limits={"connections": 20, "connections_per_machine": 1000})
        open_now = [RawClient(self.postern.port(), source=f"127.0.0.{number % 9 + 1}") for number in range(40)]
        codes = [client.greeting.code for client in open_now]
        self.assertEqual(codes.count(421), 20, codes)
        self.assertEqual(set(codes), {220, 421})
        for client in open_now:
            client.close()
        wait_until(lambda: RawClient(self.postern.port()).greeting.code == 220, "a place to become free", every=0.1)
        self.still_serves()


class Slow(HostileCase):
    def goodbye(self, client, at_least, at_most):
        began = time.monotonic()
        try:
            answer = client.reply()
        except Disconnected:
            self.fail("closed without 421")
        waited = time.monotonic() - began
        self.assertEqual(answer.code, 421, answer)
        self.assertTrue(answer.enhanced.startswith("4."), answer)
        self.assertTrue(client.closed_by_server())
        self.assertGreater(waited, at_least)
        self.assertLess(waited, at_most)

    def test_idle(self):
        self.start(limits={"idle_seconds": 2})
        with RawClient(self.postern.port()) as silent:
            self.goodbye(silent, 1, 8)
        with RawClient(self.postern.port()) as half:
            half.ehlo()
            half.send(b"MAIL FROM:<a")
            self.goodbye(half, 1, 8)
        self.still_serves()

    def test_dripping(self):
        """An octet now and then does not keep a session for ever."""
        self.start(limits={"idle_seconds": 3, "session_seconds": 6})
        with RawClient(self.postern.port(), seconds=0.4) as client:
            began = time.monotonic()
            while time.monotonic() - began < 20:
                try:
                    client.send(b"N")
                    if not client.socket.recv(1000):
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            self.assertLess(time.monotonic() - began, 15)
        self.still_serves()

    def test_many_slow_writers(self):
        """More slow messages than the receive ring has buffers: others are still served at once."""
        self.start(limits={"connections_per_machine": 2000})
        slow = []
        for _ in range(400):
            client = RawClient(self.postern.port())
            client.pipeline(["EHLO slow.example", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>", "DATA"])
            client.send(b"Subject: slow\r\n\r\n" + b"a line of it\r\n" * 20 + b"and a half")
            slow.append(client)
        began = time.monotonic()
        self.still_serves()
        self.assertLess(time.monotonic() - began, PATIENCE / 2)
        for client in slow[:200]:
            client.send(b" line\r\n.\r\n")
        for client in slow[:200]:
            self.assertEqual(client.reply().code, 250)
        for client in slow[200:]:
            client.reset()
        for client in slow[:200]:
            client.close()
        self.sink.wait_until(lambda kept: len(kept) >= 201, "the slow messages")
        self.assertEqual(len(self.sink.messages), 201)

    def test_client_that_does_not_read(self):
        """Replies nobody reads are not piled up."""
        self.start({"errors": 0})
        before = resident_bytes(self.postern.pid)
        with RawClient(self.postern.port(), seconds=1) as client:
            batch = b"EHLO x.example\r\n" * 5000
            sent = 0
            try:
                while sent < 100 << 20:
                    client.send(batch)
                    sent += len(batch)
            except (TimeoutError, ConnectionError):
                pass
            self.assertLess(sent, 100 << 20, "the server went on reading")
            self.assertLess(resident_bytes(self.postern.pid) - before, (256 if SANITIZED else 32) << 20)
            self.still_serves()


class Memory(HostileCase):
    def test_idle_connections_are_small(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.start(limits={"connections_per_machine": 10000})
        count = 500 if SANITIZED else 3000

        def connect(number):
            client = RawClient(self.postern.port(), source=f"127.0.0.{number % 20 + 1}")
            client.ehlo()
            return client

        # The receive buffers are shared and come into memory once: not what a connection costs.
        warm = [connect(number) for number in range(100)]
        for client in warm:
            for _ in range(100):
                client.command("NOOP")
        before = resident_bytes(self.postern.pid)
        idle = [connect(number) for number in range(count)]
        each = (resident_bytes(self.postern.pid) - before) / count
        print(f"{count} idle connections: {each:.0f} octets of resident memory each", flush=True)
        self.assertLess(each, 65536 if SANITIZED else 2048)
        for client in warm + idle:
            client.close()
        self.still_serves()

    def test_churn_does_not_grow(self):
        """Broken-off transactions of every kind, many times over."""
        self.start({"errors": 0}, limits={"connections_per_machine": 2000})

        def churn(times):
            for number in range(times):
                client = RawClient(self.postern.port())
                client.send(f"EHLO c.example\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode())
                if number % 3:
                    client.send(b"Subject: broken off\r\n\r\n" + b"x" * (number % 7 * 20_000))
                client.reset() if number % 2 else client.close()

        def in_threads(times):
            threads = [threading.Thread(target=churn, args=(times,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.still_serves()

        in_threads(150)
        before = resident_bytes(self.postern.pid)
        in_threads(600)
        self.assertLess(resident_bytes(self.postern.pid) - before, (256 if SANITIZED else 24) << 20)
        self.only_good_mail_arrived()


if __name__ == "__main__":
    main()
