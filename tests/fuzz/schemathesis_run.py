"""Fuzzes `kochava-segment serve`, its console or `kochava-segment emulator`, as processes, with schemathesis.

    pip install -e '.[all,test]' --group fuzz
    python -m tests.fuzz.schemathesis_run receiver --seconds 600

Everything is on 127.0.0.1, and nothing is sent on. It ends with 0 if every answer was one of those that
`make_openapi.py` describes, and the process lived on and logged no traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.fuzz import make_openapi

TOKEN, POSTBACK_SECRET, CONSOLE_TOKEN = "fuzz-bearer", "fuzz-postback", "fuzz-console"
_NOBODY = "http://127.0.0.1:9"
_SERVE = (
    *("serve", "--port", "0", "--app-guid", "koexample", "--no-relay", "--endpoint", _NOBODY),
    *("--segment-host", _NOBODY, "--devices", "--console", "--max-size", "2000"),
)
_VARIABLES = {
    "KOCHAVA_SEGMENT_WEBHOOK_SECRET": "fuzz-secret",
    "KOCHAVA_SEGMENT_BEARER_TOKEN": TOKEN,
    "KOCHAVA_SEGMENT_POSTBACK_SECRET": POSTBACK_SECRET,
    "KOCHAVA_SEGMENT_SEGMENT_WRITE_KEY": "fuzz-write-key",
    "KOCHAVA_SEGMENT_CONSOLE_TOKEN": CONSOLE_TOKEN,
}
# Answers are free to be 400 for what a description lets through, and 501 and 503 are ours on purpose.
_LEFT_OUT = "positive_data_acceptance,negative_data_rejection,not_a_server_error,unsupported_method"


@contextmanager
def _running(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that says where it listens; its log is in the folder."""
    command = [sys.executable, "-m", "kochava_segment", *arguments]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **_VARIABLES}
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().rpartition(" ")[2].strip()
        finally:
            process.terminate()


def _described(what: str, url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A description, and the headers that all requests have."""
    if what == "emulator":
        return make_openapi.emulator(), {}
    if what == "receiver":
        return make_openapi.receiver(POSTBACK_SECRET), {"Authorization": f"Bearer {TOKEN}"}
    with requests.Session() as session:
        session.trust_env = False
        origin = {"Origin": url}
        page = session.post(
            f"{url}/console/login", {"token": CONSOLE_TOKEN}, headers=origin, timeout=30
        )
        found = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert found is not None
        cookie = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
    return make_openapi.console(found[1]), {**origin, "Cookie": cookie}


def run(what: str, seconds: int, folder: Path) -> int:
    """Fuzz for a while; gives schemathesis's exit code, or 1 where the process suffered."""
    serve = (*_SERVE, "--outbox", str(folder / "outbox.sqlite3"))
    arguments = ("emulator",) if what == "emulator" else serve
    with _running(folder, *arguments) as (process, url):
        description, headers = _described(what, url)
        (folder / "openapi.json").write_text(json.dumps(description))
        given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        done = subprocess.run(
            [
                *(
                    str(Path(sys.executable).with_name("st")),
                    "run",
                    str(folder / "openapi.json"),
                    "--url",
                    url,
                    *given,
                ),
                *("--max-time", str(seconds), "--phases", "examples,coverage,fuzzing"),
                *("--exclude-checks", _LEFT_OUT, "--request-timeout", "20", "--workers", "1"),
                *("--continue-on-failure", "--max-failures", "20", "--max-redirects", "0"),
                *("--suppress-health-check", "all", "--generation-database", ":memory:"),
            ],
            cwd=folder,
            check=False,
        )
        lives = process.poll() is None
    log = (folder / "log").read_text()
    broken = [line for line in log.splitlines() if ": 500 to " in line or "Traceback" in line]
    said = [*broken[:20], *([] if lives else ["the process has died"])]
    sys.stdout.write("".join(f"{line}\n" for line in said))
    return done.returncode or int(bool(broken) or not lives)


def main() -> None:
    """Run one of them for a while."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("receiver", "console", "emulator"))
    parser.add_argument("--seconds", type=int, default=600)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        sys.exit(run(given.what, given.seconds, Path(folder)))


if __name__ == "__main__":
    main()
