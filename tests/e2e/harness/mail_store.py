"""Dovecot as a mail store: POP3 and IMAP on ports of its own, for mail programs and, by auth-policy, with Postern told."""

import os
import socket

from . import environment
from .process import Program, wait_until

# What docs/pop-before-smtp.md tells operators to write.
POLICY_ATTRIBUTES = ("login=%{requested_username} pwhash=%{hashed_password} remote=%{rip} protocol=%s mech=%m "
                     "master_user=%{master_user} device_id=%{client_id} session_id=%{session}")


class MailStore:
    """`users`: name to password in the clear. `policy`: the port on 127.0.0.1 of a listener for auth-policy; None: nobody
    is told. `attributes`: None leaves Dovecot's own. `more`: further settings. stop() and start() keep the folder."""

    name = "mail_store"

    def __init__(self, case, users: dict[str, str], *, policy: int | None = None,
                 attributes: str | None = POLICY_ATTRIBUTES, more: str = ""):
        environment.program("doveadm", "dovecot-core")
        for package, program in (("dovecot-pop3d", "pop3-login"), ("dovecot-imapd", "imap-login")):
            if not os.path.exists(os.path.join("/usr/lib/dovecot", program)):
                raise environment.Missing(f"{program} not found: install the Debian package {package} (see packages.txt)")
        self.folder = case.path(self.name)
        os.makedirs(os.path.join(self.folder, "mail"))
        for each in (self.folder, os.path.join(self.folder, "mail")):
            os.chmod(each, 0o777)
        self.ports = {"pop3": environment.free_port(), "imap": environment.free_port()}
        with open(os.path.join(self.folder, "users"), "w", encoding="utf-8") as file:
            file.writelines(f"{name}:{{PLAIN}}{password}\n" for name, password in users.items())
        self.config = os.path.join(self.folder, "dovecot.conf")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(self._settings(policy, attributes, more))
        case.track(self)
        self.start()

    def _settings(self, policy, attributes, more) -> str:
        reporting = "" if policy is None else f"""
auth_policy_server_url = http://127.0.0.1:{policy}/dovecot/auth-policy
auth_policy_hash_nonce = any-text-of-your-own
"""
        if policy is not None and attributes is not None:
            reporting += f"auth_policy_request_attributes = {attributes}\n"
        return f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
protocols = pop3 imap
listen = 127.0.0.1
ssl = no
log_path = /dev/stderr
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_verbose = yes
auth_failure_delay = 0
mail_location = maildir:{self.folder}/mail/%u
first_valid_uid = 1
first_valid_gid = 1
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {self.ports["pop3"]}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.ports["imap"]}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = {self.folder}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={self.folder}/mail/%u
}}
{reporting}
{more}
"""

    def start(self) -> None:
        dovecot = environment.program("dovecot", "dovecot-core")
        self.program = Program(self.name, [dovecot, "-F", "-c", self.config], self.folder, namespace=True)
        wait_until(lambda: all(self._answers(port) for port in self.ports.values()),
                   lambda: f"dovecot to answer; it said:\n{self.log()[-4000:]}", every=0.05)

    @staticmethod
    def _answers(port) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), environment.PATIENCE) as probe:
                return bool(probe.recv(3))
        except OSError:
            return False

    def stop(self) -> None:
        self.program.kill()

    def log(self) -> str:
        return self.program.log()

    def kill(self) -> None:
        self.program.kill()
