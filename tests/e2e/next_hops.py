"""Where mail goes: real servers and a programmed one as next hops; retry, failover, reuse, bounces, DSN."""

import email
import email.policy
import re
import threading

from harness import (DROP, Case, Postern, RawClient, Script, Sink, free_port, main, message, route_to, strip_trace,
                     wait_until)
from harness.peers import Exim, OpenSmtpd, Postfix, wait_relayed

SENDER, RECIPIENT = "alice@example.net", "bob@remote.example"
QUICK = {"retry_seconds": [1]}


class HopCase(Case):
    def start(self, hop, *, home=True, name="postern", **settings):
        """Postern between the test and `hop` (a route, or a sink for everything); bounces go to self.home. `name`
        tells the several instances of one test apart."""
        route = hop if isinstance(hop, dict) else route_to(hop.port)
        routes = [route]
        if home:
            self.home = self.track(Sink())
            routes.insert(0, route_to(self.home.port, "example.net"))
        self.postern = Postern(self, name=name, route=routes, **{"queue": QUICK, **settings})

    def hand_in(self, content=None, recipients=(RECIPIENT,), sender=SENDER, **parameters):
        content = content or message()
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            answer = client.hand_in(sender, list(recipients), content, **parameters)
            self.assertEqual(answer.code, 250, answer)
        return content

    def queue_is_empty(self):
        def empty():
            status, out, error = self.postern.queue("list")
            self.assertEqual(status, 0, error)
            return RECIPIENT not in out and "remote.example" not in out

        wait_until(empty, "an empty queue", every=0.1)

    def bounce(self, count=1):
        """The notification that came home: (message, per-message fields, per-recipient fields, returned part)."""
        kept = self.home.wait_for(count)[-1]
        self.assertEqual((kept.sender, kept.recipients), ("", [SENDER]))
        parsed = email.message_from_bytes(kept.content, policy=email.policy.default)
        self.assertEqual(parsed.get_content_type(), "multipart/report")
        self.assertEqual(parsed.get_param("report-type"), "delivery-status")
        self.assertEqual(parsed["Auto-Submitted"].split()[0].rstrip(";"), "auto-replied")
        self.assertIn(SENDER, parsed["To"])
        self.assertTrue(parsed["Message-ID"] and parsed["Date"] and parsed["Subject"])
        readable, status, returned = list(parsed.iter_parts())
        self.assertEqual(readable.get_content_type(), "text/plain")
        self.assertIn(status.get_content_type(), ("message/delivery-status", "message/global-delivery-status"))
        blocks = status.get_payload()
        self.assertIn("mail.example.net", blocks[0]["Reporting-MTA"])
        return readable.get_content(), blocks[0], blocks[1:], returned


class RealServers(HopCase):
    def through(self, peer_type):
        sink = self.track(Sink())
        peer = peer_type(self, sink.port)
        self.start(peer)
        bodies = [b"plain\r\n", b".dot\r\n..two\r\n", "Grüße\r\n".encode(), b"big\r\n" + b"0123456789\r\n" * 4000]
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            for number, body in enumerate(bodies * 5):
                answer = client.hand_in(SENDER, [f"r{number}@remote.example"], message(body=body),
                                        mail=" BODY=8BITMIME")
                self.assertEqual(answer.code, 250, answer)
        kept = wait_relayed(sink, 20, f"20 messages through {peer.name}")
        for each in kept:
            number = int(each.recipients[0].partition("@")[0][1:])
            self.assertEqual(each.sender, SENDER)
            self.assertIn(bodies[number % 4], each.content)
            # Two hops, two Received fields: the server's own, then ours.
            fields = re.findall(rb"^Received: [^\r\n]*(?:\r\n[ \t][^\r\n]*)*", each.content, re.MULTILINE)
            self.assertEqual(len(fields), 2)
            self.assertIn(b"by mail.example.net", fields[1])
        self.assertEqual(sorted(each.recipients[0] for each in kept), sorted(f"r{n}@remote.example" for n in range(20)))
        self.queue_is_empty()

    def test_postfix(self):
        self.through(Postfix)

    def test_exim(self):
        self.through(Exim)

    def test_opensmtpd(self):
        self.through(OpenSmtpd)


class Outcomes(HopCase):
    def test_lmtp_answers_for_each_recipient(self):
        class Mixed(Script):
            lock = threading.Lock()
            later_tries = 0

            def message(self, session, kept):
                replies = []
                for recipient in kept.recipients:
                    if recipient.startswith("full"):
                        replies.append("552 5.2.2 mailbox full")
                    elif recipient.startswith("later"):
                        with self.lock:
                            self.later_tries += 1
                            replies.append("452 4.2.2 not now" if self.later_tries == 1 else "250 2.0.0 ok")
                    else:
                        replies.append("250 2.1.5 ok")
                return replies

        lmtp = self.track(Sink(Mixed(), lmtp=True))
        self.start(route_to(lmtp.port, "remote.example", "lmtp"))
        content = self.hand_in(recipients=["good@remote.example", "full@remote.example", "later@remote.example"])
        lmtp.wait_until(lambda kept: sum(len(each.recipients) for each in kept) == 2, "both good recipients")
        reached = [recipient for each in lmtp.messages for recipient in each.recipients]
        self.assertEqual(sorted(reached), ["good@remote.example", "later@remote.example"])
        self.assertTrue(all(each.commands[0].startswith("LHLO mail.example.net") for each in lmtp.sessions))
        for each in lmtp.messages:
            self.assertEqual(strip_trace(each.content)[1], content)
        _, _, recipients, _ = self.bounce()
        self.assertEqual([each["Final-Recipient"] for each in recipients], ["rfc822; full@remote.example"])
        self.assertEqual(recipients[0]["Status"], "5.2.2")
        self.queue_is_empty()

    def test_failover(self):
        """The second host takes over when the first is down, and when it says 421; the first is preferred when up."""
        class Busy(Script):
            def greeting(self, session):
                return "421 4.3.2 too busy"

        second = self.track(Sink())
        busy = self.track(Sink(Busy()))
        for name, first_port in (("down", free_port()), ("busy", busy.port)):
            with self.subTest(first=name):
                self.start({"domain": "*", "to": [f"smtp:127.0.0.1:{first_port}", f"smtp:127.0.0.1:{second.port}"]},
                           name=name)
                self.hand_in()
                second.wait_for(1)
                second.clear()
        first = self.track(Sink())
        self.start({"domain": "*", "to": [f"smtp:127.0.0.1:{first.port}", f"smtp:127.0.0.1:{second.port}"]})
        self.hand_in()
        first.wait_for(1)
        self.assertEqual(second.messages, [])

    def test_words_of_a_busy_hop(self):
        """What the hop said in its greeting is what the operator sees."""
        class Busy(Script):
            def greeting(self, session):
                return "421 4.3.2 come back after lunch"

        self.start(self.track(Sink(Busy())))
        self.hand_in()
        wait_until(lambda: "after lunch" in self.postern.queue("list")[1], "the hop's words", every=0.1)

    def retried(self, script, tries):
        sink = self.track(Sink(script))
        self.start(sink)
        content = self.hand_in()
        kept = sink.wait_for(1)[0]
        self.assertEqual(strip_trace(kept.content)[1], content)
        self.assertEqual(script.tries, tries)
        self.queue_is_empty()
        self.assertEqual(self.home.messages, [])

    def test_retry_after_4xx_at_rcpt(self):
        class Later(Script):
            tries = 0

            def rcpt(self, session, address, parameters):
                self.tries += 1
                return "450 4.2.1 greylisted" if self.tries < 3 else None

        self.retried(Later(), 3)

    def test_retry_after_4xx_at_the_end(self):
        class Later(Script):
            tries = 0

            def message(self, session, kept):
                self.tries += 1
                return "451 4.3.0 try again" if self.tries < 3 else None

        self.retried(Later(), 3)

    def test_retry_after_a_lost_connection(self):
        class Lost(Script):
            tries = 0

            def message(self, session, kept):
                self.tries += 1
                return DROP if self.tries < 2 else None

        self.retried(Lost(), 2)

    def test_hop_that_comes_up_later(self):
        port = free_port()
        self.start(route_to(port))
        self.hand_in()
        wait_until(lambda: RECIPIENT in self.postern.queue("list")[1], "the message in the queue")
        late = self.track(Sink(port=port))
        late.wait_for(1)
        self.queue_is_empty()


    def test_operator_wakes_a_hop_that_rests(self):
        """A hop that was down for a while is left alone for up to a minute: `queue retry` does not wait for that."""
        port = free_port()
        self.start(route_to(port), queue={"retry_seconds": [1, 1, 1, 1, 1, 3600]})
        self.hand_in()

        def rests():
            return [event for event in self.postern.events() if event["event"] == "hop_down"
                    and int(event["rest_ms"]) >= 4000]

        wait_until(rests, "the hop to be left alone", every=0.05)
        sink = self.track(Sink(port=port))
        status, _, error = self.postern.queue("retry", "all")
        self.assertEqual(status, 0, error)
        sink.wait_for(1, 3)
        self.queue_is_empty()
        for event in self.postern.events():
            if event["event"] == "deferred":
                self.assertEqual(event["relay"], f"127.0.0.1:{port}", event)


class Bounces(HopCase):
    def refusing(self, stage, reply, **settings):
        class Refusing(Script):
            pass

        setattr(Refusing, stage, lambda *arguments: reply)
        self.hop = self.track(Sink(Refusing()))
        self.start(self.hop, **settings)

    def test_refused_recipient(self):
        self.refusing("rcpt", "550 5.1.1 no such user \x1b[31mhere")
        self.hand_in(message(subject="lost and found", body=b"SECRET BODY\r\n"))
        text, fields, recipients, returned = self.bounce()
        self.assertEqual(recipients[0]["Action"], "failed")
        self.assertEqual(recipients[0]["Final-Recipient"], f"rfc822; {RECIPIENT}")
        self.assertEqual(recipients[0]["Status"], "5.1.1")
        self.assertIn("550 5.1.1 no such user", recipients[0]["Diagnostic-Code"])
        self.assertIn("Remote-MTA", recipients[0])
        self.assertIn("Arrival-Date", fields)
        self.assertIn(RECIPIENT, text)
        self.assertIn("no such user", text)
        self.assertIn("lost and found", returned.as_string())
        self.assertNotIn(b"\x1b", self.home.messages[0].content)
        self.queue_is_empty()

    def test_stages(self):
        for stage, reply, status in (("mail", "553 5.1.8 bad sender", "5.1.8"), ("data", "554 5.5.1 no", "5.5.1"),
                                     ("message", "554 5.7.1 spam", "5.7.1"), ("message", "554 no code", "5.0.0")):
            with self.subTest(stage=stage, reply=reply):
                self.refusing(stage, reply, name=f"{stage}{status}")
                self.hand_in()
                self.assertEqual(self.bounce()[2][0]["Status"], status)

    def test_what_may_not_bounce(self):
        """The null sender and NOTIFY=NEVER get nothing; the message just ends."""
        self.refusing("rcpt", "550 5.1.1 nobody")
        self.hand_in(sender="")
        self.hand_in(rcpt=" NOTIFY=NEVER")
        self.hand_in(rcpt=" NOTIFY=SUCCESS")
        self.queue_is_empty()
        self.assertEqual(self.home.messages, [])

    def test_returned_content(self):
        """RET=FULL brings the message back whole, RET=HDRS its header only; ENVID and ORCPT come along."""
        self.refusing("rcpt", "550 5.1.1 nobody")
        for ret, whole in (("FULL", True), ("HDRS", False)):
            with self.subTest(ret=ret):
                self.home.clear()
                self.hand_in(message(body=b"SECRET BODY\r\n"), mail=f" RET={ret} ENVID=QQ314159",
                             rcpt=" ORCPT=rfc822;Bob+2Bx@remote.example NOTIFY=FAILURE")
                _, fields, recipients, returned = self.bounce()
                self.assertEqual("SECRET BODY" in returned.as_string(), whole)
                self.assertEqual(fields["Original-Envelope-Id"], "QQ314159")
                self.assertEqual(recipients[0]["Original-Recipient"], "rfc822; Bob+x@remote.example")

    def test_lifetime_is_over(self):
        self.refusing("rcpt", "450 4.2.1 never now", queue={"retry_seconds": [1], "lifetime_seconds": 3})
        self.hand_in()
        _, _, recipients, _ = self.bounce()
        self.assertEqual(recipients[0]["Action"], "failed")
        self.assertIn("450 4.2.1 never now", recipients[0]["Diagnostic-Code"])
        self.queue_is_empty()


class Notifications(HopCase):
    ASK = {"mail": " RET=HDRS ENVID=e1", "rcpt": f" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;{RECIPIENT}"}

    def test_hop_with_dsn_is_given_the_duty(self):
        sink = self.track(Sink())
        self.start(sink)
        self.hand_in(**self.ASK)
        kept = sink.wait_for(1)[0]
        self.assertIn("RET=HDRS", kept.sender_parameters)
        self.assertIn("ENVID=e1", kept.sender_parameters)
        self.assertRegex(kept.recipient_parameters[0], r"NOTIFY=\S*SUCCESS")
        self.assertIn(f"ORCPT=rfc822;{RECIPIENT}", kept.recipient_parameters[0])
        self.queue_is_empty()
        self.assertEqual(self.home.messages, [])

    def test_hop_without_dsn(self):
        class Old(Script):
            extensions = ("PIPELINING", "8BITMIME")

        sink = self.track(Sink(Old()))
        self.start(sink)
        self.hand_in(**self.ASK)
        kept = sink.wait_for(1)[0]
        self.assertEqual((kept.recipient_parameters[0], "RET" in kept.sender_parameters), ("", False))
        self.assertEqual(self.bounce()[2][0]["Action"], "relayed")

    def test_lmtp_is_delivery(self):
        class Store(Script):
            extensions = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")

        lmtp = self.track(Sink(Store(), lmtp=True))
        self.start(route_to(lmtp.port, "remote.example", "lmtp"))
        self.hand_in(**self.ASK)
        lmtp.wait_for(1)
        recipients = self.bounce()[2]
        self.assertEqual((recipients[0]["Action"], recipients[0]["Status"][0]), ("delivered", "2"))


class MissingExtensions(HopCase):
    """What the hop cannot carry is bounced before MAIL, never mangled."""

    def without(self, *missing, extra=()):
        class Lacking(Script):
            extensions = tuple(word for word in Script.extensions if word.split()[0] not in missing) + tuple(extra)

        self.hop = self.track(Sink(Lacking()))
        self.start(self.hop)

    def bounced(self, status):
        self.assertEqual(self.bounce()[2][0]["Status"], status)
        self.assertEqual(self.hop.messages, [])
        self.assertFalse(any(command.startswith("MAIL") for each in self.hop.sessions for command in each.commands))

    def test_eight_bit(self):
        self.without("8BITMIME", "BINARYMIME", "SMTPUTF8")
        self.hand_in(message(body="Grüße\r\n".encode()), mail=" BODY=8BITMIME")
        self.bounced("5.6.3")

    def test_utf8(self):
        self.without("SMTPUTF8")
        content = message(subject="Grüße")
        self.hand_in(content, ["用户@remote.example"], mail=" SMTPUTF8")
        self.bounced("5.6.7")

    def test_binary(self):
        self.without("BINARYMIME", "CHUNKING")
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            for line in (f"MAIL FROM:<{SENDER}> BODY=BINARYMIME", f"RCPT TO:<{RECIPIENT}>"):
                self.assertEqual(client.command(line).code, 250)
            self.assertEqual(client.bdat(message(body=b"\0\n\r"), 1000).code, 250)
        self.bounced("5.6.1")

    def test_size(self):
        self.without("SIZE", extra=["SIZE 2000"])
        self.hand_in(message(body=b"x" * 70 + b"\r\n"))
        self.hop.wait_for(1)
        self.hop.clear()
        self.hop.sessions[0].commands.clear()
        self.hand_in(message(body=(b"x" * 70 + b"\r\n") * 100))
        self.bounced("5.3.4")

    def test_without_pipelining_or_anything(self):
        class Plain(Script):
            extensions = ("HELP",)

        self.hop = self.track(Sink(Plain()))
        self.start(self.hop)
        content = self.hand_in(recipients=[RECIPIENT, "carol@remote.example"])
        kept = self.hop.wait_for(1)[0]
        self.assertEqual((kept.recipients, kept.sender_parameters), ([RECIPIENT, "carol@remote.example"], ""))
        self.assertEqual(strip_trace(kept.content)[1], content)

    def test_helo_only(self):
        class Ancient(Script):
            def helo(self, session):
                return "502 5.5.1 no" if session.commands[-1].startswith("EHLO") else None

        self.hop = self.track(Sink(Ancient()))
        self.start(self.hop)
        self.hand_in()
        self.hop.wait_for(1)
        self.assertTrue(any(each.startswith("HELO mail.example.net") for each in self.hop.sessions[0].commands))


class Connections(HopCase):
    def send_many(self, count, connections=1):
        """Over several connections, so that each worker gets its part."""
        for start in range(0, count, count // connections):
            with RawClient(self.postern.port()) as client:
                client.ehlo()
                for number in range(start, start + count // connections):
                    answer = client.hand_in(SENDER, [f"r{number}@remote.example"], message())
                    self.assertEqual(answer.code, 250, answer)

    def test_reuse_and_limit(self):
        class Slow(Script):
            # Holds the first connections until the limit was reached, so that more would be opened if they could.
            gate = threading.Event()

            def message(self, session, kept):
                self.gate.wait(10)

        sink = self.track(Sink(Slow()))
        self.start(route_to(sink.port, connections=3))
        self.send_many(300, connections=30)
        wait_until(lambda: sink.open_now == 3, "three connections")
        Slow.gate.set()
        sink.wait_for(300)
        self.assertEqual(sink.open_most, 3)
        self.assertLessEqual(len(sink.sessions), 12)

    def test_messages_per_connection(self):
        sink = self.track(Sink())
        self.start(route_to(sink.port, connections=2, messages_per_connection=10))
        self.send_many(100, connections=10)
        sink.wait_for(100)
        carried = {}
        for each in sink.messages:
            carried[each.connection] = carried.get(each.connection, 0) + 1
        self.assertLessEqual(max(carried.values()), 10)

    def test_recipients_of_one_domain_travel_together(self):
        sink = self.track(Sink())
        self.start(sink)
        recipients = [f"r{number}@remote.example" for number in range(100)]
        self.hand_in(recipients=recipients)
        self.assertEqual(sink.wait_for(1)[0].recipients, recipients)

    def many_recipients(self, script, sizes, name="postern"):
        """The hop takes some recipients at a time: the others follow at once, not at the next attempt."""
        sink = self.track(Sink(script))
        self.start(sink, name=name, queue={"retry_seconds": [3600]})
        wanted = [f"user{n}@remote.example" for n in range(sum(sizes))]
        self.hand_in(recipients=wanted)
        kept = sink.wait_for(len(sizes))
        self.queue_is_empty()
        self.assertEqual([len(each.recipients) for each in kept], sizes)
        self.assertEqual(sorted(sum((each.recipients for each in kept), [])), sorted(wanted))
        self.assertEqual([event for event in self.postern.events() if event["event"] == "deferred"], [])

    def test_rcptmax(self):
        class Limited(Script):
            extensions = (*Script.extensions, "LIMITS RCPTMAX=4")

        self.many_recipients(Limited(), [4, 4, 3])

    def test_too_many_recipients_in_the_words_of_the_hop(self):
        for number, words in enumerate(("452 4.5.3 too many", "452 too many", "552 too many")):
            class Limited(Script):
                count = 0

                def mail(self, session, address, parameters):
                    self.count = 0

                def rcpt(self, session, address, parameters):
                    self.count += 1
                    return words if self.count > 3 else None

            with self.subTest(words):
                self.many_recipients(Limited(), [3, 3, 1], f"postern{number}")

    def test_full_mailbox_is_no_limit(self):
        class Full(Script):
            def rcpt(self, session, address, parameters):
                return "452 4.2.2 mailbox full" if address.startswith("full") else None

        sink = self.track(Sink(Full()))
        self.start(sink, queue={"retry_seconds": [3600]})
        self.hand_in(recipients=["full@remote.example", RECIPIENT])
        self.assertEqual(sink.wait_for(1)[0].recipients, [RECIPIENT])
        wait_until(lambda: [event["status"] for event in self.postern.events() if event["event"] == "deferred"] == ["4.2.2"],
                   "one recipient to be deferred")
        self.assertEqual(len(sink.messages), 1)

    def test_routes_by_domain(self):
        first, second, rest = (self.track(Sink()) for _ in range(3))
        self.home = first
        self.postern = Postern(self, queue=QUICK, route=[
            route_to(first.port, "one.example"), route_to(second.port, ".two.example"), route_to(rest.port)])
        self.hand_in(recipients=["a@one.example", "b@sub.two.example", "c@two.example", "d@ONE.example",
                                 "e@three.example"])
        for sink, wanted in ((first, ["a@one.example", "d@ONE.example"]), (second, ["b@sub.two.example"]),
                             (rest, ["c@two.example", "e@three.example"])):
            sink.wait_until(lambda kept, n=len(wanted): sum(len(each.recipients) for each in kept) == n, str(wanted))
            reached = [recipient.lower() for each in sink.messages for recipient in each.recipients]
            self.assertEqual(sorted(reached), sorted(each.lower() for each in wanted))

    def test_loop_is_cut(self):
        sink = self.track(Sink())
        self.start(sink, limits={"hops": 20})
        hops = b"".join(b"Received: from a by b; Mon, 02 Nov 2026 10:00:00 +0000\r\n" for _ in range(21))
        with RawClient(self.postern.port()) as client:
            client.ehlo()
            answer = client.hand_in(SENDER, [RECIPIENT], hops + message())
            self.assertEqual((answer.code, answer.enhanced), (554, "5.4.6"), answer)


if __name__ == "__main__":
    main()
