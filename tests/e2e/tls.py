"""TLS: STARTTLS without anything smuggled in, bad peers, certificates chosen, renewed and judged, tickets."""

import base64
import hashlib
import hmac
import os
import random
import re
import shutil
import socket
import ssl
import stat
import subprocess
import time

from harness import (PATIENCE, Authority, Case, Pair, Postern, RawClient, Sink, first_difference, lines_of_text, main,
                     message, openssl, program, route_to, run, strip_trace, submission_services, untrusting_context,
                     wait_until)

USER, PASSWORD = "anna@example.net", "tulip Kettle 47 harbour"
OLD = ssl.TLSVersion.TLSv1_2


def tls_1_2(context):
    context.maximum_version = OLD
    return context


def presented(port, name="localhost", context=None) -> str:
    """SHA-256 of the certificate that the server shows on a port with TLS from the first octet."""
    with RawClient(port, tls=context or untrusting_context(), server_name=name) as client:
        return hashlib.sha256(client.socket.getpeercert(binary_form=True)).hexdigest()


class TlsCase(Case):
    def setUp(self):
        self.authority = Authority(self)
        self.server = self.authority.issue("server")

    def start(self, name="postern", *, certificates=None, mechanisms=("CRAM-MD5", "PLAIN"), user=True, **settings):
        self.sink = self.track(Sink())
        whole = {"route": [route_to(self.sink.port)], "lan": ["192.0.2.0/24"], "users": {"cram_md5": True},
                 "certificate": certificates or [self.server.setting()], "service": submission_services(mechanisms)}
        postern = Postern(self, name=name, **{**whole, **settings}, start=False)
        if user:
            postern.user("add", USER, password=PASSWORD)
        postern.start()
        self.postern = postern
        return postern

    def connect(self, service="submission", **more):
        client = RawClient(self.postern.port(service), **more)
        self.addCleanup(client.close)
        return client

    def secure(self, context=None, **more):
        """Behind the handshake of the service with implicit TLS."""
        client = self.connect("submissions", tls=context or self.authority.client_context(), **more)
        client.ehlo()
        return client

    def s_client(self, *arguments, service="submissions", stdin=b"QUIT\r\n", starttls=False):
        """openssl s_client; (exit status, all it said)."""
        command = [program("openssl", "openssl"), "s_client", "-connect", f"localhost:{self.postern.port(service)}",
                   "-CAfile", self.authority.file, "-verify_return_error", "-ign_eof", *arguments]
        if starttls:
            command += ["-starttls", "smtp"]
        status, out, error = run(command, stdin=stdin, seconds=PATIENCE)
        return status, out + error

    def failed_handshake(self, reason):
        wait_until(lambda: any(reason in each["reason"] for each in self.postern.events("tls_failed")),
                   lambda: f"a failed handshake because of {reason!r}; {self.postern.events('tls_failed')}")

    def assert_serves(self):
        client = self.secure()
        self.assertEqual(client.auth_plain(USER, PASSWORD).code, 235)
        client.close()


class StartTls(TlsCase):
    def test_what_is_pipelined_behind_it_is_thrown_away(self):
        """CVE-2011-0411: commands of whoever wrote to the connection before it was protected."""
        self.start()
        cases = (b"NOOP\r\n", b"MAIL FROM:<evil@remote.example>\r\n", b"EHLO evil.example\r\nAUTH PLAIN ",
                 b"EHLO evil.example\r\nMAIL FROM:<evil@remote.example>\r\nRCPT TO:<x@example.net>\r\nDATA\r\n", b"RSE")
        for injected in cases:
            with self.subTest(injected=injected[:40]):
                client = self.connect()
                client.ehlo()
                client.send(b"STARTTLS\r\n" + injected)
                self.assertEqual(client.reply().code, 220)
                client.wrap(self.authority.client_context())
                # Nothing but the answers to what is said now, and nothing that was said before counts.
                self.assertEqual(client.command("AUTH PLAIN").code, 503)  # EHLO first
                self.assertEqual(client.command("DATA").code, 503)
                client.ehlo()
                self.assertEqual(client.auth_plain(USER, PASSWORD).code, 235)
                answer = client.hand_in(USER, ["bob@remote.example"], message(sender=USER))
                self.assertEqual(answer.code, 250, answer)
        kept = self.sink.wait_for(len(cases))
        self.assertEqual({each.sender for each in kept}, {USER})
        self.assertNotIn("evil.example", self.postern.log())

    def test_plain_text_instead_of_a_handshake(self):
        self.start()
        client = self.connect()
        client.ehlo()
        self.assertEqual(client.command("STARTTLS").code, 220)
        client.send(b"EHLO evil.example\r\nMAIL FROM:<evil@remote.example>\r\n")
        self.assertTrue(client.closed_by_server())
        self.assertNotRegex(client.buffer, rb"250")
        self.failed_handshake("not TLS")
        self.assert_serves()

    def test_state_is_forgotten(self):
        self.start()
        client = self.connect()
        client.ehlo()
        self.login_by_cram(client)
        self.assertEqual(client.command(f"MAIL FROM:<{USER}>").code, 250)
        self.assertEqual(client.command("STARTTLS").code, 503)  # not within a transaction
        self.assertEqual(client.command("RSET").code, 250)
        self.assertEqual(client.starttls(self.authority.client_context()).code, 220)
        self.assertNotIn("STARTTLS", client.ehlo())
        self.assertEqual(client.command(f"MAIL FROM:<{USER}>").code, 550)  # nobody is logged in
        self.assertEqual(client.command("MAIL FROM:<x@remote.example>").code, 250)
        self.assertEqual(client.command("RCPT TO:<bob@remote.example>").code, 530)
        self.assertEqual(client.command("RSET").code, 250)
        self.assertEqual(client.command("STARTTLS").code, 503)  # a second time
        self.assertEqual(client.auth_plain(USER, PASSWORD).code, 235)

    def login_by_cram(self, client):
        """A login without TLS that shows no password."""
        challenge = base64.b64decode(client.command("AUTH CRAM-MD5").text)
        digest = hmac.digest(PASSWORD.encode(), challenge, "md5").hex()
        self.assertEqual(client.command(base64.b64encode(f"{USER} {digest}".encode())).code, 235)

    def test_out_of_place(self):
        self.start()
        client = self.connect()
        self.assertEqual(client.command("STARTTLS now").code, 501)
        self.assertEqual(client.command("NOOP").code, 250)
        plain = self.start("plain", service=[{"name": "smtp"}], user=False)
        with RawClient(plain.port()) as client:
            self.assertNotIn("STARTTLS", client.ehlo())
            self.assertEqual(client.command("STARTTLS").code, 502)
            self.assertEqual(client.command("NOOP").code, 250)

    def test_closing(self):
        """The server ends its sessions with close_notify, so that a client can tell the end from a cut."""
        self.start()
        for last, code in ((b"QUIT\r\n", b"221 "), (b"GET / HTTP/1.1\r\n", b"")):
            for context in (self.authority.client_context(), tls_1_2(self.authority.client_context())):
                plain = socket.create_connection(("127.0.0.1", self.postern.port("submissions")), PATIENCE)
                with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as client:
                    self.assertTrue(client.recv(1000).startswith(b"220 "))
                    client.sendall(last)
                    said = b""
                    try:
                        while more := client.recv(1000):  # b"" is close_notify here; a bare end raises
                            said += more
                    except ssl.SSLEOFError:
                        self.assertEqual(code, b"", "no close_notify behind 221")
                    self.assertTrue(said.startswith(code), said)

    def test_content(self):
        """Large messages in both versions, octet for octet, also in records and segments of odd sizes."""
        self.start(limits={"message_bytes": 20_000_000})
        for context in (self.authority.client_context(), tls_1_2(self.authority.client_context())):
            for piece in (1 << 20, 1009):
                content = message(sender=USER, body=lines_of_text(3_000_000 if piece > 2000 else 300_000, 5))
                client = self.secure(context)
                self.assertEqual(client.auth_plain(USER, PASSWORD).code, 235)
                for line in (f"MAIL FROM:<{USER}>", "RCPT TO:<bob@remote.example>"):
                    self.assertEqual(client.command(line).code, 250)
                whole = f"BDAT {len(content)} LAST\r\n".encode() + content
                for start in range(0, len(whole), piece):
                    client.send(whole[start:start + piece])
                self.assertEqual(client.reply().code, 250)
                kept = self.sink.wait_for(1)[0]
                self.sink.clear()
                trace, rest = strip_trace(kept.content)
                self.assertEqual(first_difference(content, rest), "")
                self.assertIn(f"version={client.socket.version()} ".encode(), trace)

    def test_shutdown(self):
        self.start()
        clients = [self.secure() for _ in range(3)]
        self.assertEqual(self.postern.program.alive(), True)
        waiting = self.connect()  # in the midst of STARTTLS
        waiting.ehlo()
        self.assertEqual(waiting.command("STARTTLS").code, 220)
        self.assertEqual(self.postern.stop(), 0)
        for client in clients:
            self.assertEqual(client.reply().code, 421)


class Peers(TlsCase):
    def test_stopped_in_mid_handshake(self):
        """They keep nobody from being served, and are dropped after half a minute, said a word now and then or not."""
        self.start()
        hello = self.client_hello()
        stopped, began = [], time.monotonic()
        for service, count in (("submissions", 60), ("submission", 60)):
            for number in range(count):
                client = self.connect(service, greet=service == "submission")
                if service == "submission":
                    client.ehlo()
                    self.assertEqual(client.command("STARTTLS").code, 220)
                client.send(hello[:number * len(hello) // count])  # the first ones say nothing at all
                stopped.append(client)
        for _ in range(5):
            self.assert_serves()
        # Answered, and then nothing comes any more.
        for _ in range(20):
            client = self.connect("submissions", greet=False)
            client.send(hello)
            self.assertTrue(client.socket.recv(5))
            stopped.append(client)
        self.assert_serves()
        for client in stopped[::10]:
            client.close()
        for client in stopped[1::10]:
            client.reset()
        dripping = [client for number, client in enumerate(stopped) if number % 10 > 1 and number < 60]
        wait_until(lambda: self.open_now() == 140 - 28, "the closed ones to be gone")
        for step in range(3):
            time.sleep(6)
            for client in dripping:
                client.send(hello[step:step + 1])
        wait_until(lambda: self.open_now() == 0, "the connections to be gone", 30)
        self.assertGreater(time.monotonic() - began, 29)

    def open_now(self):
        status, out, error = self.postern.run("status", "--socket", self.postern.control)
        self.assertEqual(status, 0, error)
        return int(re.search(r"connections_open\D+(\d+)", out).group(1))

    def client_hello(self) -> bytes:
        """What a client says first."""
        out = ssl.MemoryBIO()
        handshake = untrusting_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            handshake.do_handshake()
        return out.read()

    def test_hello_in_pieces(self):
        self.start()
        hello = self.client_hello()
        client = self.connect("submissions", greet=False)
        for octet in hello:
            client.send(bytes([octet]))
        self.assertEqual(client.socket.recv(1), b"\x16")  # a handshake record comes back

    def test_old_versions(self):
        self.start()
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            for service in ("submission", "submissions"):
                context = untrusting_context(minimum_version=version, maximum_version=version)
                context.set_ciphers("ALL:@SECLEVEL=0")
                with (self.subTest(version=version, service=service),
                      self.assertRaisesRegex(ssl.SSLError, "(?i)protocol")):
                    client = self.connect(service, tls=context if service == "submissions" else None)
                    client.ehlo()
                    client.starttls(context)
        self.failed_handshake("unsupported protocol")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.authority.client_context(minimum_version=version, maximum_version=version)
            self.assertEqual(self.secure(context).command("NOOP").code, 250)

    def test_weak_ciphers(self):
        """TLS 1.2 without forward secrecy, or without AEAD."""
        self.start(certificates=[self.authority.issue("rsa", kind="rsa").setting()])
        for cipher in ("AES128-GCM-SHA256", "AES256-SHA", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256",
                       "ECDHE-RSA-AES128-SHA256"):
            context = tls_1_2(untrusting_context())
            context.set_ciphers(cipher + ":@SECLEVEL=0")
            with self.subTest(cipher=cipher), self.assertRaises(ssl.SSLError):
                self.connect("submissions", tls=context)
        context = tls_1_2(untrusting_context())
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        self.assertEqual(self.secure(context).command("NOOP").code, 250)

    def test_renegotiation(self):
        self.start()
        for starttls in (False, True):
            service = "submission" if starttls else "submissions"
            before = len(self.postern.events("tls_failed"))
            with subprocess.Popen(
                    [program("openssl", "openssl"), "s_client", "-connect",
                     f"localhost:{self.postern.port(service)}", "-CAfile", self.authority.file, "-tls1_2",
                     *(["-starttls", "smtp"] if starttls else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT) as client:
                self.addCleanup(client.kill)
                client.stdin.write(b"R\n")  # its own command: renegotiate
                client.stdin.flush()
                said = client.stdout.read().decode()  # ends when the server has closed
                client.stdin.close()
            self.assertIn("RENEGOTIATING", said)
            self.assertRegex(said, "(?i)no.renegotiation|alert")
            wait_until(lambda: len(self.postern.events("tls_failed")) > before, "the end to be logged")
        self.failed_handshake("renegotiation attempted")
        self.assert_serves()

    def test_other_protocols(self):
        """On 465: a reason in the log, no reply in plain words, and others are served."""
        self.start()
        source = random.Random(11)
        cases = [(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "plaintext HTTP request"),
                 (b"CONNECT x:443 HTTP/1.1\r\n\r\n", "plaintext HTTP CONNECT"),
                 (b"EHLO client.example\r\n", "not TLS"), (b"\x16\x03\x01\x00", None), (b"\x80\x2e\x01\x00\x02", None),
                 (b"\x16\x03\x01\xff\xff" + b"\0" * 70_000, None), (b"\x15\x03\x03\x00\x02\x02\x28", None),
                 (b"\x17\x03\x03\x00\x05hello", None), (b"\0" * 1000, None)]
        cases += [(source.randbytes(source.randrange(1, 3000)), None) for _ in range(40)]
        for octets, reason in cases:
            with self.subTest(octets=octets[:30]):
                client = self.connect("submissions", greet=False)
                try:
                    client.send(octets)
                    client.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # closed already
                self.assertTrue(client.closed_by_server())
                # At most an alert.
                self.assertRegex(client.buffer, rb"(?s)\A(\x15\x03[\x01-\x03]\x00\x02..)?\Z")
            if reason:
                self.failed_handshake(reason)
        self.assert_serves()

    def test_tls_to_587_without_starttls(self):
        self.start()
        for _ in range(5):
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                self.connect("submission", tls=untrusting_context())
        self.assertEqual(self.connect().command("NOOP").code, 250)

    def test_protocol_negotiation(self):
        """A browser that was led here is turned away (ALPACA)."""
        self.start()
        browser = untrusting_context()
        browser.set_alpn_protocols(["h2", "http/1.1"])
        with self.assertRaisesRegex(ssl.SSLError, "(?i)application.protocol"):
            self.connect("submissions", tls=browser)
        self.failed_handshake("no application protocol")
        mail = self.authority.client_context()
        mail.set_alpn_protocols(["http/1.1", "smtp"])
        self.assertEqual(self.secure(mail).socket.selected_alpn_protocol(), "smtp")

    def test_client_that_does_not_trust(self):
        """The operator gets to know why."""
        self.start()
        stranger = Authority(self, "stranger").client_context()
        for number, context in enumerate((stranger, tls_1_2(stranger)), 1):
            with self.assertRaises(ssl.SSLCertVerificationError):
                self.connect("submissions", tls=context)
            failed = wait_until(lambda: len(self.postern.events("tls_failed")) == number and
                                self.postern.events("tls_failed"), "the failure to be logged")[-1]
            self.assertEqual(failed["reason"], "alert from the client: unknown CA")


class Choice(TlsCase):
    def test_server_names(self):
        issue = self.authority.issue
        first, other, wild = (issue("first", ["mail.example.net", "smtp.example.net"]),
                              issue("other", ["mail.example.org"]), issue("wild", ["*.example.org"]))
        self.start(certificates=[first.setting(), other.setting(), wild.setting(names=["*.example.org"])])
        cases = {"mail.example.net": first, "smtp.example.net": first, "mail.example.org": other,
                 "imap.example.org": wild, "MAIL.Example.ORG": other, "a.b.example.org": first,
                 "example.org": first, "unknown.example": first, "localhost": first}
        for name, pair in cases.items():
            for context in (untrusting_context(), tls_1_2(untrusting_context())):
                with self.subTest(name=name):
                    self.assertEqual(presented(self.postern.port("submissions"), name, context), pair.fingerprint())
            client = self.connect()
            client.ehlo()
            client.starttls(untrusting_context(), server_name=name)
            digest = hashlib.sha256(client.socket.getpeercert(binary_form=True)).hexdigest()
            self.assertEqual(digest, pair.fingerprint())
        self.assertEqual(presented(self.postern.port("submissions"), None), first.fingerprint())

    def test_ecdsa_and_rsa_side_by_side(self):
        rsa, ecdsa = self.authority.issue("rsa", kind="rsa"), self.authority.issue("ecdsa", kind="p256")
        for order in ([rsa, ecdsa], [ecdsa, rsa]):
            self.start(f"postern{len(order[0].chain)}", certificates=[each.setting() for each in order])
            cases = [
                (["-tls1_3"], "ECDSA"), (["-tls1_2"], "ECDSA"),
                (["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"], "RSA-PSS"),
                (["-tls1_2", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"], "RSA-PSS"),
                (["-tls1_2", "-sigalgs", "RSA+SHA256"], "RSA"),
                (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "RSA-PSS"),
                (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ECDSA"),
                (["-tls1_2", "-curves", "X25519"], "RSA-PSS"),  # cannot verify on P-256
            ]
            for arguments, signature in cases:
                with self.subTest(arguments=arguments):
                    status, said = self.s_client(*arguments)
                    self.assertEqual(status, 0, said)
                    self.assertIn(f"Peer signature type: {signature}\n", said)
                    self.assertIn("Verification: OK", said)
            self.postern.stop()

    def test_p384(self):
        self.start(certificates=[self.authority.issue("p384", kind="p384").setting()])
        status, said = self.s_client(starttls=True, service="submission")
        self.assertEqual(status, 0, said)
        self.assertIn("Server public key is 384 bit", said)


class Tickets(TlsCase):
    def test_resumption(self):
        """Tickets are good at all workers, and for the service that gave them only."""
        self.start(workers=2)
        for context in (self.authority.client_context(), tls_1_2(self.authority.client_context())):
            first = self.secure(context)
            self.assertFalse(first.socket.session_reused)
            session = first.socket.session
            # The kernel spreads connections over the workers by their ports: 20 on one of two would be odd.
            workers = set()
            for _ in range(20):
                client = self.connect("submissions", greet=False)
                client.wrap(context, session=session)
                self.assertEqual(client.reply().code, 220)
                self.assertTrue(client.socket.session_reused)
                client.ehlo()
                self.assertEqual(client.command(f"MAIL FROM:<{USER}>").code, 550)  # nobody is logged in by a ticket
                self.assertEqual(client.auth_plain(USER, PASSWORD).code, 235)
                answer = client.hand_in(USER, ["bob@remote.example"], message(sender=USER))
                workers.add(re.search(r"queued as (\w{4})", answer.text).group(1))  # each worker's ids are its own
                client.close()
            self.assertEqual(len(workers), 2, workers)
            elsewhere = self.connect("submission")
            elsewhere.ehlo()
            elsewhere.starttls(context, session=session)
            self.assertFalse(elsewhere.socket.session_reused)
            elsewhere.ehlo()
            again = self.connect("submission")
            again.ehlo()
            again.starttls(context, session=elsewhere.socket.session)
            self.assertTrue(again.socket.session_reused)

    def test_openssl_resumes(self):
        self.start()
        for version in ("-tls1_2", "-tls1_3"):
            saved = self.path("session" + version)
            status, said = self.s_client(version, "-sess_out", saved)
            self.assertEqual(status, 0, said)
            self.assertRegex(said, r"(?m)^New, TLSv1\.")
            for _ in range(4):
                status, said = self.s_client(version, "-sess_in", saved)
                self.assertEqual(status, 0, said)
                self.assertRegex(said, r"(?m)^Reused, TLSv1\.")
        status, said = self.s_client("-tls1_2", "-reconnect")
        self.assertEqual(len(re.findall(r"(?m)^Reused, TLSv1\.2", said)), 5, said)

    def test_tampered_ticket(self):
        """A ticket that is none of ours is ignored: a whole handshake follows."""
        self.start()
        other = Postern(self, name="other", certificate=[self.server.setting()],
                        service=submission_services(("PLAIN",)))
        context = self.authority.client_context()
        with RawClient(other.port("submissions"), tls=context) as client:
            client.ehlo()
            session = client.socket.session
        client = self.connect("submissions", greet=False)
        client.wrap(context, session=session)
        self.assertEqual(client.reply().code, 220)
        self.assertFalse(client.socket.session_reused)


class Renewal(TlsCase):
    def replace(self, new: Pair, *, key=True, chain=True):
        """As certbot does: each file renamed into place."""
        for wanted, old, fresh in ((key, self.server.key, new.key), (chain, self.server.chain, new.chain)):
            if wanted:
                shutil.copy(fresh, old + ".new")
                os.rename(old + ".new", old)

    def wait_for(self, event, count=1):
        return wait_until(lambda: len(self.postern.events(event)) >= count and self.postern.events(event), event)[-1]

    def test_changed_files_are_taken_in(self):
        self.start()
        port = self.postern.port("submissions")
        old = presented(port)
        alive, half = self.secure(), self.connect()
        half.ehlo()
        self.assertEqual(half.command("STARTTLS").code, 220)
        self.replace(self.authority.issue("renewed"))
        self.wait_for("certificates_renewed")
        self.assertNotEqual(presented(port), old)
        self.assertEqual(presented(port), self.server.fingerprint())
        # Sessions that were there before go on, and so does a handshake that had been promised.
        self.assertEqual(alive.auth_plain(USER, PASSWORD).code, 235)
        answer = alive.hand_in(USER, ["bob@remote.example"], message(sender=USER))
        self.assertEqual(answer.code, 250, answer)
        half.wrap(self.authority.client_context())
        half.ehlo()

    def test_half_a_pair(self):
        """A new chain without its key, for a while: the old ones serve, it is said once, and then all is well."""
        self.start()
        port = self.postern.port("submissions")
        old = presented(port)
        renewed = self.authority.issue("renewed")
        self.replace(renewed, key=False)
        said = self.wait_for("certificates_not_renewed")
        self.assertEqual(said["level"], "error")
        self.assertIn(self.server.key, said["note"])
        self.assertIn(self.server.chain, said["note"])
        self.assertEqual(presented(port), old)
        self.replace(renewed, chain=False)
        self.wait_for("certificates_renewed")
        self.assertEqual(presented(port), renewed.fingerprint())
        self.assertEqual(len(self.postern.events("certificates_not_renewed")), 1)

    def test_files_that_vanish(self):
        self.start()
        port = self.postern.port("submissions")
        old = presented(port)
        os.rename(self.server.chain, self.server.chain + ".away")
        self.assertIn(self.server.chain, self.wait_for("certificates_not_renewed")["note"])
        self.assertEqual(presented(port), old)
        os.rename(self.server.chain + ".away", self.server.chain)
        self.wait_for("certificates_renewed")
        self.assertEqual(presented(port), old)

    def test_reload_with_a_broken_certificate(self):
        self.start()
        port = self.postern.port("submissions")
        old = presented(port)
        alive = self.secure()
        broken = self.path("broken.pem")
        with open(broken, "w", encoding="ascii") as file:
            file.write("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        cases = [({"chain": broken, "key": self.server.key}, broken),
                 ({"chain": self.path("missing.pem"), "key": self.server.key}, "missing.pem"),
                 ({"chain": self.server.chain, "key": self.authority.issue("another").key}, "another.key")]
        for setting, word in cases:
            self.postern.change(certificate=[setting])
            answer = self.postern.reload()
            self.assertEqual(answer["event"], "reload_failed", answer)
            self.assertIn(word, answer["note"] + self.postern.log())
            self.assertEqual(presented(port), old)
        self.assertEqual(alive.command("NOOP").code, 250)
        renewed = self.authority.issue("renewed")
        self.postern.change(certificate=[renewed.setting()])
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        self.assertEqual(presented(port), renewed.fingerprint())
        self.assertEqual(alive.command("NOOP").code, 250)


class Check(TlsCase):
    """`postern check`, and `serve` with the same files."""

    def check(self, pair, **more):
        postern = Postern(self, name="checked", start=False, certificate=[pair.setting(**more)],
                          service=submission_services(("PLAIN",)))
        status, out, error = postern.run("check", postern.config)
        return status, out + error

    def warned(self, words, pair, **more):
        """A certificate that some client refuses is no reason to refuse to start."""
        status, said = self.check(pair, **more)
        self.assertEqual(status, 0, said)
        self.assertRegex(said, rf"postern\.toml:\d+:1: warning: \[\[certificate\]\]: .*{words}")

    def refused(self, words, pair, **more):
        """... but one that cannot be used is, for both."""
        status, said = self.check(pair, **more)
        self.assertNotEqual(status, 0, said)
        self.assertRegex(said, rf"postern\.toml:\d+:1: error: \[\[certificate\]\]: .*{words}")
        failing = Postern(self, name="failing", start=False, certificate=[pair.setting(**more)],
                          service=submission_services(("PLAIN",)))
        failing.start(ready=False)
        self.assertNotEqual(failing.program.wait(), 0)
        self.assertRegex(failing.log(), words)

    def test_good(self):
        status, said = self.check(self.server)
        self.assertEqual(status, 0, said)
        self.assertNotIn("certificate]]", said)

    def test_findings(self):
        issue = self.authority.issue
        self.warned("expired on 20", issue("expired", days=(-30, -1)))
        self.warned("within 14 days", issue("soon", days=(-30, 5)))
        self.warned("not valid before 20", issue("future", days=(1, 30)))
        self.warned("is not for mail.example.org", issue("named", ["mail.example.net"]), names=["mail.example.org"])
        self.warned("RSA key of 1024 bits", issue("weak", kind="rsa1024"))
        self.warned("SHA-1", issue("sha1", kind="rsa", digest="sha1"))
        self.warned("self-signed", issue("self", self_signed=True))
        self.warned("serverAuth", issue("client", usage="clientAuth"))
        alone = issue("alone")
        with open(alone.chain, encoding="ascii") as file:
            text = file.read()
        end = "-----END CERTIFICATE-----\n"
        with open(alone.chain, "w", encoding="ascii") as file:
            file.write(text.split(end)[0] + end)
        self.warned("no certificate of an authority follows", alone)
        exposed = issue("exposed")
        os.chmod(exposed.key, 0o644)
        self.warned("every user of this machine", exposed)

    def test_unusable(self):
        issue = self.authority.issue
        good = issue("good")
        self.refused("missing.pem", Pair(self.path("missing.pem"), good.key))
        self.refused("missing.key", Pair(good.chain, self.path("missing.key")))
        self.refused("is not a file", Pair(self.folder, good.key))
        self.refused("is not the key of", Pair(good.chain, issue("other").key))
        self.refused("no certificate in PEM form", Pair(good.key, good.key))
        self.refused("no private key in PEM form", Pair(good.chain, good.chain))
        self.refused("kind of key", issue("ed25519", kind="ed25519"))
        encrypted = self.path("encrypted.key")
        openssl("pkcs8", "-topk8", "-in", good.key, "-out", encrypted, "-passout", "pass:secret")
        self.refused("encrypted", Pair(good.chain, encrypted))
        for name, text in (("empty.pem", b""), ("noise.pem", random.Random(3).randbytes(5000)),
                           ("cut.pem", open(good.chain, "rb").read()[:200])):
            path = self.path(name)
            with open(path, "wb") as file:
                file.write(text)
            self.refused(name, Pair(path, good.key))

    def test_client_ca(self):
        for content, certificates in ((None, [self.server.setting()]), ("nonsense", [self.server.setting()]), ("nonsense", [])):
            path = self.path("ca.pem")
            if content:
                with open(path, "w", encoding="ascii") as file:
                    file.write(content)
            postern = Postern(self, name="external", start=False, certificate=certificates,
                              service=submission_services(("EXTERNAL",), auth={"client_ca": path}))
            status, out, error = postern.run("check", postern.config)
            self.assertNotEqual(status, 0, out + error)
            self.assertIn(path, out + error)
            postern.start(ready=False)
            self.assertNotEqual(postern.program.wait(), 0)
            self.assertIn(path, postern.log())


class FirstStart(TlsCase):
    def test_self_signed(self):
        postern = self.start(certificates=[])
        certificate = os.path.join(postern.settings["state"], "tls", "self-signed.pem")
        key = os.path.join(postern.settings["state"], "tls", "self-signed.key")
        said = [each for each in postern.events("certificate") if "self-signed" in each["note"]]
        self.assertEqual([each["level"] for each in said], ["warning"])
        self.assertIn(certificate, said[0]["note"])
        self.assertIn("mail.example.net", said[0]["note"])
        self.assertEqual(stat.S_IMODE(os.stat(key).st_mode), 0o600)
        digest = presented(postern.port("submissions"))
        self.assertEqual(digest, Pair(certificate, key).fingerprint())
        trusting = ssl.create_default_context(cafile=certificate)
        with RawClient(postern.port("submissions"), tls=trusting, server_name="mail.example.net") as client:
            client.ehlo()
        # The same one in the next run, and nothing is made again.
        self.assertEqual(postern.stop(), 0)
        postern.start()
        self.assertEqual(presented(postern.port("submissions")), digest)
        self.assertEqual(postern.events("certificate"), [])
        status, out, error = postern.run("check", postern.config)
        self.assertEqual(status, 0, error)
        self.assertIn("self-signed", out + error)

    def start(self, *arguments, certificates=None, **more):
        if certificates == []:
            return super().start(*arguments, certificate=[], **more)
        return super().start(*arguments, certificates=certificates, **more)

    def test_state_folder_cannot_be_made(self):
        blocked = self.path("blocked")
        with open(blocked, "w", encoding="ascii"):
            pass
        postern = Postern(self, name="failing", start=False, state=blocked + "/state",
                          service=submission_services(("PLAIN",)))
        postern.start(ready=False)
        self.assertNotEqual(postern.program.wait(), 0)
        self.assertIn(blocked, postern.log())


if __name__ == "__main__":
    main()
