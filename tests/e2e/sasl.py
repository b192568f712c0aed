"""Logins: GNU SASL's client for each mechanism it has, bearer tokens, and RFC 4954's replies to the letter."""

import base64
import hashlib
import hmac

from harness import (PATIENCE, Authority, Case, Postern, RawClient, Sink, main, message, program, route_to, run,
                     submission_services, untrusting_context, wait_until)
from harness.tokens import TokenIssuer

USER, PASSWORD = "anna@example.net", "tulip Kettle 47 harbour"
WRONG = "tulip Kettle 48 harbour"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-1")
TLS_1_2 = "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2"


class SaslCase(Case):
    mechanisms: tuple = ()

    def setUp(self):
        self.authority = Authority(self)
        self.sink = self.track(Sink())
        self.postern = Postern(
            self, route=[route_to(self.sink.port)], lan=["192.0.2.0/24"], guard={"failures": 0},
            certificate=[self.authority.issue("server").setting()], users={"cram_md5": True}, start=False,
            service=submission_services(self.mechanisms, auth=self.more_auth(), errors=0), **self.more_settings())
        self.postern.user("add", USER, password=PASSWORD)
        self.postern.start()

    def more_auth(self):
        return {}

    def more_settings(self):
        return {}

    def connect(self, *, tls=True, ehlo=True, source=None):
        """A client behind STARTTLS, or in front of it."""
        client = RawClient(self.postern.port("submission"), source=source)
        self.addCleanup(client.close)
        if tls:
            client.ehlo()
            self.assertEqual(client.starttls(self.authority.client_context()).code, 220)
        if ehlo:
            client.words = client.ehlo()
        return client

    def assert_logged_in(self, client):
        answer = client.hand_in(USER, ["bob@remote.example"], message(sender=USER))
        self.assertEqual(answer.code, 250, answer)

    def assert_not_logged_in(self, client):
        self.assertEqual(client.command(f"MAIL FROM:<{USER}>").code, 550)  # a local sender from outside the LAN
        self.assertEqual(client.command("MAIL FROM:<x@remote.example>").code, 250)
        self.assertEqual(client.command("RCPT TO:<bob@remote.example>").code, 530)


class GnuSasl(SaslCase):
    mechanisms = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "EXTERNAL", "CRAM-MD5",
                  "PLAIN", "LOGIN")

    def more_auth(self):
        return {"client_ca": self.authority.file}

    def gsasl(self, mechanism, password, *more):
        """(did it say that the login succeeded, all it said)"""
        command = [program("gsasl", "gsasl"), "--smtp", f"--connect=localhost:{self.postern.port('submission')}",
                   "--starttls", f"--x509-ca-file={self.authority.file}", f"--mechanism={mechanism}",
                   f"--authentication-id={USER}", f"--password={password}", *more]
        if mechanism in ("PLAIN", "EXTERNAL"):
            command.append("--authorization-id=")  # it would ask; with SCRAM an empty one is an error
        status, out, error = run(command, seconds=PATIENCE)
        self.assertIn("X.509 Verification: The certificate is trusted", error)
        done = "Client authentication finished (server trusted)" in error
        self.assertEqual(done, status == 0, out + error)
        self.assertEqual(done, "\n235 2.7.0 " in out, out + error)
        return done, out + error

    def succeeds(self, *arguments):
        done, said = self.gsasl(*arguments)
        self.assertTrue(done, said)

    def fails(self, *arguments, says):
        done, said = self.gsasl(*arguments)
        self.assertFalse(done, said)
        self.assertIn(says, said)

    def test_it_has_what_is_tested(self):
        """A gsasl that got another mechanism, or lost one, shows here."""
        _, out, _ = run([program("gsasl", "gsasl"), "--client-mechanisms"])
        self.assertLessEqual(set(self.mechanisms), set(out.split()))
        self.assertEqual(set(out.split()) - set(self.mechanisms) - {
            "ANONYMOUS", "SECURID", "NTLM", "DIGEST-MD5", "SAML20", "OPENID20", "GSSAPI", "GS2-KRB5"}, set())

    def test_passwords(self):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
            with self.subTest(mechanism=mechanism):
                self.succeeds(mechanism, PASSWORD)
                self.fails(mechanism, WRONG, says="\n535 5.7.8 ")

    def test_scram_without_channel_binding(self):
        for mechanism in SCRAM:
            with self.subTest(mechanism=mechanism):
                self.succeeds(mechanism, PASSWORD, "--no-cb")
                self.fails(mechanism, WRONG, "--no-cb", says="\n535 5.7.8 ")

    def test_scram_with_channel_binding(self):
        for mechanism in SCRAM:
            with self.subTest(mechanism=mechanism):
                self.succeeds(mechanism + "-PLUS", PASSWORD)
                self.fails(mechanism + "-PLUS", WRONG, says="\n535 5.7.8 ")
                # The client's own refusal.
                self.fails(mechanism + "-PLUS", PASSWORD, "--no-cb", says="channel binding was not provided")

    def test_scram_over_tls_1_2(self):
        """There it would bind by tls-unique, so it is offered no -PLUS."""
        for mechanism in SCRAM:
            with self.subTest(mechanism=mechanism):
                self.fails(mechanism + "-PLUS", PASSWORD, TLS_1_2, says="\n504 5.5.4 ")
                self.succeeds(mechanism, PASSWORD, TLS_1_2, "--no-cb")
                self.fails(mechanism, WRONG, TLS_1_2, "--no-cb", says="\n535 5.7.8 ")

    def test_external(self):
        def certificate(pair):
            return [f"--x509-cert-file={pair.chain}", f"--x509-key-file={pair.key}"]

        def issue(name, address, authority=self.authority, **more):
            return certificate(authority.issue(name, [], usage="clientAuth", alternatives=f"email:{address}", **more))

        self.succeeds("EXTERNAL", "", *issue("anna", USER))
        self.succeeds("EXTERNAL", "", *issue("anna12", USER), TLS_1_2)
        self.fails("EXTERNAL", "", *issue("nobody", "nobody@example.net"), says="\n535 5.7.8 ")
        stranger = issue("stranger", USER, Authority(self, "strangers"))
        expired = issue("expired", USER, days=(-3, -1))
        server = certificate(self.authority.issue("servers", [], alternatives=f"email:{USER}"))
        for each in (stranger, expired, server, []):
            self.fails("EXTERNAL", "", *each, says="\n504 5.5.4 ")  # it is not even offered
        reasons = {event["reason"] for event in self.postern.events("certificate_refused")}
        # A stranger's is not even sent: gsasl looks at the names of the authorities that the server asked for.
        self.assertEqual(reasons, {"certificate has expired", "unsupported certificate purpose"})
        # Whose certificate is not believed may still show a password.
        self.succeeds("PLAIN", PASSWORD, *stranger)


class Tokens(SaslCase):
    mechanisms = ("OAUTHBEARER", "XOAUTH2")

    def more_settings(self):
        self.issuer = TokenIssuer(self.path("tokens.key"))
        return {"tokens": self.issuer.settings(self.path("tokens.pem"))}

    def bearer(self, client, token, *, user=USER, mechanism="OAUTHBEARER", initial=True):
        if mechanism == "OAUTHBEARER":
            response = f"n,a={user},\x01host=localhost\x01port=587\x01auth=Bearer {token}\x01\x01"
        else:
            response = f"user={user}\x01auth=Bearer {token}\x01\x01"
        return client.auth(mechanism, response.encode(), initial=initial)

    def logged_failure(self, client, mechanism):
        """(reason, what is wrong with the token) of the one failed login from there."""
        def found():
            return [(each["reason"], each.get("token", "")) for each in self.postern.events("login_failed")
                    if (each["client"], each["mechanism"]) == (client, mechanism)]

        reasons = wait_until(found, "the failure to be logged")
        self.assertEqual(len(reasons), 1)
        return reasons[0]

    def test_right_token(self):
        for mechanism in self.mechanisms:
            for initial in (True, False):
                with self.subTest(mechanism=mechanism, initial=initial):
                    client = self.connect()
                    answer = self.bearer(client, self.issuer.token(email=USER), mechanism=mechanism, initial=initial)
                    self.assertEqual(answer.code, 235, answer)
                    self.assert_logged_in(client)

    def test_refused_tokens(self):
        """The reason goes to the log; the client is told by a challenge that its token is not good, and then 535."""
        now_and = self.issuer.token
        other = TokenIssuer(self.path("other.key"))
        right = now_and(email=USER)
        bad, no_key = "bad-token", "algorithm without a key"
        cases = [
            ("expired-token", "expired", now_and(email=USER, exp=1_700_000_000)),
            ("expired-token", "expired", now_and(email=USER, exp=None)),
            (bad, "for another audience", now_and(email=USER, aud="calendar")),
            (bad, "wrong issuer", now_and(email=USER, iss="https://evil.example/")),
            (bad, "not yet valid", now_and(email=USER, nbf=9_000_000_000)),
            (bad, "no user name in it", now_and()),
            (bad, "address not verified by the issuer", now_and(email=USER, email_verified=False)),
            (bad, "wrong signature", other.token(email=USER)),
            (bad, "wrong signature", right[:-6] + ("AAAAAA" if right[-6:] != "AAAAAA" else "BBBBBB")),
            (bad, "wrong signature", ".".join(right.split(".")[:2]) + "."),
            (bad, no_key, now_and(email=USER, header={"alg": "none"})),
            (bad, no_key, now_and(email=USER, header={"alg": "HS256"})),
            (bad, "no signed token", "abc"),
            ("unsupported-authzid", "", now_and(email="bert@example.net")),
        ]
        for mechanism, challenge in (("OAUTHBEARER", '{"status":"invalid_token"}'),
                                     ("XOAUTH2", '{"status":"401","schemes":"bearer"}')):
            for number, (*reason, token) in enumerate(cases):
                with self.subTest(mechanism=mechanism, number=number, reason=reason):
                    # The log folds many failures of one machine.
                    client = self.connect(source=f"127.0.0.{number + 2}")
                    answer = self.bearer(client, token, mechanism=mechanism)
                    self.assertEqual((answer.code, base64.b64decode(answer.text).decode()), (334, challenge))
                    answer = client.command("AQ==")
                    self.assertEqual((answer.code, answer.enhanced), (535, "5.7.8"))
                    self.assertEqual(self.logged_failure(f"127.0.0.{number + 2}", mechanism), tuple(reason))
            client = self.connect()
            self.assertEqual(self.bearer(client, cases[0][2], mechanism=mechanism).code, 334)
            self.assertEqual(client.command("").code, 535)
            self.assert_not_logged_in(client)
            self.assertEqual(self.bearer(self.connect(), right, mechanism=mechanism).code, 235)
        self.assertNotIn(right, self.postern.log())

    def test_unknown_user(self):
        client = self.connect()
        answer = self.bearer(client, self.issuer.token(email="nobody@example.net"), user="nobody@example.net")
        self.assertEqual(answer.code, 334)
        self.assertEqual(client.command("AQ==").code, 535)
        self.assert_not_logged_in(client)

    def test_malformed(self):
        client = self.connect()
        for response in (b"", b"n,,", b"n,,\x01\x01", b"n,,\x01auth=Bearer x\x01", b"y",
                         b"user=a\x01auth=Bearer x\x01"):
            for mechanism in self.mechanisms:
                with self.subTest(response=response, mechanism=mechanism):
                    self.assertEqual(client.auth(mechanism, response, initial=False).code, 501)
        self.assertEqual(client.command("NOOP").code, 250)


class Rfc4954(SaslCase):
    mechanisms = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")

    def expect(self, answer, code, enhanced):
        self.assertEqual((answer.code, answer.enhanced), (code, enhanced), answer)

    def test_what_is_offered(self):
        """What shows the password, and what binds to TLS, only with TLS."""
        client = self.connect(tls=False)
        self.assertEqual(client.words["AUTH"], "SCRAM-SHA-256 CRAM-MD5")
        self.assertEqual(self.connect().words["AUTH"], " ".join(self.mechanisms))
        secure = RawClient(self.postern.port("submissions"), tls=self.authority.client_context())
        self.addCleanup(secure.close)
        words = secure.ehlo()
        self.assertEqual(words["AUTH"], " ".join(self.mechanisms))
        self.assertNotIn("STARTTLS", words)
        self.assertEqual(client.command("HELO old.example").lines, ["mail.example.net"])

    def test_initial_responses(self):
        plain = f"\0{USER}\0{PASSWORD}".encode()
        for responses, initial in (([plain], True), ([plain], False)):
            client = self.connect()
            self.expect(client.auth("PLAIN", *responses, initial=initial), 235, "2.7.0")
            self.assert_logged_in(client)
        client = self.connect()
        self.expect(client.auth("plain", plain), 235, "2.7.0")  # names of mechanisms have no case
        client = self.connect()
        self.expect(client.auth("LOGIN", USER.encode(), PASSWORD.encode()), 235, "2.7.0")
        client = self.connect()
        answer = client.command("AUTH PLAIN")
        self.assertEqual((answer.code, answer.lines), (334, [""]))
        self.expect(client.command(base64.b64encode(plain)), 235, "2.7.0")
        # The user may name himself as whom he acts, and nobody else.
        self.expect(self.connect().auth("PLAIN", f"{USER}\0{USER}\0{PASSWORD}".encode()), 235, "2.7.0")
        self.expect(self.connect().auth("PLAIN", f"bert@example.net\0{USER}\0{PASSWORD}".encode()), 535, "5.7.8")

    def test_empty_initial_response(self):
        client = self.connect()
        self.expect(client.command("AUTH PLAIN ="), 501, "5.5.2")  # nothing at all is no PLAIN message
        answer = client.command("AUTH LOGIN =")
        self.expect(answer, 501, "5.5.2")  # nor a user's name
        # A challenge is answered with an empty line, which is no "=".
        self.assertEqual(client.command("AUTH LOGIN").code, 334)
        self.expect(client.command(""), 501, "5.5.2")
        self.assertEqual(client.command("AUTH LOGIN").code, 334)
        self.expect(client.command("="), 501, "5.5.2")
        self.expect(client.command("AUTH CRAM-MD5 ="), 501, "5.7.0")  # the server speaks first
        self.expect(client.command("AUTH CRAM-MD5 YQ=="), 501, "5.7.0")

    def test_cancelled(self):
        client = self.connect()
        for first in (["AUTH PLAIN"], ["AUTH LOGIN"], ["AUTH LOGIN", "YW5uYQ=="], ["AUTH CRAM-MD5"],
                      ["AUTH SCRAM-SHA-256"],
                      ["AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,,n=anna,r=abcdef").decode()]):
            for line in first:
                self.assertEqual(client.command(line).code, 334)
            self.expect(client.command("*"), 501, "5.7.0")
            self.assertEqual(client.command("NOOP").code, 250)
        self.expect(client.auth_plain(USER, PASSWORD), 235, "2.7.0")

    def test_out_of_place(self):
        client = self.connect(ehlo=False)
        self.expect(client.auth_plain(USER, PASSWORD), 503, "5.5.1")  # before EHLO, also again after STARTTLS
        self.assertEqual(client.command("HELO old.example").code, 250)
        self.expect(client.auth_plain(USER, PASSWORD), 503, "5.5.1")
        client.ehlo()
        self.assertEqual(client.command("MAIL FROM:<x@remote.example>").code, 250)
        self.expect(client.auth_plain(USER, PASSWORD), 503, "5.5.1")  # inside a transaction
        self.assertEqual(client.command("RSET").code, 250)
        self.expect(client.auth_plain(USER, PASSWORD), 235, "2.7.0")
        self.expect(client.auth_plain(USER, PASSWORD), 503, "5.5.1")  # a second time
        self.expect(client.command("AUTH NONSENSE"), 503, "5.5.1")
        client.ehlo()
        self.expect(client.auth_plain(USER, PASSWORD), 503, "5.5.1")  # EHLO does not log out
        self.assert_logged_in(client)

    def test_refused(self):
        plain = self.connect(tls=False)
        for mechanism in ("PLAIN", "LOGIN"):
            self.expect(plain.command(f"AUTH {mechanism}"), 538, "5.7.11")
        self.expect(plain.auth_plain(USER, PASSWORD), 538, "5.7.11")
        self.expect(plain.command("AUTH SCRAM-SHA-256-PLUS"), 504, "5.5.4")
        client = self.connect()
        for mechanism in ("NTLM", "DIGEST-MD5", "GSSAPI", "ANONYMOUS", "SCRAM-SHA-1", "EXTERNAL", "XOAUTH2", "PLAI"):
            self.expect(client.command(f"AUTH {mechanism}"), 504, "5.5.4")
        self.expect(client.command("AUTH"), 501, "5.5.4")
        self.expect(client.command("AUTH PLAIN abcd efgh"), 501, "5.5.4")
        for user, password in ((USER, WRONG), ("nobody@example.net", PASSWORD), (USER, PASSWORD + " "),
                               (USER, PASSWORD.upper())):
            self.expect(client.auth_plain(user, password), 535, "5.7.8")
            self.expect(client.auth_login(user, password), 535, "5.7.8")
        self.assert_not_logged_in(client)

    def test_rubbish(self):
        client = self.connect()
        for text in ("!!!", "YQ=", "YQ", "Y", "YR==", "YQ==YQ==", "YW5u\0YQ==", "\xff\xfe", "=YQ=", "YWJj=", "-_-_",
                     "YQ==\t"):
            with self.subTest(text=text):
                self.expect(client.command(f"AUTH PLAIN {text}"), 501, "5.5.2")
                self.assertEqual(client.command("AUTH PLAIN").code, 334)
                self.expect(client.command(text), 501, "5.5.2")
        for octets in (b"anna", b"\0anna", b"\0\0secret", b"\0anna\0", b"\0anna\0a\0b", b"\0anna\0\xff\xfe",
                       b"\0" + b"a" * 300 + b"\0secret", b"\0anna\0" + b"x" * 5000):
            with self.subTest(octets=octets[:20]):
                self.expect(client.auth("PLAIN", octets), 501, "5.5.2")
        for octets in (b"anna", b"anna xyz", b" " + b"0" * 32, b"anna " + b"G" * 32, b"anna " + b"0" * 33):
            with self.subTest(octets=octets):
                self.assertEqual(client.command("AUTH CRAM-MD5").code, 334)
                self.expect(client.command(base64.b64encode(octets)), 501, "5.5.2")
        for octets in (b"n,,", b"x,,n=anna,r=abc", b"n,,n=anna", b"n,,r=abc,n=anna", b"n,,m=ext,n=anna,r=abc",
                       b"p=tls-exporter,,n=anna,r=abc"):
            with self.subTest(octets=octets):
                self.expect(client.auth("SCRAM-SHA-256", octets), 501, "5.5.2")
        self.expect(client.auth_plain(USER, PASSWORD), 235, "2.7.0")

    def test_downgrade(self):
        """A client that could bind to TLS and believes that the server cannot: someone took -PLUS out of the list."""
        client = self.connect()
        self.expect(client.auth("SCRAM-SHA-256", b"y,,n=anna@example.net,r=abcdefgh"), 535, "5.7.8")
        self.expect(self.scram(client, b"n,,"), 235, "2.7.0")
        # Where none is offered, it is right.
        self.postern.change(service=submission_services(SCRAM))
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        self.expect(self.scram(self.connect(), b"y,,"), 235, "2.7.0")

    def scram(self, client, header, user=USER, password=PASSWORD):
        """SCRAM-SHA-256 without binding (RFC 7677), checked from the client's side."""
        first = f"n={user},r=fyko+d2lbbFgONRv9qkxdawL"
        answer = client.auth("SCRAM-SHA-256", header + first.encode())
        self.assertEqual(answer.code, 334, answer)
        challenge = base64.b64decode(answer.text).decode()
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        without_proof = f"c={base64.b64encode(header).decode()},r={fields['r']}"
        whole = f"{first},{challenge},{without_proof}".encode()

        def mac(key, text):
            return hmac.digest(key, text, "sha256")

        key = mac(salted, b"Client Key")
        signature = mac(hashlib.sha256(key).digest(), whole)
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        answer = client.command(base64.b64encode(f"{without_proof},p={proof}".encode()))
        if answer.code != 334:
            return answer
        self.assertEqual(base64.b64decode(answer.text),
                         b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), whole)))
        return client.command("")

    def test_scram_of_unknown_users(self):
        """Nobody learns from salt and iterations whether there is such a user, asked once or twice."""
        def challenge(user):
            client = self.connect()
            answer = client.auth("SCRAM-SHA-256", f"n,,n={user},r=abcdefgh".encode())
            self.assertEqual(answer.code, 334)
            client.command("*")
            return dict(part.split("=", 1) for part in base64.b64decode(answer.text).decode().split(","))

        real, first, again, other = (challenge(user) for user in (USER, "nobody@example.net", "nobody@example.net",
                                                                  "none@example.net"))
        self.assertEqual((first["s"], first["i"]), (again["s"], again["i"]))
        self.assertNotEqual(first["s"], other["s"])
        self.assertEqual(real["i"], first["i"])
        self.assertEqual(len(real["s"]), len(first["s"]))
        self.expect(self.scram(self.connect(), b"n,,", user="nobody@example.net"), 535, "5.7.8")
        self.expect(self.scram(self.connect(), b"n,,", password=WRONG), 535, "5.7.8")

    def test_long_lines(self):
        """RFC 4954 asks for 12288 octets. What is longer is refused, and what has no end ends the connection."""
        client = self.connect()
        for size, code in ((12288 - 2, (501, "5.5.2")), (12288 + 4, (500, "5.5.6")), (40_000, (500, "5.5.6"))):
            with self.subTest(size=size):
                self.expect(client.command(("AUTH PLAIN " + "A" * size)[:size]), *code)
                self.assertEqual(client.command("AUTH PLAIN").code, 334)
                self.expect(client.command("A" * size), *code)
                self.assertEqual(client.command("NOOP").code, 250)
        for in_response in (False, True):
            client = self.connect()
            if in_response:
                self.assertEqual(client.command("AUTH PLAIN").code, 334)
            try:
                client.send((b"" if in_response else b"AUTH PLAIN ") + b"A" * 102_400 + b"\r\n")
                self.expect(client.reply(), 421, "4.7.0")
            except OSError:
                pass  # closed while we were still sending: the reply may be lost with what was in flight
            self.assertTrue(client.closed_by_server())
        self.assertEqual(self.connect().auth_plain(USER, PASSWORD).code, 235)

    def test_pipelined(self):
        """AUTH is the last of its group (RFC 4954 section 4), and who does not keep to it hurts only himself: what
        follows is the response."""
        client = self.connect()
        client.send(b"AUTH PLAIN\r\nNOOP\r\nNOOP\r\n")
        self.assertEqual([client.reply().code for _ in range(3)], [334, 501, 250])
        plain = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
        client.send(b"AUTH PLAIN " + plain + b"\r\nMAIL FROM:<" + USER.encode() +
                    b">\r\nRCPT TO:<bob@remote.example>\r\n")
        self.assertEqual([client.reply().code for _ in range(3)], [235, 250, 250])

    def test_no_auth_here(self):
        postern = Postern(self, name="without", certificate=self.postern.settings["certificate"],
                          service=[{"name": "smtp", "tls": "starttls"}])
        with RawClient(postern.port()) as client:
            client.ehlo()
            client.starttls(untrusting_context())
            self.assertNotIn("AUTH", client.ehlo())
            self.expect(client.auth_plain(USER, PASSWORD), 502, "5.5.1")

    def test_scope_all(self):
        """An ISP's 587: nobody sends before AUTH, to whomever."""
        self.postern.change(lan=["127.0.0.0/8"], service=submission_services(self.mechanisms, auth={"scope": "all"}))
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        client = self.connect()
        self.expect(client.command(f"MAIL FROM:<{USER}>"), 530, "5.7.0")
        self.expect(client.auth_plain(USER, PASSWORD), 235, "2.7.0")
        self.assert_logged_in(client)

    def test_plain_on_lan(self):
        self.postern.change(lan=["127.0.0.2/32"],
                            service=submission_services(self.mechanisms, auth={"plain_on_lan": True}))
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        for source, offered in (("127.0.0.2", "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"),
                                ("127.0.0.3", "SCRAM-SHA-256 CRAM-MD5")):
            with RawClient(self.postern.port("submission"), source=source) as client:
                self.assertEqual(client.ehlo()["AUTH"], offered)
                self.assertEqual(client.auth_plain(USER, PASSWORD).code, 235 if "PLAIN" in offered else 538)


if __name__ == "__main__":
    main()
