"""Messages to hand in, and the comparison with what came out at the other end."""

import itertools
import random
import re

_numbers = itertools.count(1)


def message(*, subject: str = "", body: bytes = b"Hello.\r\n", sender: str = "alice@example.net",
            recipient: str = "bob@remote.example", message_id: str = "", extra: bytes = b"") -> bytes:
    """A whole message with the header fields a mail program writes."""
    number = next(_numbers)
    head = (f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {subject or f'test {number}'}\r\n"
            f"Message-ID: <{message_id or f'{number}.e2e@client.example'}>\r\n"
            "Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n").encode("utf-8")
    return head + extra + b"\r\n" + body


def lines_of_text(octets: int, seed: int) -> bytes:
    """About `octets` of text lines of different lengths, some of them empty or beginning with dots."""
    source = random.Random(seed)
    letters = b"abcdefghijklmnopqrstuvwxyz0123456789 "
    out, size = [], 0
    while size < octets:
        line = bytes(source.choices(letters, k=source.choice((0, 1, 20, 60, 76, 200))))
        line = source.choice((b"", b"", b"", b".", b"..", b". ")) + line + b"\r\n"
        out.append(line)
        size += len(line)
    return b"".join(out)


DOT_LINES = (b".\r\n..\r\n...\r\n.hidden\r\n..double\r\n\r\n.\r\nFrom here\r\n. \r\n.\t.\r\n")

_TRACE = re.compile(rb"Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", re.IGNORECASE)


def strip_trace(content: bytes) -> tuple[bytes, bytes]:
    """Takes the one Received field in front off; returns (trace, rest). AssertionError when there is none."""
    found = _TRACE.match(content)
    if not found:
        raise AssertionError(f"no Received field in front: {content[:200]!r}")
    return found.group(0), content[found.end():]


def first_difference(wanted: bytes, got: bytes) -> str:
    """Empty when equal; otherwise where two long contents part, for a readable failure."""
    if wanted == got:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(wanted, got)) if a != b), min(len(wanted), len(got)))
    start = max(at - 40, 0)
    return (f"{len(wanted)} octets wanted, {len(got)} came; they part at {at}: "
            f"wanted {wanted[start:at + 40]!r}, got {got[start:at + 40]!r}")
