#!/usr/bin/env python3
"""Many mail programs that wait in IDLE behind the front: memory a connection, CPU time while nothing happens, and how soon each is told
of a new message when all are at once.

The store is a few lines here: it takes any login, says "+" to IDLE, and "* 1 EXISTS" to all when told to. Memory is the growth of
the server's own (Pss_Anon) from the first tenth of the connections to the last one; the kernel's sockets are not in it.

    bench/compare/idle_imap.py --postern build/release/bin/postern
"""

import argparse
import asyncio
import os
import resource
import ssl
import time

from common import Scratch, own_memory

from harness.certificates import Authority, untrusting_context
from harness.postern import Postern
from harness.process import cpu_seconds

WAITING_SECONDS = 10
AT_ONCE = 50


class Store:
    """IMAP as far as a program that waits needs it."""

    def __init__(self):
        self.waiting: list[asyncio.StreamWriter] = []

    async def serve(self, reader, writer):
        try:
            await self.talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the measurement is over

    async def talk(self, reader, writer):
        writer.write(b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ IDLE AUTH=PLAIN] Ready.\r\n")
        while line := await reader.readline():
            tag, command = line.split()[:2]
            if command.upper() == b"LOGIN":
                writer.write(tag + b" OK [CAPABILITY IMAP4rev1 IDLE] Logged in.\r\n")
            elif command.upper() == b"IDLE":
                writer.write(b"+ idling\r\n")
                self.waiting.append(writer)
            else:
                writer.write(tag + b" OK Done.\r\n")


class Client:
    def __init__(self, number: int, context):
        self.source = f"127.{1 + number // 60000}.{number // 250 % 240 + 1}.{number % 250 + 1}"
        self.context = context
        self.told_at = 0.0

    async def wait_in_idle(self, port: int):
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=self.context, local_addr=(self.source, 0), limit=4096)
        await self.reader.readline()
        self.writer.write(b'a LOGIN anna@example.net "secret"\r\n')
        while not (line := await self.reader.readline()).startswith(b"a "):
            assert line
        assert line.startswith(b"a OK"), line
        self.writer.write(b"b IDLE\r\n")
        assert (await self.reader.readline()).startswith(b"+")

    async def be_told(self):
        assert await self.reader.readline() == b"* 1 EXISTS\r\n"
        self.told_at = time.monotonic()


async def all_wait(clients, port):
    for at in range(0, len(clients), AT_ONCE):
        await asyncio.gather(*(client.wait_in_idle(port) for client in clients[at:at + AT_ONCE]))


async def measure(scratch, mode: str, connections: int):
    store = Store()
    listener = await asyncio.start_server(store.serve, "127.0.0.1", 0, backlog=4096, limit=4096)
    postern = Postern(
        scratch, certificate=[Authority(scratch).issue("server").setting()], lan=["127.0.0.0/8"],
        limits={"connections": connections + 10}, route=[{"domain": "*", "to": ["smtp:127.0.0.1:9"]}], service=[{"name": "smtp"}],
        mailbox=[{"name": "imap", "protocol": "imap", "listen": ["127.0.0.1:0"],
                  "store": f"127.0.0.1:{listener.sockets[0].getsockname()[1]}",
                  **({"tls": "implicit"} if mode == "TLS" else {"tls": "none", "plain_on_lan": True})}])
    context = untrusting_context() if mode == "TLS" else None
    clients = [Client(number, context) for number in range(connections)]
    first, port = connections // 10, postern.port("imap")
    await all_wait(clients[:first], port)
    before = own_memory(postern.pid)
    began = time.monotonic()
    await all_wait(clients[first:], port)
    logins = (connections - first) / (time.monotonic() - began)
    grown = own_memory(postern.pid) - before
    used = cpu_seconds(postern.pid)
    await asyncio.sleep(WAITING_SECONDS)
    used = cpu_seconds(postern.pid) - used
    listening = [asyncio.create_task(client.be_told()) for client in clients]
    await asyncio.sleep(0)
    began = time.monotonic()
    for writer in store.waiting:
        writer.write(b"* 1 EXISTS\r\n")
    await asyncio.gather(*listening)
    last = max(client.told_at for client in clients) - began
    print(f"{mode}: {grown / (connections - first):.0f} octets a connection, {connections} connections, {own_memory(postern.pid) >> 20} "
          f"MiB in all; {logins:.0f} logins/s; {used / WAITING_SECONDS * 100:.2f} % of a core while they wait; all told in "
          f"{last * 1000:.0f} ms", flush=True)
    for client in clients:
        client.writer.transport.abort()
    listener.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--postern", required=True, help="the built program")
    parser.add_argument("--connections", type=int, default=10000)
    options = parser.parse_args()
    os.environ["POSTERN"] = options.postern
    files = 2 * options.connections + 200  # the clients and the store
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    for mode in ("plain", "TLS"):
        scratch = Scratch()
        try:
            asyncio.run(measure(scratch, mode, options.connections))
        finally:
            scratch.close()


if __name__ == "__main__":
    main()
