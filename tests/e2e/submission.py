"""Real mail programs log in and send: through 587 with STARTTLS and through 465, with each mechanism they have. They
check the server's certificate against a private authority, and the message arrives as they wrote it."""

import base64
import json
import os
import smtplib
import ssl

from harness import (DOT_LINES, PATIENCE, Authority, Case, Postern, Sink, first_difference, main, message, openssl,
                     program, route_to, run, strip_trace, submission_services, wait_until)
from harness.tokens import TokenIssuer

USER, PASSWORD = "anna@example.net", "tulip Kettle 47 harbour"
RECIPIENT = "bob@remote.example"
BODY = DOT_LINES + "Grüße aus Köln\r\n".encode()
MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "EXTERNAL", "OAUTHBEARER",
              "XOAUTH2", "CRAM-MD5", "PLAIN", "LOGIN")


class SubmissionCase(Case):
    def setUp(self):
        self.authority = Authority(self)
        self.other_authority = Authority(self, "other")
        self.server = self.authority.issue("server")
        self.client = self.authority.issue("client", [], usage="clientAuth", alternatives=f"email:{USER}")
        self.issuer = TokenIssuer(self.path("tokens.key"))
        self.sink = self.track(Sink())
        self.postern = Postern(
            self, route=[route_to(self.sink.port)], lan=["192.0.2.0/24"], certificate=[self.server.setting()],
            users={"cram_md5": True}, tokens=self.issuer.settings(self.path("tokens.pem")),
            service=submission_services(MECHANISMS, auth={"client_ca": self.authority.file}), start=False)
        self.postern.user("add", USER, password=PASSWORD)
        self.postern.start()
        self.authority_file = self.authority.file
        self.home = self.path("home")  # what a client would read of its own: nothing
        os.makedirs(self.home)

    def file(self, name: str, content: bytes) -> str:
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def call(self, command, *, stdin=b"", **environment):
        env = {"PATH": os.environ["PATH"], "HOME": self.home, "LANG": "C.UTF-8", **environment}
        return run(command, stdin=stdin, seconds=PATIENCE, env=env)

    def check(self, command, **more):
        status, out, error = self.call(command, **more)
        self.assertEqual(status, 0, out[-3000:] + error[-3000:])

    def offer(self, *mechanisms):
        self.postern.change(service=submission_services(mechanisms))
        self.assertEqual(self.postern.reload()["event"], "reloaded")

    def token(self) -> str:
        return self.issuer.token(email=USER)

    def each_way(self, mechanisms, send, *, compare=None):
        """`send(port, implicit, mechanism, content)` over both services with each mechanism; what arrives came by
        ESMTPSA from a login with that mechanism. Then once more with an authority that did not sign the server's
        certificate: nothing may be sent, nor a password shown."""
        for service, implicit in (("submission", False), ("submissions", True)):
            port = self.postern.port(service)
            for mechanism in mechanisms:
                with self.subTest(service=service, mechanism=mechanism):
                    content = message(sender=USER, recipient=RECIPIENT, body=BODY,
                                      extra=b"Content-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\n"
                                            b"Content-Transfer-Encoding: 8bit\r\n")
                    logins = len(self.postern.events("login"))
                    self.assertTrue(self.trusts(send, port, implicit, mechanism, content))
                    kept = self.sink.wait_for(1)[0]
                    self.sink.clear()
                    self.assertEqual((kept.sender, kept.recipients), (USER, [RECIPIENT]))
                    trace, rest = strip_trace(kept.content)
                    self.assertRegex(trace.decode(), r"with ESMTPSA id \S+\r\n\t\(version=TLSv1\.[23] cipher=\w+\)")
                    if compare:
                        compare(content, kept, rest)
                    else:
                        self.assertEqual(first_difference(content, rest), "")
                    # The log's writer may be a moment behind.
                    login = wait_until(lambda: self.postern.events("login")[logins:], "the login to be logged")
                    self.assertEqual([(each["service"], each["user"], each["mechanism"]) for each in login],
                                     [(service, USER, mechanism)])
            with self.subTest(service=service, trusts="another authority"):
                self.authority_file = self.other_authority.file
                logins = len(self.postern.events("login"))
                self.assertFalse(self.trusts(send, port, implicit, mechanisms[-1], message(sender=USER)))
                self.authority_file = self.authority.file
                self.assertEqual(len(self.postern.events("login")), logins)
                self.assertEqual(self.sink.messages, [])

    def trusts(self, send, port, implicit, mechanism, content) -> bool:
        """False: the client refused the server's certificate, or failed otherwise. Its words are shown."""
        done = send(port, implicit, mechanism, content)
        if done is None:  # a library's send, which raises
            return True
        status, out, error = done
        if status != 0 and self.authority_file == self.authority.file:
            self.fail(out[-3000:] + error[-3000:])
        return status == 0


class Programs(SubmissionCase):
    def test_curl(self):
        curl = program("curl", "curl")

        def send(port, implicit, mechanism, content):
            command = [curl, "--silent", "--show-error", "--ssl-reqd", "--cacert", self.authority_file,
                       "--login-options", f"AUTH={mechanism}", "--mail-from", USER, "--mail-rcpt", RECIPIENT,
                       "--upload-file", self.file("message.eml", content),
                       f"{'smtps' if implicit else 'smtp'}://localhost:{port}/client.example"]
            if mechanism in ("OAUTHBEARER", "XOAUTH2"):
                command += ["--user", f"{USER}:", "--oauth2-bearer", self.token()]
            elif mechanism == "EXTERNAL":
                command += ["--user", f"{USER}:", "--cert", self.client.chain, "--key", self.client.key]
            else:
                command += ["--user", f"{USER}:{PASSWORD}"]
            return self.call(command)

        self.each_way(("EXTERNAL", "OAUTHBEARER", "CRAM-MD5", "LOGIN", "PLAIN"), send)
        # With a token it takes the other one only where this one is not offered.
        self.offer("XOAUTH2")
        self.each_way(("XOAUTH2",), send)

    def test_swaks(self):
        swaks = program("swaks", "swaks")

        def send(port, implicit, mechanism, content):
            # It puts a line end of its own behind what it is given.
            return self.call([swaks, "--server", f"localhost:{port}", "--tls-on-connect" if implicit else "--tls",
                              "--tls-verify", "--tls-ca-path", self.authority_file, "--auth", mechanism,
                              "--auth-user", USER, "--auth-password", PASSWORD, "--from", USER, "--to", RECIPIENT,
                              "--suppress-data", "--data", "@" + self.file("message.eml", content[:-2])])

        self.each_way(("CRAM-MD5", "LOGIN", "PLAIN"), send)

    def test_msmtp(self):
        msmtp = program("msmtp", "msmtp")

        def send(port, implicit, mechanism, content):
            secret = self.token() if mechanism in ("OAUTHBEARER", "XOAUTH2") else PASSWORD
            command = [msmtp, "--file=/dev/null", "--host=localhost", f"--port={port}", "--tls=on",
                       f"--tls-starttls={'off' if implicit else 'on'}", f"--tls-trust-file={self.authority_file}",
                       f"--auth={mechanism.lower()}", f"--user={USER}", f"--from={USER}",
                       f"--passwordeval=cat {self.file('secret', secret.encode())}"]
            if mechanism == "EXTERNAL":
                command += [f"--tls-cert-file={self.client.chain}", f"--tls-key-file={self.client.key}"]
            return self.call([*command, "--", RECIPIENT], stdin=content.replace(b"\r\n", b"\n"))

        self.each_way(("SCRAM-SHA-256", "SCRAM-SHA-1", "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "CRAM-MD5", "LOGIN",
                       "PLAIN"), send)

    def test_git_send_email(self):
        git = program("git", "git")
        body = b"Kett\xc3\xa4l\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-.\n+..\n"

        def send(port, implicit, mechanism, content):
            patch = (f"From: Anna <{USER}>\nDate: Mon, 2 Nov 2026 10:00:00 +0000\nSubject: [PATCH] kettle\n"
                     "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
                     "Content-Transfer-Encoding: 8bit\n\n").encode() + body
            return self.call([git, "send-email", "--quiet", "--confirm=never", f"--from=Anna <{USER}>", f"--to={RECIPIENT}",
                              "--suppress-cc=all", "--smtp-server=localhost", f"--smtp-server-port={port}",
                              f"--smtp-encryption={'ssl' if implicit else 'tls'}",
                              f"--smtp-ssl-cert-path={self.authority_file}", f"--smtp-auth={mechanism}",
                              f"--smtp-user={USER}", f"--smtp-pass={PASSWORD}", "--smtp-domain=client.example",
                              self.file("0001.patch", patch)], GIT_CONFIG_NOSYSTEM="1",
                             GIT_AUTHOR_NAME="Anna", GIT_AUTHOR_EMAIL=USER,
                             GIT_COMMITTER_NAME="Anna", GIT_COMMITTER_EMAIL=USER)

        def compare(_, kept, rest):
            self.assertEqual(kept.header("Subject"), "[PATCH] kettle")
            self.assertEqual(rest.split(b"\r\n\r\n", 1)[1], body.replace(b"\n", b"\r\n"))

        self.each_way(("CRAM-MD5", "LOGIN", "PLAIN"), send, compare=compare)

    def test_s_nail(self):
        s_nail = program("s-nail", "s-nail")

        def send(port, implicit, mechanism, content):
            # What it calls oauthbearer is XOAUTH2 on the wire.
            method = "oauthbearer" if mechanism == "XOAUTH2" else mechanism.lower()
            secret = self.token() if mechanism == "XOAUTH2" else PASSWORD
            scheme = "smtps" if implicit else "submission"
            more = ["-Ssmtp-use-starttls"] if not implicit else []
            if mechanism.startswith("EXTERNAL"):
                more += [f"-Stls-config-pairs=Certificate={self.client.chain},PrivateKey={self.client.key}"]
            return self.call([s_nail, "-:/", "-Sv15-compat", "-Snosave", "-Sexpandaddr",
                              f"-Smta={scheme}://localhost:{port}", f"-Suser={USER}", f"-Spassword={secret}",
                              f"-Ssmtp-auth={method}", "-Stls-verify=strict",
                              f"-Stls-ca-file={self.authority_file}", "-Stls-ca-no-defaults",
                              "-Shostname=client.example", "-Ssendwait", "-Sttycharset=utf-8", "-Ssendcharsets=utf-8",
                              "-Smime-encoding=8b", f"-Sfrom={USER}", *more, "-s", "from s-nail", RECIPIENT],
                             stdin=BODY.replace(b"\r\n", b"\n"))

        def compare(_, kept, rest):
            self.assertEqual((kept.header("Subject"), kept.header("To")), ("from s-nail", RECIPIENT))
            self.assertEqual(first_difference(BODY, rest.split(b"\r\n\r\n", 1)[1]), "")

        self.each_way(("EXTERNAL", "XOAUTH2", "CRAM-MD5", "LOGIN", "PLAIN"), send, compare=compare)


class Libraries(SubmissionCase):
    def connect(self, port, implicit):
        context = ssl.create_default_context(cafile=self.authority_file)
        if implicit:
            return smtplib.SMTP_SSL("localhost", port, timeout=PATIENCE, context=context)
        client = smtplib.SMTP("localhost", port, timeout=PATIENCE)
        try:
            client.starttls(context=context)
        except BaseException:
            client.close()
            raise
        return client

    def test_smtplib(self):
        def send(port, implicit, mechanism, content):
            try:
                client = self.connect(port, implicit)
            except ssl.SSLCertVerificationError as error:
                return 1, "", str(error)
            with client:
                client.user, client.password = USER, PASSWORD
                client.ehlo_or_helo_if_needed()
                client.auth(mechanism, getattr(client, "auth_" + mechanism.lower().replace("-", "_")))
                client.sendmail(USER, [RECIPIENT], content, mail_options=["BODY=8BITMIME"])
            return None

        self.each_way(("CRAM-MD5", "LOGIN", "PLAIN"), send)

    def test_smtplib_chooses_for_itself(self):
        """login() tries CRAM-MD5 first and falls back. That an imported user has no verifier for it yet is no guess at
        a password; once the password was shown, the verifier is there."""
        users = [f"user{number}@example.net" for number in range(4)]
        hashed = openssl("passwd", "-6", "-stdin", stdin=PASSWORD.encode()).strip()
        self.postern.user("import", self.file("users", "".join(
            f"{user}:{{SHA512-CRYPT}}{hashed}\n" for user in users).encode()))
        self.postern.change(guard={"failures": 2})
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        for implicit in (False, True):
            for user in users:
                with self.connect(self.postern.port("submissions" if implicit else "submission"), implicit) as client:
                    client.login(user, PASSWORD)
                    client.sendmail(user, [RECIPIENT], message(sender=user))
        self.sink.wait_for(8)
        logins = wait_until(lambda: len(self.postern.events("login")) == 8 and self.postern.events("login"), "8 logins")
        self.assertEqual([each["mechanism"] for each in logins], ["PLAIN"] * 4 + ["CRAM-MD5"] * 4)
        self.assertEqual([each["reason"] for each in self.postern.events("login_failed")], ["no-verifier"] * 4)
        self.assertEqual(self.postern.events("barred"), [])

    def test_nodemailer(self):
        node = program("node", "nodejs")
        script = self.file("send.js", b"""
const options = JSON.parse(process.argv[2]);
options.transport.tls = {ca: require("fs").readFileSync(options.authority), servername: "localhost"};
require("nodemailer").createTransport(options.transport).sendMail(
    {envelope: options.envelope, raw: Buffer.from(options.raw, "base64")},
    error => { if (error) { console.error(error); process.exit(1); } });
""")

        def send(port, implicit, mechanism, content):
            auth = ({"type": "OAuth2", "user": USER, "accessToken": self.token()} if mechanism == "XOAUTH2" else
                    {"user": USER, "pass": PASSWORD})
            options = {"authority": self.authority_file, "envelope": {"from": USER, "to": [RECIPIENT]},
                       "raw": base64.b64encode(content).decode(),
                       "transport": {"host": "127.0.0.1", "port": port, "secure": implicit, "requireTLS": True,
                                     "name": "client.example", "authMethod": mechanism, "auth": auth}}
            return self.call([node, script, json.dumps(options)], NODE_PATH="/usr/share/nodejs")

        self.each_way(("XOAUTH2", "CRAM-MD5", "LOGIN", "PLAIN"), send)


if __name__ == "__main__":
    main()
