"""A server in front of another that counts what it is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx

PASSED_ON = ("content-type", "content-range", "content-length", "etag", "accept-ranges")


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        range: of bytes, as the header has it.
        bytes: of the answer.
    """

    method: str
    path: str
    range: str | None
    status: int
    bytes: int


class Counting:
    """A running server.

    Attributes:
        url: its address.
        asked: every request so far.
    """

    def __init__(self, url: str, asked: list[Asked]) -> None:
        self.url, self.asked = url, asked

    def taken(self) -> list[Asked]:
        """The requests since this was last asked for."""
        taken = list(self.asked)
        self.asked.clear()
        return taken


@contextmanager
def counting(target: str) -> Iterator[Counting]:
    """Pass on to an address what comes in, and count."""
    asked: list[Asked] = []
    with httpx.Client(base_url=target, timeout=60) as client:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {"accept-encoding": "identity"}
                wanted = self.headers.get("range")
                if wanted:
                    headers["range"] = wanted
                answer = client.request(self.command, self.path, headers=headers)
                size = len(answer.content)
                asked.append(Asked(self.command, self.path, wanted, answer.status_code, size))
                self.send_response(answer.status_code)
                for name in PASSED_ON:
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.end_headers()
                self.wfile.write(answer.content)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Nothing: requests are counted."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Counting(f"http://127.0.0.1:{server.server_port}", asked)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
