#!/usr/bin/env python3
"""How fast Postern and Postfix accept mail, in one interleaved run on the same machine and disk.

smtp-source hands in messages over many open connections (or one message a connection); both servers sync each message
before they say 250, and deliver to smtp-sink meanwhile, as they would. The next run starts only when the queue of the
last one is empty. Noise between runs is large: read the medians and the ratio, and look at the client's share of the
CPU before believing that a server is the limit ("client cores" near 1: smtp-source is). "relayed/s" counts until the
queue is empty; Postfix's number includes its own queue manager's rests.

    bench/compare/accept.py --postern build/release/bin/postern

Needs root and the packages of tests/e2e/packages.txt (postfix for the server, smtp-source and smtp-sink).
"""

import argparse
import os
import resource
import statistics
import sys
import time

from common import POSTFIX_FAIR, Scratch, cpu_of_tree

from harness import Program, free_port, program, route_to, run, wait_until  # noqa: E402
from harness.peers import Postfix  # noqa: E402
from harness.postern import Postern as PosternProcess  # noqa: E402

class PosternServer:
    name = "postern"

    def __init__(self, scratch, sink_port):
        self.process = PosternProcess(scratch, route=[route_to(sink_port, connections=20)],
                                      limits={"connections_per_machine": 10000})
        self.port, self.pid = self.process.port(), self.process.pid

    def queue_is_empty(self):
        status, out, _ = self.process.queue("list")
        return status == 0 and "example" not in out


class PostfixServer:
    name = "postfix"

    def __init__(self, scratch, sink_port):
        self.peer = Postfix(scratch, sink_port, main=POSTFIX_FAIR)
        self.port, self.pid = self.peer.port, self.peer.program.pid

    def queue_is_empty(self):
        folders = ("maildrop", "incoming", "active", "deferred")
        queues = (os.path.join(self.peer.folder, "queue", each) for each in folders)
        return not any(files for queue in queues for _, _, files in os.walk(queue))


def measure(server, options, messages) -> dict[str, float]:
    command = [program("smtp-source", "postfix"), "-s", str(options.sessions), "-m", str(messages), "-l",
               str(options.length), "-f", "alice@example.net", "-t", "bob@remote.example", "-M", "client.example"]
    if not options.one_per_connection:
        command.append("-d")
    client_before, cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_of_tree(server.pid)
    began = time.monotonic()
    status, _, error = run([*command, f"inet:127.0.0.1:{server.port}"], seconds=options.patience)
    took = time.monotonic() - began
    cpu = cpu_of_tree(server.pid) - cpu_before
    client_after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status != 0:
        sys.exit(f"smtp-source against {server.name} failed: {error[-500:]}")
    client = (client_after.ru_utime + client_after.ru_stime) - (client_before.ru_utime + client_before.ru_stime)
    wait_until(server.queue_is_empty, f"{server.name}'s queue to drain", options.patience, every=0.2)
    drained = time.monotonic() - began
    return {"rate": messages / took, "relayed": messages / drained, "cpu": cpu / messages * 1000,
            "client": client / took}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--postern", default=os.environ.get("POSTERN", ""), help="the built program")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--messages", type=int, default=20000, help="for Postern, a round")
    parser.add_argument("--postfix-messages", type=int, default=4000, help="for Postfix, a round")
    parser.add_argument("--length", type=int, default=1024, help="octets of a message's payload")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one-per-connection", action="store_true", help="a new connection for each message")
    parser.add_argument("--patience", type=float, default=300, help="seconds that one run may take")
    options = parser.parse_args()
    os.environ["POSTERN"] = options.postern

    scratch = Scratch()
    try:
        sink_port = free_port()
        sink = [program("smtp-sink", "postfix"), "-u", "nobody", f"inet:127.0.0.1:{sink_port}", "1000"]
        scratch.track(Program("smtp-sink", sink, scratch.folder, namespace=True))
        servers = [(PosternServer(scratch, sink_port), options.messages),
                   (PostfixServer(scratch, sink_port), options.postfix_messages)]
        results = {server.name: [] for server, _ in servers}
        how = "one message a connection" if options.one_per_connection else "many messages a connection"
        print(f"{options.sessions} sessions, {how}, {options.length} octets, {os.cpu_count()} cores")
        print("round server    accepted/s  relayed/s  server CPU ms/message  client cores")
        for number in range(options.rounds + 1):  # the first round warms up and does not count
            for server, messages in servers:
                result = measure(server, options, messages if number else max(messages // 10, options.sessions))
                if number:
                    results[server.name].append(result)
                    print(f"{number:5} {server.name:9} {result['rate']:10.0f} {result['relayed']:10.0f}"
                          f" {result['cpu']:22.2f} {result['client']:13.2f}", flush=True)
        medians = {name: {key: statistics.median(each[key] for each in rows) for key in rows[0]}
                   for name, rows in results.items()}
        for name, row in medians.items():
            print(f"median {name:8} {row['rate']:10.0f} {row['relayed']:10.0f} {row['cpu']:22.2f}"
                  f" {row['client']:13.2f}")
        print(f"ratio of accepted rates: {medians['postern']['rate'] / medians['postfix']['rate']:.1f}, "
              f"of CPU per message: {medians['postern']['cpu'] / medians['postfix']['cpu']:.2f}")
    finally:
        scratch.close()


if __name__ == "__main__":
    main()
