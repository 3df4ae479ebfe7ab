"""The other end: a server that takes every POST, and must not be what is measured.

It is a program in C where there is a compiler, else one in Python; a process of its own, on other
cores than the measured one.
"""

from __future__ import annotations

import functools
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from attrs import frozen

from benchmarks import cores

_SOURCE = Path(__file__).with_name("sink.c")
_BUILDS = (  # the best that there is: OpenSSL's headers are often missing
    (True, ("-DWITH_TLS", "-lssl", "-lcrypto")),
    (False, ()),
)


@frozen
class Sink:
    """A running sink.

    Attributes:
        url: Its base URL.
        certificate: The file with the certificate to trust, if it speaks TLS.
    """

    url: str
    certificate: str | None = None

    def count(self) -> int:
        """How many requests it has answered."""
        return int(self.received()["posts"])

    def received(self) -> dict[str, int]:
        """What it has taken: `posts`, and the `bytes` of their bodies."""
        answer: dict[str, int] = requests.get(
            self.url + "/count", timeout=20, verify=self.certificate or True
        ).json()
        return answer


@contextmanager
def running_sink(latency: float = 0.0, *, tls: bool = False) -> Iterator[Sink]:
    """A sink in a process of its own, on another core than this one if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        files = make_certificate(Path(folder)) if tls else ()
        with subprocess.Popen(
            [*_program(tls=tls), str(round(latency * 1e6)), *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("the sink has no pipes")
            cores.pin_to_others(process.pid)
            try:
                scheme = "https" if tls else "http"
                url = f"{scheme}://127.0.0.1:{int(process.stdout.readline())}"
                yield Sink(url, files[0] if files else None)
            finally:
                process.stdin.close()
                process.wait(timeout=10)


def make_certificate(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that nobody else trusts, and its key.

    Raises:
        RuntimeError: if there is no program `openssl`.
    """
    if shutil.which("openssl") is None:
        raise RuntimeError("TLS is not measured without the program `openssl`, for a certificate")
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key


def described() -> str:
    """Which sink it is, for the report."""
    c = {tls: _compiled(tls=tls) is not None for tls in (False, True)}
    if all(c.values()):
        return f"a C program with epoll; TLS by {ssl.OPENSSL_VERSION.partition('  ')[0]}"
    return "a C program with epoll, TLS by one in Python" if c[False] else "a Python program"


def _program(*, tls: bool) -> list[str]:
    compiled = _compiled(tls=tls)
    return [sys.executable, "-m", "benchmarks.python_sink"] if compiled is None else [compiled]


@functools.lru_cache
def _compiled(*, tls: bool) -> str | None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    folder = _folder().name
    for with_tls, flags in _BUILDS:
        if with_tls or not tls:
            program = str(Path(folder) / f"sink-{with_tls}")
            command: list[Any] = [compiler, "-O2", "-o", program, _SOURCE, *flags]
            if (
                subprocess.run(command, check=False, capture_output=True, timeout=120).returncode
                == 0
            ):
                return program
    return None


@functools.lru_cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="benchmarks-")  # until the interpreter exits
