#!/usr/bin/env python3
"""Octets through Postern's POP3 front after the login, and through HAProxy in TCP mode, by turns in one run: how fast, and for how
much of the proxy's CPU time.

The store is scripted: it lets everybody in by APOP, then RETR answers with --megabytes from a file (sendfile) and NOOP with one
line. Both ends are Python that does as little as it can: the client throws octets away in the kernel (MSG_TRUNC; with TLS it has
to decrypt them). HAProxy runs with `nbthread` = cores; --splice says whether it may splice() (`option splice-auto`).

    bench/compare/front.py --postern build/release/bin/postern

Needs haproxy (Debian's package), and the packages of tests/e2e/packages.txt.
"""

import argparse
import multiprocessing
import os
import socket
import statistics
import tempfile
import threading
import time

from common import Scratch, cpu_of_tree

from harness import Program, free_port, program, wait_until
from harness.certificates import Authority, untrusting_context
from harness.postern import Postern

PIECE = 1 << 20
GREETING = b"+OK ready <1.2@store.example>\r\n"
APOP = b"APOP anna@example.net 0123456789abcdef0123456789abcdef\r\n"


def serve(connection: socket.socket, file: int, octets: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(GREETING)
    while line := connection.recv(4096):
        verb = line[:4].upper()
        if verb == b"RETR":
            sent = 0
            while sent < octets:
                sent += os.sendfile(connection.fileno(), file, sent % PIECE, min(PIECE - sent % PIECE, octets - sent))
        else:
            connection.sendall(b"+OK\r\n" if verb in (b"APOP", b"NOOP") else b"-ERR no\r\n")


def store(listener: socket.socket, octets: int) -> None:
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.write(b"x" * PIECE)
        file.flush()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, file.fileno(), octets), daemon=True).start()


def log_in(port, context):
    plain = socket.create_connection(("127.0.0.1", port), 60)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = context.wrap_socket(plain) if context else plain
    for command in (b"", APOP):
        client.sendall(command) if command else None
        if not client.recv(4096).startswith(b"+OK"):
            raise SystemExit(f"port {port} does not let us in")
    return client


def retrieve(port, context, octets):
    """Seconds for all octets over one connection."""
    with log_in(port, context) as client:
        began = time.monotonic()
        client.sendall(b"RETR 1\r\n")
        scrap, got = bytearray(PIECE), 0
        while got < octets:
            if context:
                got += client.recv_into(scrap)
            else:
                # TCP throws them away and says how many there were (tcp(7)).
                got += client.recv_into(scrap, PIECE, socket.MSG_TRUNC)
        return time.monotonic() - began


def ask(port, context, seconds, connections):
    """Requests a second: each of `connections` says NOOP, hears, and says it again."""
    clients = [log_in(port, context) for _ in range(connections)]
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for client in clients:
            client.sendall(b"NOOP\r\n")
        for client in clients:
            client.recv(64)
        count += connections
    for client in clients:
        client.close()
    return count / seconds


def haproxy_config(store_port, ports, pem, splice):
    option = "  option splice-auto\n" if splice else ""
    return f"""global
  nbthread {os.cpu_count()}
  maxconn 4000
defaults
  mode tcp
{option}  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen plain
  bind 127.0.0.1:{ports[0]}
  server store 127.0.0.1:{store_port}
listen tls
  bind 127.0.0.1:{ports[1]} ssl crt {pem}
  server store 127.0.0.1:{store_port}
"""


def start_haproxy(scratch, store_port, certificate, splice):
    ports = [free_port(), free_port()]
    pem, config = scratch.path("both.pem"), scratch.path("haproxy.cfg")
    with open(pem, "w", encoding="ascii") as file:
        for part in (certificate.chain, certificate.key):
            with open(part, encoding="ascii") as source:
                file.write(source.read())
    with open(config, "w", encoding="ascii") as file:
        file.write(haproxy_config(store_port, ports, pem, splice))
    started = scratch.track(Program("haproxy", [program("haproxy", "haproxy"), "-db", "-f", config], scratch.folder,
                                    namespace=True))

    def listens():
        try:
            socket.create_connection(("127.0.0.1", ports[0]), 1).close()
            return True
        except OSError:
            return False

    wait_until(listens, "haproxy to listen", 20, every=0.05)
    return started.pid, ports


def start_postern(scratch, store_port, certificate):
    postern = Postern(scratch, lan=["192.0.2.0/24"], limits={"connections": 1000, "connections_per_machine": 1000},
                      certificate=[certificate.setting()], route=[{"domain": "*", "to": ["smtp:127.0.0.1:9"]}],
                      mailbox=[{"name": name, "protocol": "pop3", "listen": ["127.0.0.1:0"], "tls": tls,
                                "store": f"127.0.0.1:{store_port}"} for name, tls in (("plain", "none"), ("tls", "implicit"))],
                      service=[{"name": "smtp", "relay": {"after_login": True}}])
    return postern.pid, [postern.port("plain"), postern.port("tls")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--postern", required=True, help="the built program")
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--seconds", type=float, default=4, help="of requests, a round")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--splice", action="store_true", help="HAProxy may splice()")
    options = parser.parse_args()
    os.environ["POSTERN"] = options.postern
    octets = options.megabytes << 20

    scratch = Scratch()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    process = multiprocessing.Process(target=store, args=(listener, octets), daemon=True)
    process.start()
    try:
        certificate = Authority(scratch).issue("server")
        store_port = listener.getsockname()[1]
        proxies = {"postern": start_postern(scratch, store_port, certificate),
                   "haproxy": start_haproxy(scratch, store_port, certificate, options.splice)}
        figures: dict[tuple, list] = {}
        print(f"{options.megabytes} MiB and {options.connections} connections asking, {os.cpu_count()} cores, "
              f"HAProxy splice {'on' if options.splice else 'off'}")
        for _ in range(options.rounds):
            for index, (kind, context) in enumerate((("plain", None), ("TLS", untrusting_context()))):
                for name, (pid, ports) in proxies.items():
                    before = cpu_of_tree(pid)
                    took = retrieve(ports[index], context, octets)
                    cpu = cpu_of_tree(pid) - before
                    before = cpu_of_tree(pid)
                    rate = ask(ports[index], context, options.seconds, options.connections)
                    asked_cpu = (cpu_of_tree(pid) - before) / (rate * options.seconds)
                    figures.setdefault((kind, name), []).append(
                        (octets / took / 1e9, cpu / (octets / 1e9), rate, asked_cpu * 1e6))
        print("             GB/s   CPU s/GB   requests/s   CPU us/request")
        for kind in ("plain", "TLS"):
            rows = {name: [statistics.median(column) for column in zip(*figures[kind, name])] for name in proxies}
            for name, row in rows.items():
                print(f"{kind:5} {name:8} {row[0]:5.2f} {row[1]:9.2f} {row[2]:12.0f} {row[3]:14.1f}")
            ratio = [ours / theirs for ours, theirs in zip(rows["postern"], rows["haproxy"])]
            print(f"{kind:5} ratio    {ratio[0]:5.2f} {ratio[1]:9.2f} {ratio[2]:12.2f} {ratio[3]:14.2f}")
    finally:
        process.kill()
        scratch.close()


if __name__ == "__main__":
    main()
