"""The guard of these tests: what reaches for another machine fails, whoever does it and how."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

# 192.0.2.0/24 is for documentation (RFC 5737): nobody is there, should the guard fail.
_ATTEMPTS = {
    "a_socket": """
        import socket
        with pytest.raises(AssertionError, match="192.0.2.1"):
            socket.create_connection(("192.0.2.1", 443), 1)
    """,
    "a_look_up": """
        import socket
        with suppress(AssertionError):
            socket.getaddrinfo(b"kochava.example", 443)
    """,
    "a_thread": """
        from threading import Thread
        import socket
        def connect():
            with suppress(AssertionError):
                socket.socket().connect(("192.0.2.1", 443))
        thread = Thread(target=connect)
        thread.start()
        thread.join()
    """,
    "libcurl": """
        import pycurl
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, "https://192.0.2.1/")
        curl.setopt(pycurl.TIMEOUT_MS, 300)
        with suppress(pycurl.error):
            curl.perform()
        curl.close()
    """,
    "a_destination": """
        from kochava_segment import KochavaDestination, KochavaSegmentError
        once = {"max_attempts": 1}
        with KochavaDestination("koapp", endpoint="https://192.0.2.1", timeout=0.3, retry=once) as k:
            with suppress(KochavaSegmentError):
                k.send({"type": "track", "event": "A", "anonymousId": "a"})
    """,
    "another_process": """
        import subprocess, sys
        code = "import requests; requests.post('https://192.0.2.1/', timeout=0.3)"
        assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 1
    """,
}
_ALLOWED = """
        import socket
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(("localhost", server.getsockname()[1])).close()
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("kochava.invalid", 443)
"""


@pytest.fixture
def outcomes(tmp_path):
    """Runs tests by name, and gives how each ended."""

    def run(bodies):
        head = "from contextlib import suppress\nimport pytest\n"
        tests = (f"def test_{name}():{body}" for name, body in bodies.items())
        (tmp_path / "test_attempts.py").write_text(head + "\n".join(tests))
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider",
             "-p", "no:hypothesispytest", "-p", "tests.only_this_machine", "-n", "0", str(tmp_path)],
            capture_output=True, text=True, timeout=60, check=False,
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        return result.stdout

    return run


@pytest.mark.slow
def test_whoever_reaches_for_another_machine_fails(outcomes):
    told = outcomes(_ATTEMPTS)
    for name in _ATTEMPTS:
        assert re.search(rf"^ERROR .*::test_{name}\b", told, re.MULTILINE), name
    assert len(re.findall(r"^reached for another machine: ", told, re.MULTILINE)) == len(_ATTEMPTS)
    assert "CONNECT 192.0.2.1:443 HTTP/1." in told


@pytest.mark.slow
def test_whoever_stays_here_does_not(outcomes):
    assert "1 passed" in outcomes({"allowed": _ALLOWED})
