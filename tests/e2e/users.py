"""`postern user`: the store by hand, beside a running server and without one."""

import hashlib
import os
import pty
import select
import signal
import smtplib
import sqlite3
import ssl
import stat
import subprocess
import termios
import time

from harness import Case, Postern, environment, main, process, wait_until

GOOD = "vier Ziegen kauen Klee"
OTHER = "acht Hummeln brummen leise"
BCRYPT = "$2b$06$HHj1OysA/GX/s6Xok0yOZ.RDcLHtlQMPRKdi9z9BzX0DAFcYfYtni"  # of "correct horse 7"


class UserCase(Case):
    def setUp(self):
        self.store = self.path("users.db")

    def user(self, *arguments, stdin="", store=None):
        """Runs `postern user`; (status, stdout, stderr)."""
        command = [environment.postern_binary(), "user", *arguments, "--store", store or self.store]
        return process.run(command, stdin=stdin.encode("utf-8"))

    def good(self, *arguments, **more):
        status, out, error = self.user(*arguments, **more)
        self.assertEqual(status, 0, out + error)
        return out

    def bad(self, *arguments, says, **more):
        status, out, error = self.user(*arguments, **more)
        self.assertEqual(status, 1, out + error)
        self.assertIn(says, error)
        return error

    def add(self, name, *arguments, password=GOOD):
        return self.good("add", name, "--stdin", *arguments, stdin=password + "\n")

    def names(self, **more):
        return [line.split()[0] for line in self.good("list", **more).splitlines()]


class ByHand(UserCase):
    def test_add_show_list(self):
        out = self.add("Anna@Example.NET", "--sender", "@Example.org", "--sender", "info@example.com",
                       "--messages-per-hour", "30", "--recipients-per-day", "500")
        self.assertIn("anna@example.net: added", out)
        self.add("bert", "--no-relay", password=OTHER)
        self.assertEqual(self.names(), ["anna@example.net", "bert"])
        shown = self.good("show", "ANNA@example.net")
        for part in ("anna@example.net", "active", "may relay beyond",
                     "anna@example.net, @example.org, info@example.com", "an hour: 30", "a day: 500",
                     "yescrypt N=4096 r=32", "SCRAM-SHA-256 (100000 iterations)"):
            self.assertIn(part, shown)
        self.assertNotIn("CRAM-MD5", shown)
        self.assertIn("may not relay", self.good("show", "bert"))
        self.assertEqual(stat.S_IMODE(os.stat(self.store).st_mode), 0o600)
        # Neither passwords nor hashes are shown.
        everything = out + shown + self.good("list")
        self.assertNotIn(GOOD, everything)
        self.assertNotIn("$y$", everything)

    def test_a_name_is_taken_once(self):
        self.add("anna")
        self.bad("add", "ANNA", "--stdin", stdin=OTHER, says="anna: there is a user of that name")
        self.bad("add", "an:na", "--stdin", stdin=OTHER, says="':'")
        self.bad("add", "bert", "--stdin", "--sender", "nowhere", stdin=OTHER, says="neither a mail address")
        self.assertEqual(self.names(), ["anna"])

    def test_weak_passwords_are_refused_with_the_reason(self):
        for password, reason in (("short", "too short"), ("password", "dictionary word"),
                                 ("annameier1", "account's name"), ("qwertzuiop", "easy to guess"),
                                 ("", "no password"), ("\n\n", "more than one line"),
                                 (GOOD + "\nand more", "more than one line"), ("x" * 600, "too long"),
                                 ("y" * 5000, "longer than any password"), ("tabs\tare not typed", "control")):
            with self.subTest(password=password[:20]):
                error = self.bad("add", "anna.meier", "--stdin", stdin=password, says=reason)
                if len(password) > 8 and password.strip():
                    self.assertNotIn(password, error)
        self.bad("show", "anna.meier", says="no such user")
        self.good("add", "anna.meier", "--stdin", stdin=GOOD + "\r\n")
        self.bad("passwd", "anna.meier", "--stdin", stdin="annameier1", says="account's name")

    def test_a_password_is_no_argument(self):
        status, out, error = self.user("add", "anna", GOOD)
        self.assertNotIn(status, (0, 1), out + error)
        self.bad("list", says="there is no such file")

    def test_set_changes_what_is_given(self):
        self.add("anna", "--sender", "a@example.net", "--messages-per-day", "7")
        self.good("set", "anna", "--no-relay", "--sender", "@example.org")
        shown = self.good("show", "anna")
        self.assertIn("may not relay", shown)
        self.assertIn("a@example.net, @example.org", shown)
        self.assertIn("a day: 7", shown)
        self.good("set", "anna", "--no-sender", "A@example.net", "--messages-per-day", "0")
        shown = self.good("show", "anna")
        self.assertRegex(shown, r"sends as +@example\.org\n")
        self.assertIn("may not relay", shown)
        self.assertNotIn("a day: 7", shown)
        self.bad("set", "anna", says="nothing to change")
        self.bad("set", "anna", "--no-sender", "b@example.net", says="not among its senders")
        self.bad("set", "nobody", "--relay", says="nobody: there is no such user")

    def test_disable_enable_release_remove(self):
        self.add("anna")
        self.good("disable", "anna")
        self.assertIn("disabled", self.good("show", "anna"))
        self.good("enable", "ANNA")
        self.assertIn("active", self.good("show", "anna"))
        with sqlite3.connect(self.store) as database:  # as the server does
            database.execute("UPDATE users SET held = 1")
        self.assertIn("held", self.good("show", "anna"))
        self.good("release", "anna")
        self.assertNotIn("held", self.good("show", "anna"))
        self.good("remove", "anna")
        for command in ("show", "disable", "enable", "release", "remove"):
            self.bad(command, "anna", says="anna: there is no such user")

    def test_cram_md5_only_when_asked_for(self):
        self.add("anna", "--cram-md5")
        self.assertIn("CRAM-MD5 (as good as the password", self.good("show", "anna"))
        self.good("passwd", "anna", "--stdin", stdin=OTHER)
        self.assertNotIn("CRAM-MD5", self.good("show", "anna"))

    def test_the_store_is_told_in_words_what_is_wrong(self):
        self.bad("list", says=f"{self.store}: there is no such file")
        with open(self.store, "w", encoding="ascii") as file:
            file.write("no database " * 1000)
        for arguments in (("list",), ("show", "anna"), ("disable", "anna"), ("audit",)):
            self.bad(*arguments, says="not a store of users")
        os.unlink(self.store)
        self.add("anna")
        with sqlite3.connect(self.store) as database:
            database.execute("PRAGMA user_version = 99")
        self.bad("list", says="newer Postern")
        with sqlite3.connect(self.store) as database:
            database.execute("PRAGMA user_version = 1")
        lock = sqlite3.connect(self.store, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        self.bad("disable", "anna", says="locked by another process for 2 s")
        self.assertIn("active", self.good("show", "anna"))
        lock.close()
        self.good("disable", "anna")


class AtTheTerminal(UserCase):
    """The prompts, on a terminal of the test's own."""

    def talk(self, arguments, answers):
        """Runs the command on a pseudo-terminal and types each answer when its question is there; (status, what was
        shown)."""
        command = [environment.postern_binary(), "user", *arguments, "--store", self.store]
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(command[0], command)
        shown = b""
        try:
            deadline = time.monotonic() + environment.PATIENCE
            for question, answer in answers:
                start = len(shown)
                while question.encode() not in shown[start:]:
                    self.assertLess(time.monotonic(), deadline, f"no {question!r} in {shown!r}")
                    shown += self.read(terminal)
                os.write(terminal, answer)
            while True:
                more = self.read(terminal)
                if more is None:
                    break
                shown += more
                self.assertLess(time.monotonic(), deadline, shown)
        finally:
            os.close(terminal)
            _, status = os.waitpid(pid, 0)
        return status, shown.decode("utf-8")

    @staticmethod
    def read(terminal):
        """None: the program is gone."""
        if not select.select([terminal], [], [], 0.2)[0]:
            return b""
        try:
            return os.read(terminal, 4096) or None
        except OSError:
            return None

    def test_asked_twice_and_never_shown(self):
        status, shown = self.talk(["add", "anna"], [("New password for anna: ", f"{GOOD}\n".encode()),
                                                    ("The same again: ", f"{GOOD}\n".encode())])
        self.assertEqual(status, 0, shown)
        self.assertIn("anna: added", shown)
        self.assertNotIn(GOOD, shown)

    def test_two_different_ones_are_asked_again(self):
        good, other = f"{GOOD}\n".encode(), f"{OTHER}\n".encode()
        status, shown = self.talk(["add", "anna"], [("New password", good), ("again", other),
                                                    ("New password", other), ("again", other)])
        self.assertEqual(status, 0, shown)
        self.assertIn("two different passwords", shown)

    def test_nothing_typed(self):
        status, shown = self.talk(["add", "anna"], [("New password", b"\n")])
        self.assertEqual(os.waitstatus_to_exitcode(status), 1)
        self.assertIn("no password was given", shown)

    def test_control_c_ends_it_with_the_terminal_as_it_was(self):
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        command = [environment.postern_binary(), "user", "add", "anna", "--store", self.store]
        child = subprocess.Popen(["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave)
        wait_until(lambda: not termios.tcgetattr(slave)[3] & termios.ECHO, "the echo to be off")
        os.write(master, b"secre\x03")
        self.assertEqual(child.wait(environment.PATIENCE), -signal.SIGINT)
        self.assertEqual(termios.tcgetattr(slave), before)
        os.close(master)
        os.close(slave)

    def test_without_a_terminal(self):
        done = subprocess.run(["setsid", environment.postern_binary(), "user", "add", "anna", "--store", self.store],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"--stdin", done.stderr)


class Lists(UserCase):
    def write(self, text):
        with open(self.path("list"), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path("list")

    def test_import_a_password_file(self):
        sha = hashlib.sha256(b"123456").hexdigest()
        text = (f"# users\n\nanna@example.net:{{BLF-CRYPT}}{BCRYPT}:1000:1000::/home/anna::userdb_x=y\n"
                f"bert:{{SHA256.hex}}{sha}\n")
        out = self.good("import", self.write(text))
        self.assertIn("2 users imported", out)
        self.assertIn("2 have a hash that is weak", out)
        self.assertEqual(self.names(), ["anna@example.net", "bert"])
        self.assertIn("may relay beyond", self.good("show", "bert"))
        self.assertIn("bcrypt cost=6", self.good("show", "anna@example.net"))
        # The same from standard input.
        self.good("import", "-", "--no-relay", stdin="carl:" + BCRYPT)
        self.assertIn("may not relay", self.good("show", "carl"))

    def test_all_or_nothing_with_line_numbers(self):
        self.add("dora")
        lines = ["anna:" + BCRYPT, "bert", "carl:{NOSUCH}secretsecret", "dora:" + BCRYPT, "anna:" + BCRYPT, "erna:!"]
        path = self.write("\n".join(lines))
        error = self.bad("import", path, says="nothing was imported")
        for part in (f"{path}:2: ", f"{path}:3: carl: ", f"{path}:5: anna: stands in line 1 already",
                     f"{path}:6: erna: "):
            self.assertIn(part, error)
        self.assertNotIn("secretsecret", error)
        self.assertEqual(self.names(), ["dora"])
        # What only the store knows.
        list_with_dora = self.write("anna:" + BCRYPT + "\nDORA:" + BCRYPT)
        self.bad("import", list_with_dora, says="list:2: dora: there is a user")
        self.assertEqual(self.names(), ["dora"])
        self.bad("import", self.write("# nobody\n"), says="no user in it")
        self.bad("import", self.path("nosuch"), says="No such file")
        error = self.bad("import", self.write("x\n" * 1000), says="and 980 more")
        self.assertEqual(error.count("no ':'"), 20)

    def test_passwords_in_the_clear_are_hashed(self):
        self.good("import", self.write(f"anna:{{PLAIN}}{GOOD}\nbert:{{PLAIN.hex}}{OTHER.encode().hex()}\n"))
        shown = self.good("show", "anna")
        self.assertIn("yescrypt", shown)
        self.assertIn("SCRAM-SHA-256", shown)
        with open(self.store, "rb") as file:
            self.assertNotIn(GOOD.encode(), file.read())

    def test_export_and_back(self):
        self.add("anna@example.net", "--sender", "@example.org", "--sender", '"john doe"@example.net', "--cram-md5",
                 "--recipients-per-hour", "12")
        self.add("bert", "--no-relay", password=OTHER)
        self.good("disable", "bert")
        self.bad("export", says="--with-hashes")
        exported = self.good("export", "--with-hashes")
        self.assertRegex(exported, r"(?m)^anna@example\.net:\$y\$")
        second = self.path("second.db")
        self.good("import", "--cram-md5", self.write(exported), store=second)
        self.assertEqual(self.good("export", "--with-hashes", store=second), exported)
        third = self.path("third.db")
        self.assertIn("1 CRAM-MD5 verifiers were left out", self.good("import", self.write(exported), store=third))
        self.assertNotIn("cram_md5", self.good("export", "--with-hashes", store=third))

    def test_audit(self):
        sha = hashlib.sha256(b"123456").hexdigest()
        self.good("import", self.write(f"anna:{{SHA256.hex}}{sha}\nbert:{{PLAIN}}bert2\ncarl:{{PLAIN}}{GOOD}\n"))
        status, out, error = self.user("audit")
        self.assertEqual(status, 3, error)
        self.assertEqual(sorted(out.split()), ["anna", "bert"])
        self.assertRegex(error, r"trying at most 1000 guesses for each of 3 accounts, on \d+ threads: .* at most")
        self.assertIn("2 of 3 accounts", error)
        for secret in ("123456", "bert2"):
            self.assertNotIn(secret, out + error)
        status, out, error = self.user("audit", "carl", "--guesses", "50")
        self.assertEqual((status, out), (0, ""), error)
        self.assertIn("at most 50 guesses for each of 1 accounts", error)
        self.bad("audit", "nobody", says="no such user")


class WithTheSettings(UserCase):
    def test_the_settings_name_the_store_and_what_is_kept(self):
        postern = Postern(self, start=False, users={"store": self.store, "cram_md5": True}, service=[
            {"name": "submission", "tls": "starttls", "auth": {"mechanisms": ["SCRAM-SHA-1", "PLAIN"]}}])
        command = [environment.postern_binary(), "user", "--config", postern.config]
        status, out, error = process.run([*command, "add", "anna", "--stdin"], stdin=GOOD.encode())
        self.assertEqual(status, 0, out + error)
        shown = self.good("show", "anna")
        for part in ("SCRAM-SHA-256", "SCRAM-SHA-1 ", "CRAM-MD5"):
            self.assertIn(part, shown)
        # The domains and the host are words against a password.
        status, out, error = process.run([*command, "passwd", "anna", "--stdin"], stdin=b"mail.example.net")
        self.assertEqual(status, 1)
        self.assertIn("account's name, domain or host", error)
        # A wrong file is explained, as `check` does.
        postern.write("nonsense = 1\n")
        status, out, error = process.run([*command, "list"])
        self.assertEqual(status, 1)
        self.assertIn("nonsense", error)
        status, out, error = process.run([environment.postern_binary(), "user", "--config", self.path("no"), "list"])
        self.assertEqual(status, 1)
        self.assertIn("--store", error)

    def test_users_of_dovecot_are_managed_there(self):
        postern = Postern(self, start=False, users={"dovecot": "/run/dovecot/auth-client"})
        status, _, error = process.run([environment.postern_binary(), "user", "--config", postern.config, "list"])
        self.assertEqual(status, 1)
        self.assertIn("Dovecot", error)


class BesideTheServer(UserCase):
    """A running server sees what the commands do."""

    def setUp(self):
        super().setUp()
        self.postern = Postern(self, users={"store": self.store}, service=[
            {"name": "submission", "tls": "starttls", "relay": {"require_auth": True},
             "auth": {"scope": "all", "mechanisms": ["PLAIN"]}}])

    def login(self, name, password):
        """The reply's code to AUTH PLAIN."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with smtplib.SMTP("127.0.0.1", self.postern.port("submission"), timeout=environment.PATIENCE) as client:
            client.starttls(context=context)
            client.ehlo()
            client.user, client.password = name, password
            try:
                return client.auth("PLAIN", client.auth_plain)[0]
            except smtplib.SMTPAuthenticationError as error:
                return error.smtp_code

    def until(self, code, name, password):
        wait_until(lambda: self.login(name, password) == code, f"{code} for {name}", every=0.3)

    def test_users_come_and_go(self):
        self.assertEqual(self.login("anna", GOOD), 535)
        self.add("anna")
        self.assertEqual(self.login("Anna", GOOD), 235)
        self.assertEqual(self.login("anna", GOOD), 235)  # as remembered
        self.good("disable", "anna")
        self.until(535, "anna", GOOD)
        self.good("enable", "anna")
        self.until(235, "anna", GOOD)
        self.good("passwd", "anna", "--stdin", stdin=OTHER)
        self.until(535, "anna", GOOD)
        self.assertEqual(self.login("anna", OTHER), 235)
        self.good("remove", "anna")
        self.until(535, "anna", OTHER)
        for secret in (GOOD, OTHER):
            self.assertNotIn(secret, self.postern.log())

    def test_an_imported_hash_gets_scram_keys_with_its_first_login(self):
        self.good("import", "-", stdin="anna:{BLF-CRYPT}" + BCRYPT)
        self.assertIn("none yet", self.good("show", "anna"))
        self.assertEqual(self.login("anna", "correct horse 7"), 235)
        self.assertIn("SCRAM-SHA-256 (100000 iterations)", self.good("show", "anna"))
        self.assertIn("bcrypt cost=6", self.good("show", "anna"))


if __name__ == "__main__":
    main()
