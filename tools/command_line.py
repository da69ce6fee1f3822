"""The command line of a tool: mistakes in it are one sentence, and exit code 2."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that names a mistake without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        """End the process with one sentence."""
        refuse(message)


def refuse(reason: object) -> NoReturn:
    """End the process with one sentence on what is wrong."""
    print(f'error: {reason}', file=sys.stderr)
    sys.exit(2)
