"""What a login is good for: senders, the relay privilege, quotas, holds; and accounts that change while the server
runs."""

from harness import (SANITIZED, Authority, Case, Postern, RawClient, Sink, free_port, main, message, proxy_v1, route_to,
                     submission_services, untrusting_context, wait_until)

USER, PASSWORD = "anna@example.net", "tulip Kettle 47 harbour"
RECIPIENT = "bob@remote.example"
LOCAL = "carol@example.net"
SOON = 6.0 if SANITIZED else 2.0  # in seconds: how soon a running server knows of a change


class AccountCase(Case):
    def setUp(self):
        self.authority = Authority(self)
        self.context = untrusting_context()

    def start(self, *, auth=None, services=None, options=(), **settings):
        self.sink = self.track(Sink())
        whole = {"route": [route_to(self.sink.port)], "lan": ["192.0.2.0/24"],
                 "certificate": [self.authority.issue("server").setting()],
                 "service": services or submission_services(("SCRAM-SHA-256", "PLAIN"), auth=auth, errors=0)}
        self.postern = Postern(self, start=False, **{**whole, **settings})
        self.postern.user("add", USER, *options, password=PASSWORD)
        self.postern.start()

    def connect(self, source=None):
        client = RawClient(self.postern.port("submissions"), tls=self.context, source=source)
        self.addCleanup(client.close)
        client.ehlo()
        return client

    def login(self, user=USER, password=PASSWORD, source=None) -> int:
        with self.connect(source) as client:
            return client.auth_plain(user, password).code

    def logged_in(self, user=USER, password=PASSWORD, source=None):
        client = self.connect(source)
        answer = client.auth_plain(user, password)
        self.assertEqual(answer.code, 235, answer)
        return client

    def hand_in(self, client, *, sender=USER, to=(RECIPIENT,), header_from=None):
        return client.hand_in(sender, list(to), message(sender=header_from or sender))

    def expect(self, answer, code, enhanced):
        self.assertEqual((answer.code, answer.enhanced), (code, enhanced), answer)
        return answer


class Senders(AccountCase):
    def test_own_senders(self):
        self.start(options=("--sender", "info@example.org", "--sender", "@team.example.net"))
        client = self.logged_in()
        for sender in (USER, "ANNA@Example.NET", "info@example.org", "any.body@team.example.net", ""):
            with self.subTest(sender=sender):
                self.assertEqual(self.hand_in(client, sender=sender, header_from=USER).code, 250)
        for sender in ("bert@example.net", "info2@example.org", "x@sub.team.example.net", "anna@example.org",
                       "anna@remote.example"):
            with self.subTest(sender=sender):
                answer = self.expect(client.command(f"MAIL FROM:<{sender}>"), 550, "5.7.1")
                self.assertIn("not yours", answer.text)
        self.postern.user("set", USER, "--no-sender", "info@example.org", "--sender", "new@example.org")

        def changed():
            fresh = self.logged_in()
            return fresh.command("MAIL FROM:<info@example.org>").code == 550

        wait_until(changed, "the change", SOON + 1, every=0.1)
        self.assertEqual(self.hand_in(self.logged_in(), sender="new@example.org").code, 250)

    def test_name_without_a_domain(self):
        self.start()
        self.postern.user("add", "bert", password=PASSWORD)
        client = self.logged_in("bert")
        self.assertEqual(self.hand_in(client, sender="bert@example.net").code, 250)
        self.expect(client.command("MAIL FROM:<bert@example.org>"), 550, "5.7.1")

    def test_any_sender(self):
        self.start(options=("--sender", "*"))
        self.assertEqual(self.hand_in(self.logged_in(), sender="whoever@remote.example").code, 250)

    def test_switched_off(self):
        self.start(auth={"own_sender": False})
        self.assertEqual(self.hand_in(self.logged_in(), sender="whoever@remote.example").code, 250)

    def test_header_from(self):
        self.start(auth={"own_header_from": True}, options=("--sender", "info@example.org"))
        client = self.logged_in()
        self.assertEqual(self.hand_in(client, header_from="info@example.org").code, 250)
        self.assertEqual(self.hand_in(client, header_from="boss@example.net").code, 550)
        self.assertEqual(self.hand_in(client).code, 250)  # the session goes on
        self.assertEqual(len(self.sink.wait_for(2)), 2)

    def test_relay_privilege(self):
        self.start(options=("--no-relay",))
        client = self.logged_in()
        self.assertEqual(client.command(f"MAIL FROM:<{USER}>").code, 250)
        self.expect(client.command(f"RCPT TO:<{RECIPIENT}>"), 550, "5.7.1")
        self.assertEqual(client.command(f"RCPT TO:<{LOCAL}>").code, 250)
        self.postern.user("set", USER, "--relay")

        def changed():
            fresh = self.logged_in()
            fresh.command(f"MAIL FROM:<{USER}>")
            return fresh.command(f"RCPT TO:<{RECIPIENT}>").code == 250

        wait_until(changed, "the change", SOON + 1, every=0.1)


class Quotas(AccountCase):
    def test_messages(self):
        self.start(quota={"user": {"messages_per_hour": 3}})
        for client in (self.logged_in(), self.logged_in(), self.logged_in()):
            self.assertEqual(self.hand_in(client).code, 250)
        client = self.logged_in()
        self.expect(self.hand_in(client), 450, "4.7.1")
        self.expect(self.hand_in(self.logged_in(), to=[LOCAL]), 450, "4.7.1")  # to whomever
        self.assertEqual(len(self.sink.wait_for(3)), 3)
        # Another's is another's.
        self.postern.user("add", "bert@example.net", password=PASSWORD)
        self.assertEqual(self.hand_in(self.logged_in("bert@example.net"), sender="bert@example.net").code, 250)
        self.assertEqual(self.postern.events("account_held"), [])

    def test_messages_over_one_connection(self):
        self.start(quota={"user": {"messages_per_day": 2}})
        client = self.logged_in()
        self.assertEqual([self.hand_in(client).code for _ in range(3)], [250, 250, 450])

    def test_recipients(self):
        self.start(quota={"user": {"recipients_per_hour": 5}})
        client = self.logged_in()
        self.assertEqual(self.hand_in(client, to=[f"r{number}@remote.example" for number in range(3)]).code, 250)
        self.assertEqual(client.command(f"MAIL FROM:<{USER}>").code, 250)
        codes = [client.command(f"RCPT TO:<s{number}@remote.example>").code for number in range(4)]
        self.assertEqual(codes, [250, 250, 450, 450])
        self.assertEqual(client.data(message(sender=USER)).code, 250)  # for those that were taken
        self.expect(self.hand_in(client), 450, "4.7.1")

    def test_limits_of_the_user(self):
        """They come before the server's, and survive a restart, as what is used does."""
        self.start(quota={"user": {"messages_per_hour": 1}}, options=("--messages-per-hour", "3"))
        client = self.logged_in()
        self.assertEqual([self.hand_in(client).code for _ in range(4)], [250, 250, 250, 450])
        self.assertEqual(self.postern.stop(), 0)
        self.postern.start()
        self.expect(self.hand_in(self.logged_in()), 450, "4.7.1")

    def test_machines(self):
        """Of clients that nobody logged in from, outside the LAN."""
        self.start(services=[{"name": "smtp", "proxy_protocol": True, "errors": 0}], proxy_from=["127.0.0.1/32"],
                   certificate=[], quota={"machine": {"messages_per_hour": 2}})

        def send(machine):
            with RawClient(self.postern.port("smtp"), preamble=proxy_v1(machine)) as client:
                client.ehlo()
                return self.hand_in(client, sender="x@remote.example", to=[LOCAL])

        self.assertEqual([send("203.0.113.1").code for _ in range(2)], [250, 250])
        self.expect(send("203.0.113.1"), 450, "4.7.1")
        self.assertEqual(send("203.0.113.2").code, 250)
        self.assertEqual([send("192.0.2.1").code for _ in range(4)], [250] * 4)  # the LAN

    def test_account_is_held(self):
        self.start(quota={"user": {"messages_per_hour": 2}}, users={"hold_on_quota": True})
        client = self.logged_in()
        self.assertEqual([self.hand_in(client).code for _ in range(3)], [250, 250, 450])
        held = wait_until(lambda: self.postern.events("account_held"), "the hold")
        self.assertIn(USER, held[0]["note"])
        self.assertEqual(held[0]["level"], "warning")
        # The login still works, and says why nothing can be sent.
        answer = self.expect(self.logged_in().command(f"MAIL FROM:<{USER}>"), 451, "4.7.1")
        self.assertIn("hold", answer.text)
        self.assertIn("held", self.postern.user("list"))
        self.postern.user("release", USER)
        wait_until(lambda: self.logged_in().command(f"MAIL FROM:<{USER}>").code == 250, "the release", SOON + 1,
                   every=0.1)
        self.assertEqual(len(self.postern.events("account_held")), 1)

    def test_queue_of_a_held_account(self):
        """What it handed in before it was held waits for the operator, over a restart too; others' mail does not."""
        port = free_port()
        self.start(quota={"user": {"messages_per_hour": 2}}, users={"hold_on_quota": True}, route=[route_to(port)],
                   queue={"retry_seconds": [3600]})
        other = "bert@example.net"
        self.postern.user("add", other, password="acht Hummeln brummen leise")
        client = self.logged_in()
        self.assertEqual([self.hand_in(client).code for _ in range(3)], [250, 250, 450])
        self.assertEqual(self.hand_in(self.logged_in(other, "acht Hummeln brummen leise"), sender=other).code, 250)
        wait_until(lambda: self.postern.events("account_held"), "the hold")
        wait_until(lambda: len(self.postern.events("deferred")) == 3, "the first attempts")
        sink = self.track(Sink(port=port))
        self.postern.queue("retry", "all")
        self.assertEqual(sink.wait_for(1)[0].sender, other)
        wait_until(lambda: self.postern.queue("list")[1].count("held") == 2, "two messages held", every=0.05)
        self.assertEqual(self.postern.stop(), 0)
        self.postern.start()
        wait_until(lambda: self.postern.queue("list")[1].count("held") == 2, "two messages held", every=0.05)
        self.assertEqual({event["user"] for event in self.postern.events("held")}, {USER})
        self.assertEqual(len(sink.messages), 1)
        self.postern.user("release", USER)

        def delivered():
            self.postern.queue("retry", "all")
            return len(sink.messages) == 3

        wait_until(delivered, "the messages", SOON + 1, every=0.1)
        self.assertEqual({each.sender for each in sink.messages[1:]}, {USER})

    def test_account_seen_everywhere(self):
        self.start(users={"machines": 3})
        for number in range(3):
            self.logged_in(source=f"127.0.0.{number + 2}").close()
            self.logged_in(source=f"127.0.0.{number + 2}").close()
        self.assertEqual(self.hand_in(self.logged_in(source="127.0.0.2")).code, 250)
        self.logged_in(source="127.0.0.9").close()
        wait_until(lambda: self.postern.events("account_held"), "the hold")
        self.assertEqual(self.logged_in(source="127.0.0.2").command(f"MAIL FROM:<{USER}>").code, 451)


class Changes(AccountCase):
    def becomes(self, code, what, password=PASSWORD):
        wait_until(lambda: self.login(password=password) == code, what, SOON, every=0.05)

    def test_disabled(self):
        self.start()
        open_before = self.logged_in()
        self.postern.user("disable", USER)
        self.becomes(535, "the login to end")
        wait_until(lambda: any(each["reason"] == "account-disabled" for each in self.postern.events("login_failed")),
                   "the reason in the log")
        # Authentication lasts for the connection.
        self.assertEqual(self.hand_in(open_before).code, 250)
        self.postern.user("enable", USER)
        self.becomes(235, "the login to come back")

    def test_removed(self):
        self.start()
        self.assertEqual(self.login(), 235)
        self.postern.user("remove", USER)
        self.becomes(535, "the login to end")
        self.postern.user("add", USER, password="acht Hummeln brummen leise")
        self.becomes(235, "the new one", password="acht Hummeln brummen leise")
        self.assertEqual(self.login(), 535)

    def test_new_password(self):
        self.start()
        self.assertEqual(self.login(), 235)
        self.postern.user("passwd", USER, password="acht Hummeln brummen leise")
        self.becomes(535, "the old password to end")
        self.assertEqual(self.login(password="acht Hummeln brummen leise"), 235)

    def test_added(self):
        self.start()
        self.assertEqual(self.login("bert@example.net"), 535)
        self.postern.user("add", "bert@example.net", password=PASSWORD)
        self.assertEqual(self.login("bert@example.net"), 235)  # at once: nothing remembers that there was none


if __name__ == "__main__":
    main()
