"""The life of the program: its commands, its settings and their errors, reload, drain, the queue by hand, the logs."""

import json
import os
import re
import signal
import socket
import threading
import time

from harness import Case, Postern, RawClient, Script, Sink, main, message, route_to, wait_until

SENDER, RECIPIENT = "alice@example.net", "bob@remote.example"


class Later(Script):
    def rcpt(self, session, address, parameters):
        return "450 4.2.0 later"


class LifeCase(Case):
    def start(self, script=None, **settings):
        self.sink = self.track(Sink(script))
        self.postern = Postern(self, **{"route": [route_to(self.sink.port)], **settings})

    def hand_in(self, count=1, subject="test", recipients=(RECIPIENT,)):
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            for number in range(count):
                answer = client.hand_in(SENDER, list(recipients), message(subject=f"{subject} {number}"))
                self.assertEqual(answer.code, 250, answer)


class CommandLine(LifeCase):
    def setUp(self):
        self.postern = Postern(self, start=False)

    def check(self, text=None, **settings):
        """`postern check` of the settings; (status, everything it said)."""
        if text is None:
            self.postern.change(**settings)
        else:
            self.postern.write(text)
        status, out, error = self.postern.run("check", self.postern.config)
        return status, out + error

    def test_version_and_help(self):
        status, out, _ = self.postern.run("version")
        self.assertEqual(status, 0)
        self.assertRegex(out, r"postern \d+\.\d+\.\d+")
        status, out, _ = self.postern.run("--help")
        self.assertEqual(status, 0)
        for command in ("serve", "check", "explain", "queue", "spool", "version", "demo"):
            self.assertIn(command, out)
        for arguments in (["serve", "--help"], ["queue", "--help"], ["explain", "--help"]):
            self.assertEqual(self.postern.run(*arguments)[0], 0)
        for arguments in ([], ["frobnicate"], ["serve"], ["check"], ["check", "--nonsense"]):
            with self.subTest(arguments=arguments):
                status, out, error = self.postern.run(*arguments)
                self.assertNotEqual(status, 0)
                self.assertTrue(out + error)

    def test_check_of_good_settings(self):
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"(?i)memory")
        self.assertRegex(said, r"\d+(\.\d+)? ?[KMG]i?B")

    def test_errors_name_line_and_column(self):
        base = f'hostname = "mail.example.net"\nlocal_domains = ["example.net"]\nlan = ["127.0.0.1/32"]\n' \
               f'spool = "{self.postern.folder}/spool"\n'
        service = '[[service]]\nname = "smtp"\nlisten = ["127.0.0.1:0"]\n'
        # text, line, column (None: any), words that must be said
        cases = [
            (base + service + "  [service.relay]\n  requre_auth = true\n", 9, 3, ["requre_auth", "require_auth"]),
            (base + service + "errors = \"many\"\n", 8, None, ["errors", "whole number", "20"]),
            (base.replace("127.0.0.1/32", "127.0.0.300/32") + service, 3, None, ["127.0.0.300/32"]),
            (base + service.replace("127.0.0.1:0", "127.0.0.1"), 7, None, ["port"]),
            (base + service + "access = [\"any\"\n[service.relay]\n", None, None, []),
            (base + service + "tls = \"startls\"\n", 8, None, ["tls", "starttls"]),
            (base + service + service, None, None, ["smtp"]),
            (base + service + "[[route]]\ndomain = \"*\"\nto = [\"ftp:127.0.0.1:25\"]\n", 10, None, ["ftp"]),
            (base + "workers = -1\n" + service, 5, None, ["workers"]),
            (base + "colour = \"red\"\n" + service, 5, 1, ["colour"]),
        ]
        for text, line, column, words in cases:
            with self.subTest(text=text[-70:]):
                status, said = self.check(text)
                self.assertNotEqual(status, 0, said)
                found = re.search(rf"{re.escape(self.postern.config)}:(\d+)(?::(\d+))?: error: ", said)
                self.assertTrue(found, said)
                if line:
                    self.assertEqual(int(found.group(1)), line, said)
                if column:
                    self.assertEqual(int(found.group(2) or 0), column, said)
                for word in words:
                    self.assertIn(word, said)
                status, out, error = self.postern.run("serve", "--config", self.postern.config)
                self.assertNotEqual(status, 0)
                self.assertIn("error", out + error)
        status, out, error = self.postern.run("check", self.path("missing.toml"))
        self.assertNotEqual(status, 0)
        self.assertIn("missing.toml", out + error)

    def test_open_relays_are_errors(self):
        def service(**relay):
            return [{"name": "smtp", "relay": relay}]

        opens = {
            "row 6": {"service": service(outside_lan=True)},
            "row 7": {"service": service(outside_lan=True, non_local_senders=False)},
            "lan": {"lan": ["0.0.0.0/0"]},
            "lan IPv6": {"lan": ["::/0"]},
            "always_from": {"service": service(always_from_enabled=True, always_from=["0.0.0.0/0"])},
            "always_from sender": {"service": service(always_from_enabled=True, always_from=["a@partner.example"])},
            "always_to": {"service": service(always_to_enabled=True, always_to=["*"])},
        }
        for name, settings in opens.items():
            for known in (False, True):
                with self.subTest(name=name, known=known):
                    self.postern = Postern(self, name="open", start=False)
                    services = settings.get("service", [{"name": "smtp"}])
                    for each in services:
                        each["i_know_this_is_an_open_relay"] = known
                    status, said = self.check(**{**settings, "service": services})
                    self.assertEqual(status == 0, known, said)
                    if not known:
                        self.assertIn("i_know_this_is_an_open_relay", said)
                        status, out, error = self.postern.run("serve", "--config", self.postern.config)
                        self.assertNotEqual(status, 0)
                        self.assertIn("i_know_this_is_an_open_relay", out + error)

    def test_options_that_do_nothing_are_named(self):
        status, said = self.check(service=[{"name": "smtp", "relay": {
            "after_login": True, "outside_lan": True, "always_to": ["remote.example"]}}])
        self.assertEqual(status, 0, said)
        self.assertIn("outside_lan", said)
        self.assertIn("always_to", said)

    def test_explain(self):
        self.postern.change(service=[{"name": "smtp", "relay": {"after_login": True, "outside_lan": True}}])

        def explain(client, sender, recipient, *more):
            status, out, error = self.postern.run(
                "explain", "--config", self.postern.config, "--service", "smtp", "--client", client, "--from", sender,
                "--to", recipient, *more)
            self.assertEqual(error, "")
            return status, out

        _, out = explain("192.0.2.1", "x@stranger.example", RECIPIENT)
        self.assertIn("after_login_refused", out)
        self.assertIn("550", out)
        self.assertIn("outside_lan", out)  # named as ignored
        self.assertIn("always_to", out)    # a step that was passed
        _, out = explain("192.0.2.1", "x@stranger.example", RECIPIENT, "--login")
        self.assertIn("after_login_machine", out)
        _, out = explain("127.0.0.1", "x@stranger.example", RECIPIENT)
        self.assertIn("after_login_lan", out)
        _, out = explain("192.0.2.1", SENDER, RECIPIENT)
        self.assertIn("forged_local", out)
        _, out = explain("192.0.2.1", "x@stranger.example", SENDER)
        self.assertIn("local_recipient", out)
        _, out = explain("192.0.2.1", "x@stranger.example", "a!b@example.net")
        self.assertIn("unsafe_local_part", out)
        status, out, error = self.postern.run("explain", "--config", self.postern.config, "--service", "nosuch",
                                              "--client", "192.0.2.1", "--from", SENDER, "--to", RECIPIENT)
        self.assertNotEqual(status, 0)
        self.assertIn("smtp", out + error)  # the services there are


class Starting(LifeCase):
    def test_listeners(self):
        self.start(service=[{"name": "two", "listen": ["127.0.0.1:0", "[::1]:0"]}, {"name": "other"}])
        addresses = [event["address"] for event in self.postern.events("listening") if event["service"] == "two"]
        self.assertEqual(len(addresses), 2)
        for address in addresses:
            host, _, port = address.rpartition(":")
            with RawClient(int(port), host=host.strip("[]")) as client:
                self.assertEqual(client.greeting.code, 220)
                self.assertIn("mail.example.net", client.greeting.text)

    def test_memory_is_not_dumped(self):
        self.start()
        with open(f"/proc/{self.postern.pid}/limits") as file:
            self.assertRegex(file.read(), r"Max core file size +0 +0 ")

    def test_port_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = f"127.0.0.1:{other.getsockname()[1]}"
            self.start_fails([taken], service=[{"name": "smtp", "listen": [taken]}])

    def test_second_instance_on_the_same_spool(self):
        self.start(Later())
        self.hand_in()
        self.start_fails([self.postern.settings["spool"], str(self.postern.pid)], name="second",
                         spool=self.postern.settings["spool"])
        self.hand_in()
        self.assertEqual(self.postern.stop(), 0)

    def start_fails(self, words, *, name="failing", **settings):
        failing = Postern(self, name=name, start=False, **settings)
        failing.start(ready=False)
        self.assertNotEqual(failing.program.wait(), 0)
        for word in words:
            self.assertIn(word, failing.log())
        self.assertIn("error", failing.log())

    def test_number_of_workers_changes(self):
        """Every log of an earlier run is adopted, whoever wrote it."""
        self.start(Later(), workers=2, queue={"retry_seconds": [3600]})
        total = 0
        for workers in (1, 2, 1, 2):
            # Many connections, so that both workers get some.
            for number in range(20):
                self.hand_in(subject=f"{workers}.{total}")
                total += 1
            self.assertEqual(self.postern.stop(), 0)
            self.postern.change(workers=workers)
            self.postern.start()
            self.assertEqual(self.queued(), total)
        self.assertEqual(self.postern.stop(), 0)
        good = self.track(Sink())
        self.postern.change(route=[route_to(good.port)], queue={"retry_seconds": [1]})
        self.postern.start()
        self.postern.queue("retry", "all")
        good.wait_for(total)
        wait_until(lambda: self.queued() == 0, "an empty queue", every=0.1)
        self.assertEqual(len({each.header("Message-ID") for each in good.messages}), total)
        self.assertEqual(len(good.messages), total)
        # What was emptied goes: a log that no worker writes any more is not kept for ever.
        self.assertEqual(self.postern.stop(), 0)
        self.postern.change(workers=1)
        self.postern.start()
        self.assertEqual([name for name in os.listdir(self.postern.settings["spool"]) if name.startswith("log-")], ["log-0000"])

    def queued(self):
        status, out, error = self.postern.queue("list")
        self.assertEqual(status, 0, error)
        return out.count(RECIPIENT)

    def test_logs(self):
        self.start()
        self.hand_in()
        self.sink.wait_for(1)
        self.assertEqual(self.postern.stop(), 0)
        for line in self.postern.log().splitlines():
            self.assertRegex(line, r"\bevent=\w+")
        kinds = {event["event"] for event in self.postern.events()}
        self.assertLessEqual({"listening", "ready"}, kinds)
        # Who, to whom, and where it went, of one message.
        self.assertTrue(any(event.get("from") == SENDER for event in self.postern.events()), kinds)

        path = self.path("postern.json")
        self.postern.change(log={"format": "json", "to": path})
        self.postern.start(ready=False)

        def lines():
            if not os.path.exists(path):
                return []
            with open(path, encoding="utf-8") as file:
                return [json.loads(line) for line in file.read().splitlines()]

        wait_until(lambda: any(line["event"] == "ready" for line in lines()), "a ready line in JSON")
        self.assertTrue(all("event" in line for line in lines()))


class Reload(LifeCase):
    def test_policy_changes_without_dropping_anybody(self):
        self.start()
        with RawClient(self.postern.port()) as open_before:
            open_before.ehlo()
            self.assertEqual(open_before.command(f"MAIL FROM:<{SENDER}>").code, 250)
            self.assertEqual(open_before.command(f"RCPT TO:<{RECIPIENT}>").code, 250)
            self.postern.change(service=[{"name": "smtp", "relay": {"require_auth": True}}])
            self.assertEqual(self.postern.reload()["event"], "reloaded")
            with RawClient(self.postern.port()) as after:
                after.ehlo()
                self.assertEqual(after.command(f"MAIL FROM:<{SENDER}>").code, 250)
                self.assertEqual(after.command(f"RCPT TO:<{RECIPIENT}>").code, 530)
            self.assertEqual(open_before.data(message()).code, 250)
            # The next decision of the old connection follows the new settings.
            self.assertEqual(open_before.command(f"MAIL FROM:<{SENDER}>").code, 250)
            self.assertEqual(open_before.command(f"RCPT TO:<{RECIPIENT}>").code, 530)
        self.sink.wait_for(1)

    def test_routes_change(self):
        self.start()
        other = self.track(Sink())
        self.hand_in(subject="old")
        self.sink.wait_for(1)
        self.postern.change(route=[route_to(other.port)])
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        self.hand_in(subject="new")
        self.assertEqual(other.wait_for(1)[0].header("Subject"), "new 0")
        self.assertEqual(len(self.sink.messages), 1)

    def test_what_needs_a_restart_is_refused_whole(self):
        self.start()
        self.postern.change(service=[{"name": "smtp", "listen": ["127.0.0.1:0", "127.0.0.2:0"],
                                      "relay": {"require_auth": True}}])
        answer = self.postern.reload()
        self.assertEqual(answer["event"], "reload_failed")
        self.assertIn("listen", answer["note"])
        self.hand_in()
        self.sink.wait_for(1)

    def test_bad_file_keeps_the_old_settings(self):
        self.start()
        with open(self.postern.config, encoding="utf-8") as file:
            text = file.read()
        self.postern.write(text.replace("hostname", "hostnme"))
        before = len(self.postern.log())
        self.assertEqual(self.postern.reload()["event"], "reload_failed")
        said = self.postern.program.wait_for_line(r"hostnme", after=before)
        self.assertTrue(said)
        self.assertIn(f"{self.postern.config}:1:", self.postern.log()[before:])
        self.hand_in()
        self.sink.wait_for(1)

    def test_many_reloads_under_load(self):
        self.start()
        failures, stop = [], threading.Event()

        def load():
            try:
                while not stop.is_set():
                    self.hand_in(5)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(20):
            self.postern.change(lan=["127.0.0.1/32", f"10.{number}.0.0/16"])
            self.assertEqual(self.postern.reload()["event"], "reloaded")
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class Stopping(LifeCase):
    def test_drain(self):
        """A message under way is finished and acknowledged; who idles is told 421; the exit status is 0."""
        self.start()
        idle, busy = RawClient(self.postern.port()), RawClient(self.postern.port())
        self.addCleanup(idle.close)
        self.addCleanup(busy.close)
        busy.ehlo()
        busy.pipeline([f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>"])
        self.assertEqual(busy.command("DATA").code, 354)
        busy.send(b"Subject: in flight\r\n\r\nfirst half\r\n")
        self.postern.program.signal(signal.SIGTERM)
        self.assertEqual(idle.reply().code, 421)
        self.assertTrue(idle.closed_by_server())
        self.assertTrue(self.postern.program.alive())
        busy.send(b"second half\r\n.\r\n")
        self.assertEqual(busy.reply().code, 250)
        self.assertEqual(self.postern.program.wait(), 0)
        with self.assertRaises(OSError):
            RawClient(self.postern.port())
        if not self.sink.messages:  # accepted, and the drain's end left its delivery to the next run
            self.postern.start()
        self.assertIn(b"first half\r\nsecond half\r\n", self.sink.wait_for(1)[0].content)

    def test_deadline(self):
        """A client that never finishes does not hold up the end."""
        self.start(queue={"drain_seconds": 2})
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            client.pipeline([f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>"])
            self.assertEqual(client.command("DATA").code, 354)
            began = time.monotonic()
            self.assertEqual(self.postern.stop(), 0)
            self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(self.sink.messages, [])

    def test_idle_server_stops_at_once(self):
        self.start()
        began = time.monotonic()
        self.assertEqual(self.postern.stop(), 0)
        self.assertLess(time.monotonic() - began, 5)

    def test_hop_that_hangs(self):
        """A delivery stuck at the next hop ends with the deadline; the message stays and goes out in the next run."""
        class Hanging(Script):
            gate = threading.Event()

            def message(self, session, kept):
                if not self.gate.is_set():
                    self.gate.wait(60)
                    return "451 4.3.0 too late"

        self.start(Hanging(), queue={"drain_seconds": 2, "retry_seconds": [1]})
        self.hand_in()
        wait_until(lambda: any("DATA" in each.commands or any(c.startswith("BDAT") for c in each.commands)
                               for each in self.sink.sessions), "the delivery to hang")
        self.assertEqual(self.postern.stop(), 0)
        Hanging.gate.set()
        self.postern.start()
        self.sink.wait_for(1)


class Queue(LifeCase):
    def setUp(self):
        self.start(Later(), queue={"retry_seconds": [3600]})

    def ids(self):
        """Queue ids in the order of the list; the list names sender and recipient in each entry."""
        status, out, error = self.postern.queue("list")
        self.assertEqual(status, 0, error)
        return re.findall(r"^(\S+)\s.*" + re.escape(SENDER), out, re.MULTILINE)

    def test_by_hand(self):
        self.assertEqual(self.ids(), [])
        self.hand_in(3, subject="queued")
        wait_until(lambda: len(self.ids()) == 3, "three messages in the queue")
        wait_until(lambda: "later" in self.postern.queue("show", self.ids()[0])[1], "the hop's words", every=0.1)
        first, second, third = self.ids()
        status, out, error = self.postern.queue("show", first)
        self.assertEqual(status, 0, error)
        for word in (SENDER, RECIPIENT, first):
            self.assertIn(word, out)
        status, out, error = self.postern.queue("remove", second)
        self.assertEqual(status, 0, error)
        wait_until(lambda: self.ids() == [first, third], "the removal")
        status, out, error = self.postern.queue("show", second)
        self.assertNotEqual(status, 0)
        self.assertTrue(out + error)
        # Removal is an outcome: it outlives a crash.
        self.postern.kill9()
        self.postern.start()
        self.assertEqual(sorted(self.ids()), sorted([first, third]))
        good = self.track(Sink())
        self.postern.change(route=[route_to(good.port)])
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        wait_until(lambda: "now" not in self.postern.queue("list")[1], "the attempts after the start to end")
        self.assertEqual(self.postern.queue("retry", third)[0], 0)
        good.wait_for(1)
        wait_until(lambda: self.ids() == [first], "only the first to be left")
        self.assertEqual(self.postern.queue("retry", "all")[0], 0)
        good.wait_for(2)
        wait_until(lambda: self.ids() == [], "an empty queue")
        self.assertEqual([each.header("Subject") for each in good.messages], ["queued 2", "queued 0"])

    def test_errors(self):
        for arguments in (["show", "nosuch"], ["remove", "nosuch"], ["retry", "nosuch"]):
            status, out, error = self.postern.queue(*arguments)
            self.assertNotEqual(status, 0, arguments)
            self.assertTrue(out + error)
        self.assertEqual(self.postern.stop(), 0)
        status, out, error = self.postern.queue("list")
        self.assertNotEqual(status, 0)
        self.assertIn(self.postern.control, out + error)

    def test_spool_dump(self):
        self.hand_in(2, subject="dumped")
        wait_until(lambda: len(self.ids()) == 2, "two messages in the queue")
        ids = self.ids()
        self.postern.kill9()
        status, out, error = self.postern.run("spool", "dump", self.postern.settings["spool"])
        self.assertEqual(status, 0, error)
        for word in (SENDER, RECIPIENT, *ids):
            self.assertIn(word, out)
        self.postern.start()  # the dump changed nothing
        self.assertEqual(sorted(self.ids()), sorted(ids))
        status, out, error = self.postern.run("spool", "dump", self.path("nosuch"))
        self.assertNotEqual(status, 0)


class Demo(LifeCase):
    def test_demo(self):
        """`postern demo` shows the way of a message by itself and ends."""
        status, out, error = Postern(self, start=False).run("demo")
        self.assertEqual(status, 0, out + error)
        self.assertIn("250", out + error)


if __name__ == "__main__":
    main()
