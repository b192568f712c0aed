#!/usr/bin/env python3
"""Reads our notifications with a mail reader that is not ours: Python's email package.

usage: bounce_mime_check.py PROGRAM    PROGRAM FOLDER writes the samples
"""
import email
import email.policy
import email.utils
import pathlib
import subprocess
import sys
import tempfile


def check(condition, what):
    if not condition:
        sys.exit(f"bounce_mime_check: {what}")


def read(path):
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.SMTP)
    for part in message.walk():
        check(not part.defects, f"{path.name}: {part.get_content_type()}: {part.defects}")
    check(message.get_content_type() == "multipart/report", "not a report")
    check(message.get_param("report-type") == "delivery-status", "not of deliveries")
    check(message["Auto-Submitted"] == "auto-replied", "Auto-Submitted")
    check(email.utils.parsedate_to_datetime(message["Date"]).timestamp() == 1795492107, "Date")
    parts = message.get_payload()
    check(len(parts) == 3, "three parts")
    check(parts[1].get_content_type() == "message/delivery-status", "second part")
    return message, parts


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([sys.argv[1], name], check=True)

        _, parts = read(folder / "headers")
        check("no such user" in " ".join(parts[0].get_content().split()), "the server's words")
        about, bob = parts[1].get_payload()
        check(about["Reporting-MTA"] == "dns; mail.example.net", "Reporting-MTA")
        check(about["Original-Envelope-Id"] == "id+1", "Original-Envelope-Id")
        check(bob["Original-Recipient"] == "rfc822; bob+old@example.org", "Original-Recipient")
        check(bob["Final-Recipient"] == "rfc822; bob@example.org", "Final-Recipient")
        check((bob["Action"], bob["Status"]) == ("failed", "5.1.1"), "Action, Status")
        check(bob["Diagnostic-Code"].startswith("smtp; 550 5.1.1 no such user;\\x0D\\x0A"), "Diagnostic-Code")
        check(bob["evil"] is None, "a server wrote a field")
        check(parts[2].get_content_type() == "text/rfc822-headers", "headers")
        check("Subject: hello" in parts[2].get_content(), "the original's subject")
        check("first line" not in parts[2].get_content(), "the original's body")

        _, parts = read(folder / "full")
        check(parts[2].get_content_type() == "message/rfc822", "the whole")
        original = parts[2].get_payload(0)
        check(original["Subject"] == "hello", "the original's subject")
        check(original.get_content().splitlines() == ["first line", ".second line"], "the original's body")

        message, parts = read(folder / "international")
        check(message["Content-Transfer-Encoding"] == "8bit", "8bit")
        check(parts[0].get_content_charset() == "utf-8" and "<b\u00f6b@example.org>" in parts[0].get_content(), "utf-8")
        _, bob, other = parts[1].get_payload()
        check(other["Final-Recipient"] == "utf-8; b\\x{F6}b@example.org", "an international address")
        check((other["Action"], other["Status"]) == ("delayed", "4.2.2"), "delayed")
        check(email.utils.parsedate_to_datetime(other["Will-Retry-Until"]).timestamp() == 1795900000, "Will-Retry-Until")
        check(parts[2].get_content_type() == "message/global", "message/global")


main()
