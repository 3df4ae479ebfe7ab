"""Run with an environment that has the wheel and nothing else: is everything in it?"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from importlib.resources import files
from pathlib import Path

import kochava_segment
from kochava_segment import DryRunTransport, KochavaDestination

FILES = (
    "py.typed",
    "cli/demo_messages.jsonl",
    "server/console/templates/base.html",
    "server/console/static/htmx.min.js",
    "server/console/static/htmx.LICENSE.txt",
)
WITHOUT = {"click", "rich", "pytest"}


def main() -> None:
    """Fail with the first thing that is missing."""
    package = files("kochava_segment")
    missing = [name for name in FILES if not package.joinpath(name).is_file()]
    if missing:
        sys.exit(f"the wheel lacks {missing}")
    installed = {distribution.name for distribution in distributions()}
    if installed & WITHOUT:
        sys.exit(f"the base brings {installed & WITHOUT} along")
    if (Path(kochava_segment.__file__).parents[1] / "tests").exists():
        sys.exit("the wheel brings the tests along")
    for name in kochava_segment.__all__:
        getattr(kochava_segment, name)
    message = {"type": "track", "event": "Level Complete", "anonymousId": "a-1"}
    with KochavaDestination("koexample-app-guid", transport=DryRunTransport()) as kochava:
        receipt = kochava.send(message)
    command = subprocess.run(
        [sys.executable, "-m", "kochava_segment"], capture_output=True, text=True, check=False
    )
    if "kochava-segment[cli]" not in command.stderr:
        sys.exit("the command does not name its extra")
    sys.stdout.write(f"{len(installed)} distributions, {receipt.action} accepted\n")


if __name__ == "__main__":
    main()
