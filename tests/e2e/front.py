"""The POP3/IMAP front with a real Dovecot behind it: real mail programs collect mail through it and their machine may relay
then; everybody else may not. TLS, what the store is told of the client, guesses, and stores and clients that misbehave."""

import os
import re
import socket
import ssl
import threading
import time

from harness import (PATIENCE, Authority, Case, Postern, RawClient, Sink, free_port, main, message, program,
                     proxy_v1, proxy_v2, route_to, run, wait_until)
from harness.mail_store import MailStore

USER, PASSWORD = "anna@example.net", "tulip Kettle 47 harbour"
OTHER, OTHER_PASSWORD = "bert@example.net", "acht Hummeln brummen leise"
PHONE, STRANGER, THIRD = "127.0.0.5", "127.0.0.6", "127.0.0.7"
REMOTE = "bob@remote.example"
LAN = ["127.0.0.64/26"]  # nobody who collects mail here
WEAK = 67  # curl: login denied


class Talk:
    """A raw POP3 or IMAP client, line by line."""

    def __init__(self, port: int, source: str = PHONE, tls: ssl.SSLContext | None = None, preamble: bytes = b""):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(source, 0))
        self.buffer = b""
        if preamble:
            self.send(preamble)
        if tls:
            self.wrap(tls)

    def wrap(self, tls: ssl.SSLContext) -> None:
        self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def send(self, octets: bytes | str) -> None:
        self.socket.sendall(octets.encode() if isinstance(octets, str) else octets)

    def receive(self) -> bool:
        try:
            more = self.socket.recv(65536)
        except ConnectionError:
            more = b""
        self.buffer += more
        return bool(more)

    def line(self) -> str:
        """Without its CRLF; "" when the server has closed."""
        while b"\r\n" not in self.buffer:
            if not self.receive():
                return ""
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode()

    def command(self, line: str) -> str:
        """POP3: the reply. IMAP (a tag in front): the tagged reply, the others before it."""
        self.send(line + "\r\n")
        tag = line.split(" ", 1)[0]
        answer = self.line()
        while answer.startswith("* ") and not answer.startswith("* BYE") and re.fullmatch(r"[a-z]\d*", tag):
            answer = self.line()
        return answer

    def multiline(self) -> list[str]:
        lines = []
        while (line := self.line()) != ".":
            if not line and not self.buffer:
                raise AssertionError(f"no end of a list: {lines}")
            lines.append(line)
        return lines

    def closed_by_server(self) -> bool:
        self.socket.settimeout(PATIENCE)
        try:
            while self.receive():
                pass
            return True
        except TimeoutError:
            return False


class FrontCase(Case):
    """Mailboxes "pop3" and "imap" (STARTTLS), "pop3s" and "imaps" (implicit TLS), and an SMTP service with after_login."""

    def start(self, *, store=True, proxied=True, window=300, mailbox=None, more="", limits=None, **settings):
        self.authority = Authority(self)
        self.proxied = proxied
        if store:
            self.start_store(more)
        else:
            self.ports = {protocol: free_port() for protocol in ("pop3", "imap")}
        self.sink = self.track(Sink())
        mailboxes = [self.mailbox(name, **(mailbox or {})) for name in ("pop3", "imap", "pop3s", "imaps")]
        self.postern = Postern(
            self, start=False, route=[route_to(self.sink.port)], lan=LAN, logins={"window_seconds": window},
            limits={"connections": 4000, **(limits or {})}, service=[{"name": "smtp", "relay": {"after_login": True}}, {"name": "closed"}], mailbox=mailboxes,
            certificate=[self.authority.issue("server").setting()], **settings)
        self.tls = self.authority.client_context()
        self.postern.start()

    def start_store(self, more=""):
        self.ports = {protocol: free_port() for protocol in ("pop3", "imap")}
        listeners = "".join(f"""
service {protocol}-login {{
  inet_listener front {{
    port = {port}
    haproxy = {"yes" if self.proxied else "no"}
  }}
}}
""" for protocol, port in self.ports.items())
        self.store = MailStore(self, {USER: PASSWORD, OTHER: OTHER_PASSWORD},
                               more=listeners + ("haproxy_trusted_networks = 127.0.0.1\n" if self.proxied else "") + more)

    def mailbox(self, name, **more):
        protocol = name.rstrip("s") if name != "pop3s" else "pop3"
        return {"name": name, "protocol": protocol, "listen": ["127.0.0.1:0"], "store": f"127.0.0.1:{self.ports[protocol]}",
                "tls": "implicit" if name.endswith("s") else "starttls", "store_proxy_protocol": self.proxied, **more}

    # --- questions ----------------------------------------------------------------------------------------------------
    def relay_code(self, source, service="smtp") -> int:
        """What RCPT for a remote recipient is answered, or the greeting that refuses."""
        with RawClient(self.postern.port(service), source=source) as client:
            if client.greeting.code != 220:
                return client.greeting.code
            client.ehlo()
            self.assertEqual(client.command("MAIL FROM:<anyone@elsewhere.example>").code, 250)
            return client.command(f"RCPT TO:<{REMOTE}>").code

    def curl(self, name, source=PHONE, user=USER, password=PASSWORD, *more, path="", tls=True) -> tuple[int, str]:
        """curl collects mail; its status, and what was said."""
        encrypted = ["--ssl-reqd", "--cacert", self.authority.file] if tls else []
        status, out, error = run([
            program("curl", "curl"), "-sv", "--max-time", str(int(PATIENCE)), "--interface", source, "-u",
            f"{user}:{password}", *encrypted, *more, f"{name}://localhost:{self.postern.port(name)}/{path}"], seconds=150)
        return status, out + error

    def wait_event(self, event, count=1):
        return wait_until(lambda: len(self.postern.events(event)) >= count and self.postern.events(event),
                          f"{count} x {event} in the log")

    def counter(self, name) -> int:
        status, out, error = self.postern.run("status", "--socket", self.postern.control)
        self.assertEqual(status, 0, error)
        return int(dict(line.split() for line in out.splitlines())[name])


class MailPrograms(FrontCase):
    def test_curl(self):
        self.start()
        for number, name in enumerate(("pop3", "imap", "pop3s", "imaps"), 1):
            source = f"127.0.0.{10 + number}"
            with self.subTest(name=name):
                self.assertEqual(self.relay_code(source), 550)
                status, said = self.curl(name, source)
                self.assertEqual(status, 0, said)
                self.assertEqual(self.relay_code(source), 250)
                self.assertEqual(self.relay_code(STRANGER), 550)
                self.assertEqual(self.relay_code(source, "closed"), 550)  # after_login is that service's own
                told = self.wait_event("login_recorded", number)[-1]
                self.assertEqual((told["source"], told["machine"], told["user"], told["seconds"]),
                                 ("front", source, USER, "300"))
                login = self.wait_event("login", number)[-1]
                self.assertEqual((login["service"], login["client"], login["encrypted"]), (name, source, "yes"))
        with RawClient(self.postern.port(), source="127.0.0.11") as client:
            client.ehlo()
            self.assertEqual(client.hand_in(USER, [REMOTE], message(sender=USER)).code, 250)
        self.assertEqual(self.sink.wait_for(1)[0].recipients, [REMOTE])
        self.assertEqual(self.counter("logins_recorded_front"), 4)
        self.assertEqual(self.counter("mailbox_logins_accepted"), 4)

    def collect(self, name, command):
        """A mail program that speaks from 127.0.0.1, alone."""
        self.postern.run("login", "remove", "127.0.0.1", "--socket", self.postern.control)
        self.assertEqual(self.relay_code("127.0.0.1"), 550)
        status, out, error = run(command, seconds=PATIENCE, env={**os.environ, "HOME": self.folder})
        self.assertEqual(status, 0, f"{name}: {out}{error}")
        self.assertEqual(self.relay_code("127.0.0.1"), 250, name)
        self.assertEqual(self.relay_code(STRANGER), 550)

    def append(self, content: bytes, name="imap"):
        """Into the mailbox, through the front."""
        path = self.path("content")
        with open(path, "wb") as file:
            file.write(content)
        status, said = self.curl(f"{name}", PHONE, USER, PASSWORD, "-T", path, path="INBOX")
        self.assertEqual(status, 0, said[-3000:])

    def test_fetchmail_mpop_mbsync(self):
        self.start()
        content = message(sender=OTHER, subject="through the front")
        self.append(content)
        for protocol, name in (("pop3", "pop3"), ("pop3", "pop3s"), ("imap", "imap"), ("imap", "imaps")):
            with self.subTest(program="fetchmail", name=name):
                self.collect("fetchmail", self.fetchmail(protocol, name))
                self.assert_collected(self.path(f"fetchmail-{name}"))
        for name in ("pop3", "pop3s"):
            with self.subTest(program="mpop", name=name):
                self.collect("mpop", self.mpop(name))
                self.assert_collected(self.path(f"mpop-{name}", "new"))
        for name in ("imap", "imaps"):
            with self.subTest(program="mbsync", name=name):
                self.collect("mbsync", self.mbsync(name))
                self.assert_collected(self.path(f"mbsync-{name}", "INBOX"))

    def assert_collected(self, place):
        found = b""
        for folder, _, names in os.walk(place) if os.path.isdir(place) else [(os.path.dirname(place), [], [place])]:
            for each in names:
                with open(os.path.join(folder, each), "rb") as file:
                    found += file.read()
        self.assertIn(b"Subject: through the front", found)

    def write(self, name, text) -> str:
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def fetchmail(self, protocol, name):
        tls = "ssl" if name.endswith("s") else 'sslproto "auto"'
        rc = self.write(f"fetchmailrc-{name}", f"""
poll localhost protocol {protocol} port {self.postern.port(name)} auth password
  username "{USER}" password "{PASSWORD}" {tls} sslcertck sslcertfile "{self.authority.file}"
  keep fetchall mda "cat >> {self.path(f"fetchmail-{name}")}"
""")
        return [program("fetchmail", "fetchmail"), "-f", rc, "--nodetach", "--nosyslog", "--pidfile", self.path("fetchmail.pid"),
                "--idfile", self.path(f"fetchids-{name}")]

    def mpop(self, name):
        folder = self.path(f"mpop-{name}")
        for each in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(folder, each))
        rc = self.write(f"mpoprc-{name}", f"""
account this
host localhost
port {self.postern.port(name)}
user {USER}
password {PASSWORD}
tls on
tls_starttls {"off" if name.endswith("s") else "on"}
tls_trust_file {self.authority.file}
keep on
uidls_file {self.path(f"uidls-{name}")}
delivery maildir {folder}
""")
        return [program("mpop", "mpop"), f"--file={rc}", "this"]

    def mbsync(self, name):
        folder = self.path(f"mbsync-{name}")
        os.makedirs(folder)
        rc = self.write(f"mbsyncrc-{name}", f"""
IMAPAccount this
Host localhost
Port {self.postern.port(name)}
User {USER}
Pass "{PASSWORD}"
SSLType {"IMAPS" if name.endswith("s") else "STARTTLS"}
SystemCertificates no
CertificateFile {self.authority.file}

IMAPStore far
Account this

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX

Channel this
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync Pull
SyncState {folder}/state-
""")
        return [program("mbsync", "isync"), "-c", rc, "-q", "this"]

    def test_large_mail_both_ways(self):
        """Octet for octet, encrypted and in plain text."""
        self.start(mailbox={"plain_on_lan": True})
        content = b"".join(b"%d %s\r\n" % (line, os.urandom(30).hex().encode()) for line in range(300_000))  # 20 MB
        head = b"From: anna@example.net\r\nSubject: large\r\n\r\n"
        self.append(head + content, "imaps")
        got = self.path("got")
        for name in ("pop3s", "pop3", "imaps", "imap"):
            with self.subTest(name=name):
                plain = name in ("pop3", "imap")
                path = "1" if name.startswith("pop3") else "INBOX;MAILINDEX=1"
                more = ["--max-time", "120", "-o", got]
                status, said = self.curl(name, "127.0.0.65" if plain else PHONE, USER, PASSWORD, *more, path=path,
                                         tls=not plain)
                self.assertEqual(status, 0, said[-3000:])
                with open(got, "rb") as file:
                    octets = file.read()
                self.assertEqual(len(octets), len(head + content))
                self.assertEqual(octets, head + content)
        self.assertGreater(self.counter("mailbox_bytes_to_clients"), 4 * len(content))
        self.assertGreater(self.counter("mailbox_bytes_to_stores"), len(content))


class Logins(FrontCase):
    def test_the_window_ends(self):
        self.start(window=3)
        self.assertEqual(self.curl("pop3s")[0], 0)
        since = time.monotonic()
        self.assertEqual(self.relay_code(PHONE), 250)
        wait_until(lambda: self.relay_code(PHONE) == 550, "the window's end", every=0.05)
        self.assertLess(time.monotonic() - since, 3.5)
        self.assertEqual(self.curl("imap")[0], 0)  # and it opens anew
        self.assertEqual(self.relay_code(PHONE), 250)

    def test_a_failed_login_grants_nothing(self):
        self.start()
        cases = (("pop3", USER, "wrong"), ("imap", USER, OTHER_PASSWORD), ("pop3s", "nobody@example.net", PASSWORD),
                 ("imaps", USER, "wrong"))
        for number, (name, user, password) in enumerate(cases, 1):
            status, said = self.curl(name, PHONE, user, password)
            self.assertEqual(status, WEAK, said)
            failed = self.wait_event("login_failed", number)[-1]
            self.assertEqual((failed["service"], failed["client"], failed["user"], failed["reason"]),
                             (name, PHONE, user, "wrong-credentials"))
            self.assertEqual(self.relay_code(PHONE), 550)
        self.assertEqual(self.postern.events("login_recorded"), [])
        self.assertEqual(self.counter("guard_failures"), 4)

    def test_a_connection_that_does_not_log_in_grants_nothing(self):
        self.start()
        for name, goodbye, said in (("pop3", "QUIT", "+OK"), ("imap", "a LOGOUT", "* BYE")):
            with Talk(self.postern.port(name)) as client:
                client.line()
                self.assertTrue(client.command(goodbye).startswith(said))
                self.assertTrue(client.closed_by_server())
        self.assertEqual(self.relay_code(PHONE), 550)

    def test_no_password_in_plain_text(self):
        """Not offered, not taken, and not handed to the store; in the LAN where the settings say so."""
        self.start(mailbox={"plain_on_lan": True})
        with Talk(self.postern.port("pop3")) as client:
            client.line()
            self.assertEqual(client.command("CAPA"), "+OK Capability list follows")
            offered = client.multiline()
            self.assertIn("STLS", offered)
            self.assertNotIn("USER", offered)
            self.assertFalse([each for each in offered if each.startswith("SASL") and "PLAIN" in each])
            self.assertTrue(client.command(f"USER {USER}").startswith("-ERR"))
            self.assertTrue(client.command(f"PASS {PASSWORD}").startswith("-ERR"))
        with Talk(self.postern.port("imap")) as client:
            self.assertIn("LOGINDISABLED", client.line())
            self.assertTrue(client.command(f'a LOGIN {USER} "{PASSWORD}"').startswith("a NO [PRIVACYREQUIRED]"))
        self.assertEqual(self.relay_code(PHONE), 550)
        self.assertNotIn("Login", self.store.log())
        with Talk(self.postern.port("imap"), "127.0.0.65") as client:
            self.assertNotIn("LOGINDISABLED", client.line())
            self.assertTrue(client.command(f'a LOGIN {USER} "{PASSWORD}"').startswith("a OK"))
        for secret in (PASSWORD, PASSWORD.split()[0]):
            self.assertNotIn(secret, self.postern.log())

    def test_master_users_grant_nothing(self):
        masters = self.path("masters")
        with open(masters, "w", encoding="utf-8") as file:
            file.write("boss:{PLAIN}master\n")
        self.start(mailbox={"master_separator": "*"}, more=f"""
auth_master_user_separator = *
passdb {{
  driver = passwd-file
  master = yes
  args = {masters}
}}
""")
        for name in ("imaps", "pop3"):
            status, said = self.curl(name, PHONE, f"{USER}*boss", "master")
            self.assertEqual(status, 0, said)
            self.assertEqual(self.relay_code(PHONE), 550)
        self.assertEqual(len(self.wait_event("login", 2)), 2)
        self.assertEqual(self.postern.events("login_recorded"), [])

    def test_guesses_are_one_count(self):
        """Failures at POP3 and IMAP bar the machine everywhere, before TLS and before any password."""
        self.start(guard={"failures": 4})
        held = Talk(self.postern.port("imaps"), tls=self.tls)
        held.line()
        for name in ("pop3s", "imaps", "pop3", "imap"):
            self.assertEqual(self.curl(name, PHONE, USER, "a guess")[0], WEAK)
        barred = self.wait_event("barred")[0]
        self.assertEqual((barred["kind"], barred["network"]), ("machine", f"{PHONE}/32"))
        before = self.store.log().count("auth failed")
        with Talk(self.postern.port("pop3")) as client:
            self.assertEqual(client.line(), "-ERR [SYS/TEMP] Too many failed logins from your network, try again later")
            self.assertTrue(client.closed_by_server())
        with Talk(self.postern.port("imap")) as client:
            self.assertEqual(client.line(), "* BYE [UNAVAILABLE] Too many failed logins from your network, try again later")
            self.assertTrue(client.closed_by_server())
        for name in ("pop3s", "imaps"):
            with Talk(self.postern.port(name)) as client:
                self.assertTrue(client.closed_by_server())
                self.assertEqual(client.buffer, b"")
        self.assertEqual(self.relay_code(PHONE), 421)
        # One that was open before: no password is looked at any more, right or wrong.
        self.assertTrue(held.command(f'a LOGIN {USER} "{PASSWORD}"').startswith("a NO"))
        self.assertTrue(held.closed_by_server())
        self.assertEqual(self.store.log().count("auth failed"), before)
        held.socket.close()
        self.assertEqual(self.curl("pop3s", THIRD, OTHER, OTHER_PASSWORD)[0], 0)
        self.assertEqual(self.wait_event("login_failed", 5)[-1]["reason"], "barred")


class Store(FrontCase):
    def store_logs(self, pattern, count=1):
        """Dovecot answers a client before it writes its log."""
        return wait_until(lambda: len(found := re.findall(pattern, self.store.log())) >= count and found,
                          lambda: f"{pattern} in the store's log:\n{self.store.log()}")

    def test_is_told_the_client(self):
        """By a PROXY header, with TLS in it: Dovecot takes a password then although disable_plaintext_auth is on."""
        self.start(more="disable_plaintext_auth = yes\n")
        for name in ("pop3s", "imaps"):
            status, said = self.curl(name)
            self.assertEqual(status, 0, said)
            self.store_logs(rf"{name[:4]}-login: Info: Login: user=<{USER}>, .*rip={re.escape(PHONE)}, ")
        self.assertEqual(self.relay_code(PHONE), 250)

    def test_is_told_the_client_by_its_own_means(self):
        """By XCLIENT and by ID, where Dovecot trusts the front."""
        self.start(proxied=False, more="login_trusted_networks = 127.0.0.1\n")
        for name in ("pop3", "imap", "pop3s", "imaps"):
            status, said = self.curl(name)
            self.assertEqual(status, 0, said)
        for protocol in ("pop3", "imap"):
            found = self.store_logs(rf"{protocol}-login: Info: Login: user=<{USER}>, .*rip=([^,]+), ", 2)
            self.assertEqual(found, [PHONE, PHONE])

    def test_behind_a_balancer(self):
        """The client is the one that the balancer names, for the grant and for the store."""
        self.start(mailbox={"proxy_protocol": True}, proxy_from=["127.0.0.9/32"])
        for name, header, client in (("pop3s", proxy_v1("198.51.100.7"), "198.51.100.7"),
                                     ("imaps", proxy_v2("2001:db8::7"), "2001:db8::7")):
            with Talk(self.postern.port(name), "127.0.0.9", self.tls, header) as talk:
                talk.line()
                if name == "imaps":
                    self.assertTrue(talk.command(f'a LOGIN {USER} "{PASSWORD}"').startswith("a OK"))
                else:
                    talk.command(f"USER {USER}")
                    self.assertTrue(talk.command(f"PASS {PASSWORD}").startswith("+OK"))
            self.store_logs(re.escape(f"rip={client}, "))
        self.assertEqual([each["machine"] for each in self.wait_event("login_recorded", 2)],
                         ["198.51.100.7", "2001:db8::7"])
        self.assertEqual(self.relay_code("127.0.0.9"), 550)
        with Talk(self.postern.port("pop3"), PHONE, preamble=proxy_v1("198.51.100.7")) as talk:
            self.assertTrue(talk.closed_by_server())
            self.assertEqual(talk.buffer, b"")

    def test_down_and_up_again(self):
        self.start(store=False)
        with Talk(self.postern.port("pop3")) as client:
            self.assertEqual(client.line(), "-ERR [SYS/TEMP] Mail store is not available now, try again later")
            self.assertTrue(client.closed_by_server())
        with Talk(self.postern.port("imap")) as client:
            self.assertEqual(client.line(), "* BYE [UNAVAILABLE] Mail store is not available now, try again later")
            self.assertTrue(client.closed_by_server())
        failed = self.wait_event("mailbox_store_failed", 2)
        self.assertEqual({(each["service"], each["reason"], each["level"]) for each in failed},
                         {("pop3", "Connection refused", "warning"), ("imap", "Connection refused", "warning")})
        self.assertEqual(self.relay_code(PHONE), 550)

    def test_goes_away_in_the_middle(self):
        self.start()
        with Talk(self.postern.port("imaps"), tls=self.tls) as before, Talk(self.postern.port("imaps"), tls=self.tls) as after:
            before.line()
            after.line()
            self.assertTrue(after.command(f'a LOGIN {USER} "{PASSWORD}"').startswith("a OK"))
            self.store.stop()
            self.assertTrue(before.closed_by_server())
            self.assertTrue(before.buffer.startswith(b"* BYE"), before.buffer)
            self.assertTrue(after.closed_by_server())
        self.store.start()
        self.assertEqual(self.curl("imaps", THIRD)[0], 0)


class Connections(FrontCase):
    def login(self, name, source=PHONE) -> Talk:
        client = Talk(self.postern.port(name), source, self.tls)
        client.line()
        self.assertTrue(client.command(f'a LOGIN {USER} "{PASSWORD}"').startswith("a OK"))
        return client

    def test_idle(self):
        """IDLE waits at no cost, and is told of what comes."""
        self.start()
        with self.login("imaps") as client, self.login("imaps", THIRD) as other:
            self.assertTrue(client.command("b SELECT INBOX").startswith("b OK"))
            client.send("c IDLE\r\n")
            while not client.line().startswith("+"):
                pass
            self.assertEqual(self.counter("mailbox_connections_open"), 2)
            content = b"Subject: hello\r\n\r\nx\r\n"
            other.send(b"b APPEND INBOX {%d}\r\n" % len(content))
            self.assertTrue(other.line().startswith("+"))
            other.send(content + b"\r\n")
            self.assertEqual(client.line(), "* 1 EXISTS")
            client.send("DONE\r\n")
            while not (said := client.line()).startswith("c "):
                self.assertTrue(said)
            self.assertTrue(said.startswith("c OK"))
        wait_until(lambda: self.counter("mailbox_connections_open") == 0, "the connections to end", every=0.05)

    def test_an_idle_one_is_closed_in_the_end(self):
        self.start(mailbox={"idle_seconds": 10})
        with self.login("imaps") as client:
            began = time.monotonic()
            self.assertTrue(client.closed_by_server())
            self.assertGreater(time.monotonic() - began, 9)
        self.assertEqual(self.wait_event("timeout")[0]["after_login"], "yes")

    def test_drain(self):
        self.start()
        with self.login("imaps") as inside, Talk(self.postern.port("imaps"), tls=self.tls) as imap, \
                Talk(self.postern.port("pop3")) as pop3:
            imap.line()
            pop3.line()
            self.assertEqual(self.postern.stop(), 0)
            self.assertTrue(imap.closed_by_server())
            self.assertEqual(imap.buffer, b"* BYE Server is shutting down\r\n")
            self.assertTrue(pop3.closed_by_server())
            self.assertEqual(pop3.buffer, b"-ERR Server is shutting down\r\n")
            self.assertTrue(inside.closed_by_server())

    def test_reload(self):
        self.start()
        source = "127.0.0.65"
        with Talk(self.postern.port("imap"), source) as client:
            self.assertIn("LOGINDISABLED", client.line())
        with self.login("imaps") as held:
            for each in self.postern.settings["mailbox"]:
                each["plain_on_lan"] = True
                if each["name"] == "pop3":
                    each["access"] = ["127.0.0.65"]
            self.postern.change()
            self.assertEqual(self.postern.reload()["event"], "reloaded")
            with Talk(self.postern.port("imap"), source) as client:
                self.assertNotIn("LOGINDISABLED", client.line())
            with Talk(self.postern.port("pop3")) as client:
                self.assertEqual(client.line(), "-ERR [SYS/PERM] This service is not open to your address")
                self.assertTrue(client.closed_by_server())
            self.assertEqual(self.wait_event("reject")[-1]["rule"], "access_not_listed")
            self.assertTrue(held.command("b NOOP").startswith("b OK"))
            self.postern.settings["mailbox"][0]["listen"] = ["127.0.0.2:0"]
            self.postern.change()
            failed = self.postern.reload()
            self.assertEqual(failed["event"], "reload_failed")
            self.assertIn("listen of mailbox pop3", " ".join(failed.values()))

    def test_what_is_pipelined_behind_starttls_is_thrown_away(self):
        self.start()
        for name, command, good, then in (("pop3", "STLS", "+OK", "CAPA"), ("imap", "a STARTTLS", "a OK", "b CAPABILITY")):
            with self.subTest(name=name), Talk(self.postern.port(name)) as client:
                client.line()
                client.send(f"{command}\r\nx LOGIN {USER} \"{PASSWORD}\"\r\nUSER {USER}\r\nPASS {PASSWORD}\r\n")
                self.assertTrue(client.line().startswith(good))
                self.assertEqual(client.buffer, b"")
                client.wrap(self.tls)
                client.send(then + "\r\n")
                self.assertTrue(client.line().startswith(("+OK", "* CAPABILITY")))
        self.assertEqual(self.relay_code(PHONE), 550)

    def test_too_many_of_a_machine(self):
        self.start(limits={"connections_per_machine": 2})
        with Talk(self.postern.port("imap")) as one, Talk(self.postern.port("pop3")) as two:
            one.line()
            two.line()
            with Talk(self.postern.port("pop3")) as third:
                self.assertEqual(third.line(), "-ERR [SYS/TEMP] Too many connections, try again later")
                self.assertTrue(third.closed_by_server())
            with Talk(self.postern.port("imap"), THIRD) as other:
                self.assertTrue(other.line().startswith("* OK"))
        self.assertEqual(self.wait_event("shed")[0]["client"], PHONE)


class BadClients(FrontCase):
    def assert_no_grant(self, event, **fields):
        found = self.wait_event(event)[-1]
        self.assertEqual({key: found[key] for key in fields}, fields)
        self.assertEqual(self.relay_code(PHONE), 550)
        self.assertEqual(self.postern.events("login_recorded"), [])

    def test_malformed_lines(self):
        self.start(mailbox={"plain_on_lan": True, "errors": 0})
        with Talk(self.postern.port("pop3")) as client:
            client.line()
            for line in ("", " ", "USER", "PASS x", "NOOP", "STAT", "USER\t" + USER, "\0\1\2", "APOP x", "AUTH", "AUTH NOSUCH",
                         "USER " + "x" * 300, "XYZZY " * 200):
                answer = client.command(line)
                self.assertTrue(answer.startswith("-ERR") or line == "AUTH", (line, answer))
                if line == "AUTH":
                    self.assertTrue(answer.startswith("+OK"))
                    client.multiline()
        with Talk(self.postern.port("imap")) as client:
            client.line()
            for line in ("", "a", "a LOGIN", "* LOGIN x y", "+ NOOP", "a SELECT INBOX", "a LOGIN (x) y", 'a LOGIN "x y', "a NOSUCH",
                         "a AUTHENTICATE", "a AUTHENTICATE NOSUCH", "\0\1 x", "a LOGIN {x} y"):
                client.send(line + "\r\n")
                answer = client.line()
                self.assertRegex(answer, r"^(a|\*) (BAD|NO) ", line)
        self.assertEqual(self.relay_code(PHONE), 550)
        self.assertNotIn("Login", self.store.log())

    def test_too_many_errors(self):
        self.start(mailbox={"errors": 3})
        with Talk(self.postern.port("pop3")) as client:
            client.line()
            for _ in range(3):
                self.assertTrue(client.command("XYZZY").startswith("-ERR"))
            self.assertTrue(client.closed_by_server())
        self.assert_no_grant("mailbox_closed", service="pop3", reason="errors", client=PHONE)

    def test_endless_lines(self):
        self.start()
        for number, (name, said) in enumerate((("pop3", b"-ERR Line"), ("imap", b"* BYE Command too long")), 1):
            with self.subTest(name=name), Talk(self.postern.port(name)) as client:
                client.line()
                try:
                    for _ in range(4000):
                        client.send(b"USER " + b"x" * 65536)
                except ConnectionError:
                    pass
                self.assertTrue(client.closed_by_server())
                self.assertIn(said, client.buffer)
                self.wait_event("mailbox_closed", number)
                self.assert_no_grant("mailbox_closed", service=name, reason="line-too-long")

    def test_a_literal_of_4_gib(self):
        self.start()
        with Talk(self.postern.port("imaps"), tls=self.tls) as client:
            client.line()
            self.assertRegex(client.command("a LOGIN {4294967296}"), "^a (BAD|NO) ")
            self.assertRegex(client.command(f"a LOGIN {USER} {{18446744073709551616}}"), "^a (BAD|NO) ")
            self.assertTrue(client.command("b NOOP").startswith("b OK"))  # nothing was asked for, nothing came
        with Talk(self.postern.port("imaps"), tls=self.tls) as client:
            client.line()
            client.send("a LOGIN {4294967296+}\r\n" + "x" * 1000)
            self.assertTrue(client.closed_by_server())
            self.assertIn(b"BYE", client.buffer)
        self.assert_no_grant("mailbox_closed", service="imaps", reason="line-too-long")

    def test_a_browser(self):
        self.start()
        for name in ("pop3", "imap"):
            with Talk(self.postern.port(name)) as client:
                client.line()
                client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertTrue(client.closed_by_server())
        self.assertEqual(self.counter("connections_dropped"), 2)

    def test_no_tls(self):
        self.start()
        with Talk(self.postern.port("imaps")) as client:
            client.send("a LOGIN x y\r\n")
            self.assertTrue(client.closed_by_server())
        self.assert_no_grant("tls_failed", service="imaps", client=PHONE)


class BadStores(FrontCase):
    """A store that is a script. `answers`: what is said to each line of the front, in pieces of `piece` octets."""

    def start_with(self, greeting, answers=(), piece=0, protocol="pop3"):
        self.start(store=False, proxied=False)
        listener = socket.create_server(("127.0.0.1", self.ports[protocol]))
        self.addCleanup(listener.close)
        self.heard = []

        def say(peer, octets):
            step = piece or max(len(octets), 1)
            for at in range(0, len(octets), step):
                peer.sendall(octets[at:at + step])
                time.sleep(0.002 if piece else 0)

        def serve():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer, peer.makefile("rb") as lines:
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    try:
                        say(peer, greeting)
                        left = list(answers)
                        while left and (line := lines.readline()):
                            self.heard.append(line)
                            say(peer, left.pop(0))
                        while answers and answers[-1] and (line := lines.readline()):
                            self.heard.append(line)
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()

    def test_answers_in_pieces(self):
        """One octet at a time."""
        self.start_with(b"+OK ready\r\n", [b"+OK\r\nUSER\r\n.\r\n", b"+OK\r\n", b"+OK in\r\n", b"+OK 0 0\r\n"], piece=1)
        with Talk(self.postern.port("pop3s"), tls=self.tls) as client:
            self.assertTrue(client.line().startswith("+OK"))
            self.assertEqual(self.relay_code(PHONE), 550)
            self.assertTrue(client.command(f"USER {USER}").startswith("+OK"))
            self.assertEqual(client.command(f"PASS {PASSWORD}"), "+OK in")
            self.assertEqual(self.relay_code(PHONE), 250)
            self.assertEqual(client.command("STAT"), "+OK 0 0")
        self.assertEqual(self.heard[1:3], [f"USER {USER}\r\n".encode(), f"PASS {PASSWORD}\r\n".encode()])

    def assert_refused(self, name, *login, reason, said):
        with Talk(self.postern.port(name), tls=self.tls) as client:
            answers = [client.line()] + [client.command(line) for line in login]
            self.assertTrue(client.closed_by_server())
            self.assertRegex("\n".join(answers) + client.buffer.decode(), said)
        self.assertEqual(self.wait_event("mailbox_closed")[-1]["reason"], reason)
        self.assertEqual(self.relay_code(PHONE), 550)
        self.assertEqual(self.postern.events("login_recorded"), [])

    def test_refuses(self):
        self.start_with(b"-ERR go away\r\n")
        self.assert_refused("pop3s", reason="store-refused", said=r"^-ERR \[SYS/TEMP\] Mail store is not available")

    def test_is_logged_in_already(self):
        self.start_with(b"* PREAUTH hello anna\r\n", protocol="imap")
        self.assert_refused("imaps", reason="store-preauth", said=r"^\* BYE")

    def test_talks_nonsense(self):
        self.start_with(b"220 smtp.example ESMTP\r\n")
        self.assert_refused("pop3s", reason="store-garbage", said=r"^-ERR \[SYS/TEMP\]")

    def test_talks_without_end(self):
        self.start_with(b"+OK " + b"x" * 1_000_000)
        self.assert_refused("pop3s", reason="store-garbage", said=r"^-ERR \[SYS/TEMP\]")

    def test_says_ok_too_soon(self):
        """A success before the password went out is nobody's."""
        self.start_with(b"+OK ready\r\n", [b"+OK\r\nUSER\r\n.\r\n", b"+OK\r\n+OK in\r\n"])
        self.assert_refused("pop3s", f"USER {USER}", f"PASS {PASSWORD}", reason="store-unasked", said=r"-ERR \[SYS/TEMP\]")
        self.assertNotIn(PASSWORD.encode(), b"".join(self.heard))

    def test_leaves_without_an_answer(self):
        self.start_with(b"+OK ready\r\n", [b"+OK\r\nUSER\r\n.\r\n", b"+OK\r\n", b""])
        with Talk(self.postern.port("pop3s"), tls=self.tls) as client:
            client.line()
            client.command(f"USER {USER}")
            self.assertEqual(client.command(f"PASS {PASSWORD}"), "-ERR [SYS/TEMP] Mail store is not available now, try again later")
            self.assertTrue(client.closed_by_server())
        self.assertEqual(self.wait_event("login_failed")[0]["reason"], "unavailable")
        self.assertEqual(self.wait_event("mailbox_store_failed")[0]["reason"], "it closed the connection")
        self.assertEqual(self.relay_code(PHONE), 550)
        self.assertEqual(self.counter("guard_failures"), 0)


if __name__ == "__main__":
    main()
