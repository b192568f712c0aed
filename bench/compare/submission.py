#!/usr/bin/env python3
"""Sessions of mail programs (STARTTLS, AUTH PLAIN, one message, QUIT; a handshake each) at Postern and at Postfix with
Dovecot's auth service, in one interleaved run; and what a flood of wrong passwords does to a user who is known.

Neither server hashes a password in the measured time: Postern keeps what it verified a moment ago (users.cache), Dovecot has
the password in the clear and its cache on. Both sync each message before they say 250 and deliver to smtp-sink meanwhile. The
client is bench/load/submission_load (no resumption); look at its share of the CPU before believing that a server is the limit.

    bench/compare/submission.py --bin build/release/bin

Needs root and the packages of tests/e2e/packages.txt.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from common import POSTFIX_FAIR, Scratch, cpu_of_tree

from harness import Program, free_port, program, route_to, run, wait_until
from harness.certificates import Authority
from harness.peers import Dovecot, Postfix
from harness.postern import Postern, submission_services

USER, PASSWORD = "anna@example.net", "Tr0ub4dor-and-3-horses"


class PosternServer:
    name = "postern"

    def __init__(self, scratch, sink_port, certificate, name="postern"):
        self.process = Postern(scratch, name=name, start=False, certificate=[certificate.setting()],
                               limits={"connections_per_machine": 10000}, route=[route_to(sink_port, connections=20)],
                               service=submission_services(("PLAIN",), auth={"scope": "all"}, errors=0))
        self.process.user("add", USER, "--relay", password=PASSWORD)
        self.process.start()
        self.port, self.pids = self.process.port("submission"), [self.process.pid]

    def queue_is_empty(self):
        status, out, _ = self.process.queue("list")
        return status == 0 and "example" not in out


class PostfixServer:
    name = "postfix"

    def __init__(self, scratch, sink_port, certificate):
        self.dovecot = Dovecot(scratch, {USER: PASSWORD}, "auth_cache_size = 10M\n")
        os.chmod(self.dovecot.socket, 0o666)
        self.peer = Postfix(scratch, sink_port, main={
            **POSTFIX_FAIR, "smtpd_tls_security_level": "may", "smtpd_tls_cert_file": certificate.chain,
            "smtpd_tls_key_file": certificate.key, "smtpd_tls_auth_only": "yes", "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": self.dovecot.socket, "smtpd_tls_loglevel": "0",
            "smtpd_client_auth_rate_limit": "0", "smtpd_client_new_tls_session_rate_limit": "0"})
        self.port, self.pids = self.peer.port, [self.peer.program.pid, self.dovecot.program.pid]

    def queue_is_empty(self):
        folders = ("maildrop", "incoming", "active", "deferred")
        queues = (os.path.join(self.peer.folder, "queue", each) for each in folders)
        return not any(files for queue in queues for _, _, files in os.walk(queue))


def load_command(options, port, *more):
    return [os.path.join(options.bin, "submission_load"), "--port", str(port), *map(str, more)]


def measure(server, options, count, drain=True):
    cpu = sum(map(cpu_of_tree, server.pids))
    status, out, error = run(load_command(options, server.port, "--count", count, "--sessions", options.sessions, "--user",
                                          USER, "--password", PASSWORD), seconds=options.patience)
    cpu = sum(map(cpu_of_tree, server.pids)) - cpu
    if status != 0:
        sys.exit(f"submission_load against {server.name} failed: {error[-500:]}")
    result = json.loads(out)
    if set(result["codes"]) != {"250"}:
        sys.exit(f"{server.name} refused: {result['codes']}")
    if drain:
        wait_until(server.queue_is_empty, f"{server.name}'s queue to drain", options.patience, every=0.2)
    return {"rate": result["rate"], "p99": result["session_ms"]["p99"], "cpu": cpu / count * 1000,
            "client": result["client_cpu_seconds"] / result["seconds"]}


def compare(servers, options):
    results = {server.name: [] for server, _ in servers}
    print(f"{options.sessions} sessions at a time, {os.cpu_count()} cores")
    print("round  server    sessions/s  p99 ms  server CPU ms/session  client cores")
    for number in range(options.rounds + 1):  # the first round warms up and does not count
        for server, count in servers:
            result = measure(server, options, count if number else max(count // 10, options.sessions))
            if number:
                results[server.name].append(result)
                print(f"{number:5}  {server.name:9} {result['rate']:10.0f} {result['p99']:7.1f} {result['cpu']:22.2f}"
                      f" {result['client']:13.2f}", flush=True)
    medians = {name: {key: statistics.median(each[key] for each in rows) for key in rows[0]}
               for name, rows in results.items()}
    for name, row in medians.items():
        print(f"median {name:9} {row['rate']:10.0f} {row['p99']:7.1f} {row['cpu']:22.2f} {row['client']:13.2f}")
    print(f"ratio of sessions a second: {medians['postern']['rate'] / medians['postfix']['rate']:.1f}")


def known_user(options, port, seconds):
    """Logins of the known user, ten a second, from one machine."""
    status, out, error = run(load_command(options, port, "--rate", 10, "--seconds", seconds, "--machines", 1,
                                          "--first-machine", "127.9.0.1", "--user", USER, "--password", PASSWORD),
                             seconds=options.patience)
    if status != 0:
        sys.exit(f"submission_load failed: {error[-500:]}")
    return json.loads(out)


def flood(server, options):
    """`--guesses` wrong passwords a second from 1,000 machines, each below its own bar, and the known user meanwhile."""
    quiet = known_user(options, server.port, options.flood_seconds)
    command = load_command(options, server.port, "--rate", options.guesses, "--seconds", options.flood_seconds + 6,
                           "--machines", 1000, "--sessions", 400, "--guess")
    guessing = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(3)  # until the queue for hashing is full
    cpu = cpu_of_tree(server.pids[0])
    busy = known_user(options, server.port, options.flood_seconds)
    cpu = (cpu_of_tree(server.pids[0]) - cpu) / options.flood_seconds
    guessed = json.loads(guessing.communicate(timeout=options.patience)[0])
    print(f"known user, ten sessions a second     auth p50  p99   session p50  p99 ms   codes")
    for name, result in (("quiet", quiet), ("flood", busy)):
        print(f"  {name:32} {result['auth_ms']['p50']:10.2f} {result['auth_ms']['p99']:5.2f}"
              f" {result['session_ms']['p50']:11.2f} {result['session_ms']['p99']:5.2f}      {result['codes']}")
    print(f"flood: {guessed['rate']:.0f} guesses a second offered ({guessed['codes']}), server {cpu:.2f} cores;"
          f" p99 of a session {busy['session_ms']['p99'] / quiet['session_ms']['p99']:.2f} times the quiet server's")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="folder of the built programs")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--count", type=int, default=20000, help="sessions for Postern, a round")
    parser.add_argument("--postfix-count", type=int, default=2000, help="sessions for Postfix, a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--guesses", type=float, default=220, help="wrong passwords a second in the flood")
    parser.add_argument("--flood-seconds", type=float, default=30)
    parser.add_argument("--only", choices=("sessions", "flood", "cpu"))
    parser.add_argument("--patience", type=float, default=300, help="seconds that one run may take")
    options = parser.parse_args()
    os.environ["POSTERN"] = os.path.join(options.bin, "postern")

    scratch = Scratch()
    try:
        certificate = Authority(scratch).issue("server")
        os.chmod(certificate.key, 0o644)
        sink_port = free_port()
        sink = [program("smtp-sink", "postfix"), "-u", "nobody", f"inet:127.0.0.1:{sink_port}", "1000"]
        scratch.track(Program("smtp-sink", sink, scratch.folder, namespace=True))
        if options.only in (None, "cpu"):
            # Nobody listens there: what a session costs, without what carrying its message on costs.
            alone = PosternServer(scratch, free_port(), certificate, name="alone")
            for count in (options.count // 10, options.count):
                result = measure(alone, options, count, drain=False)
            print(f"without delivery: {result['cpu']:.3f} ms of CPU a session, {result['rate']:.0f} sessions a second",
                  flush=True)
            alone.process.kill()
        if options.only == "cpu":
            return
        postern = PosternServer(scratch, sink_port, certificate)
        if options.only != "flood":
            compare([(postern, options.count), (PostfixServer(scratch, sink_port, certificate), options.postfix_count)],
                    options)
        if options.only != "sessions":
            flood(postern, options)
    finally:
        scratch.close()


if __name__ == "__main__":
    main()
