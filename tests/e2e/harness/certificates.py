"""A private certificate authority, made with the openssl program: servers' and clients' certificates as a test needs
them, expired and weak ones among them. Keys are files of their own, 0600."""

import os
import ssl
import time
from dataclasses import dataclass

from . import environment
from .process import run

_KEYS = {
    "p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsa1024": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    "ed25519": ["-algorithm", "ED25519"],
}
_DAY = 86400


def openssl(*arguments: str, stdin: bytes = b"") -> str:
    """Runs openssl; its standard output. AssertionError when it fails."""
    status, out, error = run([environment.program("openssl", "openssl"), *arguments], stdin=stdin)
    if status != 0:
        raise AssertionError(f"openssl {' '.join(arguments)}: {error}")
    return out


def make_key(path: str, kind: str = "p256") -> str:
    openssl("genpkey", *_KEYS[kind], "-out", path)
    os.chmod(path, 0o600)
    return path


@dataclass
class Pair:
    """Paths of a certificate and its key. The chain's first certificate is the leaf."""

    chain: str
    key: str

    def setting(self, **more) -> dict:
        """As an entry of [[certificate]]."""
        return {"chain": self.chain, "key": self.key, **more}

    def serial(self) -> str:
        return openssl("x509", "-in", self.chain, "-noout", "-serial").strip().partition("=")[2]

    def fingerprint(self) -> str:
        text = openssl("x509", "-in", self.chain, "-noout", "-fingerprint", "-sha256")
        return text.strip().partition("=")[2].replace(":", "").lower()


class Authority:
    """A root, and what it signs. `file`: its own certificate, for clients to trust."""

    def __init__(self, case, name: str = "authority"):
        self.folder = case.path(name)
        os.makedirs(self.folder)
        self.name = name
        self.key = make_key(self._path("root.key"))
        self.file = self._path("root.pem")
        self._write("serial", "1000")
        self._write("index.txt", "")
        self.config = self._write("openssl.cnf", f"""
[ca]
default_ca = this
[this]
dir = {self.folder}
new_certs_dir = {self.folder}
database = {self.folder}/index.txt
serial = {self.folder}/serial
unique_subject = no
policy = anything
default_md = sha256
copy_extensions = none
[anything]
commonName = optional
[req]
distinguished_name = nothing
prompt = no
[nothing]
""")
        self._sign("root", self.key, ["basicConstraints = critical,CA:TRUE", "keyUsage = critical,keyCertSign,cRLSign",
                                      "subjectKeyIdentifier = hash"], subject=f"Postern tests, {name}",
                   days=(-1, 120), arguments=["-selfsign", "-keyfile", self.key], out=self.file)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _write(self, name: str, text: str) -> str:
        with open(self._path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self._path(name)

    def _sign(self, name, key, extensions, *, subject, days, arguments, out, digest="sha256"):
        request = self._path(f"{name}.csr")
        openssl("req", "-new", "-config", self.config, "-key", key, "-subj", f"/CN={subject}", "-out", request)
        moments = [time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + day * _DAY)) for day in days]
        openssl("ca", "-batch", "-notext", "-config", self.config, "-in", request, "-md", digest, "-startdate",
                moments[0], "-enddate", moments[1], "-extfile",
                self._write(f"{name}.ext", "\n".join(extensions) + "\n"), "-out", out, *arguments)

    def _authority_arguments(self):
        return ["-cert", self.file, "-keyfile", self.key]

    def issue(self, name: str, hosts=("localhost",), *, kind: str = "p256", days=(-1, 20), usage: str = "serverAuth",
              digest: str = "sha256", more=(), self_signed: bool = False, subject: str | None = None,
              alternatives=None) -> Pair:
        """A leaf in files of that name, with this authority's certificate behind it. `days`: from and to, counted
        from now. `alternatives`: subjectAltName as openssl writes it, instead of `hosts`."""
        key = make_key(self._path(f"{name}.key"), kind)
        alternatives = alternatives or ",".join(f"DNS:{host}" for host in hosts)
        extensions = ["basicConstraints = critical,CA:FALSE", "keyUsage = critical,digitalSignature",
                      f"extendedKeyUsage = {usage}", "subjectKeyIdentifier = hash", f"subjectAltName = {alternatives}",
                      *([] if self_signed else ["authorityKeyIdentifier = keyid"]), *more]
        chain = self._path(f"{name}.pem")
        self._sign(name, key, extensions, subject=subject or (hosts[0] if hosts else name), days=days, out=chain,
                   digest=digest,
                   arguments=["-selfsign", "-keyfile", key] if self_signed else self._authority_arguments())
        if not self_signed:
            with open(self.file, encoding="ascii") as root, open(chain, "a", encoding="ascii") as file:
                file.write(root.read())
        return Pair(chain, key)

    def client_context(self, **attributes) -> ssl.SSLContext:
        """For a client that trusts this authority and nobody else, and checks the server's name."""
        context = ssl.create_default_context(cafile=self.file)
        for name, value in attributes.items():
            setattr(context, name, value)
        return context


def untrusting_context(**attributes) -> ssl.SSLContext:
    """For a client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in attributes.items():
        setattr(context, name, value)
    return context
