"""Real clients hand in mail from the LAN, and it arrives at the next hop octet for octet behind one Received field."""

import re
import smtplib

from harness import (DOT_LINES, PATIENCE, Case, Postern, RawClient, Sink, first_difference, lines_of_text, main,
                     message, program, route_to, run, strip_trace, stuff)

SENDER, RECIPIENT = "alice@example.net", "bob@remote.example"
EIGHT_BIT = "Grüße aus Köln, naïve café, 中文, \u202e\r\n".encode("utf-8") + bytes(range(0xA0, 0x100)) + b"\r\n"
BODIES = {
    "short": b"Hello.\r\n",
    "dots": DOT_LINES,
    "eight bit": EIGHT_BIT,
    "empty": b"",
    "long lines": (b"x" * 998 + b"\r\n") * 40,
    "5 MB": lines_of_text(5_000_000, 11),
}


class ClientCase(Case):
    def setUp(self):
        self.sink = self.track(Sink())
        self.postern = Postern(self, route=[route_to(self.sink.port)])

    def file_of(self, content: bytes) -> str:
        path = self.path("message.eml")
        with open(path, "wb") as file:
            file.write(content)
        return path

    def arrived(self, content: bytes, recipients=(RECIPIENT,), seconds=None):
        """The one message that came, compared with what was handed in."""
        kept = self.sink.wait_for(1, seconds)[0]
        self.sink.clear()
        self.assertEqual((kept.sender, tuple(kept.recipients)), (SENDER, tuple(recipients)))
        trace, rest = strip_trace(kept.content)
        self.assertEqual(first_difference(content, rest), "")
        return kept, trace

    def each_body(self, hand_in, without=()):
        for name, body in BODIES.items():
            if name in without:
                continue
            with self.subTest(body=name):
                content = message(body=body)
                hand_in(content)
                self.arrived(content)


class RealClients(ClientCase):
    def check(self, command, stdin=b""):
        status, out, error = run(command, stdin=stdin, seconds=PATIENCE * 3)
        self.assertEqual(status, 0, out[-2000:] + error[-2000:])
        return out

    def test_swaks(self):
        swaks = program("swaks", "swaks")

        def hand_in(content):
            # It puts a line end of its own behind what it is given (and one more where there is no body).
            self.check([swaks, "--server", f"127.0.0.1:{self.postern.port()}", "--from", SENDER, "--to", RECIPIENT,
                        "--suppress-data", "--data", "@" + self.file_of(content[:-2])])

        self.each_body(hand_in, without=("empty",))

    def test_curl(self):
        curl = program("curl", "curl")

        def hand_in(content):
            self.check([curl, "--silent", "--show-error", f"smtp://127.0.0.1:{self.postern.port()}/client.example",
                        "--mail-from", SENDER, "--mail-rcpt", RECIPIENT, "--upload-file", self.file_of(content)])

        self.each_body(hand_in)

    def test_msmtp(self):
        msmtp = program("msmtp", "msmtp")

        def hand_in(content):
            # Like any sendmail, it is given lines that end in LF and sends CRLF.
            self.check([msmtp, "--file=/dev/null", "--host=127.0.0.1", f"--port={self.postern.port()}", "--auth=off",
                        "--tls=off", f"--from={SENDER}", "--", RECIPIENT], stdin=content.replace(b"\r\n", b"\n"))

        self.each_body(hand_in)

    def test_smtplib(self):
        def hand_in(content):
            with smtplib.SMTP("127.0.0.1", self.postern.port(), timeout=PATIENCE) as client:
                self.assertEqual(client.sendmail(SENDER, [RECIPIENT], content, mail_options=["BODY=8BITMIME"]), {})

        self.each_body(hand_in)

    def test_smtplib_many_over_one_connection(self):
        recipients = [f"r{number}@remote.example" for number in range(40)]
        with smtplib.SMTP("127.0.0.1", self.postern.port(), timeout=PATIENCE) as client:
            for number in range(50):
                refused = client.sendmail(SENDER, recipients, message(subject=f"many {number}"))
                self.assertEqual(refused, {})
        reached = {}

        def all_there(messages):
            reached.clear()
            for each in messages:
                reached.setdefault(each.header("Subject"), []).extend(each.recipients)
            return len(reached) == 50 and all(len(to) == 40 for to in reached.values())

        self.sink.wait_until(all_there, "50 messages for 40 recipients each")
        for to in reached.values():
            self.assertEqual(sorted(to), sorted(recipients))

    def smtp_source(self, sessions, messages, *more):
        source = program("smtp-source", "postfix")
        self.check([source, "-s", str(sessions), "-m", str(messages), "-f", SENDER, "-t", RECIPIENT, "-l", "2000",
                    "-M", "client.example", *more, f"inet:127.0.0.1:{self.postern.port()}"])
        kept = self.sink.wait_for(messages)
        self.assertEqual(len(kept), messages)
        bodies = set()
        for each in kept:
            _, rest = strip_trace(each.content)
            bodies.add(rest.split(b"\r\n\r\n", 1)[1])
        # All alike: numbered lines of X.
        self.assertEqual(len(bodies), 1)
        self.assertRegex(bodies.pop(), rb"\A(\d*X+\r\n){20,}\Z")
        self.assertEqual(len({each.header("Message-Id") for each in kept}), messages)

    def test_smtp_source_one_message_per_connection(self):
        self.smtp_source(40, 800)

    def test_smtp_source_many_messages_per_connection(self):
        self.smtp_source(40, 2000, "-d")


class Wire(ClientCase):
    def test_chunks(self):
        """BDAT in pieces of odd sizes, one of them over the size that the spool keeps inline."""
        for size, chunk in ((5000, 7), (5000, 4999), (5000, 5000), (700_000, 65_537), (2_000_000, 2_100_000)):
            with self.subTest(size=size, chunk=chunk), RawClient(self.postern.port()) as client:
                self.assertIn("CHUNKING", client.ehlo())
                content = message(body=DOT_LINES + lines_of_text(size, 3) + EIGHT_BIT)
                for line in (f"MAIL FROM:<{SENDER}> BODY=8BITMIME", f"RCPT TO:<{RECIPIENT}>"):
                    self.assertEqual(client.command(line).code, 250)
                self.assertEqual(client.bdat(content, chunk).code, 250)
                kept, _ = self.arrived(content)
                self.assertIn("BODY=8BITMIME", kept.sender_parameters)

    def test_binary(self):
        """BODY=BINARYMIME: any octet, and no line end at the end."""
        with RawClient(self.postern.port()) as client:
            self.assertIn("BINARYMIME", client.ehlo())
            content = message(body=bytes(range(256)) * 400 + b"\n.\n\r.\r" + b"no line end")
            for line in (f"MAIL FROM:<{SENDER}> BODY=BINARYMIME", f"RCPT TO:<{RECIPIENT}>"):
                self.assertEqual(client.command(line).code, 250)
            self.assertEqual(client.bdat(content, 1000).code, 250)
            kept, _ = self.arrived(content)
        self.assertTrue(kept.bdat)
        self.assertIn("BODY=BINARYMIME", kept.sender_parameters)

    def test_internationalized(self):
        recipient = "用户@remote.example"
        content = message(subject="Grüße", body="中文\r\n".encode(), recipient=recipient)
        with RawClient(self.postern.port()) as client:
            self.assertIn("SMTPUTF8", client.ehlo())
            for line in ("MAIL FROM:<ålice@example.net> SMTPUTF8 BODY=8BITMIME", f"RCPT TO:<{recipient}>"):
                self.assertEqual(client.command(line).code, 250)
            self.assertEqual(client.data(content).code, 250)
        kept = self.sink.wait_for(1)[0]
        self.assertEqual((kept.sender, kept.recipients), ("ålice@example.net", [recipient]))
        self.assertIn("SMTPUTF8", kept.sender_parameters)
        trace, rest = strip_trace(kept.content)
        self.assertEqual(first_difference(content, rest), "")
        self.assertIn(b"UTF8SMTP", trace)

    def test_one_octet_at_a_time(self):
        content = message(body=DOT_LINES)
        conversation = (f"EHLO slow.example\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n").encode()
        with RawClient(self.postern.port()) as client:
            for octet in conversation:
                client.send(bytes([octet]))
            self.assertEqual([client.reply().code for _ in range(4)], [250, 250, 250, 354])
            for octet in stuff(content) + b".\r\nQUIT\r\n":
                client.send(bytes([octet]))
            self.assertEqual([client.reply().code for _ in range(2)], [250, 221])
        self.arrived(content)

    def test_everything_in_one_write(self):
        """PIPELINING at its most: whole transactions in a single write, refused recipients among them."""
        contents = [message(subject=f"p{number}", body=DOT_LINES) for number in range(30)]
        batch, wanted = b"EHLO batch.example\r\n", [250]
        for content in contents:
            commands = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nRCPT TO:<a!b@example.net>\r\nDATA\r\n"
            batch += commands.encode() + stuff(content) + b".\r\n"
            wanted += [250, 250, 550, 354, 250]
        batch += b"QUIT\r\n"
        # More refusals than a stock service stands on one connection.
        patient = Postern(self, name="patient", service=[{"name": "smtp", "errors": 0}],
                          route=[route_to(self.sink.port)])
        with RawClient(patient.port()) as client:
            client.send(batch)
            self.assertEqual([client.reply().code for _ in wanted] + [client.reply().code], wanted + [221])
        kept = {each.header("Subject"): strip_trace(each.content)[1] for each in self.sink.wait_for(30)}
        for number, content in enumerate(contents):
            self.assertEqual(first_difference(content, kept[f"p{number}"]), "")

    def test_trace(self):
        """The Received field (RFC 5321 section 4.4); `for` only where it betrays nobody."""
        for recipients in ([RECIPIENT], [RECIPIENT, "carol@remote.example"]):
            with self.subTest(recipients=len(recipients)), RawClient(self.postern.port()) as client:
                client.ehlo("trace.example")
                content = message()
                answer = client.hand_in(SENDER, recipients, content)
                self.assertEqual(answer.code, 250, answer)
                _, trace = self.arrived(content, recipients)
                text = re.sub(r"\r\n[ \t]+", " ", trace.decode())
                self.assertRegex(text, r"^Received: from trace\.example \(.*\[127\.0\.0\.1\].*\)")
                self.assertRegex(text, r" by mail\.example\.net .*with ESMTP id \S+")
                self.assertRegex(text, r"; \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}")
                self.assertEqual(f"for <{RECIPIENT}>" in text, len(recipients) == 1)
                self.assertTrue(all(len(line) <= 998 for line in trace.split(b"\r\n")))

    def test_helo_client(self):
        content = message()
        with RawClient(self.postern.port()) as client:
            self.assertEqual(client.command("HELO old.example").code, 250)
            self.assertEqual(client.hand_in(SENDER, [RECIPIENT], content).code, 250)
        _, trace = self.arrived(content)
        self.assertRegex(trace.decode(), r"with SMTP id")


if __name__ == "__main__":
    main()
