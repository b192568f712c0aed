"""testssl.sh finds nothing above LOW, at 465 and at 587 with STARTTLS, with certificates of a private authority such as
a public one gives: for 90 days, with the URI of a list of revoked ones, ECDSA and RSA side by side."""

import json
import re

from harness import Authority, Case, Postern, main, program, run, submission_services

# What testssl.sh may say although it is worse than LOW, and why. By id and severity.
EXCEPTIONS = {
    ("engine_problem", "WARN"): "about its own openssl program, which has no GOST ciphers",
    ("service", "DEBUG"): "at 465 it looks for HTTP and finds none",
    ("sessionresumption_ticket", "WARN"): "its client hangs up after the handshake, now and then before the ticket has come",
}
TOLERATED = {"OK", "INFO", "LOW"}

# Each must have been looked at and found good: or a scan that broke off would pass.
GOOD = ("SSLv2", "SSLv3", "TLS1_2", "TLS1_3", "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT",
        "cipherlist_LOW", "cipherlist_STRONG", "PFS", "cipher_order", "cipher_negotiated",
        "cert_signatureAlgorithm <cert#1>", "cert_trust <cert#1>", "cert_chain_of_trust <cert#1>",
        "cert_expirationStatus <cert#1>", "cert_signatureAlgorithm <cert#2>", "cert_trust <cert#2>",
        "cert_chain_of_trust <cert#2>", "cert_expirationStatus <cert#2>", "heartbleed", "CCS", "ROBOT",
        "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "fallback_SCSV", "SWEET32", "FREAK",
        "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4")
NOT_OFFERED = ("TLS1", "TLS1_1", "cipherlist_3DES_IDEA", "cipherlist_AVERAGE")
# Its imitations of mail programs, and of libraries that mail programs use. Its browsers are turned away: they ask for
# HTTP by ALPN.
CLIENTS = ("thunderbird_91_9", "apple_mail_16_0", "java1102", "java1703", "openssl_110l", "openssl_111d",
           "openssl_303", "libressl_283")


class TestSsl(Case):
    def setUp(self):
        self.authority = Authority(self)
        more = ["crlDistributionPoints = URI:http://crl.example.net/authority.crl"]
        self.certificates = [self.authority.issue(kind, kind=kind, days=(-1, 89), more=more)
                             for kind in ("p256", "rsa")]

    def start(self, certificates):
        self.postern = Postern(self, lan=["192.0.2.0/24"], certificate=[each.setting() for each in certificates],
                               service=submission_services(("SCRAM-SHA-256-PLUS", "PLAIN")))

    def scan(self, service, *arguments, seconds=600.0):
        """Findings by id."""
        findings = self.path(f"{service}.json")
        command = [program("testssl", "testssl.sh"), "--quiet", "--color=0", "--warnings=off", "--sneaky",
                   "--nodns=none", "--ip=127.0.0.1", f"--add-ca={self.authority.file}", f"--jsonfile={findings}",
                   *arguments, f"localhost:{self.postern.port(service)}"]
        status, out, error = run(command, seconds=seconds)
        self.assertLess(status, 242, out + error)  # from there on: it could not do its work
        with open(findings, encoding="utf-8") as file:
            return {each["id"]: each for each in json.load(file)}

    def above_low(self, findings):
        return [f"{each['severity']} {each['id']}: {each['finding']}" for each in findings.values()
                if each["severity"] not in TOLERATED and (each["id"], each["severity"]) not in EXCEPTIONS]

    def check(self, findings):
        self.assertEqual(self.above_low(findings), [])
        for name in GOOD:
            with self.subTest(name=name):
                self.assertEqual(findings[name]["severity"], "OK", findings[name])
        for name in NOT_OFFERED:
            with self.subTest(name=name):
                self.assertEqual(findings[name]["finding"], "not offered")
        self.assertRegex(findings["cert_crlDistributionPoints <cert#1>"]["finding"], r"http://crl\.example\.net/")

    def test_465(self):
        self.start(self.certificates)
        findings = self.scan("submissions")
        self.check(findings)
        for name in CLIENTS:
            with self.subTest(client=name):
                self.assertRegex(findings[f"clientsimulation-{name}"]["finding"], r"^TLSv1\.[23] \w")
        browsers = {each["finding"] for name, each in findings.items()
                    if re.match(r"clientsimulation-(chrome|firefox|edge)", name)}
        self.assertEqual(browsers, {"No connection"})

    def test_587(self):
        self.start(self.certificates)
        findings = self.scan("submission", "--starttls=smtp")
        self.check(findings)
        self.assertEqual(findings["service"]["finding"], "smtp")

    def test_it_finds_something(self):
        """Where there is something to find."""
        self.start([self.authority.issue("expired", days=(-30, -1))])
        found = self.above_low(self.scan("submissions", "--server-defaults"))
        self.assertTrue(any("cert_expirationStatus" in each and "expired" in each for each in found), found)


if __name__ == "__main__":
    main()
