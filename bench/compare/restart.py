#!/usr/bin/env python3
"""How fast a server with a full queue is back: the time from its start to "ready", its memory, and what the bound says.

Hands in messages while the next hop is down until limits.queue_messages says 452 on every worker, kills the server
(SIGKILL), and starts it again, with the next hop still down: each start recovers the whole queue and makes every message
due at once. At last a sink comes up and takes everything.

    bench/compare/restart.py --postern build/release/bin/postern --messages 1000000

Needs root (the harness' namespaces) and smtp-sink; disk: about 1.3 KiB a message of 1 KiB, and memory likewise.
"""

import argparse
import os
import re
import socket
import sys
import time
from multiprocessing import Process, Queue

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "e2e"))

from harness import Program, free_port, program, route_to, wait_until  # noqa: E402
from harness.postern import Postern  # noqa: E402

from common import Scratch  # noqa: E402

BATCH = 40  # transactions in one piece


def resident_mib(pid: int) -> tuple[int, int]:
    """Now, and at most so far."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        text = file.read()
    return tuple(int(re.search(rf"{field}:\s+(\d+)", text).group(1)) // 1024 for field in ("VmRSS", "VmHWM"))


def feed(port: int, length: int, batches: int, results: Queue):
    """Pipelined transactions with BDAT, until the server says 452; puts (accepted, refused) into `results`."""
    content = b"From: alice@example.net\r\nSubject: queued\r\n\r\n" + b"x" * 70 + b"\r\n"
    content += (b"y" * 70 + b"\r\n") * max(0, (length - len(content)) // 72)
    one = (b"MAIL FROM:<alice@example.net>\r\nRCPT TO:<bob@remote.example>\r\nBDAT %d LAST\r\n" % len(content)) + content
    accepted = refused = 0
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as replies:
        replies.readline()
        client.sendall(b"EHLO client.example\r\n")
        while not replies.readline().startswith(b"250 "):
            pass
        for _ in range(batches):
            client.sendall(one * BATCH)
            for _ in range(BATCH):
                answers = [replies.readline() for _ in range(3)]
                if not answers[-1]:
                    break
                accepted += answers[-1].startswith(b"250")
                refused += not answers[-1].startswith(b"250")
            if refused:
                break
    results.put((accepted, refused))


def fill(port: int, length: int) -> int:
    """Until the server takes nothing more: a few rounds of clients, spread over its workers by chance, in vain."""
    total, in_vain, results = 0, 0, Queue()
    while in_vain < 3:
        clients = [Process(target=feed, args=(port, length, 1000, results)) for _ in range(4)]
        for client in clients:
            client.start()
        taken = sum(results.get()[0] for _ in clients)
        for client in clients:
            client.join()
        total += taken
        in_vain = 0 if taken else in_vain + 1
    return total


def status_of(server: Postern) -> dict[str, int]:
    out = server.run("status", "--socket", server.control)[1]
    return {match[1]: int(match[2]) for match in re.finditer(r"^(\w+)\s+(\d+)", out, re.MULTILINE)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--postern", default=os.environ.get("POSTERN", ""), help="the built program")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--length", type=int, default=1024, help="octets of a message")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--settle", type=float, default=600, help="seconds that trying the whole queue may take")
    options = parser.parse_args()
    os.environ["POSTERN"] = options.postern

    scratch = Scratch()
    try:
        sink_port = free_port()
        server = Postern(scratch, route=[route_to(sink_port, connections=20)],
                         limits={"connections_per_machine": 10000, "queue_messages": options.messages})
        began = time.monotonic()
        queued = fill(server.port(), options.length)
        took = time.monotonic() - began
        print(f"queued {queued} of at most {options.messages} messages of {options.length} octets in {took:.1f} s; "
              f"memory {resident_mib(server.pid)[0]} MiB", flush=True)
        for number in range(options.starts):
            server.kill9()
            began = time.monotonic()
            server.start(seconds=600)
            ready = time.monotonic() - began
            now, most = resident_mib(server.pid)
            began = time.monotonic()
            counted = status_of(server)
            answered = time.monotonic() - began
            print(f"start {number + 1}: ready in {ready:.2f} s; status answers in {answered:.2f} s: "
                  f"{counted.get('queue_messages')} messages; memory {now} MiB, at most {most} MiB", flush=True)
            began = time.monotonic()
            wait_until(lambda: status_of(server).get("recipients_deferred", 0) >= queued, "every message to be tried",
                       options.settle, every=0.5)
            now, most = resident_mib(server.pid)
            print(f"         every message tried in {time.monotonic() - began:.1f} s more; memory {now} MiB, "
                  f"at most {most} MiB", flush=True)
        sink = [program("smtp-sink", "postfix"), "-u", "nobody", f"inet:127.0.0.1:{sink_port}", "1000"]
        scratch.track(Program("smtp-sink", sink, scratch.folder, namespace=True))
        server.queue("retry", "all")
        began = time.monotonic()
        wait_until(lambda: status_of(server).get("queue_messages", 1) == 0, "an empty queue", options.settle, every=0.5)
        took = time.monotonic() - began
        print(f"all delivered in {took:.1f} s: {queued / took:.0f} a second")
    finally:
        scratch.close()


if __name__ == "__main__":
    main()
