"""Guessing passwords: who is barred, for how long, whom it does not touch; and that no log ever holds a password."""

import base64
import itertools
import os
import time

from harness import (PATIENCE, Authority, Case, Disconnected, Postern, RawClient, Sink, main, message, program,
                     proxy_v1, route_to, run, submission_services, untrusting_context, wait_until)
from harness.tokens import TokenIssuer

USER, PASSWORD = "anna@example.net", "tulip Kettle 47 harbour"
OTHER, OTHER_PASSWORD = "bert@example.net", "acht Hummeln brummen leise"
GUESSER, INNOCENT = "127.0.0.5", "127.0.0.6"
RECIPIENT = "bob@remote.example"


class GuardCase(Case):
    mechanisms = ("PLAIN", "LOGIN")

    def setUp(self):
        self.authority = Authority(self)
        self.context = untrusting_context()
        self.numbers = itertools.count()

    def start(self, *, guard=None, service=None, **settings):
        self.sink = self.track(Sink())
        services = service or [{"name": "smtp"}, *submission_services(self.mechanisms, errors=0)]
        self.postern = Postern(self, start=False, route=[route_to(self.sink.port)], lan=["192.0.2.0/24"],
                               certificate=[self.authority.issue("server").setting()], service=services,
                               guard=guard or {}, **settings)
        self.postern.user("add", USER, password=PASSWORD)
        self.postern.user("add", OTHER, password=OTHER_PASSWORD)
        self.postern.start()

    def connect(self, source=INNOCENT, service="submission", **more):
        """A client that has said EHLO, with TLS where the service has it."""
        implicit = service == "submissions"
        client = RawClient(self.postern.port(service), source=source, tls=self.context if implicit else None, **more)
        self.addCleanup(client.close)
        if client.greeting.code == 220:
            client.ehlo()
            if service == "submission":
                client.starttls(self.context)
                client.ehlo()
        return client

    def login(self, source, user=USER, password=PASSWORD):
        """The code of AUTH on a new connection, or of the greeting that refuses it."""
        client = self.connect(source)
        answer = client.greeting if client.greeting.code != 220 else client.auth_plain(user, password)
        client.close()
        return answer.code

    def guess(self, source, count, user=""):
        """Wrong passwords over one connection, each for another name (their own limits stay out of it) unless `user`
        says which; the codes."""
        client = self.connect(source)
        return [client.auth_plain(user or f"user{next(self.numbers)}", "guess").code for _ in range(count)]

    def barred(self):
        """(kind, whom, seconds) of the bars in the log."""
        return [(each["kind"], each.get("network") or each.get("user"), int(each["seconds"]))
                for each in self.postern.events("barred")]

    def wait_for_bars(self, count):
        return wait_until(lambda: len(self.barred()) >= count and self.barred(), f"{count} bars")

    def guard_command(self, *arguments):
        status, out, error = self.postern.run("guard", "--socket", self.postern.control, *arguments)
        self.assertEqual(status, 0, error)
        return out

    def assert_refused_before_anything(self, source):
        """At connect: 421 where plain words are spoken, and nothing at all in front of a handshake."""
        for service in ("smtp", "submission"):
            with RawClient(self.postern.port(service), source=source) as client:
                self.assertEqual((client.greeting.code, client.greeting.enhanced), (421, "4.7.0"))
                self.assertTrue(client.closed_by_server())
                self.assertEqual(client.buffer, b"")
        with RawClient(self.postern.port("submissions"), source=source, greet=False) as client:
            self.assertTrue(client.closed_by_server())
            self.assertEqual(client.buffer, b"")


class Machines(GuardCase):
    def test_ten_wrong_passwords(self):
        self.start()
        held = self.connect(GUESSER)  # open before the bar
        self.assertEqual(self.guess(GUESSER, 9), [535] * 9)
        self.assertEqual(self.login(GUESSER, password="guess 10"), 535)
        self.assertEqual(self.wait_for_bars(1), [("machine", "127.0.0.5/32", 900)])
        self.assert_refused_before_anything(GUESSER)
        # A connection that was there before: no password is looked at any more, right or wrong.
        answer = held.auth_plain(USER, PASSWORD)
        self.assertEqual((answer.code, answer.enhanced), (421, "4.7.0"))
        self.assertTrue(held.closed_by_server())
        # Everybody else is served, under the same name and another.
        self.assertEqual(self.login("127.0.0.4"), 235)
        self.assertEqual(self.login(INNOCENT, OTHER, OTHER_PASSWORD), 235)
        self.assertIn("127.0.0.5", self.guard_command("list"))
        self.guard_command("clear", GUESSER)
        self.assertNotIn("127.0.0.5", self.guard_command("list"))
        self.assertEqual(self.login(GUESSER), 235)

    def test_one_connection_may_not_go_on(self):
        """The bar that its own guess made meets the next AUTH."""
        self.start()
        client = self.connect(GUESSER)
        for number in range(10):
            self.assertEqual(client.auth_login(f"user{number}", "guess").code, 535)
        self.assertEqual(client.auth_login(USER, PASSWORD).code, 421)
        self.assertTrue(client.closed_by_server())

    def test_whatever_it_guesses_at(self):
        """Names that exist and names that do not, each another."""
        self.start()
        for number in range(10):
            self.assertEqual(self.login(GUESSER, f"user{number}@example.net" if number % 2 else USER, "x"), 535)
        self.assertEqual(self.wait_for_bars(1), [("machine", "127.0.0.5/32", 900)])
        self.assertEqual(self.login(GUESSER), 421)

    def test_a_success_clears_what_is_its_own(self):
        """Nobody clears his guesses at other names with an account that is his."""
        self.start()
        self.guess(GUESSER, 9, USER)
        self.assertEqual(self.login(GUESSER), 235)
        self.guess(GUESSER, 9, USER)
        self.assertEqual(self.barred(), [])
        self.assertEqual(self.login(GUESSER, OTHER, OTHER_PASSWORD), 235)
        self.assertEqual(self.login(GUESSER, password="guess"), 535)
        self.assertEqual(self.login(GUESSER), 421)

    def test_never(self):
        self.start(guard={"never": ["127.0.0.5/32"]})
        self.assertEqual(self.guess(GUESSER, 25, USER), [535] * 25)
        self.assertEqual(self.login(GUESSER), 235)
        self.assertEqual(self.login("127.0.0.7"), 235)  # what it guessed does not count towards the name either
        self.assertEqual(self.barred(), [])

    def test_bars_grow_and_end(self):
        self.start(guard={"failures": 2, "bar": "2s", "bar_max": "3s"})
        for number, seconds in enumerate((2, 3, 3), 1):
            made = time.monotonic()
            self.assertEqual(self.guess(GUESSER, 2), [535] * 2)
            self.assertEqual(self.wait_for_bars(number)[-1], ("machine", "127.0.0.5/32", seconds))
            wait_until(lambda: self.login(GUESSER) == 235, "the end of the bar", seconds + 5, every=0.1)
            self.assertGreater(time.monotonic() - made, seconds - 1)  # it ends with a second of the clock

    def test_restart(self):
        self.start()
        self.assertEqual(self.login("127.0.0.8", OTHER, OTHER_PASSWORD), 235)
        self.guess(GUESSER, 10)
        self.guess("127.0.0.9", 9)
        self.wait_for_bars(1)
        self.assertEqual(self.postern.stop(), 0)
        for name in os.listdir(self.postern.settings["state"]):
            self.assertEqual(os.stat(os.path.join(self.postern.settings["state"], name)).st_mode & 0o007, 0, name)
        self.postern.start()
        self.assert_refused_before_anything(GUESSER)
        self.assertEqual(self.login(INNOCENT), 235)
        # Who was known is known: a name's bar does not touch him.
        for number in range(10):
            self.login(f"127.0.1.{number}", OTHER, "guess")
        self.assertEqual(self.login("127.0.0.8", OTHER, OTHER_PASSWORD), 235)
        self.assertEqual(self.login("127.0.0.7", OTHER, OTHER_PASSWORD), 421)

    def test_damaged_state(self):
        """It is said, and the server serves: bars are made anew."""
        self.start()
        self.guess(GUESSER, 10)
        self.assertEqual(self.postern.stop(), 0)
        with open(os.path.join(self.postern.settings["state"], "guard"), "r+b") as file:
            file.seek(20)
            file.write(b"\xff" * 40)
        self.postern.start()
        self.assertIn("guard", self.postern.events("state_unreadable")[0]["note"])
        self.assertEqual(self.login(GUESSER), 235)

    def test_switched_off(self):
        self.start(guard={"failures": 0})
        self.assertEqual(self.guess(GUESSER, 30), [535] * 30)
        self.assertEqual(self.login(GUESSER), 235)

    def test_rules_change_by_reload(self):
        self.start()
        self.guess(GUESSER, 10)
        self.assertEqual(self.login(GUESSER), 421)
        self.postern.change(guard={"never": ["127.0.0.5/32"]})
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        self.assertEqual(self.login(GUESSER), 235)

    def test_behind_a_balancer(self):
        """It is the client that is barred, not the balancer; and with IPv6 its /64, and more slowly the nets around."""
        service = [{"name": "proxied", "proxy_protocol": True, "auth": {"mechanisms": ["PLAIN"], "plain_on_lan": True}}]
        self.start(service=service, proxy_from=["127.0.0.1/32"])
        self.postern.change(lan=["203.0.113.0/24", "2001:db8::/32"])
        self.assertEqual(self.postern.reload()["event"], "reloaded")

        def login(client, password="guess", user=USER):
            with RawClient(self.postern.port("proxied"), preamble=proxy_v1(client), greet=False) as connection:
                try:
                    if connection.reply().code != 220:
                        return 421
                except Disconnected:
                    return 421
                connection.ehlo()
                return connection.auth_plain(user, password).code

        self.assertEqual([login("203.0.113.5", user=f"u{number}") for number in range(11)], [535] * 10 + [421])
        self.assertEqual(login("203.0.113.6", PASSWORD), 235)
        # One /64, ten addresses.
        self.assertEqual([login(f"2001:db8:1:1::{number}", user=f"v{number}") for number in range(11)],
                         [535] * 10 + [421])
        self.assertEqual(login("2001:db8:1:2::1", PASSWORD), 235)
        # One /56, forty networks.
        self.assertEqual([login(f"2001:db8:9:{number:x}::1", user=f"w{number}") for number in range(41)],
                         [535] * 40 + [421])
        self.assertEqual(login("2001:db8:9:100::1", PASSWORD), 235)
        self.assertEqual([each[:2] for each in self.wait_for_bars(3)], [
            ("machine", "203.0.113.5/32"), ("machine", "2001:db8:1:1::/64"), ("net56", "2001:db8:9::/56")])


class Names(GuardCase):
    def test_strangers_cannot_lock_a_user_out(self):
        self.start()
        self.assertEqual(self.login("127.0.0.20"), 235)  # known from here on
        codes = [self.login(f"127.0.1.{number}", password="guess") for number in range(10)]
        self.assertEqual(codes, [535] * 10)
        self.assertEqual(self.wait_for_bars(1), [("name", USER, 900)])
        # From machines that never logged in as her, not even the right password is looked at, ...
        client = self.connect("127.0.0.21")
        answer = client.auth_plain(USER.upper(), PASSWORD)
        self.assertEqual((answer.code, answer.enhanced), (421, "4.7.0"))
        self.assertTrue(client.closed_by_server())
        # ... but she may, even after a slip, and others may from anywhere.
        self.assertEqual(self.login("127.0.0.20", password="a slip"), 535)
        self.assertEqual(self.login("127.0.0.20"), 235)
        self.assertEqual(self.login("127.0.0.21", OTHER, OTHER_PASSWORD), 235)
        self.assertIn(USER, self.guard_command("list"))
        self.guard_command("clear", "--name", USER)
        self.assertEqual(self.login("127.0.0.21"), 235)

    def test_names_of_nobody_too(self):
        """Or the bar would tell which names there are."""
        self.start()
        for number in range(10):
            self.assertEqual(self.login(f"127.0.1.{number}", "nobody@example.net", "guess"), 535)
        self.assertEqual(self.login("127.0.2.1", "nobody@example.net", "guess"), 421)

    def test_a_known_machine_has_its_own_limit(self):
        self.start()
        self.assertEqual(self.login(GUESSER), 235)
        self.assertEqual(self.guess(GUESSER, 10, USER), [535] * 10)
        self.assertEqual(self.login(GUESSER), 421)
        self.assertEqual(self.login(INNOCENT), 235)  # its failures count towards itself, not towards the name


class Secrets(GuardCase):
    """Passwords, tokens and what is made of them on the wire stay out of everything that is written."""

    mechanisms = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "OAUTHBEARER", "XOAUTH2",
                  "CRAM-MD5", "PLAIN", "LOGIN")
    wrong = "Zitrone7 wolkig Anker"

    def setUp(self):
        super().setUp()
        self.issuer = TokenIssuer(self.path("tokens.key"))
        self.start(guard={"failures": 0}, users={"cram_md5": True},
                   tokens=self.issuer.settings(self.path("tokens.pem")))
        self.secrets = [PASSWORD.encode(), self.wrong.encode()]

    def gsasl(self, mechanism, password):
        more = ["--authorization-id="] if mechanism == "PLAIN" else ["--no-cb"] if "PLUS" not in mechanism else []
        status, _, error = run([program("gsasl", "gsasl"), "--smtp", "--starttls", "--x509-ca-file",
                                self.authority.file, f"--connect=localhost:{self.postern.port('submission')}",
                                f"--mechanism={mechanism}", f"--authentication-id={USER}", f"--password={password}",
                                *more], seconds=PATIENCE)
        self.assertEqual(status == 0, password == PASSWORD, error)

    def test_nothing_is_written(self):
        for mechanism in self.mechanisms:
            if mechanism in ("OAUTHBEARER", "XOAUTH2"):
                continue
            for password in (PASSWORD, self.wrong):
                self.gsasl(mechanism, password)
        self.send_tokens()
        self.make_mistakes()
        # A message, so that its envelope and trace are there as well.
        client = self.connect()
        self.assertEqual(client.auth_plain(USER, PASSWORD).code, 235)
        self.assertEqual(client.hand_in(USER, [RECIPIENT], message(sender=USER)).code, 250)
        trace = self.sink.wait_for(1)[0].content
        status, counters, error = self.postern.run("status", "--socket", self.postern.control)
        self.assertEqual(status, 0, error)
        self.assertEqual(self.postern.stop(), 0)
        log = self.postern.log()
        self.assertGreater(len(self.postern.events("login")), 7)
        self.assertGreater(len(self.postern.events("login_failed")), 7)
        for name, octets in [("the log", log.encode()), ("trace", trace), ("counters", counters.encode()),
                             *self.files_of(self.postern.folder)]:
            for secret in self.secrets:
                for form in self.forms(secret):
                    self.assertNotIn(form, octets, f"{form!r} in {name}")
        self.assert_forms_find_something()

    def send_tokens(self):
        good, bad = self.issuer.token(email=USER), self.issuer.token(email=USER, aud="other")
        for token, code in ((good, 235), (bad, 334)):
            for mechanism, response in (("OAUTHBEARER", f"n,a={USER},\x01auth=Bearer {token}\x01\x01"),
                                        ("XOAUTH2", f"user={USER}\x01auth=Bearer {token}\x01\x01")):
                client = self.connect()
                self.assertEqual(client.auth(mechanism, response.encode()).code, code)
                if code == 334:
                    self.assertEqual(client.command("AQ==").code, 535)
            self.secrets.append(token.rpartition(".")[2].encode())  # the part that makes it one

    def make_mistakes(self):
        """What badly written clients do: the password in the wrong place, or at the wrong time."""
        plain = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
        with RawClient(self.postern.port("submission"), source=INNOCENT) as client:
            client.ehlo()
            for line in (f"AUTH PLAIN {plain}", plain, f"AUTH LOGIN {plain}", PASSWORD, f"AUTH {plain}",
                         f"AUTH NTLM {plain}", f"PASS {PASSWORD}", f"AUTH PLAIN {PASSWORD}",
                         f"AUTH PLAIN {plain} {plain}"):
                self.assertGreaterEqual(client.command(line).code, 500)
            self.assertEqual(client.command("AUTH CRAM-MD5").code, 334)
            self.assertEqual(client.command(plain).code, 501)
            self.assertEqual(client.command("AUTH SCRAM-SHA-256").code, 334)
            self.assertEqual(client.command(plain).code, 501)
            self.assertEqual(client.command(f"MAIL FROM:<{USER}> AUTH={plain}").code // 100, 5)
            client.send(f"AUTH PLAIN {plain}".encode())  # and goes in the midst of a line
        client = self.connect()
        for line in ("x" * 12_000 + PASSWORD, f"AUTH PLAIN {'A' * 13_000}{plain}", f"AUTH PLAIN\t{plain}"):
            self.assertGreaterEqual(client.command(line).code, 500)
        self.assertEqual(client.command("AUTH PLAIN").code, 334)
        client.send(plain.encode())  # and goes

    def files_of(self, folder):
        """All that the server keeps, the user store among it."""
        for where, _, names in os.walk(folder):
            for name in names:
                if not name.endswith(".log"):
                    with open(os.path.join(where, name), "rb") as file:
                        yield name, file.read()

    def forms(self, secret):
        """As it is, in hexadecimal, and in base 64 at each of the three places where it can begin."""
        yield secret
        yield secret.hex().encode()
        for lead in range(3):
            whole = base64.b64encode(b"\0" * lead + secret)
            yield whole[4 if lead else 0:len(whole) // 4 * 4 - 4]

    def assert_forms_find_something(self):
        for before in ("", "a", "ab"):
            sent = base64.b64encode(f"\0{before}\0{PASSWORD}".encode())
            self.assertEqual(sum(form in sent for form in self.forms(PASSWORD.encode())), 1)


if __name__ == "__main__":
    main()
