"""Where users come from, when it is not there: the store gone, locked, damaged or busy; Dovecot stopped, restarted,
hanging or talking nonsense. A clear reply, no login by accident, and all is well again when it is."""

import base64
import os
import shutil
import socket
import sqlite3
import threading
import time

from harness import (PATIENCE, Authority, Case, Postern, RawClient, Sink, main, message, route_to, submission_services,
                     untrusting_context, wait_until)
from harness.peers import Dovecot

USER, PASSWORD = "anna@example.net", "tulip Kettle 47 harbour"
OTHER, OTHER_PASSWORD = "bert@example.net", "acht Hummeln brummen leise"


class SourceCase(Case):
    mechanisms = ("SCRAM-SHA-256", "PLAIN")

    def start(self, *, ready=True, **settings):
        self.sink = self.track(Sink())
        self.context = untrusting_context()
        whole = {"route": [route_to(self.sink.port)], "lan": ["192.0.2.0/24"], "guard": {"failures": 0},
                 "certificate": [Authority(self).issue("server").setting()],
                 "service": [{"name": "smtp"}, *submission_services(self.mechanisms, errors=0)]}
        self.postern = Postern(self, start=False, **{**whole, **settings})
        if "dovecot" not in settings.get("users", {}):
            self.store = self.postern.settings["users"]["store"]
            self.postern.user("add", USER, password=PASSWORD)
            self.postern.user("add", OTHER, password=OTHER_PASSWORD)
        if ready:
            self.postern.start()

    def connect(self):
        client = RawClient(self.postern.port("submissions"), tls=self.context)
        self.addCleanup(client.close)
        client.ehlo()
        return client

    def auth(self, user=USER, password=PASSWORD):
        with self.connect() as client:
            answer = client.auth_plain(user, password)
            self.assertEqual(client.command("NOOP").code, 250)  # whatever it was, the session goes on
            return answer

    def login(self, user=USER, password=PASSWORD) -> int:
        return self.auth(user, password).code

    def becomes(self, code, what, **more):
        wait_until(lambda: self.login(**more) == code, what, every=0.05)

    def assert_unavailable(self, answer):
        self.assertEqual((answer.code, answer.enhanced), (454, "4.7.0"), answer)

    def assert_serves_others(self):
        """Mail that needs no login."""
        with RawClient(self.postern.port("smtp")) as client:
            client.ehlo()
            sender = "x@remote.example"
            answer = client.hand_in(sender, [USER], message(sender=sender, recipient=USER))
            self.assertEqual(answer.code, 250, answer)


class Store(SourceCase):
    def test_gone_and_back(self):
        self.start()
        self.assertEqual(self.login(), 235)
        self.assertEqual(self.login(OTHER, OTHER_PASSWORD), 235)
        away = self.store + ".away"
        self.move(self.store, away)
        self.becomes(454, "the store to be missed")  # what was remembered is forgotten, too
        for user, password in ((USER, PASSWORD), (OTHER, OTHER_PASSWORD), (USER, "wrong"), ("nobody", "wrong")):
            self.assert_unavailable(self.auth(user, password))
        with self.connect() as client:
            self.assert_unavailable(client.auth("SCRAM-SHA-256", b"n,,n=anna@example.net,r=abcdefgh"))
        self.assert_serves_others()
        said = wait_until(lambda: self.postern.events("users_unavailable"), "the trouble to be logged")
        self.assertEqual((said[0]["level"], self.store in said[0]["note"]), ("error", True))
        self.assertFalse(os.path.exists(self.store))  # an empty one would be worse
        time.sleep(1.5)
        self.assertEqual(len(self.postern.events("users_unavailable")), 1)
        self.move(away, self.store)
        self.becomes(235, "the login to come back")
        self.assertEqual(self.login(password="wrong"), 535)
        wait_until(lambda: self.postern.events("users_available"), "the end of the trouble to be logged")

    def move(self, source, target):
        for ending in ("", "-wal", "-shm"):
            if os.path.exists(source + ending):
                os.rename(source + ending, target + ending)

    def test_replaced(self):
        """A backup put back in place: what it says counts, and nothing of what was there before."""
        self.start()
        self.assertEqual(self.login(), 235)
        other = Postern(self, name="other", start=False)
        other.user("add", USER, password="ein ganz anderes Wort 9")
        os.rename(other.settings["users"]["store"], self.store)
        self.becomes(535, "the old password to end")
        self.becomes(235, "the new store to be read", password="ein ganz anderes Wort 9")
        self.assertEqual(self.login(OTHER, OTHER_PASSWORD), 535)

    def test_written_by_another_for_long(self):
        """A writer's lock keeps nobody from logging in; what the login would have kept, the next one keeps."""
        self.start(users={"cache_seconds": 0})
        other = sqlite3.connect(self.store, isolation_level=None)
        keys = "SELECT scram_sha_256 <> '' FROM users WHERE name = ?"
        other.execute("UPDATE users SET scram_sha_256 = ''")  # as an imported user has none
        other.execute("BEGIN IMMEDIATE")
        self.assertEqual(self.login(), 235)
        self.assertEqual(self.login(password="wrong"), 535)
        other.execute("ROLLBACK")
        self.assertEqual(other.execute(keys, [USER]).fetchone(), (0,))
        self.assertEqual(self.login(), 235)
        self.assertEqual(other.execute(keys, [USER]).fetchone(), (1,))
        other.close()

    def test_locked_at_the_start(self):
        self.start(ready=False)
        with sqlite3.connect(self.store, isolation_level=None) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            other.execute("UPDATE meta SET generation = generation + 1")
            self.postern.start(ready=False)
            self.assertNotEqual(self.postern.program.wait(), 0)
            self.assertIn(self.store, self.postern.log())
            self.assertIn("locked by another process", self.postern.log())
        other.close()
        self.postern.start()
        self.assertEqual(self.login(), 235)

    def test_locked_whole(self):
        """By a program that keeps everybody out, as a repair would: 454, the server goes on, and then all is well."""
        self.start(users={"cache_seconds": 0})
        self.assertEqual(self.login(), 235)
        # Whoever opens it anew meets the lock: the file is put in place anew, locked already.
        copy = self.store + ".copy"
        self.copy_to(copy)
        other = sqlite3.connect(copy, isolation_level=None)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        os.rename(copy, self.store)
        began = time.monotonic()
        self.assert_unavailable(self.auth())
        self.assertGreater(time.monotonic() - began, 1)  # it waited for a while
        self.assert_serves_others()
        other.close()
        self.becomes(235, "the login to come back")
        self.assertEqual(self.login(password="wrong"), 535)

    def copy_to(self, path):
        with sqlite3.connect(self.store) as source, sqlite3.connect(path) as target:
            source.backup(target)
        source.close()
        target.close()

    def test_damaged(self):
        """Overwritten in place while the server has it open: never a wrong answer."""
        self.start(users={"cache_seconds": 0})
        self.assertEqual(self.login(), 235)
        good = self.store + ".good"
        self.copy_to(good)
        size = os.path.getsize(self.store)
        for octets in (os.urandom(size), b"\0" * size, b""):
            with open(self.store, "r+b") as file:
                file.truncate(len(octets))
                file.write(octets)
            for _ in range(4):
                self.assertIn(self.login(), (235, 454))  # SQLite may have it in memory still
                self.assertIn(self.login(password="wrong"), (535, 454))
                self.assertIn(self.login("nobody@example.net"), (535, 454))
            self.assert_serves_others()
        for ending in ("-wal", "-shm"):
            if os.path.exists(self.store + ending):
                os.remove(self.store + ending)
        shutil.copy(good, self.store + ".new")
        os.rename(self.store + ".new", self.store)
        self.becomes(235, "the login to come back")
        self.assertEqual(self.login(password="wrong"), 535)

    def test_bad_at_the_start(self):
        self.start(ready=False)
        with open(self.store, "rb") as file:
            whole = file.read()
        foreign = self.path("foreign.db")
        with sqlite3.connect(foreign) as other:
            other.execute("CREATE TABLE somebody_elses (x)")
        other.close()
        with open(foreign, "rb") as file:
            foreign_octets = file.read()
        cases = [(os.urandom(8192), "no SQLite database"), (foreign_octets, "another program"),
                 (whole[:4096] + os.urandom(len(whole) - 4096), "damaged")]
        for octets, words in cases:
            with self.subTest(words=words):
                with open(self.store, "wb") as file:
                    file.write(octets)
                self.postern.start(ready=False)
                self.assertNotEqual(self.postern.program.wait(), 0)
                self.assertIn(self.store, self.postern.log())
                self.assertIn(words, self.postern.log())

    def test_too_many_at_once(self):
        """Passwords that wait for a thread are bounded: 454, and none is let in, or locked out, by it."""
        self.start(users={"hash_threads": 1, "hash_queue": 2}, guard={"failures": 100})
        clients = [self.connect() for _ in range(60)]
        line = b"AUTH PLAIN " + base64.b64encode(f"\0{USER}\0wrong".encode()) + b"\r\n"
        for client in clients:
            client.send(line)
        codes = [client.reply().code for client in clients]
        self.assertLessEqual(set(codes), {454, 535})
        self.assertGreater(codes.count(454), 0)
        self.assertGreater(codes.count(535), 0)
        self.becomes(235, "room for a login")
        self.assertEqual(self.postern.events("barred"), [])


class DovecotSource(SourceCase):
    mechanisms = ("PLAIN", "LOGIN")

    def with_dovecot(self, more=""):
        self.dovecot = Dovecot(self, {USER: PASSWORD, OTHER: OTHER_PASSWORD}, more)
        self.start(users={"dovecot": self.dovecot.socket})

    def test_logins(self):
        self.with_dovecot()
        for user, password, code in ((USER, PASSWORD, 235), (OTHER, OTHER_PASSWORD, 235), (USER, "wrong", 535),
                                     (USER, OTHER_PASSWORD, 535), ("nobody@example.net", PASSWORD, 535)):
            with self.subTest(user=user, password=password):
                self.assertEqual(self.login(user, password), code)
        client = self.connect()
        self.assertEqual(client.auth_login(USER, PASSWORD).code, 235)
        self.assertEqual(client.hand_in(USER, ["bob@remote.example"], message(sender=USER)).code, 250)
        self.assertEqual(client.command(f"MAIL FROM:<{OTHER}>").code, 550)
        self.sink.wait_for(1)

    def test_no_injection(self):
        """A name or a password that looks like the protocol is a name or a password."""
        self.with_dovecot()
        for user, password in ((f"{USER}\tuser={OTHER}", PASSWORD), (f"{USER}\nAUTH", PASSWORD), (USER, "x\ty\nOK\t1"),
                               (USER, f"wrong\nAUTH\t9\tPLAIN\tservice=smtp\tresp={PASSWORD}")):
            self.assertIn(self.login(user, password), (535, 501))
        self.assertEqual(self.login(), 235)

    def test_many_at_once(self):
        self.with_dovecot()
        codes, lock = [], threading.Lock()

        def work(number):
            for turn in range(4):
                right = (number + turn) % 2 == 0
                code = self.login(password=PASSWORD if right else f"wrong {number} {turn}")
                with lock:
                    codes.append((right, code))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(codes), {(True, 235), (False, 535)})
        self.assertEqual(len(codes), 32)

    def test_stopped_and_restarted(self):
        self.with_dovecot()
        self.assertEqual(self.login(), 235)
        self.dovecot.stop()
        self.assertEqual(self.login(), 235)  # proven a moment ago
        for user, password in ((USER, "wrong"), (OTHER, OTHER_PASSWORD)):
            self.assert_unavailable(self.auth(user, password))
        self.assert_serves_others()
        self.dovecot.start()
        self.assertEqual(self.login(OTHER, OTHER_PASSWORD), 235)
        self.assertEqual(self.login(password="wrong"), 535)
        wait_until(lambda: self.postern.events("login_unavailable"), "the trouble to be logged")

    def test_not_there_at_the_start(self):
        self.start(users={"dovecot": self.path("nothing")})
        self.assert_unavailable(self.auth())

    def test_offering_more_than_it_can(self):
        postern = Postern(self, start=False, users={"dovecot": self.path("nothing")},
                          service=submission_services(("SCRAM-SHA-256", "PLAIN")))
        status, out, error = postern.run("check", postern.config)
        self.assertNotEqual(status, 0)
        self.assertIn("PLAIN and LOGIN", out + error)


class Imposter:
    """Listens where Dovecot should. `script(number)`: what is said to a question with that number; None: nothing ever
    is, not even a greeting. `closes`: behind the first answer, so that nobody has to wait for more."""

    greeting = b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0\nDONE\n"

    def __init__(self, case, script=None, *, greeting=greeting, closes=False):
        self.name, self.path = "imposter", case.path("imposter")
        self.script, self.greeting, self.closes = script, greeting, closes
        self.questions: list[bytes] = []
        self.connections: list[socket.socket] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        case.track(self)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            if self.script is not None:
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            connection.sendall(self.greeting)
            if self.closes and self.greeting != Imposter.greeting:
                return connection.shutdown(socket.SHUT_WR)
            for line in connection.makefile("rb"):
                if line.startswith(b"AUTH\t"):
                    self.questions.append(line)
                    connection.sendall(self.script(line.split(b"\t")[1]))
                    if self.closes:
                        return connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def log(self):
        return b"".join(self.questions).decode("utf-8", "replace")

    def kill(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            os.remove(self.path)
        for connection in self.connections:
            connection.close()


def ok(number):
    return b"OK\t" + number + b"\tuser=" + USER.encode() + b"\n"


class BadDovecot(SourceCase):
    mechanisms = ("PLAIN",)

    def test_hanging(self):
        """It accepts and says nothing: 454 after its time (10 s), for all that wait, and meanwhile everybody else is
        served."""
        self.start(users={"dovecot": Imposter(self).path})
        began = time.monotonic()
        waiting = [self.connect() for _ in range(8)]
        for client in waiting:
            client.socket.settimeout(PATIENCE * 3)
            client.send(b"AUTH PLAIN " + base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()) + b"\r\n")
        for _ in range(5):
            self.assert_serves_others()
        self.assertLess(time.monotonic() - began, 8)
        for client in waiting:
            self.assert_unavailable(client.reply())
        self.assertLess(time.monotonic() - began, 20)
        self.assertEqual(waiting[0].command("NOOP").code, 250)
        self.assertEqual(self.postern.stop(), 0)

    def test_nonsense(self):
        """Nothing but a whole OK for this very question lets anybody in."""
        replies = {
            "another's answer": lambda number: ok(b"%d" % (int(number) + 7)),
            "an answer without an end": lambda number: ok(number)[:-1],
            "a word that begins like OK": lambda number: b"OKAY\t" + number + b"\n",
            "no number": lambda number: b"OK\n",
            "a number that begins like it": lambda number: ok(number + b"0"),
            "a name that is none": lambda number: b"OK\t" + number + b"\tuser=\x01\x02\n",
            "go on": lambda number: b"CONT\t" + number + b"\tabc\n",
            "temporary": lambda number: b"FAIL\t" + number + b"\ttemp\n",
            "temporary, in new words": lambda number: b"FAIL\t" + number + b"\tcode=temp_fail\n",
            "a line without an end": lambda number: b"x" * 20_000,
            "many lines": lambda number: b"NOTE\n" * 500 + ok(number),
            "rubbish": lambda number: os.urandom(500) + b"\n",
            "nothing": lambda number: b"",
        }
        for name, reply in replies.items():
            with self.subTest(reply=name):
                self.ask(Imposter(self, reply, closes=True))
        for greeting in (b"VERSION\t2\t0\nDONE\n", b"DONE\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\n" * 200, b"\xff" * 9000,
                         b""):
            with self.subTest(greeting=greeting[:20]):
                self.ask(Imposter(self, ok, greeting=greeting, closes=True))
        self.assertEqual(self.postern.events("login"), [])
        # Not that it had said no to everything.
        Imposter(self, ok, closes=True)
        self.assertEqual(self.login(), 235)

    def ask(self, imposter):
        if not hasattr(self, "postern"):
            self.start(users={"dovecot": imposter.path})
        self.assert_unavailable(self.auth())
        imposter.kill()

    def test_words(self):
        """What it is asked, and its yes and no."""
        imposter = Imposter(self, lambda number: b"MECH\tLOGIN\nOK\t" + number + b"\tuser=anna@example.net\n")
        self.start(users={"dovecot": imposter.path})
        self.assertEqual(self.login(), 235)
        asked = imposter.questions[0].rstrip(b"\n").split(b"\t")
        self.assertEqual((asked[0], asked[2]), (b"AUTH", b"PLAIN"))
        self.assertLessEqual({b"service=smtp", b"secured", b"no-penalty", b"rip=127.0.0.1"}, set(asked))
        self.assertEqual(asked[-1], b"resp=" + base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()))
        imposter.script = lambda number: b"FAIL\t" + number + b"\tuser=anna@example.net\n"
        self.assertEqual(self.login(password="another"), 535)
        imposter.script = lambda number: b"FAIL\t" + number + b"\tuser=anna@example.net\tuser_disabled\n"
        self.assertEqual(self.login(password="a third"), 535)
        wait_until(lambda: "account-disabled" in [each["reason"] for each in self.postern.events("login_failed")],
                   "the reason to be logged")


if __name__ == "__main__":
    main()
