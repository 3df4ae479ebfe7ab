"""A Segment that keeps what it is sent, as a thread or as a process: `python -m tests.segment.fake_segment`.

As a process it prints its port, and answers `GET /` with what it has got.
"""

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        segment = self.server.segment
        key = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        answer = segment.next_answer()
        if answer == "reset":
            self.close_connection = True
            return
        status, headers, content = answer
        if status == 200:
            document = json.loads(body)
            segment.received.append(
                {"path": self.path, "key": key.rstrip(":"), "document": document}
            )
        else:
            segment.refused += 1
        self._answer(status, content, headers)

    def do_GET(self):
        self._answer(200, self.server.segment.received, {})

    def _answer(self, status, content, headers):
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class FakeSegment:
    """Answers as Segment's HTTP API does, or as `answers` says, one answer a request."""

    def __init__(self):
        self.received = []
        self.refused = 0
        self.answers = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.segment = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def next_answer(self):
        return self.answers.pop(0) if self.answers else (200, {}, {"success": True})

    @property
    def messages(self):
        return [message for one in self.received for message in one["document"]["batch"]]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def serve(self):
        self._server.serve_forever()


if __name__ == "__main__":
    segment = FakeSegment()
    sys.stdout.write(f"{segment.url}\n")
    sys.stdout.flush()
    segment.serve()
