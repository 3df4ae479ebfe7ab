"""`replay` where Apache Beam is not installed: its help, and what it says is missing."""

import subprocess
import sys

from tests.cli.process import environment

WITHOUT_BEAM = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "apache_beam":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
from kochava_segment.__main__ import main
main()
"""


def replay(*arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_BEAM, "replay", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )


def test_its_help_needs_no_beam():
    result = replay("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "--dry-run" in result.stdout


def test_it_names_its_extra():
    result = replay("in.jsonl", "--app-guid", "koapp")
    assert result.returncode == 2
    assert "pip install 'kochava-segment[beam]'" in result.stderr
