"""POP-before-SMTP with a real Dovecot that reports logins by auth-policy, and with `postern login`: who may relay after
that and who may not; guesses at Dovecot and at SMTP are one count; metrics and health of the same listener."""

import json
import os
import signal
import socket
import time

from harness import (PATIENCE, Authority, Case, Postern, RawClient, Sink, free_port, main, message, program,
                     route_to, run, submission_services, untrusting_context, wait_until)
from harness.mail_store import MailStore

USER, PASSWORD = "anna@example.net", "tulip Kettle 47 harbour"
OTHER, OTHER_PASSWORD = "bert@example.net", "acht Hummeln brummen leise"
PHONE, STRANGER, THIRD = "127.0.0.5", "127.0.0.6", "127.0.0.7"
FEED = "127.0.0.1"  # Dovecot's own connections come from there
REMOTE = "bob@remote.example"
WEAK = 67  # curl: login denied


class LoginCase(Case):
    def start(self, *, feeds=(FEED,), store=True, window=300, services=None, attributes="", more="", **settings):
        self.http = free_port()
        self.sink = self.track(Sink())
        self.postern = Postern(
            self, start=False, route=[route_to(self.sink.port)], lan=["192.0.2.0/24"],
            logins={"feeds": list(feeds), "window_seconds": window},
            admin={"http": f"127.0.0.1:{self.http}"},
            service=services or [{"name": "smtp", "relay": {"after_login": True}}, {"name": "closed"}], **settings)
        self.prepare()
        self.postern.start()
        if store:
            chosen = {"attributes": attributes} if attributes != "" else {}
            self.store = MailStore(self, {USER: PASSWORD, OTHER: OTHER_PASSWORD}, policy=self.http, more=more, **chosen)

    def prepare(self):
        """Before the start."""

    # --- mail programs ----------------------------------------------------------------------------------------------
    def fetch(self, source, protocol="pop3", user=USER, password=PASSWORD) -> tuple[int, str]:
        """curl collects mail; its status, and what was said."""
        status, out, error = run([program("curl", "curl"), "-sv", "--max-time", str(int(PATIENCE)), "--interface", source,
                                  "-u", f"{user}:{password}", f"{protocol}://127.0.0.1:{self.store.ports[protocol]}/"])
        return status, out + error

    def relay_code(self, source, service="smtp") -> int:
        """What RCPT for a remote recipient is answered, or the greeting that refuses."""
        with RawClient(self.postern.port(service), source=source) as client:
            if client.greeting.code != 220:
                return client.greeting.code
            client.ehlo()
            self.assertEqual(client.command("MAIL FROM:<anyone@elsewhere.example>").code, 250)
            return client.command(f"RCPT TO:<{REMOTE}>").code

    def wait_relays(self, source, what="the report to count"):
        wait_until(lambda: self.relay_code(source) == 250, what, every=0.05)

    def wait_event(self, event, count=1):
        return wait_until(lambda: len(self.postern.events(event)) >= count and self.postern.events(event),
                          f"{count} x {event} in the log")

    # --- the listener -----------------------------------------------------------------------------------------------
    def http_request(self, path, *arguments, source=FEED) -> tuple[int, str]:
        """curl's request; (HTTP status, body). 0: no answer."""
        _, out, _ = run([program("curl", "curl"), "-s", "--max-time", str(int(PATIENCE)), "--interface", source, "-w",
                         "\n%{http_code}", *arguments, f"http://127.0.0.1:{self.http}{path}"])
        body, _, code = out.rpartition("\n")
        return int(code), body

    def report(self, body, source=FEED, command="report"):
        text = body if isinstance(body, str) else json.dumps(body)
        return self.http_request(f"/dovecot/auth-policy?command={command}", "-H", "Content-Type: application/json",
                                 "--data-binary", text, source=source)

    # --- commands ---------------------------------------------------------------------------------------------------
    def command(self, *arguments, expect=0) -> str:
        status, out, error = self.postern.run(*arguments, "--socket", self.postern.control)
        self.assertEqual(status, expect, out + error)
        return out if expect == 0 else error

    def counter(self, name) -> int:
        lines = dict(line.split() for line in self.command("status").splitlines())
        return int(lines[name])


class Dovecot(LoginCase):
    def test_who_collects_may_send(self):
        self.start()
        for source, protocol, user, password in ((PHONE, "pop3", USER, PASSWORD), (THIRD, "imap", OTHER, OTHER_PASSWORD)):
            with self.subTest(protocol=protocol):
                self.assertEqual(self.relay_code(source), 550)
                status, said = self.fetch(source, protocol, user, password)
                self.assertEqual(status, 0, said)
                self.wait_relays(source)
                self.assertEqual(self.relay_code(STRANGER), 550)
                self.assertEqual(self.relay_code(source, "closed"), 550)  # after_login is that service's own
        told = [(each["source"], each["machine"], each["user"], each["seconds"])
                for each in self.wait_event("login_recorded", 2)]
        self.assertEqual(told, [("dovecot", PHONE, USER, "300"), ("dovecot", THIRD, OTHER, "300")])
        with RawClient(self.postern.port(), source=PHONE) as client:
            client.ehlo()
            self.assertEqual(client.hand_in(USER, [REMOTE], message(sender=USER)).code, 250)
        self.assertEqual(self.sink.wait_for(1)[0].recipients, [REMOTE])
        self.assertEqual(self.counter("logins_recorded_dovecot"), 2)

    def test_a_failed_login_grants_nothing(self):
        self.start()
        for number, (protocol, user, password) in enumerate((("pop3", USER, "wrong"), ("imap", USER, OTHER_PASSWORD),
                                                             ("imap", "nobody@example.net", PASSWORD)), 1):
            status, said = self.fetch(PHONE, protocol, user, password)
            self.assertEqual(status, WEAK, said)
            self.assertEqual(self.wait_event("login_failed", number)[-1]["client"], PHONE)
            self.assertEqual(self.relay_code(PHONE), 550)
        self.assertEqual(self.counter("logins_recorded_dovecot"), 0)
        self.assertEqual(self.counter("guard_failures"), 3)

    def test_nothing_of_a_password_is_kept(self):
        self.start()
        self.fetch(PHONE)
        self.fetch(PHONE, password="a wrong guess")
        self.wait_event("login_recorded")
        self.wait_event("login_failed")
        wait_until(lambda: os.path.exists(self.postern.settings["state"] + "/logins"), "the logins to be saved")
        for word in (PASSWORD, "wrong guess", "pwhash"):
            self.assertNotIn(word, self.postern.log())

    def test_master_users_and_the_anonymous_grant_nothing(self):
        masters = self.path("masters")
        with open(masters, "w", encoding="utf-8") as file:
            file.write("boss:{PLAIN}master\n")
        self.start(more=f"""
auth_mechanisms = plain login anonymous
auth_master_user_separator = *
passdb {{
  driver = passwd-file
  master = yes
  args = {masters}
}}
""")
        status, said = self.fetch(PHONE, "imap", f"{USER}*boss", "master")
        self.assertEqual(status, 0, said)
        with socket.create_connection(("127.0.0.1", self.store.ports["imap"]), PATIENCE, (PHONE, 0)) as client:
            stream = client.makefile("rwb")
            stream.readline()
            stream.write(b"a AUTHENTICATE ANONYMOUS\r\n")
            stream.flush()
            self.assertTrue(stream.readline().startswith(b"+"))
            stream.write(b"dGVzdA==\r\n")
            stream.flush()
            self.assertTrue(stream.readline().startswith(b"a OK"))
        # Behind these, so that theirs have been heard.
        self.fetch(THIRD)
        self.wait_relays(THIRD)
        self.assertEqual(self.counter("logins_recorded_dovecot"), 1)
        self.assertEqual(self.wait_event("login_recorded")[0]["machine"], THIRD)
        self.assertEqual(self.relay_code(PHONE), 550)

    def test_with_dovecots_own_attributes(self):
        """Nothing configured but the URL and the nonce."""
        self.start(attributes=None)
        self.assertEqual(self.fetch(PHONE, "imap")[0], 0)
        self.wait_relays(PHONE)
        self.assertEqual(self.relay_code(STRANGER), 550)

    def test_the_window_ends(self):
        self.start(window=3)
        self.assertEqual(self.fetch(PHONE)[0], 0)
        self.wait_relays(PHONE)
        since = time.monotonic()
        wait_until(lambda: self.relay_code(PHONE) == 550, "the window's end", every=0.05)
        self.assertLess(time.monotonic() - since, 3.5)  # the report took a moment, too
        self.assertEqual(self.fetch(PHONE)[0], 0)  # and it opens anew
        self.wait_relays(PHONE)

    def test_a_feed_that_is_not_listed(self):
        self.start(feeds=[THIRD])
        status, said = self.fetch(PHONE)
        self.assertEqual(status, 0, said)  # Dovecot lets in whom it cannot ask about
        refused = self.wait_event("feed_refused")[0]
        self.assertEqual((refused["client"], refused["level"]), (FEED, "warning"))
        good = {"login": USER, "remote": PHONE, "protocol": "imap", "success": True}
        self.assertEqual(self.report(good)[0], 403)
        self.assertEqual(self.report(good, command="allow")[0], 403)
        self.assertEqual(self.relay_code(PHONE), 550)
        self.assertEqual(self.counter("logins_recorded_dovecot"), 0)
        self.assertEqual(self.report(good, source=THIRD), (200, '{"status":0}'))
        self.assertEqual(self.relay_code(PHONE), 250)
        # Who is believed changes without a restart.
        self.postern.change(logins={"feeds": [FEED]})
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        self.assertEqual(self.report(good, source=THIRD)[0], 403)
        self.assertEqual(self.report(good)[0], 200)

    def test_postern_down_means_no_grant_and_no_harm(self):
        self.start()
        self.postern.kill9()
        self.assertEqual(self.fetch(PHONE)[0], 0)
        self.postern.start()
        self.assertEqual(self.relay_code(PHONE), 550)
        self.assertEqual(self.fetch(PHONE)[0], 0)
        self.wait_relays(PHONE)


class Guesses(LoginCase):
    """One count for SMTP, POP3 and IMAP."""

    def prepare(self):
        self.postern.user("add", USER, password=PASSWORD)

    def start_both(self, **more):
        self.start(services=[{"name": "smtp", "relay": {"after_login": True}},
                             *submission_services(("PLAIN",), errors=0)],
                   certificate=[Authority(self).issue("server").setting()], **more)

    def guess_at_dovecot(self, source, count, user=USER):
        before = len(self.postern.events("login_failed"))
        for number in range(count):
            self.assertEqual(self.fetch(source, "pop3", user, f"guess {number}")[0], WEAK)
            self.wait_event("login_failed", before + number + 1)

    def smtp_login(self, source, user=USER, password=PASSWORD) -> int:
        with RawClient(self.postern.port("submissions"), source=source, tls=untrusting_context()) as client:
            client.ehlo()
            return client.auth_plain(user, password).code

    def test_guessing_at_dovecot_bars_everywhere(self):
        self.start_both(guard={"failures": 3})
        self.guess_at_dovecot(PHONE, 3, "x@example.net")
        barred = self.wait_event("barred")[0]
        self.assertEqual((barred["kind"], barred["network"]), ("machine", f"{PHONE}/32"))
        self.assertEqual(self.relay_code(PHONE), 421)
        for protocol in ("pop3", "imap"):
            status, said = self.fetch(PHONE, protocol)  # the right password
            self.assertEqual(status, WEAK, said)
            self.assertIn("Too many failed logins", said)
        self.assertEqual(self.counter("guard_failures"), 3)  # what the bar refused is no guess
        self.assertEqual(self.counter("logins_recorded_dovecot"), 0)
        self.assertEqual(self.fetch(STRANGER)[0], 0)  # others are let in
        self.wait_relays(STRANGER)
        self.command("guard", "clear", PHONE)
        self.assertEqual(self.fetch(PHONE)[0], 0)
        self.wait_relays(PHONE)

    def test_guessing_at_smtp_bars_at_dovecot(self):
        self.start_both(guard={"failures": 3})
        for _ in range(3):
            self.assertEqual(self.smtp_login(PHONE, password="guess"), 535)
        self.wait_event("barred")
        status, said = self.fetch(PHONE, "imap")
        self.assertEqual(status, WEAK, said)
        self.assertIn("Too many failed logins", said)

    def test_a_name_that_strangers_guess_at(self):
        """Its user goes on where Dovecot let him in before; strangers are refused everywhere."""
        self.start_both(guard={"failures": 4})
        self.assertEqual(self.fetch(PHONE)[0], 0)
        self.wait_relays(PHONE)
        self.guess_at_dovecot(STRANGER, 2)
        self.guess_at_dovecot(THIRD, 2)
        self.assertEqual(self.wait_event("barred")[0]["user"], USER)
        self.assertEqual(self.fetch("127.0.0.8")[0], WEAK)
        self.assertEqual(self.fetch(PHONE)[0], 0)
        self.assertEqual(self.smtp_login(PHONE), 235)

    def test_a_success_takes_its_own_failures_back(self):
        self.start_both(guard={"failures": 3})
        for _ in range(2):
            self.guess_at_dovecot(PHONE, 2)
            before = len(self.postern.events("login_recorded"))
            self.assertEqual(self.fetch(PHONE)[0], 0)
            self.wait_event("login_recorded", before + 1)
        self.assertEqual(self.counter("guard_failures"), 4)
        self.assertEqual(self.counter("guard_bars_made"), 0)
        self.guess_at_dovecot(PHONE, 3)
        self.wait_event("barred")

    def test_no_service_with_auth_is_needed(self):
        self.start(guard={"failures": 2})
        self.guess_at_dovecot(PHONE, 2)
        self.wait_event("barred")
        self.assertEqual(self.relay_code(PHONE), 421)
        self.assertIn(PHONE, self.command("guard", "list"))


class Commands(LoginCase):
    def test_add_list_remove(self):
        self.start(store=False)
        self.assertEqual(self.command("login", "list"), "0 of 0 machines\n")
        self.assertEqual(self.command("login", "add", PHONE, "--user", "anna of the store"), "recorded for 300 seconds\n")
        self.assertEqual(self.relay_code(PHONE), 250)  # at once: nothing to wait for
        self.assertEqual(self.relay_code(STRANGER), 550)
        told = self.wait_event("login_recorded")[0]
        self.assertEqual((told["source"], told["machine"], told["user"], told["seconds"]),
                         ("control", PHONE, "anna of the store", "300"))
        self.command("login", "add", "2001:db8:1:2::9", "--seconds", "604800")
        listed = json.loads(self.command("login", "list", "--json"))
        self.assertEqual((listed["total"], [each["machine"] for each in listed["logins"]]), (2, ["2001:db8:1:2::/64", PHONE]))
        self.assertTrue(604700 < listed["logins"][0]["seconds"] <= 604800)
        self.assertTrue(200 < listed["logins"][1]["seconds"] <= 300)
        self.assertRegex(self.command("login", "list", "--limit", "1"),
                         r"^2001:db8:1:2::/64 +\d+ seconds left\n1 of 2 machines\n$")
        self.assertEqual(self.command("login", "remove", PHONE), "removed\n")
        self.assertEqual(self.command("login", "remove", PHONE), "there was none\n")
        self.assertEqual(self.relay_code(PHONE), 550)
        self.assertEqual(len(self.wait_event("login_removed")), 1)
        self.assertEqual(self.counter("logins_recorded_control"), 2)

    def test_a_login_of_one_second(self):
        self.start(store=False)
        self.command("login", "add", PHONE, "--seconds", "1")
        wait_until(lambda: self.relay_code(PHONE) == 550, "the end of that second", every=0.05)

    def test_errors(self):
        self.start(store=False)
        for address in ("192.0.2", "host.example", "192.0.2.7/24", "192.0.2.7:25", "0.0.0.0", "::", "224.0.0.1", "ff02::1"):
            for verb in ("add", "remove"):
                with self.subTest(address=address, verb=verb):
                    self.assertIn("address", self.command("login", verb, address, expect=1))
        for seconds in ("0", "604801", "-1", "x"):
            self.postern.run("login", "add", PHONE, "--seconds", seconds, "--socket", self.postern.control)
        # The same over the socket itself, as a script would.
        for line, words in (("login add", "usage"), ("login", "usage"), ("login add 192.0.2.7 0", "1 to 604800"),
                            ("login add 192.0.2.7 604801", "1 to 604800"), ("login add 192.0.2.7 9e9", "1 to 604800"),
                            (f"login add 192.0.2.7 - {'u' * 256}", "longer than 255"), ("login list x", "usage"),
                            ("login list json 5", "usage"), ("login remove", "usage"), ("login drop 192.0.2.7", "usage")):
            with self.subTest(line=line):
                self.assertRegex(self.ask(line), rf"^error: .*{words}")
        self.assertEqual(self.command("login", "list"), "0 of 0 machines\n")
        self.assertEqual(self.ask("login add 192.0.2.7 60 anna of the store"), "ok\nrecorded for 60 seconds\n")
        self.assertEqual(self.ask("login add 192.0.2.8"), "ok\nrecorded for 300 seconds\n")

    def ask(self, line) -> str:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(PATIENCE)
            control.connect(self.postern.control)
            control.sendall(line.encode() + b"\n")
            answer = b""
            while piece := control.recv(4096):
                answer += piece
            return answer.decode()


class Restart(LoginCase):
    def remaining(self, machine):
        listed = json.loads(self.command("login", "list", "--json"))["logins"]
        return next((each["seconds"] for each in listed if each["machine"] == machine), 0)

    def test_logins_survive(self):
        self.start(store=False)
        self.command("login", "add", PHONE)
        before = self.remaining(PHONE)
        self.assertEqual(self.postern.stop(), 0)
        self.postern.start()
        self.assertEqual(self.relay_code(PHONE), 250)
        self.assertEqual(self.relay_code(STRANGER), 550)
        self.assertLessEqual(self.remaining(PHONE), before)
        self.assertGreater(self.remaining(PHONE), before - 60)

    def test_logins_survive_kill_9(self):
        """But for those of the last two seconds, as the manual says."""
        self.start(store=False)
        self.command("login", "add", PHONE)
        time.sleep(2)
        self.postern.kill9()
        self.postern.start()
        self.assertEqual(self.relay_code(PHONE), 250)
        self.command("login", "remove", PHONE)
        time.sleep(2)
        self.postern.kill9()
        self.postern.start()
        self.assertEqual(self.relay_code(PHONE), 550)  # and so does their end

    def test_a_window_that_ends_while_the_server_is_down(self):
        self.start(store=False)
        self.command("login", "add", PHONE, "--seconds", "2")
        self.assertEqual(self.postern.stop(), 0)
        time.sleep(2)
        self.postern.start()
        self.assertEqual(self.relay_code(PHONE), 550)

    def test_a_damaged_file(self):
        self.start(store=False)
        self.command("login", "add", PHONE)
        self.assertEqual(self.postern.stop(), 0)
        saved = os.path.join(self.postern.settings["state"], "logins")
        with open(saved, "r+b") as file:
            file.seek(60)
            file.write(b"\xff")
        self.postern.start()
        self.assertIn("logins", self.postern.events("state_unreadable")[0]["note"])
        self.assertEqual(self.relay_code(PHONE), 550)
        self.command("login", "add", PHONE)
        self.assertEqual(self.relay_code(PHONE), 250)


class Listener(LoginCase):
    def test_health_and_metrics(self):
        self.start(store=False)
        self.assertEqual(self.http_request("/healthz"), (200, "alive\n"))
        self.assertEqual(self.http_request("/readyz"), (200, "ready\n"))
        self.command("login", "add", PHONE)
        with RawClient(self.postern.port(), source=PHONE) as client:
            client.ehlo()
            self.assertEqual(client.hand_in(USER, [REMOTE], message(sender=USER)).code, 250)
            code, text = self.http_request("/metrics")
        self.assertEqual(code, 200)
        values, kinds = {}, {}
        for line in text.splitlines():
            words = line.split()
            if line.startswith("# TYPE"):
                kinds[words[2]] = words[3]
            elif not line.startswith("#"):
                self.assertRegex(line, r'^postern_[a-z_]+(\{[a-z]+="[^"]*"\})? \d+$')
                self.assertIn(words[0].partition("{")[0], kinds, "TYPE comes first")
                values[words[0]] = int(words[1])
        self.assertEqual(values["postern_messages_accepted_total"], 1)
        self.assertEqual(values['postern_logins_recorded_total{source="control"}'], 1)
        self.assertEqual(values["postern_connections_open"], 1)
        self.assertEqual((kinds["postern_connections_open"], kinds["postern_messages_accepted_total"]),
                         ("gauge", "counter"))
        self.assertIn("postern_build_info", kinds)

    def test_promtool_like_form(self):
        """Each name once, its lines together."""
        self.start(store=False)
        names = [line.split()[2] for line in self.http_request("/metrics")[1].splitlines() if line.startswith("# TYPE")]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreater(len(names), 30)

    def test_not_ready_while_it_drains(self):
        self.start(store=False)
        with RawClient(self.postern.port(), source=PHONE) as client:  # in the middle of a message: the drain waits
            client.ehlo()
            client.command("MAIL FROM:<x@elsewhere.example>")
            self.assertEqual(client.command(f"RCPT TO:<{USER}>").code, 250)
            self.assertEqual(client.command("DATA").code, 354)
            self.postern.program.signal(signal.SIGTERM)
            wait_until(lambda: self.http_request("/readyz") == (503, "draining\n"), "the drain to be told")
            self.assertEqual(self.http_request("/healthz")[0], 200)
            self.assertEqual(self.http_request("/metrics")[0], 200)
            client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            self.assertEqual(client.reply().code, 250)
        self.assertEqual(self.postern.program.wait(), 0)

    def test_what_is_not_there(self):
        self.start(store=False)
        self.assertEqual(self.http_request("/")[0], 404)
        self.assertEqual(self.http_request("/metrics/")[0], 404)
        self.assertEqual(self.http_request("/metrics", "-X", "POST")[0], 405)
        self.assertEqual(self.http_request("/metrics", "--data-binary", "x" * 1000)[0], 405)
        self.assertEqual(self.http_request("/dovecot/auth-policy?command=allow")[0], 405)
        self.assertEqual(self.report("{}", command="reset")[0], 400)
        self.assertEqual(self.report("nonsense")[0], 400)
        self.assertEqual(self.report({"login": USER, "remote": PHONE, "protocol": "imap"})[0], 400)
        self.assertEqual(len(self.wait_event("feed_malformed", 3)), 3)

    def test_bodies_are_bounded(self):
        self.start(store=False)
        good = {"login": USER, "remote": PHONE, "protocol": "imap", "success": True}
        blank = " " * (65536 - len(json.dumps(good)))
        for body, arguments, code in ((blank, [], 200), (blank + " ", [], 413),
                                      (blank, ["-H", "Transfer-Encoding: chunked"], 200),
                                      (blank + " ", ["-H", "Transfer-Encoding: chunked"], 0)):
            path = self.path("body")
            with open(path, "w", encoding="ascii") as file:
                file.write(json.dumps(good) + body)
            with self.subTest(octets=os.path.getsize(path), arguments=arguments):
                self.assertEqual(self.http_request("/dovecot/auth-policy?command=report", *arguments, "--data-binary",
                                                   f"@{path}")[0], code)
        self.assertEqual(self.counter("logins_recorded_dovecot"), 2)
        self.assertEqual(len(self.wait_event("feed_malformed", 2)), 2)
        self.assertEqual(self.http_request("/healthz", "-H", "X: " + "y" * 20000)[0], 431)

    def test_garbage_and_floods(self):
        """Who floods it from one address keeps no other out, and from many no feed."""
        self.start(store=False)
        held = []
        for octets in (b"", b"\0" * 100, b"GET", b"EHLO x\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01" + os.urandom(400),
                       b"POST /dovecot/auth-policy?command=report HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n{"):
            for _ in range(40):
                connection = socket.create_connection(("127.0.0.1", self.http), PATIENCE, (STRANGER, 0))
                self.addCleanup(connection.close)
                connection.sendall(octets)
                held.append(connection)
        self.assertEqual(len(held), 280)
        self.assertEqual(self.http_request("/healthz", source=THIRD), (200, "alive\n"))
        self.assertEqual(self.http_request("/healthz", source=STRANGER)[0], 0)
        for last in range(20, 26):
            for _ in range(40):
                connection = socket.create_connection(("127.0.0.1", self.http), PATIENCE, (f"127.0.0.{last}", 0))
                self.addCleanup(connection.close)
        self.assertEqual(self.http_request("/healthz", source=THIRD)[0], 0)
        good = {"login": USER, "remote": PHONE, "protocol": "imap", "success": True}
        self.assertEqual(self.report(good)[0], 200)
        self.assertEqual(self.relay_code(PHONE), 250)

    def test_a_request_that_never_ends(self):
        """One octet now and then keeps no connection: it ends with its thirty seconds."""
        self.start(store=False)
        with socket.create_connection(("127.0.0.1", self.http), 60) as client:
            since = time.monotonic()
            client.settimeout(0.5)
            client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
            ended = False
            while not ended and time.monotonic() - since < 60:
                try:
                    client.sendall(b"y")
                    ended = client.recv(1) == b""
                except TimeoutError:
                    pass
                except ConnectionError:
                    ended = True
            self.assertTrue(ended)
            self.assertGreater(time.monotonic() - since, 25)
            self.assertLess(time.monotonic() - since, 45)

    def test_port_taken(self):
        self.start(store=False)
        second = Postern(self, name="second", start=False, admin={"http": f"127.0.0.1:{self.http}"})
        second.start(ready=False)
        self.assertNotEqual(second.program.wait(), 0)
        self.assertIn("admin.http", second.log())

    def test_check(self):
        self.start(store=False)
        status, out, _ = self.postern.run("check", self.postern.config)
        self.assertEqual(status, 0)
        self.assertIn(f"metrics and health at 127.0.0.1:{self.http}; logins are believed from 127.0.0.1/32", out)
        self.assertNotIn("nothing records", out)
        self.postern.change(logins={"feeds": []})
        status, out, _ = self.postern.run("check", self.postern.config)
        self.assertEqual(status, 0)
        self.assertIn("after_login: nothing records POP3/IMAP logins but 'postern login add'", out)


if __name__ == "__main__":
    main()
