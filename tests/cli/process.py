"""The command line as a user runs it: as processes."""

import inspect
import logging
import os
import subprocess
import sys

from click.testing import CliRunner

COMMAND = (sys.executable, "-m", "kochava_segment")


def environment(**variables):
    """The environment without options of ours in it, and with some variables set."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("KOCHAVA_SEGMENT_")
    }
    return {**kept, "COLUMNS": "80", **variables}


def run(*arguments, stdin="", env=None, timeout=60, text=True, **options):
    """Run a command to its end."""
    if text and isinstance(stdin, bytes):
        raise TypeError("bytes need text=False")
    if "stdin_file" in options:
        options["stdin"] = options.pop("stdin_file")
    else:
        options["input"] = stdin
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=text,
        timeout=timeout,
        check=False,
        env=env or environment(),
        **options,
    )


class _Runner(CliRunner):
    def invoke(self, *args, **options):
        logger = logging.getLogger("kochava_segment")
        before = logger.level  # `serve` and `relay` set it, for good as they think
        try:
            return super().invoke(*args, **options)
        finally:
            logger.setLevel(before)


def runner(**options):
    """Click's runner of commands in this process, the two outputs apart; before 8.2 it has to be told."""
    if "mix_stderr" in inspect.signature(CliRunner).parameters:
        options["mix_stderr"] = False
    return _Runner(**options)


def start(*arguments, env=None, **options):
    """Start a command, its output in pipes."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env or environment(),
        **options,
    )
