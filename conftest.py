"""Runs every `python` and `sh` snippet of the README and the docs.

Python runs in one namespace a page, shell in one directory a page, both with an emulator for a
Kochava. A `text` block after a paragraph that ends in "prints:" must be what the last shell snippet
printed; "…" in it stands for anything.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any

from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from kochava_segment.emulator import KochavaEmulator

pytest_plugins = ["tests.only_this_machine"]

_python = PythonEvaluator()
_TIMEOUT = 60  # seconds a snippet
_ANNOUNCED = re.compile(r"\bprints:\s*\Z")
# Installing is what .ci/run does; here all is installed.
_INSTALL = re.compile(r"python -m pip install [^&\n]+(&& )?")


def _run(example: Example) -> str | None:
    script = _INSTALL.sub("", example.parsed).strip()
    if not script or script.startswith("python -m pytest"):  # these very tests
        return None
    scripts = Path(sys.executable).parent
    with subprocess.Popen(  # noqa: S603  # our own pages
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=example.namespace["directory"],
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        example.namespace["sessions"].append(process.pid)
        try:
            printed, errors = process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    example.namespace["printed"] = printed
    return f"exit code {process.returncode}\n{printed}\n{errors}" if process.returncode else None


def _compare(example: Example) -> str | None:
    """Hold a page to what it says that the snippet before prints."""
    if not _ANNOUNCED.search(example.document.text, 0, example.start):
        return None
    shown = re.escape(example.parsed.strip()).replace("…", ".*")
    printed = dedent(example.namespace["printed"]).strip()  # as Sybil does with blocks
    if re.fullmatch(shown, printed, re.DOTALL):
        return None
    return f"the page shows something else than what is printed:\n{example.namespace['printed']}"


class _Surroundings:
    """What the snippets of one page find: an emulator, a directory, an environment."""

    def setup(self, namespace: dict[str, Any]) -> None:
        emulator = KochavaEmulator().start()
        directory = TemporaryDirectory()
        variables = {
            "KOCHAVA_SEGMENT_APP_GUID": "koexample-app-guid",
            "KOCHAVA_SEGMENT_ENDPOINT": emulator.url,
        }
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        namespace.update(
            kochava_emulator=emulator,
            directory=directory.name,
            sessions=[],
            surroundings=(emulator, directory, before),
        )

    def teardown(self, namespace: dict[str, Any]) -> None:
        for session in namespace["sessions"]:  # what a snippet started, and none has ended
            with suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)
        emulator, directory, before = namespace["surroundings"]
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        emulator.close()
        directory.cleanup()
        for value in namespace.values():
            if type(value).__name__ == "KochavaDestination":
                value.close()


def _evaluate(example: Example) -> None:
    """Run a snippet, and the tests that it defines, in the page's directory."""
    before = Path.cwd()
    os.chdir(example.namespace["directory"])
    try:
        _python(example)
        pattern = re.compile(r"^def (test_\w+)\(kochava_emulator\)", re.MULTILINE)
        for name in pattern.findall(example.parsed):
            example.namespace[name](example.namespace["kochava_emulator"])
    finally:
        os.chdir(before)


_surroundings = _Surroundings()
pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser(language="python", evaluator=_evaluate),
        CodeBlockParser(language="sh", evaluator=_run),
        CodeBlockParser(language="text", evaluator=_compare),
    ],
    patterns=["README.md", "docs/*.md"],
    setup=_surroundings.setup,
    teardown=_surroundings.teardown,
).pytest()
