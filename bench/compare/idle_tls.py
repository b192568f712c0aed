#!/usr/bin/env python3
"""What an idle TLS connection costs in the server's memory: clients log nothing in, send EHLO and stay.

The figure is the growth of the process's own memory (Pss_Anon of /proc/PID/smaps_rollup) from the first tenth of the connections
to the last one, so that pools which grow once do not count as a connection's. The kernel's sockets are not in it.

    bench/compare/idle_tls.py --postern build/release/bin/postern
"""

import argparse
import os
import resource
import ssl
import socket

from common import Scratch, own_memory

from harness.certificates import Authority, untrusting_context
from harness.postern import Postern, submission_services


def connect(context: ssl.SSLContext, port: int, number: int) -> ssl.SSLSocket:
    plain = socket.socket()
    plain.bind((f"127.{1 + number // 60000}.{number // 250 % 240 + 1}.{number % 250 + 1}", 0))
    plain.connect(("127.0.0.1", port))
    client = context.wrap_socket(plain)
    while not client.recv(4096).endswith(b"\r\n"):
        pass
    client.sendall(b"EHLO client.example\r\n")
    while b"\r\n250 " not in client.recv(4096):
        pass
    return client


def measure(scratch, version, connections):
    postern = Postern(scratch, certificate=[Authority(scratch).issue("server").setting()],
                      limits={"connections": connections + 1000, "idle_seconds": 3600},
                      route=[{"domain": "*", "to": ["smtp:127.0.0.1:9"]}], service=submission_services(("PLAIN",)))
    context = untrusting_context(minimum_version=version, maximum_version=version)
    port, first = postern.port("submissions"), connections // 10
    open_now = [connect(context, port, number) for number in range(first)]
    before = own_memory(postern.pid)
    open_now += [connect(context, port, number) for number in range(first, connections)]
    grown = own_memory(postern.pid) - before
    print(f"{open_now[-1].version()}: {grown / (connections - first):.0f} octets a connection, {connections} connections, "
          f"{own_memory(postern.pid) >> 20} MiB in all", flush=True)
    for each in open_now:
        each.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--postern", required=True, help="the built program")
    parser.add_argument("--connections", type=int, default=5000)
    options = parser.parse_args()
    os.environ["POSTERN"] = options.postern
    resource.setrlimit(resource.RLIMIT_NOFILE, (options.connections + 2000, options.connections + 2000))

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        scratch = Scratch()  # a server each: the second one would find the first one's memory
        try:
            measure(scratch, version, options.connections)
        finally:
            scratch.close()


if __name__ == "__main__":
    main()
