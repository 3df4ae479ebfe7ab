"""The emulator: judges requests, remembers them, and says what is wrong with them."""

from __future__ import annotations

import hmac
import json
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO
from uuid import uuid4

from attrs import field, frozen
from typing_extensions import Self

from kochava_segment.delivery.signing import (
    API_KEY_HEADER,
    AUTH_TOKEN_HEADER,
    Credentials,
    auth_headers,
)
from kochava_segment.emulator import faults as fault_names
from kochava_segment.emulator import http_rules as http
from kochava_segment.emulator.checks import DELETION_KIND, IDENTITY_LINK_KIND, check
from kochava_segment.emulator.deletion_rules import DELETION_PATH, NO_KEY
from kochava_segment.emulator.faults import FaultChooser, Faults
from kochava_segment.emulator.http_server import Server
from kochava_segment.emulator.rule import Complaint, Rule, Sent
from kochava_segment.errors import ConfigurationError, Problem

TRACK_PATH = "/track/json"
IDENTITY_LINK_PATH = "/v1/cpi/identityLink.php"
_STATUS_OF = {
    http.UNKNOWN_PATH: 404,
    http.WRONG_METHOD: 405,
    http.NO_LENGTH: 411,
    http.TOO_LARGE: 413,
    http.BAD_SIGNATURE: 401,
    NO_KEY: 401,
}


@frozen(kw_only=True)
class ReceivedRequest:
    """A request as the emulator received it.

    Attributes:
        path: The path of the URL.
        headers: The headers as they came.
        body: The body as it came.
        payload: The body, decoded; None where it is no JSON.
        status: What it was answered with.
        accepted: Whether it was counted, also if its answer was lost on purpose.
        complaints: What is wrong with it.
    """

    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    payload: Any = field(repr=False)
    status: int
    accepted: bool
    complaints: tuple[Complaint, ...] = ()


class KochavaEmulator:
    """A local Kochava over real HTTP. It checks what Kochava's documents say, not what Kochava does.

        with KochavaEmulator() as kochava:
            destination = KochavaDestination("koexample", endpoint=kochava.url)

    Args:
        port: The port on 127.0.0.1; 0 takes a free one.
        api_key: With `api_secret`: requests must be signed with them.
        api_secret: As above.
        app_guids: The apps that there are; requests of others are refused. None knows all.
        faults: How to misbehave.
        require_install: Refuse what comes for a device before its install.
        log: A file that gets a JSON line for each accepted request: path, headers and body. It is
            made for its owner alone: the headers have API keys.
        keep: How many requests `requests` holds at most; the oldest go first.
        on_complaint: Is called with each complaint, in the thread that found it.

    Attributes:
        received: How many requests it has read.
        counted: How many of them it accepted.

    Raises:
        ConfigurationError: if only one of the credentials is given.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        api_key: str | None = None,
        api_secret: str | None = None,
        app_guids: Collection[str] | None = None,
        faults: Faults | None = None,
        require_install: bool = False,
        log: str | Path | TextIO | None = None,
        keep: int = 10_000,
        on_complaint: Callable[[Complaint], None] | None = None,
    ) -> None:
        if (api_key is None) != (api_secret is None):
            raise ConfigurationError([Problem("api_key", "and api_secret go together")])
        self._credentials = Credentials(api_key, api_secret) if api_key and api_secret else None
        self._app_guids = None if app_guids is None else frozenset(app_guids)
        self._require_install = require_install
        self._port = port
        self._log_target = log
        self._log: TextIO | None = None
        self._lock = threading.Lock()
        self._requests: deque[ReceivedRequest] = deque(maxlen=keep)
        self._installed: set[tuple[str, str]] = set()
        self._on_complaint = on_complaint
        self.received: int = 0
        self.counted: int = 0
        self._chooser = FaultChooser(faults or Faults())
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen. Called by the context manager.

        Raises:
            OSError: if the port is taken, or the log cannot be opened.
        """
        if isinstance(self._log_target, (str, Path)):
            descriptor = os.open(self._log_target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._log = os.fdopen(descriptor, "a", encoding="utf-8")
        else:
            self._log = self._log_target
        try:
            self._server = Server(("127.0.0.1", self._port), self)
        except OSError:
            self._close_log()
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="kochava-emulator", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop listening, close all connections, wait for all threads."""
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.shutdown()
            self._thread.join()
            server.close_connections()
            server.server_close()
            self._close_log()

    def _close_log(self) -> None:
        if self._log is not None and self._log is not self._log_target:
            self._log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        if self._server is None:
            raise RuntimeError("the emulator is not running: use it as a context manager")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The base URL: the `endpoint` of a destination."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def faults(self) -> Faults:
        """How it misbehaves. Setting it starts its script anew."""
        return self._chooser.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        with self._lock:
            self._chooser = FaultChooser(faults)

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """The requests that it read, in the order in which they came."""
        with self._lock:
            return tuple(self._requests)

    @property
    def accepted(self) -> tuple[ReceivedRequest, ...]:
        """Those that it counted."""
        return tuple(request for request in self.requests if request.accepted)

    @property
    def complaints(self) -> tuple[Complaint, ...]:
        """What is wrong with all of them."""
        return tuple(complaint for request in self.requests for complaint in request.complaints)

    def assert_no_complaints(self) -> None:
        """Fail a test, with the list, if there is anything to complain of, advice included."""
        if self.complaints:
            listed = "\n  ".join(map(str, self.complaints))
            raise AssertionError(f"the Kochava emulator complains:\n  {listed}")

    def clear(self) -> None:
        """Forget all requests and installs."""
        with self._lock:
            self._requests.clear()
            self._installed.clear()

    # For the server.

    def choose_fault(self) -> str:
        """The fault of the next request."""
        with self._lock:
            return self._chooser.next()

    def judge(
        self, method: str, target: str, headers: dict[str, str], body: bytes | Rule, fault: str
    ) -> tuple[int, bytes]:
        """Check and count a request; gives the status and body of the answer.

        Args:
            method: Its method.
            target: Its path and query.
            headers: Its headers.
            body: Its body, or the rule for which it was not read.
            fault: What is to go wrong with it.
        """
        path, _, query = target.partition("?")
        payload, complaints = self._check(method, path, headers, body)
        if query:
            complaints += (http.QUERY.complaint("url", "should have no query parameters"),)
        errors = [complaint for complaint in complaints if complaint.severity == "error"]
        status, success = 200, not errors
        if fault.isdecimal():
            status, success = int(fault), False
        elif errors:
            refused = next((rule for rule in _STATUS_OF if rule.code == errors[0].code), None)
            status = 400 if refused is None else _STATUS_OF[refused]
        elif fault == fault_names.SUCCESS_ZERO:
            success = False
        self._record(
            ReceivedRequest(
                path=path,
                headers=headers,
                body=body if isinstance(body, bytes) else b"",
                payload=payload,
                status=status,
                accepted=success,
                complaints=complaints,
            )
        )
        if success:
            return status, _accepted(path)
        told = fault.isdecimal() or not errors
        return status, _refusal("the emulator was told to fail" if told else str(errors[0]))

    def refuse_malformed(self, status: int) -> bytes:
        """Record what is no HTTP, or not enough of it; gives the body of the answer.

        Args:
            status: What it is answered with.
        """
        complaint = http.MALFORMED.complaint("request", "must be whole, and HTTP/1.1")
        self._record(
            ReceivedRequest(
                path="",
                headers={},
                body=b"",
                payload=None,
                status=status,
                accepted=False,
                complaints=(complaint,),
            )
        )
        return _refusal(str(complaint))

    def _record(self, received: ReceivedRequest) -> None:
        with self._lock:
            self._requests.append(received)
            self.received += 1
            if received.accepted:
                self._count(received)
            if self._on_complaint is not None:
                for complaint in received.complaints:
                    self._on_complaint(complaint)

    def _count(self, received: ReceivedRequest) -> None:
        self.counted += 1
        if received.payload.get("action") == "install":
            self._installed |= _device_names(received.payload)
        if self._log is not None:
            self._log.write(_log_line(received))
            self._log.flush()

    def _check(
        self, method: str, path: str, headers: dict[str, str], body: bytes | Rule
    ) -> tuple[Any, tuple[Complaint, ...]]:
        kind = _kind_of(path)
        if kind is None and path != TRACK_PATH:
            return None, (http.UNKNOWN_PATH.complaint("url", "is not a path of Kochava's"),)
        if method != "POST":
            return None, (http.WRONG_METHOD.complaint("method", "must be POST"),)
        if isinstance(body, Rule):
            return None, (body.complaint("body", body.checks),)
        folded = {name.casefold(): value for name, value in headers.items()}
        # Data subject requests are authenticated in another way.
        if kind != DELETION_KIND and not self._is_signed_well(folded, body):
            detail = "must have the right Kochava-Api-Key and Kochava-Auth-Token"
            return None, (http.BAD_SIGNATURE.complaint("headers", detail),)
        try:
            payload = json.loads(body.decode("utf-8"), parse_constant=_refuse)
        except (ValueError, RecursionError):
            return None, (http.NOT_JSON.complaint("body", "must be JSON in UTF-8"),)
        if not isinstance(payload, dict):
            detail = "must be one object: there is no batch form"
            return payload, (http.NOT_AN_OBJECT.complaint("body", detail),)
        signed = self._credentials is not None or API_KEY_HEADER.casefold() in folded
        misplaced = () if kind == DELETION_KIND else tuple(self._misplaced(payload))
        sent = Sent.of(payload, headers, body, signed=signed)
        complaints = check(sent, kind)
        if folded.get("content-type", "").partition(";")[0].strip() != "application/json":
            detail = "should be application/json"
            complaints += (http.CONTENT_TYPE.complaint("headers.Content-Type", detail),)
        return payload, (*complaints, *misplaced)

    def _misplaced(self, payload: dict[str, Any]) -> Iterator[Complaint]:
        """What is wrong with a request for this emulator alone."""
        app_id = payload.get("kochava_app_id")
        if self._app_guids is not None and isinstance(app_id, str):  # else another rule is broken
            if app_id not in self._app_guids:
                detail = "must be an app that this emulator was started with"
                yield http.FOREIGN_APP.complaint("kochava_app_id", detail)
        if self._require_install and payload.get("action") != "install":
            with self._lock:
                unknown = self._installed.isdisjoint(_device_names(payload))
            if unknown:
                yield http.NO_INSTALL.complaint("body", "must come after an install of this device")

    def _is_signed_well(self, headers: dict[str, str], body: bytes) -> bool:
        if self._credentials is None:
            return True
        wanted = auth_headers(body, self._credentials)
        return all(
            hmac.compare_digest(headers.get(name.casefold(), "").encode(), wanted[name].encode())
            for name in (API_KEY_HEADER, AUTH_TOKEN_HEADER)
        )


def _kind_of(path: str) -> str | None:
    """What a path says of the kind of a request."""
    if path == IDENTITY_LINK_PATH:
        return IDENTITY_LINK_KIND
    return DELETION_KIND if DELETION_PATH.fullmatch(path) else None


def _accepted(path: str) -> bytes:
    if _kind_of(path) != DELETION_KIND:
        return b'{"success":"1"}'
    job = {"job_status": "queued", "job_id": str(uuid4())}
    return json.dumps({"status": "OK", "response": "200", **job}).encode()


def _refusal(error: str) -> bytes:
    return json.dumps({"success": "0", "error": error}).encode()


def _log_line(received: ReceivedRequest) -> str:
    line = {"path": received.path, "headers": received.headers, "body": received.payload}
    try:
        return json.dumps(line, allow_nan=False) + "\n"
    except (ValueError, RecursionError):  # 1e999, or nesting that could only just be read
        return json.dumps({**line, "body": received.body.decode()}) + "\n"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _device_names(payload: dict[str, Any]) -> set[tuple[str, str]]:
    """What a request calls its device: (app, id) for each id that is not empty."""
    app = str(payload.get("kochava_app_id"))
    data = payload.get("data")
    ids: list[Any] = [payload.get("kochava_device_id")]
    for group in (
        payload.get("device_id"),
        data.get("device_ids") if isinstance(data, dict) else 0,
    ):
        ids += group.values() if isinstance(group, dict) else ()
    return {(app, name) for name in ids if isinstance(name, str) and name}
