"""A login through the POP3 front counts from the moment its +OK is on the wire, whichever worker the machine's next connection
meets: machines never seen before log in by APOP, and at once one asks the SMTP service to relay. POSTERN_LOGINS: how many."""

import multiprocessing
import os
import selectors
import socket
from collections import Counter

from harness import PATIENCE, Case, Postern, main, proxy_v2

LOGINS = int(os.environ.get("POSTERN_LOGINS", "2000"))
PROCESSES = 2
GREETING = b"+OK ready <1.2@store.example>\r\n"
APOP = b"APOP anna@example.net 0123456789abcdef0123456789abcdef\r\n"
ASK = b"EHLO phone.example\r\nMAIL FROM:<a@stranger.example>\r\nRCPT TO:<bob@remote.example>\r\nQUIT\r\n"


def store(listener: socket.socket) -> None:
    """Greets, has no capabilities, and lets in whoever says APOP."""
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                selector.register(connection, selectors.EVENT_READ)
                connection.sendall(GREETING)
                continue
            try:
                line = key.fileobj.recv(4096)
                if line:
                    key.fileobj.sendall(b"+OK\r\n" if line.upper().startswith(b"APOP") else b"-ERR no\r\n")
                    continue
            except OSError:
                pass
            selector.unregister(key.fileobj)
            key.fileobj.close()


def proxy(machine: int) -> bytes:
    return proxy_v2(f"10.{machine >> 16}.{machine >> 8 & 255}.{machine & 255}")


def until(connection: socket.socket, end: bytes) -> bytes:
    said = b""
    while end not in said:
        more = connection.recv(4096)
        if not more:
            break
        said += more
    return said


def relays(machine: int, port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(proxy(machine))
        until(client, b"\r\n")
        client.sendall(ASK)
        replies = [line for line in until(client, b"\r\n221 ").split(b"\r\n") if line[3:4] == b" "]
    return replies[2][:3] if len(replies) > 2 else b"".join(replies)


def work(first: int, count: int, front: int, smtp: int, results: multiprocessing.Queue) -> None:
    seen = Counter()
    for machine in range(first, first + count):
        with socket.create_connection(("127.0.0.1", front), PATIENCE) as client:
            client.sendall(proxy(machine))
            until(client, b"\r\n")
            client.sendall(APOP)
            login = until(client, b"\r\n")[:3]
            seen[login, relays(machine, smtp) if login == b"+OK" else b""] += 1
    results.put(seen)


class FrontRace(Case):
    def test_relays_from_the_ok_on(self):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.addCleanup(listener.close)
        self.start_process(store, listener)
        postern = Postern(
            self, workers=2, lan=["192.0.2.0/24"], proxy_from=["127.0.0.1"], logins={"machines": 1000000},
            limits={"connections": 4000, "connections_per_machine": 4000},
            route=[{"domain": "*", "to": ["smtp:127.0.0.1:9"]}],
            mailbox=[{"name": "pop3", "protocol": "pop3", "listen": ["127.0.0.1:0"], "proxy_protocol": True,
                      "store": f"127.0.0.1:{listener.getsockname()[1]}"}],
            service=[{"name": "smtp", "proxy_protocol": True, "relay": {"after_login": True}}])
        front, smtp = postern.port("pop3"), postern.port("smtp")
        for stranger in (LOGINS, LOGINS + 1):
            self.assertEqual(relays(stranger, smtp), b"550")
        results = multiprocessing.Queue()
        share = LOGINS // PROCESSES
        for number in range(PROCESSES):
            self.start_process(work, number * share, share, front, smtp, results)
        seen = sum((results.get(timeout=PATIENCE + LOGINS / 50) for _ in range(PROCESSES)), Counter())
        self.assertEqual(seen, Counter({(b"+OK", b"250"): share * PROCESSES}))
        self.assertEqual(relays(LOGINS, smtp), b"550")
        print(f"{share * PROCESSES} logins")

    def start_process(self, function, *arguments):
        process = multiprocessing.Process(target=function, args=arguments, daemon=True)
        process.start()
        self.addCleanup(process.kill)


if __name__ == "__main__":
    main()
