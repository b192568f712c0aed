"""Bearer tokens: an issuer with a key of its own that signs JSON Web Tokens (RFC 7519) with the openssl program."""

import base64
import json
import os
import subprocess
import time

from . import environment
from .certificates import make_key, openssl


def encode(octets: bytes) -> str:
    """Base 64 for URLs, without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class TokenIssuer:
    """RS256, with the RSA key at `key_path`, which is made."""

    issuer, audience = "https://login.example.net/", "mail"

    def __init__(self, key_path: str):
        self.key = make_key(key_path, "rsa")

    def settings(self, public_path: str) -> dict:
        """[tokens]; the public key goes to `public_path`."""
        openssl("pkey", "-in", self.key, "-pubout", "-out", public_path)
        os.chmod(public_path, 0o644)
        return {"keys": public_path, "issuer": self.issuer, "audience": self.audience}

    def token(self, *, header=None, **claims) -> str:
        """Good for five minutes unless `claims` (exp, aud, iss, ...) say otherwise; None takes a claim out."""
        now = int(time.time())
        whole = {"iss": self.issuer, "aud": self.audience, "iat": now, "exp": now + 300, **claims}
        whole = {name: value for name, value in whole.items() if value is not None}
        text = ".".join(encode(json.dumps(each).encode()) for each in (header or {"alg": "RS256", "typ": "JWT"}, whole))
        return text + "." + encode(self._sign(text.encode()))

    def _sign(self, octets: bytes) -> bytes:
        command = [environment.program("openssl", "openssl"), "dgst", "-sha256", "-sign", self.key]
        return subprocess.run(command, input=octets, capture_output=True, check=True).stdout
