"""What is not installed is named by its extra."""

import subprocess
import sys

import pytest

MISSING = """
import sys
sys.modules[{missing!r}] = None
try:
{code}
except ModuleNotFoundError as error:
    print(error)
"""


def said(missing, code):
    result = subprocess.run(
        [sys.executable, "-c", MISSING.format(missing=missing, code=f"    {code}")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.stdout + result.stderr


@pytest.mark.parametrize("missing", ["starlette", "prometheus_client"])
def test_the_application_names_the_extra_server(missing):
    text = said(missing, "from kochava_segment.server import create_app")
    assert text == "the receiver needs an extra: pip install 'kochava-segment[server]'\n"


def test_the_hook_names_the_extra_metrics():
    text = said("prometheus_client", "import kochava_segment.delivery.prometheus")
    assert text == "PrometheusHook needs an extra: pip install 'kochava-segment[metrics]'\n"


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "httptools", "prometheus_client"])
def test_the_command_names_the_extra_server(missing):
    code = (
        "sys.argv[1:] = ['serve', '--outbox', 'o', '--app-guid', 'k']; "
        "from kochava_segment.__main__ import main; main()"
    )
    assert said(missing, code) == (
        "Error: serve needs an extra: pip install 'kochava-segment[cli,server]'\n"
    )


def test_the_command_names_the_extra_segment(tmp_path):
    code = (
        f"sys.argv[1:] = ['serve', '--port', '0', '--outbox', {str(tmp_path / 'o')!r}, "
        "'--app-guid', 'k', '--postback-secret', 's', '--segment-write-key', 'w']; "
        "from kochava_segment.__main__ import main; main()"
    )
    assert said("segment", code) == (
        "Error: --segment-write-key needs an extra: pip install 'kochava-segment[segment]'\n"
    )
