"""A recording SMTP or LMTP server with behaviour that a test programs: it stands where the next hop would.

A test gives a Script and overrides what it wants to be different; each hook returns None for the ordinary reply, a
reply line, or DROP to close the connection at once. Hooks run in the connection's own thread and may block. Message
octets are kept exactly as they came, dot-stuffing removed.
"""

import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

from . import environment

DROP = object()
DEFAULT_EXTENSIONS = ("PIPELINING", "8BITMIME", "SIZE 104857600", "SMTPUTF8", "CHUNKING", "BINARYMIME", "DSN",
                      "ENHANCEDSTATUSCODES")


@dataclass
class Message:
    sender: str
    sender_parameters: str
    recipients: list[str]
    recipient_parameters: list[str]
    content: bytes = b""
    connection: int = 0
    bdat: bool = False
    received_at: float = 0.0

    def header(self, name: str) -> str:
        """The first header field of that name, unfolded; empty when there is none."""
        head = self.content.split(b"\r\n\r\n", 1)[0].decode("utf-8", "replace")
        found = re.search(rf"^{re.escape(name)}:[ \t]*(.*(?:\r\n[ \t].*)*)", head, re.IGNORECASE | re.MULTILINE)
        return re.sub(r"\r\n[ \t]+", " ", found.group(1)).strip() if found else ""


@dataclass
class Session:
    number: int
    peer: tuple
    helo: str = ""
    tls: str = ""  # "TLSv1.3"; empty: plain text
    resumed: bool = False
    server_name: str | None = None  # SNI
    commands: list[str] = field(default_factory=list)


class Script:
    """Accepts everything. Subclass and override."""

    extensions = DEFAULT_EXTENSIONS
    greeting_text = "220 sink.example ESMTP"

    def greeting(self, session):
        return None

    def helo(self, session):
        return None

    def starttls(self, session):
        """Instead of 220."""
        return None

    def handshake(self, session):
        """After 220: DROP ends the connection once the client has begun."""
        return None

    def mail(self, session, address, parameters):
        return None

    def rcpt(self, session, address, parameters):
        return None

    def data(self, session, message):
        """Before 354 (or at the first BDAT)."""
        return None

    def message(self, session, message):
        """After the content. SMTP: one reply; LMTP: a list, one for each recipient."""
        return None


class Sink:
    """Listens at once on a port of its own (or the given one); close() ends all connections. With `tls`, an SSLContext,
    it has STARTTLS."""

    def __init__(self, script: Script | None = None, *, lmtp: bool = False, port: int = 0, address: str = "127.0.0.1",
                 tls: ssl.SSLContext | None = None):
        self.name = "sink"
        self.script = script or Script()
        self.lmtp = lmtp
        self.tls = tls
        self.lock = threading.Condition()
        self.messages: list[Message] = []
        self.sessions: list[Session] = []
        self.open_now = 0
        self.open_most = 0
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server((address, port), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    # --- what tests ask ---------------------------------------------------------------------------------------------
    def wait_for(self, count: int, seconds: float | None = None) -> list[Message]:
        return self.wait_until(lambda messages: len(messages) >= count, f"{count} messages", seconds)

    def wait_until(self, condition, what: str, seconds: float | None = None) -> list[Message]:
        """Waits until `condition(messages)`; returns a copy of the messages."""
        limit = environment.PATIENCE if seconds is None else seconds
        with self.lock:
            if not self.lock.wait_for(lambda: condition(self.messages), limit):
                seen = [f"{m.sender} -> {m.recipients}" for m in self.messages[-10:]]
                raise AssertionError(f"the sink waited {limit:g} s in vain for {what}; it has {len(self.messages)} "
                                     f"messages, the last ones: {seen}")
            return list(self.messages)

    def clear(self) -> None:
        with self.lock:
            self.messages.clear()

    def log(self) -> str:
        with self.lock:
            lines = [f"{m.connection}: {m.sender} -> {m.recipients} {len(m.content)} octets"
                     for m in self.messages[-30:]]
            lines += [f"session {s.number}: {s.commands[-12:]}" for s in self.sessions[-5:]]
            return "\n".join(lines)

    def kill(self) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        # shutdown wakes the thread that is in accept(); close alone would leave the port listening.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self.lock:
            open_sockets = list(self._sockets)
        for each in open_sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    # --- connections ------------------------------------------------------------------------------------------------
    def _accept(self):
        while not self._closed:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                session = Session(len(self.sessions), peer)
                self.sessions.append(session)
                self._sockets.add(connection)
                self.open_now += 1
                self.open_most = max(self.open_most, self.open_now)
            threading.Thread(target=self._serve, args=(connection, session), daemon=True).start()

    def _serve(self, connection, session):
        dialog = _Dialog(self, connection, session)
        try:
            dialog.run()
        except (ConnectionError, OSError):
            pass
        finally:
            with self.lock:
                self._sockets.discard(connection)
                self._sockets.discard(dialog.socket)
                self.open_now -= 1
                self.lock.notify_all()
            dialog.socket.close()

    def encrypt(self, connection, session):
        """The handshake, as the server; the encrypted socket."""
        encrypted = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self.lock:
            self._sockets.discard(connection)
            self._sockets.add(encrypted)
        encrypted.sink_session = session
        encrypted.do_handshake()
        session.tls, session.resumed = encrypted.version(), encrypted.session_reused
        return encrypted

    def record(self, message: Message) -> None:
        with self.lock:
            self.messages.append(message)
            self.lock.notify_all()


class _Drop(ConnectionError):
    pass


class _Dialog:
    """One connection's conversation."""

    def __init__(self, sink: Sink, connection: socket.socket, session: Session):
        self.sink, self.socket, self.session = sink, connection, session
        self.input = connection.makefile("rb", 1 << 16)
        self.pending = b""  # replies of one pipelined batch leave together
        self.message: Message | None = None
        self.chunks: list[bytes] = []

    def _say(self, answer) -> None:
        if answer is DROP:
            raise _Drop()
        self.pending += answer.encode("utf-8") + b"\r\n"

    def _flush(self) -> None:
        if self.pending:
            self.socket.sendall(self.pending)
            self.pending = b""

    def _read_line(self) -> bytes:
        if not self._buffered():
            self._flush()
        line = self.input.readline(1 << 20)
        if not line:
            raise _Drop()
        return line

    def _buffered(self) -> bool:
        # peek() would block on an empty buffer: ask the raw buffer only.
        self.socket.setblocking(False)
        try:
            return bool(self.input.peek(1))
        except (BlockingIOError, ConnectionError, ssl.SSLWantReadError):
            return False
        finally:
            self.socket.setblocking(True)

    def run(self) -> None:
        script, session = self.sink.script, self.session
        self._say(script.greeting(session) or script.greeting_text)
        while True:
            line = self._read_line().rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            session.commands.append(line[:200])
            verb, _, rest = line.partition(" ")
            handler = getattr(self, "_do_" + verb.lower(), None)
            if not handler:
                self._say("500 5.5.1 what?")
            elif handler(rest):
                self._flush()
                return

    def _do_ehlo(self, rest):
        self.session.helo = rest
        answer = self.sink.script.helo(self.session)
        if not answer:
            words = ["sink.example", *self.sink.script.extensions]
            if self.sink.tls and not self.session.tls:
                words.append("STARTTLS")
            answer = "\r\n".join("250-" + word for word in words[:-1]) + ("\r\n" if words[:-1] else "")
            answer += "250 " + words[-1]
        self._say(answer)
        self.message = None

    _do_lhlo = _do_ehlo

    def _do_starttls(self, rest):
        answer = self.sink.script.starttls(self.session) if self.sink.tls else "502 5.5.1 no TLS"
        if answer is not DROP and answer and answer[0] != "2":
            return self._say(answer)
        self._say(answer or "220 2.0.0 go ahead")
        self._flush()
        if self.sink.script.handshake(self.session) is DROP:
            self.socket.recv(65536)
            raise _Drop()
        self.input.detach()
        try:
            self.socket = self.sink.encrypt(self.socket, self.session)
        except ssl.SSLError as error:
            raise _Drop() from error
        self.input = self.socket.makefile("rb", 1 << 16)
        self.message = None

    def _do_helo(self, rest):
        self.session.helo = rest
        self._say(self.sink.script.helo(self.session) or "250 sink.example")

    def _do_mail(self, rest):
        address, parameters = _path(rest)
        answer = self.sink.script.mail(self.session, address, parameters)
        if not answer or (answer is not DROP and answer[0] == "2"):
            self.message = Message(address, parameters, [], [], connection=self.session.number)
            self.chunks = []
        self._say(answer or "250 2.1.0 ok")

    def _do_rcpt(self, rest):
        if not self.message:
            return self._say("503 5.5.1 MAIL first")
        address, parameters = _path(rest)
        answer = self.sink.script.rcpt(self.session, address, parameters)
        if not answer or (answer is not DROP and answer[0] == "2"):
            self.message.recipients.append(address)
            self.message.recipient_parameters.append(parameters)
        self._say(answer or "250 2.1.5 ok")

    def _do_data(self, rest):
        if not self.message or not self.message.recipients:
            return self._say("503 5.5.1 no valid recipients")
        answer = self.sink.script.data(self.session, self.message)
        if answer:
            return self._say(answer)
        self._say("354 go on")
        self._flush()
        lines = []
        while True:
            line = self.input.readline()
            if not line:
                raise _Drop()
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        self.message.content = b"".join(lines)
        self._finish()

    def _do_bdat(self, rest):
        size, _, last = rest.partition(" ")
        piece = self.input.read(int(size))
        if len(piece) != int(size):
            raise _Drop()
        if not self.message or not self.message.recipients:
            return self._say("503 5.5.1 no valid recipients")
        answer = self.sink.script.data(self.session, self.message) if not self.chunks else None
        if answer:
            return self._say(answer)
        self.chunks.append(piece)
        if last.upper() != "LAST":
            return self._say("250 2.0.0 more")
        self.message.content, self.message.bdat = b"".join(self.chunks), True
        self._finish()

    def _finish(self):
        message, self.message = self.message, None
        message.received_at = time.monotonic()
        answer = self.sink.script.message(self.session, message)
        if answer is DROP:
            raise _Drop()
        count = len(message.recipients) if self.sink.lmtp else 1
        answers = answer if isinstance(answer, list) else [answer or "250 2.0.0 kept"] * count
        if any(each[0] == "2" for each in answers):
            if self.sink.lmtp:
                accepted = [index for index, each in enumerate(answers) if each[0] == "2"]
                message.recipients = [message.recipients[index] for index in accepted]
                message.recipient_parameters = [message.recipient_parameters[index] for index in accepted]
            self.sink.record(message)
        for each in answers:
            self._say(each)

    def _do_rset(self, rest):
        self.message = None
        self._say("250 2.0.0 ok")

    def _do_noop(self, rest):
        self._say("250 2.0.0 ok")

    def _do_quit(self, rest):
        self._say("221 2.0.0 bye")
        return True


def _path(rest: str) -> tuple[str, str]:
    """'FROM:<a@b> SIZE=1' -> ('a@b', 'SIZE=1')."""
    found = re.match(r"(?:FROM|TO):\s*<(.*?)>\s*(.*)$", rest, re.IGNORECASE)
    return (found.group(1), found.group(2)) if found else (rest, "")
