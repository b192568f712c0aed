"""Real mail servers as next hops: each on a loopback port, private folders, relaying all it takes to a given port.

Postfix comes from its package; Exim and OpenSMTPD from the folder of unpack_peers.sh. All run in mount and pid
namespaces of their own: their compiled-in folders and user names are bound over there, nothing outside changes.
"""

import os
import pwd
import shutil
import socket
import time

from . import environment
from .process import Program, wait_until


class Peer:
    """`relay_to`: the loopback port where everything goes."""

    name = "peer"

    def __init__(self, case, relay_to: int, **options):
        self.case = case
        self.folder = case.path(self.name)
        self.relay_to = relay_to
        self.options = options
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o755)
        case.track(self)
        for attempt in range(3):  # the free port may have been taken in between
            self.port = environment.free_port()
            self.program = Program(self.name, self.prepare(), self.folder, namespace=True, env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"})
            if self._answers():
                return
            self.program.kill()
        raise AssertionError(f"{self.name} does not start:\n{self.log()[-4000:]}")

    def prepare(self) -> list[str]:
        """Writes the settings for self.port; returns the command."""
        raise NotImplementedError

    def _answers(self) -> bool:
        deadline = time.monotonic() + environment.PATIENCE
        while time.monotonic() < deadline and self.program.alive():
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as probe:
                    if probe.recv(4) == b"220 ":
                        return True
            except OSError:
                pass
            time.sleep(0.05)
        return False

    def write(self, name: str, text: str, mode: int = 0o644) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def log_files(self) -> list[str]:
        return []

    def log(self) -> str:
        text = self.program.log()
        for path in self.log_files():
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += file.read()
        return text

    def kill(self) -> None:
        self.program.kill()

    def with_users(self, users: list[str]) -> str:
        """Shell lines that bind a passwd and a group file with these users over the namespace's own."""
        with open("/etc/passwd", encoding="utf-8") as file:
            passwd = file.read()
        with open("/etc/group", encoding="utf-8") as file:
            group = file.read()
        for number, user in enumerate(users, 65300):
            try:
                pwd.getpwnam(user)
            except KeyError:
                passwd += f"{user}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"
                group += f"{user}:x:{number}:\n"
        lines = []
        for name, text in (("passwd", passwd), ("group", group)):
            lines.append(f"mount --bind {self.write(name, text)} /etc/{name}")
        return "\n".join(lines) + "\n"


class Postfix(Peer):
    """Options: `main` (a dict of further main.cf settings)."""

    name = "postfix"

    def prepare(self):
        postfix = environment.program("postfix", "postfix")
        conf = os.path.join(self.folder, "conf")
        queue, data = os.path.join(self.folder, "queue"), os.path.join(self.folder, "data")
        for each in (conf, queue, data):
            os.makedirs(each, exist_ok=True)
        shutil.chown(data, "postfix")
        settings = {
            "compatibility_level": "3.7", "config_directory": conf, "queue_directory": queue, "data_directory": data,
            "maillog_file": os.path.join(self.folder, "mail.log"), "maillog_file_prefixes": self.folder,
            "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4", "myhostname": "postfix.example",
            "mydestination": "", "local_recipient_maps": "", "mynetworks": "127.0.0.0/8", "alias_maps": "",
            "relayhost": f"[127.0.0.1]:{self.relay_to}", "smtp_dns_support_level": "disabled",
            "disable_dns_lookups": "yes", "smtp_host_lookup": "native", "smtputf8_enable": "yes",
            "smtpd_tls_security_level": "none", "smtp_tls_security_level": "none", "message_size_limit": "104857600",
            "mailbox_size_limit": "0", "in_flow_delay": "0", "smtpd_client_connection_count_limit": "0",
            "default_process_limit": "100", "smtpd_error_sleep_time": "0", "smtpd_hard_error_limit": "1000",
            "smtpd_peername_lookup": "no", **self.options.get("main", {}),
        }
        with open(os.path.join(conf, "main.cf"), "w", encoding="utf-8") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())
        services = [f"127.0.0.1:{self.port} inet n - n - - smtpd", "pickup unix n - n 60 1 pickup",
                    "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
                    "rewrite unix - - n - - trivial-rewrite", "anvil unix - - n - 1 anvil",
                    "smtp unix - - n - - smtp", "relay unix - - n - - smtp", "postlog unix-dgram n - n - 1 postlogd"]
        services += [f"{name} unix {private} - n - 0 {command}" for name, private, command in (
            ("bounce", "-", "bounce"), ("defer", "-", "bounce"), ("trace", "-", "bounce"), ("showq", "n", "showq"),
            ("flush", "n", "flush"), ("proxymap", "-", "proxymap"), ("error", "-", "error"), ("retry", "-", "error"),
            ("discard", "-", "discard"), ("verify", "-", "verify"))]
        services.append("tlsmgr unix - - n 1000? 1 tlsmgr")
        with open(os.path.join(conf, "master.cf"), "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in services)
        return [postfix, "-c", conf, "start-fg"]

    def log_files(self):
        return [os.path.join(self.folder, "mail.log")]


class Exim(Peer):
    name = "exim"

    def prepare(self):
        # A copy: Exim runs itself again after dropping root, and the cache may lie in a home only root can enter.
        program = shutil.copy(os.path.join(environment.peer_folder("exim"), "usr/sbin/exim4"),
                              os.path.join(self.folder, "exim4"))
        spool = os.path.join(self.folder, "spool")
        os.makedirs(spool, exist_ok=True)
        os.chmod(spool, 0o777)
        config = self.write("exim.conf", f"""
primary_hostname = exim.example
exim_path = {program}
spool_directory = {spool}
log_file_path = {spool}/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
domainlist local_domains =
hostlist relay_from_hosts = 127.0.0.0/8
host_lookup =
rfc1413_query_timeout = 0s
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
tls_advertise_hosts =
message_size_limit = 100M
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = accept
acl_smtp_data = accept
never_users =
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = {self.relay_to}
  allow_localhost
  hosts_try_fastopen =
begin retry
* * F,1h,1s
""")
        start = self.write("start", "#!/bin/sh\nset -e\n" + self.with_users(["Debian-exim"])
                           + f"exec {program} -bdf -q1s -C {config}\n", 0o755)
        return [start]

    def log_files(self):
        return [os.path.join(self.folder, "spool", name) for name in ("mainlog", "paniclog")]


class OpenSmtpd(Peer):
    name = "opensmtpd"

    def prepare(self):
        tree = environment.peer_folder("opensmtpd")
        config = self.write("smtpd.conf", f"""
listen on 127.0.0.1 port {self.port}
smtp max-message-size "100M"
action "out" relay host smtp://127.0.0.1:{self.relay_to}
match from any for any action "out"
""")
        spool, run, lib = (os.path.join(self.folder, each) for each in ("spool", "run", "lib"))
        for each in (spool, run, os.path.join(lib, "opensmtpd", "empty")):
            os.makedirs(each, exist_ok=True)
        os.chmod(spool, 0o711)
        start = self.write("start", f"""#!/bin/sh
set -e
mount --bind {spool} /var/spool
mount --bind {run} /run
mount --bind {lib} /var/lib
{self.with_users(["opensmtpd", "opensmtpq"])}
echo opensmtpd.example > {self.folder}/mailname
[ ! -e /etc/mailname ] || mount --bind {self.folder}/mailname /etc/mailname
exec {tree}/usr/sbin/smtpd -d -v -f {config}
""", 0o755)
        return [start]


class Dovecot:
    """Only its auth service, on a Unix socket (`socket`). `users`: name to password in the clear. stop() and start()
    keep the folder; `more`: further settings."""

    name = "dovecot"

    def __init__(self, case, users: dict[str, str], more: str = ""):
        self.folder = case.path(self.name)
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o755)
        self.socket = os.path.join(self.folder, "auth-client")
        with open(os.path.join(self.folder, "users"), "w", encoding="utf-8") as file:
            file.writelines(f"{name}:{{PLAIN}}{password}\n" for name, password in users.items())
        self.config = os.path.join(self.folder, "dovecot.conf")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
protocols =
listen = 127.0.0.1
ssl = no
log_path = /dev/stderr
auth_mechanisms = plain login
auth_failure_delay = 0
auth_cache_size = 0
service auth {{
  unix_listener {self.socket} {{
    mode = 0600
  }}
}}
passdb {{
  driver = passwd-file
  args = {self.folder}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
{more}
""")
        case.track(self)
        self.start()

    def start(self) -> None:
        dovecot = environment.program("dovecot", "dovecot-core")
        self.program = Program(self.name, [dovecot, "-F", "-c", self.config], self.folder, namespace=True)
        wait_until(self._answers, lambda: f"dovecot to answer; it said:\n{self.log()[-4000:]}", every=0.05)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(environment.PATIENCE)
                probe.connect(self.socket)
                return probe.recv(8) == b"VERSION\t"
        except OSError:
            return False

    def stop(self) -> None:
        self.program.kill()

    def log(self) -> str:
        return self.program.log()

    def kill(self) -> None:
        self.program.kill()


def wait_relayed(sink, count: int, what: str):
    """The peers' queues are slower than the sink: a longer patience."""
    return wait_until(lambda: len(sink.messages) >= count and list(sink.messages), what, environment.PATIENCE * 2)
