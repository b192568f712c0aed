"""Who may relay: the table and the steps before it, each through a real socket, with the client's address set in every
way a client can have one: its own, PROXY protocol version 1 and 2, an IPv4-mapped IPv6 address, XCLIENT."""

from dataclasses import dataclass, field

from harness import (PROXY_V1_UNKNOWN, PROXY_V2_LOCAL, Authority, Case, Disconnected, Postern, RawClient, Sink, main,
                     message, proxy_v1, proxy_v2, route_to, untrusting_context)

LAN = ["127.0.0.1/32", "198.51.100.0/24", "2001:db8:1::/64"]
OURS, THEIRS = "alice@example.net", "mallory@stranger.example"
REMOTE = "bob@remote.example"
PASSWORD = "tulip Kettle 47 harbour"

# name of the way -> client inside the LAN, client outside it: (source address, preamble)
DIRECT = {"own address": (("127.0.0.1", b""), ("127.0.0.2", b""))}
PROXIED = {
    "PROXY 1, IPv4": ((None, proxy_v1("198.51.100.9")), (None, proxy_v1("192.0.2.9"))),
    "PROXY 1, IPv6": ((None, proxy_v1("2001:db8:1::9")), (None, proxy_v1("2001:db8:2::9"))),
    "PROXY 2, IPv4": ((None, proxy_v2("198.51.100.9")), (None, proxy_v2("192.0.2.9"))),
    "PROXY 2, IPv6": ((None, proxy_v2("2001:db8:1::9")), (None, proxy_v2("2001:db8:2::9"))),
    "PROXY 2, mapped": ((None, proxy_v2("::ffff:198.51.100.9")), (None, proxy_v2("::ffff:192.0.2.9"))),
}


@dataclass
class Row:
    name: str
    relay: dict
    lan: bool                 # where the client is
    sender: str
    code: int
    recipient: str = REMOTE
    enhanced: str = ""
    service: dict = field(default_factory=dict)

    def __post_init__(self):
        self.enhanced = self.enhanced or {250: "", 530: "5.7.0", 550: "5.7.1"}[self.code]


OPEN = {"i_know_this_is_an_open_relay": True}
FORGED_OK = {"reject_forged_local": False}
TO = {"always_to_enabled": True, "always_to": ["remote.example"]}
FROM = {"always_from_enabled": True, "always_from": ["127.0.0.2", "192.0.2.0/24", "2001:db8:2::/48"]}

ROWS = [
    Row("1-to", {**TO, "require_auth": True}, False, THEIRS, 250),
    Row("1-to-address", {"always_to_enabled": True, "always_to": [REMOTE]}, False, THEIRS, 250),
    Row("1-to-other-address", {"always_to_enabled": True, "always_to": ["carol@remote.example"]}, False, THEIRS, 550),
    Row("1-to-unticked", {**TO, "always_to_enabled": False}, False, THEIRS, 550),
    Row("1-from", {**FROM, "require_auth": True}, False, THEIRS, 250),
    Row("1-from-after-login", {**FROM, "after_login": True}, False, THEIRS, 250),
    Row("1-from-unticked", {**FROM, "always_from_enabled": False}, False, THEIRS, 550),
    Row("2", {}, True, THEIRS, 250),
    Row("2-null-sender", {}, True, "", 250),
    Row("3", {}, False, THEIRS, 550),
    Row("3-null-sender", {}, False, "", 550),
    Row("4", {"non_local_senders": False}, True, OURS, 250),
    Row("4-null-sender", {"non_local_senders": False}, True, "", 250),
    Row("5", {"non_local_senders": False}, True, THEIRS, 550),
    Row("5-subdomain", {"non_local_senders": False}, True, "a@sub.example.net", 550),
    Row("6", {"outside_lan": True}, False, THEIRS, 250, service=OPEN),
    Row("7-local", {"outside_lan": True, "non_local_senders": False}, False, OURS, 250, service={**OPEN, **FORGED_OK}),
    Row("7-other", {"outside_lan": True, "non_local_senders": False}, False, THEIRS, 550,
        service={**OPEN, **FORGED_OK}),
    Row("8", {"after_login": True, "non_local_senders": False}, True, THEIRS, 250),
    Row("10", {"after_login": True}, False, THEIRS, 550),
    Row("10-ignores", {"after_login": True, "outside_lan": True}, False, THEIRS, 550),
    Row("13-lan", {"require_auth": True}, True, OURS, 530),
    Row("13-remote", {"require_auth": True, "outside_lan": True}, False, THEIRS, 530),
    Row("13-after-login", {"require_auth": True, "after_login": True}, True, OURS, 530),
    Row("13-counts-as-auth", {"require_auth": True, "after_login": True, "login_counts_as_auth": True}, False, THEIRS,
        530),
]

# A local recipient is never a relay question, whatever the service's relay settings are.
LOCAL_ALWAYS = [Row(f"local-{name}", relay, False, THEIRS, 250, "bob@EXAMPLE.net") for name, relay in (
    ("default", {}), ("auth", {"require_auth": True}), ("login", {"after_login": True}),
    ("nothing", {"non_local_senders": False}))]


class RelayCase(Case):
    def postern(self, services, **more):
        self.sink = self.track(Sink())
        settings = {"lan": LAN, "proxy_from": ["127.0.0.1/32"], "local_domains": ["example.net", "bücher.example"],
                    "route": [route_to(self.sink.port)], **more}
        return Postern(self, service=services, **settings)

    def rcpt(self, client, sender, recipient):
        """MAIL and RCPT; the reply that decided."""
        answer = client.command(f"MAIL FROM:<{sender}>")
        return answer if answer.code != 250 else client.command(f"RCPT TO:<{recipient}>")

    def ask(self, port, sender, recipient, source=None, preamble=b""):
        with RawClient(port, source=source, preamble=preamble) as client:
            self.assertEqual(client.greeting.code, 220)
            client.ehlo()
            return self.rcpt(client, sender, recipient)

    def expect(self, answer, code, enhanced=""):
        self.assertEqual(answer.code, code, answer)
        if enhanced:
            self.assertEqual(answer.enhanced, enhanced, answer)


class Table(RelayCase):
    def test_rows(self):
        services = []
        for row in ROWS + LOCAL_ALWAYS:
            for kind in ("direct", "proxied"):
                services.append({"name": f"{kind}-{row.name}", "proxy_protocol": kind == "proxied", **row.service,
                                 "relay": row.relay})
        postern = self.postern(services)
        for row in ROWS + LOCAL_ALWAYS:
            for kind, ways in (("direct", DIRECT), ("proxied", PROXIED)):
                for way, clients in ways.items():
                    with self.subTest(row=row.name, way=way):
                        source, preamble = clients[0 if row.lan else 1]
                        port = postern.port(f"{kind}-{row.name}")
                        answer = self.ask(port, row.sender, row.recipient, source, preamble)
                        self.expect(answer, row.code, row.enhanced)
            with self.subTest(row=row.name, way="explain"):
                address = "127.0.0.1" if row.lan else "127.0.0.2"
                status, out, error = postern.run(
                    "explain", "--config", postern.config, "--service", f"direct-{row.name}", "--client", address,
                    "--from", row.sender, "--to", row.recipient)
                self.assertIn(status, (0, 1), error)
                self.assertIn(str(row.code), out)

    def test_rows_of_logins(self):
        """Rows 9 to 13 with machines that collected mail, and with users who hold the privilege or do not."""
        relays = {
            "after_login": {"after_login": True, "non_local_senders": False},
            "auth": {"require_auth": True}, "both": {"require_auth": True, "after_login": True},
            "counts": {"require_auth": True, "after_login": True, "login_counts_as_auth": True},
            "lan_only": {"non_local_senders": False},
        }
        certificate = Authority(self).issue("server")
        postern = self.postern([{"name": name, "tls": "implicit", "auth": {"mechanisms": ["PLAIN"]}, "relay": relay}
                                for name, relay in relays.items()],
                               certificate=[certificate.setting()], logins={"window_seconds": 3600})
        postern.user("add", OURS, "--relay", password=PASSWORD)
        postern.user("add", "carol@example.net", "--no-relay", password=PASSWORD)
        status, out, error = postern.run("login", "add", "127.0.0.3", "--socket", postern.control)
        self.assertEqual(status, 0, out + error)
        stranger, collector, lan, privileged, unprivileged = "127.0.0.2", "127.0.0.3", "127.0.0.1", OURS, "carol@example.net"
        rows = (
            ("9", "after_login", collector, None, 250, ""),
            ("10", "after_login", stranger, None, 550, "5.7.1"),
            ("11", "after_login", stranger, privileged, 250, ""), ("11", "auth", stranger, privileged, 250, ""),
            ("11", "both", lan, privileged, 250, ""), ("11", "lan_only", stranger, privileged, 250, ""),
            ("12", "auth", stranger, unprivileged, 550, "5.7.1"), ("12", "auth", lan, unprivileged, 550, "5.7.1"),
            ("12", "both", collector, unprivileged, 550, "5.7.1"),
            ("9, no privilege", "after_login", collector, unprivileged, 250, ""),
            ("10, no privilege", "after_login", stranger, unprivileged, 550, "5.7.1"),
            ("13", "auth", lan, None, 530, "5.7.0"), ("13", "both", collector, None, 530, "5.7.0"),
            ("step 6", "counts", collector, None, 250, ""), ("step 6", "counts", stranger, None, 530, "5.7.0"),
            ("step 8, no privilege", "lan_only", stranger, unprivileged, 550, "5.7.1"),
        )
        for row, service, source, user, code, enhanced in rows:
            with self.subTest(row=row, service=service, source=source, user=user), \
                    RawClient(postern.port(service), source=source, tls=untrusting_context()) as client:
                client.ehlo()
                if user is not None:
                    self.expect(client.auth_plain(user, PASSWORD), 235)
                self.expect(self.rcpt(client, user or THEIRS, REMOTE), code, enhanced)
        postern.run("login", "remove", collector, "--socket", postern.control)
        with RawClient(postern.port("after_login"), source=collector, tls=untrusting_context()) as client:
            client.ehlo()
            self.expect(self.rcpt(client, THEIRS, REMOTE), 550, "5.7.1")

    def test_services_stand_alone(self):
        """The same client, sender and recipient meet different answers on two services at the same time."""
        postern = self.postern([{"name": "strict", "relay": {"require_auth": True}}, {"name": "lan"},
                                {"name": "to", "relay": TO}])
        with RawClient(postern.port("strict")) as strict, RawClient(postern.port("lan")) as lan, \
                RawClient(postern.port("to"), source="127.0.0.2") as to:
            for client in (strict, lan, to):
                client.ehlo()
            self.expect(self.rcpt(strict, OURS, REMOTE), 530, "5.7.0")
            self.expect(self.rcpt(lan, OURS, REMOTE), 250)
            self.expect(self.rcpt(to, THEIRS, REMOTE), 250)
            self.expect(to.command("RCPT TO:<x@elsewhere.example>"), 550, "5.7.1")
            self.expect(to.data(message()), 250)
        kept = self.sink.wait_for(1)[0]
        self.assertEqual((kept.sender, kept.recipients), (THEIRS, [REMOTE]))


class Steps(RelayCase):
    def test_addresses(self):
        """Step 1: strict addresses; at a local domain nothing that a next hop might interpret."""
        postern = self.postern([{"name": "smtp"}])
        cases = [
            ("postmaster", 250, ""), ("PostMaster", 250, ""), ("bob@example.net", 250, ""),
            ("bob@EXAMPLE.NET", 250, ""), ("bob@xn--bcher-kva.example", 250, ""),
            ("bob%remote.example@example.net", 550, "5.1.3"), ("remote.example!bob@example.net", 550, "5.1.3"),
            ('"bob@remote.example"@example.net', 550, "5.1.3"),
            ("@example.net:bob@remote.example", 550, ""), ("@example.net,@b.example:bob@example.net", 550, ""),
            (REMOTE, 550, "5.7.1"), ("bob@sub.example.net", 550, "5.7.1"), ("bob@notexample.net", 550, "5.7.1"),
            ("bob@example.net.remote.example", 550, "5.7.1"), ("bob@[192.0.2.1]", 550, "5.7.1"),
        ]
        with RawClient(postern.port(), source="127.0.0.2") as client:
            client.ehlo()
            self.expect(client.command(f"MAIL FROM:<{THEIRS}>"), 250)
            for recipient, code, enhanced in cases:
                with self.subTest(recipient=recipient):
                    self.expect(client.command(f"RCPT TO:<{recipient}>"), code, enhanced)
            self.expect(client.data(message()), 250)
        self.assertEqual(self.sink.wait_for(1)[0].sender, THEIRS)

    def test_malformed_addresses(self):
        """No form of these reaches a decision: a syntax error is said before anybody asks who may relay."""
        postern = self.postern([{"name": "smtp", "errors": 0}])
        with RawClient(postern.port()) as client:
            client.ehlo()
            self.expect(client.command(f"MAIL FROM:<{THEIRS}>"), 250)
            for bad in ("<bob>", "<bob@>", "<@example.net>", "<bob@@example.net>", "<bob@exa mple.net>",
                        "<bob@example.net", "<bob@.example.net>", "<b..ob@example.net>", "<bob@-x.example>",
                        "<bob@[300.1.1.1]>", "<>", ""):
                with self.subTest(path=bad):
                    answer = client.command(f"RCPT TO:{bad}")
                    self.assertIn(answer.code, (501, 550, 553), answer)
                    self.assertTrue(answer.enhanced.startswith("5."), answer)

    def test_percent_at_remote_domain_is_the_hops_business(self):
        postern = self.postern([{"name": "smtp"}])
        self.expect(self.ask(postern.port(), OURS, "a%b@remote.example"), 250)

    def test_always_lists_of_senders(self):
        """Sender addresses and domains in a ticked always_from, on a service that admits only listed clients."""
        listed = ["mallory@stranger.example", "partner.example"]
        services = [{"name": "on" if ticked else "off", "access": ["127.0.0.0/8"],
                     "relay": {"always_from_enabled": ticked, "always_from": listed}} for ticked in (True, False)]
        postern = self.postern(services)
        for sender, wanted in ((THEIRS, 250), ("MALLORY@Stranger.Example", None), ("anyone@partner.example", 250),
                               ("other@stranger.example", 550), ("x@sub.partner.example", 550), ("", 550)):
            with self.subTest(sender=sender):
                answer = self.ask(postern.port("on"), sender, REMOTE, "127.0.0.2")
                if wanted:
                    self.expect(answer, wanted)
                self.expect(self.ask(postern.port("off"), sender, REMOTE, "127.0.0.2"), 550, "5.7.1")

    def test_scope_all(self):
        """auth.scope = "all": 530 at MAIL, whoever it is and whatever the recipient would be."""
        postern = self.postern([{"name": "submission", "relay": {"require_auth": True}, "auth": {"scope": "all"}}])
        for source in ("127.0.0.1", "127.0.0.2"):
            with RawClient(postern.port("submission"), source=source) as client:
                client.ehlo()
                self.expect(client.command(f"MAIL FROM:<{OURS}>"), 530, "5.7.0")


class Gates(RelayCase):
    def test_access_control(self):
        postern = self.postern([{"name": "listed", "access": ["127.0.0.1"]}, {"name": "nobody", "access": []},
                                {"name": "any"}])
        for service, source, admitted in (("listed", "127.0.0.1", True), ("listed", "127.0.0.2", False),
                                          ("nobody", "127.0.0.1", False), ("any", "127.0.0.2", True)):
            with self.subTest(service=service, source=source), \
                    RawClient(postern.port(service), source=source) as client:
                if admitted:
                    self.expect(client.greeting, 220)
                    continue
                self.expect(client.greeting, 554, "5.7.1")
                self.expect(client.command("EHLO x.example"), 503)
                self.expect(client.command(f"MAIL FROM:<{OURS}>"), 503)
                self.expect(client.command("QUIT"), 221)
                self.assertTrue(client.closed_by_server())

    def test_blacklist(self):
        postern = self.postern([{"name": "smtp", "blacklist": ["127.0.0.3", "spammer@stranger.example", "bad.example",
                                                               "trap@example.net"]}])
        with RawClient(postern.port(), source="127.0.0.3") as client:
            self.assertIn(client.greeting.code, (554, 550), client.greeting)
        for sender, recipient, code in (("spammer@stranger.example", "bob@example.net", 550),
                                        ("anyone@bad.example", "bob@example.net", 550),
                                        (THEIRS, "trap@example.net", 550), (THEIRS, "bob@example.net", 250)):
            with self.subTest(sender=sender, recipient=recipient):
                answer = self.ask(postern.port(), sender, recipient, "127.0.0.2")
                self.expect(answer, code, "5.7.1" if code == 550 else "")

    def test_forged_local_sender(self):
        services = [{"name": "on"}, {"name": "off", "reject_forged_local": False},
                    {"name": "listed", "relay": {"always_from_enabled": True, "always_from": ["127.0.0.2"]}},
                    {"name": "unticked", "relay": {"always_from_enabled": False, "always_from": ["127.0.0.2"]}}]
        postern = self.postern(services)
        for service, source, sender, code in (
                ("on", "127.0.0.2", OURS, 550), ("on", "127.0.0.2", "alice@EXAMPLE.NET", 550),
                ("on", "127.0.0.2", "a@xn--bcher-kva.example", 550), ("on", "127.0.0.1", OURS, 250),
                ("on", "127.0.0.2", "", 250), ("on", "127.0.0.2", "a@sub.example.net", 250),
                ("off", "127.0.0.2", OURS, 250), ("listed", "127.0.0.2", OURS, 250),
                ("unticked", "127.0.0.2", OURS, 550)):
            with self.subTest(service=service, source=source, sender=sender):
                with RawClient(postern.port(service), source=source) as client:
                    client.ehlo()
                    answer = client.command(f"MAIL FROM:<{sender}>")
                    self.expect(answer, code, "5.7.1" if code == 550 else "")


class Addresses(RelayCase):
    def test_proxy_without_an_address(self):
        """LOCAL and UNKNOWN connections may not relay, even though the balancer itself is in the LAN."""
        postern = self.postern([{"name": "proxied", "proxy_protocol": True}])
        for header in (PROXY_V1_UNKNOWN, PROXY_V2_LOCAL):
            with self.subTest(header=header), RawClient(postern.port("proxied"), preamble=header) as client:
                client.ehlo()
                self.expect(self.rcpt(client, THEIRS, REMOTE), 550, "5.7.1")
                self.expect(client.command("RCPT TO:<bob@example.net>"), 250)

    def test_proxy_header_in_pieces(self):
        postern = self.postern([{"name": "proxied", "proxy_protocol": True}])
        for header, code in ((proxy_v1("192.0.2.9"), 550), (proxy_v2("198.51.100.9", tlvs=b"\x04\x00\x03abc"), 250)):
            with self.subTest(header=header), RawClient(postern.port("proxied"), greet=False) as client:
                for octet in header:
                    client.send(bytes([octet]))
                self.assertEqual(client.reply().code, 220)
                client.ehlo()
                self.expect(self.rcpt(client, THEIRS, REMOTE), code)

    def test_proxy_is_believed_from_proxy_from_only(self):
        """A stranger that claims to come from the LAN gets nowhere, and neither does a missing header."""
        postern = self.postern([{"name": "proxied", "proxy_protocol": True}, {"name": "plain"}])
        with RawClient(postern.port("proxied"), source="127.0.0.2", preamble=proxy_v1("198.51.100.9"),
                       greet=False) as client:
            try:
                greeting = client.reply()
                refused = greeting.code in (421, 554)
                if not refused:
                    client.ehlo()
                    refused = self.rcpt(client, THEIRS, REMOTE).code == 550
                self.assertTrue(refused)
            except Disconnected:
                pass
        with RawClient(postern.port("proxied"), preamble=b"EHLO client.example\r\n", greet=False) as client:
            try:
                self.assertIn(client.reply().code, (421, 501, 554))
            except Disconnected:
                pass
        with RawClient(postern.port("plain"), source="127.0.0.2", preamble=proxy_v1("198.51.100.9")) as client:
            self.assertEqual(client.reply().code // 100, 5)  # not a command there
            client.ehlo()
            self.expect(self.rcpt(client, THEIRS, REMOTE), 550, "5.7.1")

    def test_xclient(self):
        postern = self.postern([{"name": "smtp"}], xclient_from=["127.0.0.1/32"])
        with RawClient(postern.port()) as client:
            self.assertIn("ADDR", client.ehlo()["XCLIENT"])
            for address, code in (("192.0.2.9", 550), ("198.51.100.9", 250), ("IPV6:2001:db8:2::9", 550),
                                  ("IPV6:2001:db8:1::9", 250), ("IPV6:::ffff:198.51.100.9", 250)):
                with self.subTest(address=address):
                    self.expect(client.command(f"XCLIENT ADDR={address}"), 220)
                    client.ehlo()
                    self.expect(self.rcpt(client, THEIRS, REMOTE), code)
                    self.expect(client.command("RSET"), 250)
        with RawClient(postern.port(), source="127.0.0.2") as client:
            self.assertNotIn("XCLIENT", client.ehlo())
            self.assertEqual(client.command("XCLIENT ADDR=198.51.100.9").code // 100, 5)
            self.expect(self.rcpt(client, THEIRS, REMOTE), 550, "5.7.1")


if __name__ == "__main__":
    main()
