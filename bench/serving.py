"""Serve another application just as `huoma serve` serves huoma: `python -m bench.serving`, with `BENCH_FACTORY` set.

Shapes: `BENCH_FACTORY` is `module:name` of what builds an ASGI application without arguments.
"""

import importlib
import os
import sys


def _put_in() -> None:
    """Name the other application where servers look for huoma's: here, and in the processes they spawn from here."""
    module, _, name = os.environ["BENCH_FACTORY"].partition(":")
    factory = getattr(importlib.import_module(module), name)
    from app import main

    main.from_environment = factory


_put_in()

if __name__ == "__main__":
    from app import cli

    sys.exit(cli.main(["serve"]))
