"""Delivery by MX: a real name server with a zone of its own, and sinks on loopback addresses as the mail hosts."""

import email
import email.policy

from harness import Case, NameServer, Postern, RawClient, Script, Sink, Switch, main, message, route_to, wait_until

SENDER = "alice@example.net"
QUICK = {"retry_seconds": [1]}
MX, A = 15, 1

RECORDS = """
one      MX 10 mx1
two      MX 20 mx2
two      MX 10 mx1
second   MX 10 down
second   MX 20 mx2
equal    MX 10 mx1
equal    MX 10 mx2
null     MX 0  .
plain    A     127.0.1.1
bare     TXT   "neither MX nor address"
alias    CNAME one
hostname MX 10 mxalias
mxalias  CNAME mx2
loop     MX 10 mail.example.net.
loop     MX 20 mx1
own      MX 10 mx1
own      MX 20 mail.example.net.
own      MX 30 mx2
ownworse MX 10 down
ownworse MX 20 mail.example.net.
ownworse MX 30 mx2
shared1  MX 10 mx1
shared1  MX 20 mx2
shared2  MX 1  mx1
shared2  MX 2  mx2
nowhere  MX 10 missing
far      MX 10 mx1.elsewhere.
mx1      A     127.0.1.1
mx2      A     127.0.1.2
down     A     127.0.1.9
xn--bcher-kva MX 10 mx1
""" + "".join(f"many     MX {number + 10} a-host-with-a-long-name-{number}\n" for number in range(60)) + """
a-host-with-a-long-name-0 A 127.0.1.2
"""


class DnsCase(Case):
    def start(self, *, dns=None, routes=None, records=RECORDS, **settings):
        self.first = self.track(Sink(address="127.0.1.1"))
        self.second = self.track(Sink(address="127.0.1.2", port=self.first.port))
        self.home = self.track(Sink())
        self.names = NameServer(self, records)
        self.switch = Switch(self, self.names)
        by_mx = {"domain": "*", "to": ["mx"], "port": self.first.port, **settings.pop("by_mx", {})}
        self.postern = Postern(
            self, queue=QUICK, route=[route_to(self.home.port, "example.net"), *(routes or []), by_mx],
            dns={"servers": [self.switch.address], "timeout_seconds": 1, "tries": 1, **(dns or {})}, **settings)

    def hand_in(self, *recipients, content=None):
        content = content or message()
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            answer = client.hand_in(SENDER, list(recipients), content)
            self.assertEqual(answer.code, 250, answer)

    def reached(self, sink, *recipients):
        """The recipients, and no others, are at the sink; then it is empty again."""
        sink.wait_until(lambda kept: sum(len(each.recipients) for each in kept) >= len(recipients), str(recipients))
        self.assertEqual(sorted(each for kept in sink.messages for each in kept.recipients), sorted(recipients))
        sink.clear()

    def bounced(self, count=1):
        """Status, Diagnostic-Code or text of the notification's recipients."""
        kept = self.home.wait_for(count)[-1]
        parsed = email.message_from_bytes(kept.content, policy=email.policy.default)
        readable, status, _ = list(parsed.iter_parts())
        self.home.clear()
        return [(each["Final-Recipient"].partition("; ")[2], each["Status"]) for each in status.get_payload()[1:]], \
            readable.get_content()

    def logged(self, kind, domain):
        """Lines come a moment after the thing they tell of."""
        return wait_until(lambda: [event for event in self.postern.events(kind) if domain in event["to"]],
                          f"{kind} of {domain} in the log")

    def deferred(self, recipient):
        return [event for event in self.postern.events("deferred") if recipient in event["to"]]

    def queue_is_empty(self):
        wait_until(lambda: ".test" not in self.postern.queue("list")[1], "an empty queue", every=0.1)


class Hosts(DnsCase):
    def test_which_host(self):
        self.start()
        self.hand_in("a@one.test")
        self.reached(self.first, "a@one.test")
        self.hand_in("a@TWO.test.")
        self.reached(self.first, "a@TWO.test")
        self.hand_in("a@plain.test")  # no MX: its address
        self.reached(self.first, "a@plain.test")
        self.hand_in("a@alias.test")  # CNAME of the domain
        self.reached(self.first, "a@alias.test")
        self.hand_in("a@xn--bcher-kva.test")
        self.reached(self.first, "a@xn--bcher-kva.test")
        self.hand_in("a@own.test")  # ourselves and worse are dropped
        self.reached(self.first, "a@own.test")
        self.assertEqual(self.second.messages, [])
        self.hand_in("a@hostname.test")  # CNAME of the host
        self.reached(self.second, "a@hostname.test")
        self.hand_in("a@second.test")  # the first host is down
        self.reached(self.second, "a@second.test")
        self.hand_in("a@[127.0.1.2]")  # no name, no question
        self.reached(self.second, "a@[127.0.1.2]")
        self.queue_is_empty()
        self.assertEqual(self.home.messages, [])
        self.assertEqual(self.logged("delivered", "one.test")[0]["relay"], f"mx1.test[127.0.1.1]:{self.first.port}")

    def test_first_host_comes_back(self):
        self.start()
        self.hand_in("a@second.test")
        self.reached(self.second, "a@second.test")
        late = self.track(Sink(address="127.0.1.9", port=self.first.port))

        def is_preferred():
            self.hand_in("a@second.test")
            return late.messages

        wait_until(is_preferred, "the better host to be used again", every=0.5)

    def test_equal_preferences_are_shared(self):
        self.start(by_mx={"messages_per_connection": 1})
        for number in range(40):
            self.hand_in(f"r{number}@equal.test")
        wait_until(lambda: len(self.first.messages) + len(self.second.messages) == 40, "40 messages")
        # Forty throws of a coin: never all on one side.
        self.assertGreater(len(self.first.messages), 0)
        self.assertGreater(len(self.second.messages), 0)

    def test_same_set_same_connections(self):
        """Domains with the same hosts are one site: one transaction for both, and never more connections than one."""
        self.start(workers=1, by_mx={"connections": 1})
        self.hand_in("a@shared1.test")
        self.hand_in("a@shared2.test")
        self.reached(self.first, "a@shared1.test", "a@shared2.test")
        self.hand_in("b@shared1.test", "b@shared2.test")
        self.assertEqual(self.first.wait_for(1)[0].recipients, ["b@shared1.test", "b@shared2.test"])
        for number in range(20):
            self.hand_in(f"r{number}@shared{number % 2 + 1}.test")
        self.first.wait_for(21)
        self.assertEqual(self.first.open_most, 1)
        self.assertEqual(self.second.sessions, [])

    def test_one_message_many_domains(self):
        self.start()
        names = ("one", "two", "null", "hostname", "nothing", "equal", "plain", "loop")
        everybody = [f"a@{name}.test" for name in names]
        self.hand_in(*everybody)
        wait_until(lambda: sum(len(kept.recipients) for kept in self.first.messages + self.second.messages) == 5,
                   "five of eight recipients")
        recipients, _ = self.bounced()
        self.assertEqual(sorted(recipients), [("a@loop.test", "5.4.6"), ("a@nothing.test", "5.1.2"),
                                              ("a@null.test", "5.1.10")])
        self.queue_is_empty()

    def test_asked_once(self):
        self.start(workers=1)
        for number in range(20):
            self.hand_in(f"r{number}@one.test", "a@null.test")
        self.first.wait_for(20)
        self.home.wait_for(20)
        self.assertEqual([self.switch.count(name, kind) for name, kind in
                          (("one.test", MX), ("null.test", MX), ("mx1.test", A))], [1, 1, 1])


    def test_long_answer(self):
        """Sixty hosts do not fit into a datagram: the rest of the conversation is TCP."""
        self.start()
        self.postern.change(dns={"servers": [self.names.address]})
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        self.hand_in("a@many.test")
        self.reached(self.second, "a@many.test")

    def test_a_thousand_domains(self):
        """Each message once, each to the better host of its domain; two sites, so two sets of connections."""
        domains = 1000
        self.start(records=RECORDS + "".join(
            f"d{number} MX {number % 50} mx{number % 2 + 1}\nd{number} MX {number % 50 + 10} mx{2 - number % 2}\n"
            for number in range(domains)))
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            for number in range(2 * domains):
                answer = client.hand_in(SENDER, [f"r{number}@d{number % domains}.test"], message())
                self.assertEqual(answer.code, 250, answer)
        for sink, rest in ((self.first, 0), (self.second, 1)):
            numbers = range(rest, 2 * domains, 2)
            self.reached(sink, *(f"r{number}@d{number % domains}.test" for number in numbers))
            self.assertLessEqual(sink.open_most, 20)
        self.queue_is_empty()
        self.assertEqual(self.home.messages, [])

    def test_hop_that_takes_few_recipients(self):
        """What a transaction left over goes into the next one, for recipients of several domains too."""
        class Few(Script):
            def rcpt(self, session, address, parameters):
                taken = len(session.commands) - max(index for index, command in enumerate(session.commands)
                                                    if command.startswith("MAIL")) - 1
                return "452 4.5.3 too many recipients" if taken > 3 else None

        self.start()
        self.first.script = Few()
        self.hand_in("warm@shared1.test")
        self.hand_in("warm@shared2.test")
        self.reached(self.first, "warm@shared1.test", "warm@shared2.test")
        everybody = [f"r{number}@shared{number % 2 + 1}.test" for number in range(7)]
        self.hand_in(*everybody)
        self.first.wait_until(lambda kept: sum(len(each.recipients) for each in kept) >= 7, "seven recipients")
        self.reached(self.first, *everybody)
        self.assertEqual(self.postern.events("deferred"), [])


class NoHosts(DnsCase):
    def test_bounces(self):
        self.start()
        for name, code, status, words in (("null", 556, "5.1.10", "takes no mail"),
                                          ("nothing", 550, "5.1.2", "no such domain"),
                                          ("bare", 550, "5.4.4", "no mail host"), ("loop", 554, "5.4.6", "loops back")):
            with self.subTest(name):
                self.hand_in(f"a@{name}.test")
                recipients, text = self.bounced()
                self.assertEqual(recipients, [(f"a@{name}.test", status)])
                self.assertIn(words, text)
                event = self.logged("failed", f"{name}.test")[0]
                self.assertEqual((event["code"], event["status"]), (str(code), status))
        self.assertEqual(self.first.sessions + self.second.sessions, [])
        self.queue_is_empty()

    def test_worse_than_ourselves_is_no_way_out(self):
        """The better host is down, the others are not better than we: wait, never hand it to them."""
        self.start()
        self.hand_in("a@ownworse.test")
        wait_until(lambda: len(self.deferred("ownworse.test")) >= 2, "two attempts")
        self.assertEqual(self.second.sessions, [])
        late = self.track(Sink(address="127.0.1.9", port=self.first.port))
        self.reached(late, "a@ownworse.test")

    def test_hosts_without_addresses_are_waited_for(self):
        self.start()
        self.hand_in("a@nowhere.test")
        self.hand_in("a@far.test")  # nobody here knows "elsewhere."
        wait_until(lambda: self.deferred("nowhere.test") and self.deferred("far.test"), "both put off")
        self.assertEqual(self.deferred("nowhere.test")[0]["status"], "4.4.1")
        self.assertEqual(self.postern.events("failed"), [])


class Weather(DnsCase):
    def test_no_name_server(self):
        self.start()
        self.names.stop()
        self.hand_in("a@one.test")
        wait_until(lambda: len(self.deferred("one.test")) >= 3, "three attempts")
        self.assertEqual({event["status"] for event in self.deferred("one.test")}, {"4.4.3"})
        self.names.start()
        self.reached(self.first, "a@one.test")
        self.queue_is_empty()
        self.assertEqual(self.home.messages, [])

    def test_second_name_server(self):
        """The first one does not answer: the next one is asked."""
        self.start()
        self.postern.change(dns={"servers": ["127.0.0.1:9", self.switch.address]})
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        self.hand_in("a@one.test")
        self.reached(self.first, "a@one.test")

    def test_a_slow_domain_holds_up_nobody(self):
        self.start(dns={"timeout_seconds": 60})
        self.switch.lost.add("two.test")
        self.hand_in("a@one.test", "a@two.test", "a@hostname.test")
        self.reached(self.first, "a@one.test")
        self.reached(self.second, "a@hostname.test")
        self.hand_in("b@one.test")
        self.reached(self.first, "b@one.test")
        self.assertEqual(self.postern.events("deferred"), [])
        # The end does not wait for the answer, and the recipient is still there at the next start.
        self.assertEqual(self.postern.stop(), 0)
        self.switch.lost.clear()
        self.postern.start()
        self.reached(self.first, "a@two.test")

    def test_reload_changes_servers(self):
        self.start(dns={"servers": ["127.0.0.1:9"]})
        self.hand_in("a@one.test")
        wait_until(lambda: self.deferred("one.test"), "a first attempt in vain")
        self.postern.change(dns={"servers": [self.switch.address]})
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        self.reached(self.first, "a@one.test")


class NamedHops(DnsCase):
    def test_hosts_file_and_dns(self):
        inside = self.track(Sink())
        self.start()
        self.postern.change(route=[{"domain": "inside.example", "to": [f"smtp:localhost:{inside.port}"]},
                                   {"domain": "outside.example", "to": [f"smtp:MX2.test:{self.second.port}"]}])
        self.assertEqual(self.postern.reload()["event"], "reloaded")
        self.hand_in("a@inside.example")
        self.reached(inside, "a@inside.example")
        self.assertEqual(self.switch.count("localhost", A), 0)
        self.hand_in("a@outside.example")
        self.reached(self.second, "a@outside.example")


if __name__ == "__main__":
    main()
