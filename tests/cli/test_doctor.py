"""Each thing that `doctor` finds, made to happen on this machine."""

import email.utils
import http.server
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from kochava_segment.cli import cli
from tests.cli.process import environment, run, runner

APP = ("--app-guid", "koapp")


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response_only(200)
        if self.server.skew is not None:
            self.send_header(
                "Date", email.utils.formatdate(time.time() + self.server.skew, usegmt=True)
            )
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def served(*, skew=0.0, certificate=None):
    with http.server.HTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.skew = skew
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None  # a client that refuses is what is wanted
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    file = tmp_path_factory.mktemp("tls") / "self-signed.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*command, *names, "-keyout", file, "-out", file.with_suffix(".crt")],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


def examined(*arguments, **variables):
    """What `doctor` says, in this process: what it looks at is outside of it."""
    cleared = dict.fromkeys(name for name in os.environ if name.startswith("KOCHAVA_SEGMENT_"))
    result = runner(env={**cleared, **variables}).invoke(cli, ["doctor", *map(str, arguments)])
    assert result.stderr == ""
    return result.exit_code, result.stdout


def examined_as_process(*arguments, **variables):
    result = run("doctor", *arguments, env=environment(**variables))
    assert result.stderr == ""
    return result.returncode, result.stdout


def test_nothing_is_wrong(tmp_path):
    with served() as port:
        code, out = examined(
            *APP,
            "--endpoint",
            f"http://127.0.0.1:{port}",
            "--api-key",
            "KEY",
            "--api-secret",
            "hush",
            "--outbox",
            tmp_path / "kochava.sqlite3",
            KOCHAVA_SEGMENT_WEBHOOK_SECRET="w" * 16,
        )
    assert code == 0
    assert [line[:5].strip() for line in out.splitlines()] == ["ok"] * 9
    assert "requests are signed" in out
    assert "this machine's clock agrees with the endpoint's" in out
    assert "KEY" not in out
    assert "hush" not in out


def test_a_wrong_configuration(tmp_path):
    config = tmp_path / "kochava.toml"
    config.write_text('screens = "maybe"\nendpoitn = "https://x"\n')
    code, out = examined("--config", config)
    assert code == 1
    assert "fail  the configuration is wrong" in out
    assert "--screens must be one of" in out
    assert "did you mean endpoint?" in out


def test_no_app_guid_and_no_credentials():
    with served() as port:
        code, out = examined("--endpoint", f"http://127.0.0.1:{port}")
    assert code == 1
    assert "fail  no App GUID is set\n      set app_guid or app_guids" in out
    assert (
        "note  no credentials are set: requests are not signed\n      that is right unless" in out
    )


def test_missing_credentials_alone_stop_nobody():
    with served() as port:
        assert examined(*APP, "--endpoint", f"http://127.0.0.1:{port}")[0] == 0


def test_an_endpoint_that_has_no_address():
    code, out = examined(*APP, "--endpoint", "https://kochava.invalid")
    assert code == 1
    assert "fail  kochava.invalid cannot be resolved: " in out
    assert "check the endpoint's spelling" in out
    assert "answers" not in out


def test_an_endpoint_whose_name_no_dns_can_have():
    code, out = examined(*APP, "--endpoint", f"https://{'x' * 64}.invalid")
    assert code == 1
    assert "cannot be resolved" in out


def test_a_connection_that_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, out = examined(*APP, "--endpoint", f"http://127.0.0.1:{port}")
    assert code == 1
    assert f"fail  127.0.0.1, port {port}, cannot be reached: Connection refused" in out
    assert "let this machine connect to 127.0.0.1" in out


def test_a_certificate_that_nobody_signed(certificate):
    with served(certificate=certificate) as port:
        code, out = examined(*APP, "--endpoint", f"https://localhost:{port}")
    assert code == 1
    assert (
        "fail  the TLS certificate of localhost cannot be verified: self-signed certificate" in out
    )
    assert "REQUESTS_CA_BUNDLE" in out


def test_the_advice_about_certificates_helps(certificate):
    with served(certificate=certificate) as port:
        bundle = str(certificate.with_suffix(".crt"))
        code, out = examined(
            *APP, "--endpoint", f"https://localhost:{port}", REQUESTS_CA_BUNDLE=bundle
        )
    assert code == 0
    assert "ok    localhost answers over verified TLS" in out


def test_a_certificate_for_another_name(certificate):
    with served(certificate=certificate) as port:
        bundle = str(certificate.with_suffix(".crt"))
        code, out = examined(
            *APP, "--endpoint", f"https://127.0.0.1:{port}", REQUESTS_CA_BUNDLE=bundle
        )
    assert code == 1
    assert "IP address mismatch" in out


def test_a_port_that_does_not_speak_tls():
    with served() as port:
        code, out = examined(*APP, "--endpoint", f"https://127.0.0.1:{port}")
    assert code == 1
    assert "does not speak TLS as it should" in out


@pytest.mark.parametrize(("skew", "where"), [(-3600, "ahead of"), (3600, "behind")])
def test_a_clock_that_is_wrong(skew, where):
    with served(skew=skew) as port:
        code, out = examined(*APP, "--endpoint", f"http://127.0.0.1:{port}")
    assert code == 1
    assert re.search(rf"fail  this machine's clock is 3(599|60.) s {where} the endpoint's", out)
    assert "synchronise it" in out


def test_an_endpoint_that_tells_no_time():
    with served(skew=None) as port:
        code, out = examined(*APP, "--endpoint", f"http://127.0.0.1:{port}")
    assert code == 0
    assert "note  the endpoint tells no time" in out


def test_a_server_that_never_answers(monkeypatch):
    monkeypatch.setattr(sys.modules["kochava_segment.cli.doctor"], "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = runner().invoke(cli, ["doctor", *APP, "--endpoint", url])
    assert result.exit_code == 1
    assert "cannot be reached: no answer in 0.2 s" in result.output


def test_a_proxy_is_mentioned_and_blamed():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, out = examined(
            *APP,
            "--endpoint",
            "https://kochava.invalid",
            HTTPS_PROXY=proxy,
            NO_PROXY="",
            no_proxy="",
        )
    assert code == 1
    assert "note  a proxy from the environment is used" in out
    assert "fail  the proxy from the environment cannot be used" in out


def test_a_urllib3_that_was_overwritten(tmp_path):
    metadata = tmp_path / "urllib3_future-2.99.900.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: urllib3-future\nVersion: 2.99.900\n")
    with served() as port:
        code, out = examined_as_process(
            *APP, "--endpoint", f"http://127.0.0.1:{port}", PYTHONPATH=str(tmp_path)
        )
    assert code == 1
    assert "fail  urllib3-future 2.99.900 has overwritten urllib3" in out
    assert "pip install --force-reinstall urllib3" in out


def test_a_urllib3_that_is_not_the_one_that_was_installed(tmp_path):
    metadata = tmp_path / "urllib3-1.0.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: urllib3\nVersion: 1.0.0\n")
    with served() as port:
        code, out = examined_as_process(
            *APP, "--endpoint", f"http://127.0.0.1:{port}", PYTHONPATH=str(tmp_path)
        )
    assert code == 1
    assert "fail  pip installed urllib3 1.0.0, but Python finds" in out


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        ('api_key = "KEY"\napi_secret = "s3cr3t"\n', 0o644, True),
        ('account_id = "7"\naccount_key = "s3cr3t"\n', 0o604, True),
        ('api_key = "KEY"\napi_secret = "s3cr3t"\n', 0o640, False),
        ('event_names = { "api_key = x" = "y" }\n# api_key = "KEY"\n', 0o644, False),
    ],
)
def test_secrets_in_a_file_that_all_users_can_read_are_noted(tmp_path, content, mode, told):
    file = tmp_path / "options.toml"
    file.write_text(content)
    file.chmod(mode)
    with served() as port:
        endpoint = ("--endpoint", f"http://127.0.0.1:{port}")
        result = run("doctor", *APP, *endpoint, "--config", file)
    assert result.returncode == 0
    assert ("note  every user of this machine can read the secrets in" in result.stdout) == told
    assert "s3cr3t" not in result.stdout + result.stderr
