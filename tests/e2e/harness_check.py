"""The harness against itself and against real servers without Postern: a failure here is the harness's, not ours."""

from harness import (DROP, Case, Disconnected, RawClient, Script, Sink, first_difference, lines_of_text, main, message,
                     strip_trace)
from harness.messages import DOT_LINES
from harness.peers import Exim, OpenSmtpd, Postfix, wait_relayed
from harness.postern import parse_logfmt
from harness.toml_text import write_toml


class Pieces(Case):
    def test_logfmt(self):
        line = 'time=2026-11-02T10:00:00Z level=info event=accepted from="a \\"b\\"" text="x\\ny" empty='
        fields = parse_logfmt(line)
        self.assertEqual(fields["event"], "accepted")
        self.assertEqual(fields["from"], 'a "b"')
        self.assertEqual(fields["text"], "x\ny")
        self.assertEqual(fields["empty"], "")

    def test_toml(self):
        import tomllib
        table = {"hostname": "a\"b", "lan": ["::1/128"], "log": {"to": "stderr"}, "empty": [],
                 "service": [{"name": "x", "relay": {"require_auth": True}}, {"name": "y", "relay": {"always_to": []}}]}
        self.assertEqual(tomllib.loads(write_toml(table)), table)


class SinkAndClient(Case):
    def deliver(self, sink, content, **how):
        with RawClient(sink.port) as client:
            client.ehlo()
            answer = client.hand_in("a@example.net", ["b@remote.example"], content, **how)
            self.assertEqual(answer.code, 250, answer)
            client.command("QUIT")

    def test_octets_survive(self):
        sink = self.track(Sink())
        content = message(body=DOT_LINES + lines_of_text(200000, 7) + b"caf\xc3\xa9\r\n")
        self.deliver(sink, content)
        self.assertEqual(first_difference(content, sink.wait_for(1)[0].content), "")

    def test_chunks_and_pipelining(self):
        sink = self.track(Sink())
        with RawClient(sink.port) as client:
            self.assertIn("CHUNKING", client.ehlo())
            replies = client.pipeline(["MAIL FROM:<a@b> BODY=BINARYMIME", "RCPT TO:<c@d>", "RCPT TO:<e@f>"])
            self.assertEqual([reply.code for reply in replies], [250] * 3)
            self.assertEqual(client.bdat(b"x\ny\0" * 1000, 700).code, 250)
        kept = sink.wait_for(1)[0]
        self.assertTrue(kept.bdat)
        self.assertEqual(kept.content, b"x\ny\0" * 1000)
        self.assertEqual((kept.sender_parameters, kept.recipients), ("BODY=BINARYMIME", ["c@d", "e@f"]))

    def test_programmed_replies(self):
        class Refusing(Script):
            tries = 0

            def rcpt(self, session, address, parameters):
                return "550 5.1.1 nobody" if address.startswith("no") else None

            def message(self, session, kept):
                self.tries += 1
                return "451 4.3.0 later" if self.tries == 1 else DROP if self.tries == 2 else None

        sink = self.track(Sink(Refusing()))
        with RawClient(sink.port) as client:
            client.ehlo()
            self.assertEqual(client.hand_in("a@b", ["no@d"], b"x\r\n").code, 550)
            self.assertEqual(client.command("RSET").code, 250)
            self.assertEqual(client.hand_in("a@b", ["c@d"], b"x\r\n").code, 451)
            with self.assertRaises(Disconnected):
                client.hand_in("a@b", ["c@d"], b"x\r\n")
        self.deliver(sink, b"x\r\n")
        self.assertEqual(len(sink.wait_for(1)), 1)

    def test_lmtp_answers_for_each(self):
        class Half(Script):
            def message(self, session, kept):
                return ["250 2.0.0 ok", "552 5.2.2 full"]

        sink = self.track(Sink(Half(), lmtp=True))
        with RawClient(sink.port) as client:
            self.assertEqual(client.command("LHLO x").code, 250)
            self.assertEqual(client.hand_in("a@b", ["c@d", "e@f"], b"x\r\n").code, 250)
            self.assertEqual(client.reply().enhanced, "5.2.2")
        self.assertEqual(sink.wait_for(1)[0].recipients, ["c@d"])


class RealServers(Case):
    def relay_through(self, peer_type):
        sink = self.track(Sink())
        peer = peer_type(self, sink.port)
        content = message(body=b"through a real server\r\n.dot\r\n")
        with RawClient(peer.port) as client:
            client.ehlo()
            answer = client.hand_in("alice@example.net", ["bob@remote.example"], content)
            self.assertEqual(answer.code, 250, answer)
        kept = wait_relayed(sink, 1, f"{peer.name} to relay")[0]
        self.assertEqual((kept.sender, kept.recipients), ("alice@example.net", ["bob@remote.example"]))
        trace, rest = strip_trace(kept.content)
        self.assertIn(b"example", trace)
        self.assertIn(b"through a real server\r\n.dot\r\n", rest)

    def test_postfix(self):
        self.relay_through(Postfix)

    def test_exim(self):
        self.relay_through(Exim)

    def test_opensmtpd(self):
        self.relay_through(OpenSmtpd)


if __name__ == "__main__":
    main()
