"""TLS towards next hops: each mode of a route against hops of every kind, real and programmed."""

import os
import ssl
import threading

from harness import (DROP, Authority, Case, Postern, RawClient, Script, Sink, main, message, strip_trace, wait_until)
from harness.peers import Postfix, wait_relayed

SENDER, RECIPIENT = "alice@example.net", "bob@remote.example"


class Refusing(Script):
    def __init__(self, answer):
        self.answer = answer

    def starttls(self, session):
        return self.answer


class Breaking(Script):
    """Ends the connection in the middle of the handshake."""

    def handshake(self, session):
        return DROP


class TlsCase(Case):
    def setUp(self):
        self.authority = Authority(self)
        self.good = self.authority.issue("good", ("localhost",))

    @staticmethod
    def context(pair, **attributes):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.chain, pair.key)

        def note_name(connection, name, _):
            connection.sink_session.server_name = name

        context.sni_callback = note_name
        for name, value in attributes.items():
            setattr(context, name, value)
        return context

    def hop(self, pair=None, script=None, **attributes):
        return self.track(Sink(script, tls=self.context(pair or self.good, **attributes)))

    def start(self, sink, mode, host="localhost", **more):
        """Postern with a route to the hop, and one message in it."""
        route = {"domain": "*", "to": [f"smtp:{host}:{sink.port}"], **more}
        if mode:
            route["tls"] = mode
        if mode == "verify":
            route.setdefault("tls_ca", self.authority.file)
        self.number = getattr(self, "number", 0) + 1
        self.postern = Postern(self, name=f"postern{self.number}", route=[route], queue={"retry_seconds": [3600]})
        self.hand_in()
        return self.postern

    def hand_in(self, content=None, count=1):
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            for _ in range(count):
                answer = client.hand_in(SENDER, [RECIPIENT], content or message())
                self.assertEqual(answer.code, 250, answer)

    def event(self, name):
        found = []

        def there():
            found[:] = self.postern.events(name)
            return bool(found)

        wait_until(there, f"the event {name}")
        return found[0]

    def delivers(self, sink, mode, *, tls, proof, host="localhost", **more):
        sink.clear()
        sessions = len(sink.sessions)
        self.start(sink, mode, host, **more)
        kept = sink.wait_for(1)[0]
        event = self.event("delivered")
        self.assertEqual((event["tls"], event["proof"]), (tls, proof), event)
        session = sink.sessions[kept.connection]
        self.assertEqual(session.tls, "" if tls == "none" else tls)
        self.postern.stop()
        return sink.sessions[sessions:]

    def defers(self, sink, mode, status, *words, host="localhost", **more):
        sink.clear()
        self.start(sink, mode, host, **more)
        event = self.event("deferred")
        self.assertEqual(event["code"], "451", event)
        self.assertEqual(event["status"], status, event)
        for word in words:
            self.assertIn(word, event["reply"])
        self.postern.stop()
        self.assertEqual(sink.messages, [])
        for session in sink.sessions:
            self.assertFalse([each for each in session.commands if each.startswith("MAIL")], "nothing of it was said")


class Modes(TlsCase):
    def test_a_good_certificate(self):
        sink = self.hop()
        for mode, tls, proof in ((None, "TLSv1.3", "encrypted"), ("none", "none", "none"), ("may", "TLSv1.3", "encrypted"),
                                 ("encrypt", "TLSv1.3", "encrypted"), ("verify", "TLSv1.3", "verified")):
            with self.subTest(mode=mode):
                session = self.delivers(sink, mode, tls=tls, proof=proof)[-1]
                said = [each.split()[0] for each in session.commands]
                hello = ["EHLO"] if mode == "none" else ["EHLO", "STARTTLS", "EHLO"]
                self.assertEqual(said[:len(hello) + 1], [*hello, "MAIL"])
                self.assertEqual(session.server_name, None if mode == "none" else "localhost")

    def test_tls_1_2(self):
        sink = self.hop(maximum_version=ssl.TLSVersion.TLSv1_2)
        self.delivers(sink, "verify", tls="TLSv1.2", proof="verified")

    def test_by_address(self):
        named = self.authority.issue("by-address", (), alternatives="IP:127.0.0.1")
        session = self.delivers(self.hop(named), "verify", tls="TLSv1.3", proof="verified", host="127.0.0.1")[-1]
        self.assertIsNone(session.server_name, "an address is no server name")
        self.defers(self.hop(), "verify", "4.7.5", "it is not for 127.0.0.1", host="127.0.0.1")

    def test_certificates_that_prove_nothing(self):
        stranger = Authority(self, "stranger")
        for name, pair, words in (
                ("wrong name", self.authority.issue("wrong", ("other.example",)), "it is not for localhost"),
                ("expired", self.authority.issue("expired", days=(-10, -1)), "expired"),
                ("untrusted", stranger.issue("untrusted"), "self signed certificate in certificate chain"),
                ("self-signed", self.authority.issue("selfsigned", self_signed=True), "unable to get local issuer certificate")):
            with self.subTest(name):
                sink = self.hop(pair)
                self.defers(sink, "verify", "4.7.5", "its certificate is not believed", words)
                self.delivers(sink, "encrypt", tls="TLSv1.3", proof="encrypted")
                self.delivers(sink, "may", tls="TLSv1.3", proof="encrypted")

    def test_no_starttls(self):
        sink = self.track(Sink())
        self.delivers(sink, "may", tls="none", proof="none")
        for mode in ("encrypt", "verify"):
            self.defers(self.track(Sink()), mode, "4.7.4", "TLS is required here, and the next server does not offer it")

    def test_starttls_refused(self):
        for answer in ("454 4.7.0 TLS not available", "502 5.5.1 not today"):
            with self.subTest(answer):
                sessions = self.delivers(self.hop(script=Refusing(answer)), "may", tls="none", proof="none")
                self.assertEqual(len(sessions), 1, "the same connection goes on")
                for mode in ("encrypt", "verify"):
                    self.defers(self.hop(script=Refusing(answer)), mode, "4.7.4", answer.split(" ", 2)[2])

    def test_a_handshake_that_breaks(self):
        sink = self.hop(script=Breaking())
        sessions = self.delivers(sink, "may", tls="none", proof="none")
        self.assertEqual(len(sessions), 2, "plain text, over a new connection")
        self.assertIn("STARTTLS", sessions[0].commands)
        self.assertNotIn("STARTTLS", sessions[1].commands)
        self.assertEqual(self.postern.events("tls_avoided")[0]["relay"].rpartition(":")[2], str(sink.port))
        for mode in ("encrypt", "verify"):
            self.defers(self.hop(script=Breaking()), mode, "4.7.5", "closed by the other side in the TLS handshake")

    def test_the_hop_is_avoided_for_a_while(self):
        sink = self.hop(script=Breaking())
        self.start(sink, "may")
        sink.wait_for(1)
        for count in (2, 3):
            self.hand_in()
            sink.wait_for(count)
        self.assertEqual(sum("STARTTLS" in each.commands for each in sink.sessions), 1)

    def test_a_handshake_answered_in_plain_text(self):
        sink = self.hop()
        sink.encrypt = lambda connection, session: (connection.recv(65536), connection.sendall(b"500 what?\r\n"),
                                                    connection.recv(65536), connection)[-1]
        self.defers(sink, "encrypt", "4.7.5", "TLS handshake", "not TLS")

    def test_injected_replies(self):
        for mode in ("may", "encrypt", "verify"):
            with self.subTest(mode):
                sink = self.hop(script=Refusing("220 go\r\n250-injected\r\n250 PIPELINING"))
                self.defers(sink, mode, "4.7.0", "something in plain text behind its reply to STARTTLS")


class Much(TlsCase):
    def test_a_large_message_arrives_as_it_is(self):
        body = os.urandom(3_750_000).hex().encode()  # 7.5 MB of text
        body = b"\r\n".join(body[at:at + 900] for at in range(0, len(body), 900)) + b"\r\n.dot\r\n..two\r\n.\r\n"
        sink = self.hop()
        self.start(sink, "verify")
        content = message(body=body)
        self.hand_in(content)
        kept = sink.wait_for(2)[-1]
        self.assertEqual(strip_trace(kept.content)[1], content)
        self.assertTrue(sink.sessions[kept.connection].tls)

    def test_binary_content_by_bdat(self):
        sink = self.hop()
        self.start(sink, "encrypt")
        content = message(body=os.urandom(700_000))
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            client.command(f"MAIL FROM:<{SENDER}> BODY=BINARYMIME")
            client.command(f"RCPT TO:<{RECIPIENT}>")
            self.assertEqual(client.bdat(content, 100_000).code, 250)
        kept = sink.wait_for(2)[-1]
        self.assertTrue(kept.bdat)
        self.assertEqual(strip_trace(kept.content)[1], content)

    def test_pipelining_and_one_connection_for_many(self):
        sink = self.hop()
        self.start(sink, "verify", connections=1)
        sink.wait_for(1)
        self.hand_in(count=50)
        sink.wait_for(51)
        sessions = {each.connection for each in sink.messages}
        self.assertEqual(len(sessions), 1, "one connection, one handshake")
        self.assertEqual([each.split()[0] for each in sink.sessions[0].commands].count("STARTTLS"), 1)

    def test_a_session_is_resumed(self):
        sink = self.hop()
        self.start(sink, "verify", connections=1, messages_per_connection=1)
        sink.wait_for(1)
        for count in range(2, 5):
            self.hand_in()
            sink.wait_for(count)
        self.assertEqual([each.resumed for each in sink.sessions], [False, True, True, True])

    def test_many_at_once(self):
        sink = self.hop()
        self.start(sink, "verify", connections=20)
        threads = [threading.Thread(target=self.hand_in, kwargs={"count": 20}) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sink.wait_for(201)
        self.assertTrue(all(each.tls for each in sink.sessions))


class RealServers(TlsCase):
    def test_postfix(self):
        sink = self.track(Sink())
        postfix = Postfix(self, sink.port, main={
            "smtpd_tls_security_level": "encrypt", "smtpd_tls_chain_files": f"{self.good.key}, {self.good.chain}",
            "smtpd_tls_received_header": "yes"})
        self.start(postfix, "verify")
        kept = wait_relayed(sink, 1, "a message through Postfix")[0]
        self.assertIn(b"(using TLSv1.3 with cipher", kept.content)
        event = self.event("delivered")
        self.assertEqual((event["tls"], event["proof"]), ("TLSv1.3", "verified"))


class Check(TlsCase):
    def test_settings(self):
        route = {"domain": "*", "to": ["smtp:localhost:25"]}
        for more, words in (({"tls": "dane"}, "not available in this version"),
                            ({"tls": "verify", "tls_ca": self.path("missing.pem")}, "missing.pem"),
                            ({"tls": "verify", "tls_ca": self.good.key}, "certificate"),
                            ({"tls_ca": self.authority.file}, "needs tls = \"verify\"")):
            with self.subTest(more):
                name = f"check{len(os.listdir(self.folder))}"
                postern = Postern(self, name=name, start=False, route=[{**route, **more}])
                status, out, error = postern.run("check", postern.config)
                self.assertNotEqual(status, 0)
                self.assertIn(words, out + error)


if __name__ == "__main__":
    main()
