"""Calls an application as a server does, without a socket."""

import asyncio
import gzip
import hashlib
import hmac
import json

from attrs import define

SECRET = "webhook-secret-of-the-tests"
TOKEN = "bearer-token-of-the-tests"
JSON = {"Content-Type": "application/json"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@define
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def signed(body, secret=SECRET):
    """The headers of a signed JSON body."""
    return {**JSON, "X-Signature": hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()}


def zipped(body, headers=None):
    """A body with its headers, compressed."""
    return gzip.compress(body), {**(headers or signed(body)), "Content-Encoding": "gzip"}


def encoded(message):
    return json.dumps(message).encode()


async def acall(app, method, target, body=b"", headers=None, *, pieces=None, ends=True):
    """Call an application; a body comes in pieces where some are given, or breaks off."""
    path, _, query = target.partition("?")
    pieces = [body] if pieces is None else list(pieces)
    incoming = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1 or not ends}
        for number, piece in enumerate(pieces)
    ]
    sent = []

    async def receive():
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    names = {name.lower() for name in headers or {}}
    own = {} if "content-length" in names else {"Content-Length": str(sum(map(len, pieces)))}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in {**own, **(headers or {})}.items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    return Answer(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in sent),
    )


def call(app, method, target, body=b"", headers=None, **how):
    """The same where no event loop runs."""
    return asyncio.run(acall(app, method, target, body, headers, **how))
