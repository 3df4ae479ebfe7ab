"""The example, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

from tests.messages import ios

EXAMPLE = Path(__file__).parents[2] / "examples" / "replay_archive.py"


def test_the_example_sends_all_but_the_testers(tmp_path, kochava_emulator):
    messages = [ios(), ios(messageId="t", userId="test-1"), ios(messageId="g", type="group")]
    archive = tmp_path / "in.jsonl"
    archive.write_text("".join(json.dumps(message) + "\n" for message in messages))
    result = subprocess.run(
        [
            *(sys.executable, str(EXAMPLE), "--input", str(archive), "--app-guid", "koapp"),
            *("--failed", str(tmp_path / "failed"), "--endpoint", kochava_emulator.url),
            "--runner=FnApiRunner",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == "1 accepted\n"
    assert len(kochava_emulator.requests) == 1
    (failed,) = tmp_path.glob("failed-*.jsonl")
    assert json.loads(failed.read_text())["message"]["messageId"] == "g"
