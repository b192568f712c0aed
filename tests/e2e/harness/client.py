"""A raw SMTP client: every octet is the test's own, nothing is quoted, checked or mended on the way."""

import base64
import re
import socket
import ssl
import struct

from . import environment


class Reply:
    def __init__(self, code: int, lines: list[str]):
        self.code = code
        self.lines = lines

    @property
    def text(self) -> str:
        return " ".join(self.lines)

    @property
    def enhanced(self) -> str:
        found = re.match(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)", self.lines[-1])
        return found.group(0) if found else ""

    def __repr__(self):
        return f"{self.code} {' | '.join(self.lines)}"


class Disconnected(ConnectionError):
    """The server closed the connection before a whole reply came."""


class RawClient:
    """One connection. `source`: the local address to bind; `preamble`: octets sent before anything is read (a PROXY
    header); `tls`: TLS from the first octet, for the name `server_name`."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, source: str | None = None, preamble: bytes = b"",
                 greet: bool = True, seconds: float | None = None, tls: ssl.SSLContext | None = None,
                 server_name: str = "localhost"):
        bind = (source, 0) if source else None
        self.socket = socket.create_connection((host, port), environment.PATIENCE if seconds is None else seconds,
                                               source_address=bind)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.greeting: Reply | None = None
        if preamble:
            self.send(preamble)
        if tls:
            self.wrap(tls, server_name)
        if greet:
            self.greeting = self.reply()

    # --- TLS --------------------------------------------------------------------------------------------------------
    def wrap(self, context: ssl.SSLContext, server_name: str = "localhost", session=None) -> None:
        """The client's side of a handshake, now."""
        if self.buffer:
            raise AssertionError(f"plain text in front of the handshake: {self.buffer!r}")
        plain = self.socket
        try:
            self.socket = context.wrap_socket(plain, server_hostname=server_name, session=session)
        except BaseException:
            plain.close()
            raise

    def starttls(self, context: ssl.SSLContext, server_name: str = "localhost", session=None) -> Reply:
        """STARTTLS and, after 220, the handshake; the reply to STARTTLS."""
        answer = self.command("STARTTLS")
        if answer.code == 220:
            self.wrap(context, server_name, session)
        return answer

    def auth(self, mechanism: str, *responses: bytes | str, initial: bool = True) -> Reply:
        """AUTH with responses that do not depend on the challenges; bytes are sent in base 64, text as it is. The
        first one goes with the command unless `initial` is off. The last reply, or the first that is no 334."""
        lines = [base64.b64encode(each).decode() if isinstance(each, bytes) else each for each in responses]
        first = [lines.pop(0)] if initial and lines else []
        answer = self.command(" ".join(["AUTH", mechanism, *first]))
        while answer.code == 334 and lines:
            answer = self.command(lines.pop(0))
        return answer

    def auth_plain(self, user: str, password: str) -> Reply:
        return self.auth("PLAIN", f"\0{user}\0{password}".encode())

    def auth_login(self, user: str, password: str) -> Reply:
        return self.auth("LOGIN", user.encode(), password.encode(), initial=False)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Closes with RST, as a crashed client's machine does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def _line(self) -> bytes:
        while b"\n" not in self.buffer:
            try:
                more = self.socket.recv(65536)
            except ConnectionError as error:
                raise Disconnected(str(error)) from error
            if not more:
                raise Disconnected(f"closed after {self.buffer!r}")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        if not line.endswith(b"\r"):
            raise AssertionError(f"a reply line without CRLF: {line!r}")
        return line[:-1]

    def reply(self) -> Reply:
        """The next whole reply, checked for its form (RFC 5321 section 4.2)."""
        code, lines = None, []
        while True:
            line = self._line()
            if not re.match(rb"[2-5]\d\d[ -]|[2-5]\d\d$", line) or len(line) > 510:
                raise AssertionError(f"not a reply line: {line!r}")
            if code is not None and line[:3] != code:
                raise AssertionError(f"codes differ within one reply: {code!r}, {line!r}")
            code = line[:3]
            lines.append(line[4:].decode("utf-8"))
            if line[3:4] != b"-":
                return Reply(int(code), lines)

    def command(self, line: str | bytes) -> Reply:
        octets = line.encode("utf-8") if isinstance(line, str) else line
        self.send(octets + b"\r\n")
        return self.reply()

    def pipeline(self, lines: list[str]) -> list[Reply]:
        """All commands in one write, then all replies."""
        self.send("".join(line + "\r\n" for line in lines).encode("utf-8"))
        return [self.reply() for _ in lines]

    def ehlo(self, name: str = "client.example.org") -> dict[str, str]:
        """EHLO, expecting 250; the announced keywords with their parameters."""
        answer = self.command(f"EHLO {name}")
        if answer.code != 250:
            raise AssertionError(f"EHLO: {answer}")
        words = {}
        for line in answer.lines[1:]:
            keyword, _, parameters = line.partition(" ")
            words[keyword.upper()] = parameters
        return words

    def data(self, content: bytes) -> Reply:
        """DATA, the content dot-stuffed, and the final dot; the reply to the first that refuses."""
        answer = self.command("DATA")
        if answer.code != 354:
            return answer
        self.send(stuff(content) + b".\r\n")
        return self.reply()

    def bdat(self, content: bytes, chunk: int) -> Reply:
        """The content in BDAT chunks of `chunk` octets, the last one marked LAST; the last reply."""
        answer = Reply(0, [""])
        for start in range(0, max(len(content), 1), chunk):
            piece = content[start:start + chunk]
            last = " LAST" if start + chunk >= len(content) else ""
            self.send(f"BDAT {len(piece)}{last}\r\n".encode() + piece)
            answer = self.reply()
            if answer.code != 250:
                return answer
        return answer

    def hand_in(self, sender: str, recipients: list[str], content: bytes, *, mail: str = "", rcpt: str = "") -> Reply:
        """MAIL, RCPT and DATA; the reply to the first command that is refused, or the last one."""
        answer = self.command(f"MAIL FROM:<{sender}>{mail}")
        if answer.code != 250:
            return answer
        for recipient in recipients:
            answer = self.command(f"RCPT TO:<{recipient}>{rcpt}")
            if answer.code // 100 != 2:
                return answer
        return self.data(content)

    def closed_by_server(self, seconds: float | None = None) -> bool:
        """Reads to the end of the stream; False when the server keeps the connection open. What came stays in
        `buffer`."""
        self.socket.settimeout(environment.PATIENCE if seconds is None else seconds)
        try:
            while more := self.socket.recv(65536):
                self.buffer += more
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def stuff(content: bytes) -> bytes:
    """Dot-stuffing (RFC 5321 section 4.5.2)."""
    content = re.sub(rb"(?<=\r\n)\.", b"..", content)
    return b"." + content if content.startswith(b".") else content


def proxy_v1(client: str, client_port: int = 40000, server: str | None = None, server_port: int = 25) -> bytes:
    """A PROXY protocol header, version 1 (text)."""
    family = "TCP6" if ":" in client else "TCP4"
    server = server or ("2001:db8::1" if ":" in client else "192.0.2.1")
    return f"PROXY {family} {client} {server} {client_port} {server_port}\r\n".encode()


PROXY_V1_UNKNOWN = b"PROXY UNKNOWN\r\n"
_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def proxy_v2(client: str, client_port: int = 40000, server_port: int = 25, tlvs: bytes = b"") -> bytes:
    """A PROXY protocol header, version 2 (binary), command PROXY."""
    if ":" in client:
        addresses = socket.inet_pton(socket.AF_INET6, client) + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
        family = 0x21
    else:
        addresses = socket.inet_aton(client) + socket.inet_aton("192.0.2.1")
        family = 0x11
    body = addresses + struct.pack("!HH", client_port, server_port) + tlvs
    return _V2_SIGNATURE + struct.pack("!BBH", 0x21, family, len(body)) + body


PROXY_V2_LOCAL = _V2_SIGNATURE + struct.pack("!BBH", 0x20, 0x00, 0)
