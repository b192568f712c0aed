"""The harness of the end-to-end tests; see README.md beside it for how to run one."""

from .case import Case, main
from .certificates import Authority, Pair, make_key, openssl, untrusting_context
from .client import (PROXY_V1_UNKNOWN, PROXY_V2_LOCAL, Disconnected, RawClient, Reply, proxy_v1, proxy_v2, stuff)
from .environment import PATIENCE, SANITIZED, free_port, need_root, program, with_private_mounts
from .messages import DOT_LINES, first_difference, lines_of_text, message, strip_trace
from .name_server import NameServer, Switch
from .postern import Postern, parse_logfmt, route_to, submission_services
from .process import Program, cpu_seconds, resident_bytes, run, wait_until
from .sink import DROP, Message, Script, Sink

__all__ = [
    "Case", "main", "PROXY_V1_UNKNOWN", "PROXY_V2_LOCAL", "Disconnected", "RawClient", "Reply", "proxy_v1", "proxy_v2",
    "stuff", "PATIENCE", "SANITIZED", "free_port", "need_root", "program", "DOT_LINES", "first_difference",
    "lines_of_text", "message", "strip_trace", "Postern", "parse_logfmt", "route_to", "Program", "cpu_seconds",
    "resident_bytes", "run", "wait_until", "DROP", "Message", "Script", "Sink", "with_private_mounts",
    "NameServer", "Switch", "Authority", "Pair", "make_key", "openssl", "untrusting_context", "submission_services",
]
