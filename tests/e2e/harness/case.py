"""The test case all end-to-end tests share: a private folder, an orderly end, and the logs when something failed."""

import os
import shutil
import sys
import tempfile
import unittest

from . import environment


class Case(unittest.TestCase):
    maxDiff = 4000

    def run(self, result=None):
        self.folder = tempfile.mkdtemp(prefix="postern-e2e-", dir=os.environ.get("POSTERN_E2E_TMP") or None)
        os.chmod(self.folder, 0o755)  # peers that drop privileges must be able to enter it
        self._programs = []
        before = self._bad(result)
        try:
            super().run(result)
        finally:
            for program in reversed(self._programs):
                program.kill()
            if self._bad(result) > before:
                self._show_logs()
            shutil.rmtree(self.folder, ignore_errors=True)
        return result

    def track(self, program):
        """Registers what has kill(), name and log(): killed at the end, its log shown when the test failed."""
        self._programs.append(program)
        return program

    def path(self, *parts: str) -> str:
        return os.path.join(self.folder, *parts)

    @staticmethod
    def _bad(result) -> int:
        return len(result.failures) + len(result.errors) if result else 0

    def _show_logs(self):
        for program in self._programs:
            text = program.log()
            lines = text.splitlines()
            shown = lines[-80:]
            print(f"---- {self.id()}: log of {program.name}, last {len(shown)} of {len(lines)} lines", file=sys.stderr)
            print("\n".join(shown), file=sys.stderr)


def main():
    """Runs the file's tests; `-v` and test names work as with unittest."""
    environment.take_private_network()
    unittest.main(module="__main__", verbosity=2)
