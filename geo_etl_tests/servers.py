"""Servers as tests need them: one that answers as it is told to, and none at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from geo_etl.resources.serving import ServingResource


class Unserved(ServingResource):
    """Where no server is, whatever runs beside the tests."""

    @property
    def _addresses(self) -> tuple[None, None, None]:
        return None, None, None


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        closes: end the connection without an answer.
        hangs: send the body's beginning, and then nothing until the server stops.
    """

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    closes: bool = False
    hangs: bool = False


@dataclass
class Scripted:
    """A server on a port of its own.

    Attributes:
        replies: given in turn; the last for ever.
        asked: path with query, and range, of every request.
        authorized: what each brought to be let in.
    """

    replies: list[Reply]
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    authorized: list[str | None] = field(default_factory=list)
    root: str = ""
    stopped: Event = field(default_factory=Event)

    def next(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def scripted(*replies: Reply) -> Iterator[Scripted]:
    """Start a server; stop it at the end."""
    script = Scripted(list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.asked.append((self.path, self.headers.get("range")))
            script.authorized.append(self.headers.get("authorization"))
            reply = script.next()
            if reply.closes:
                return
            self.send_response(reply.status)
            self.send_header("content-type", reply.content_type)
            self.send_header("content-length", str(len(reply.body) + reply.hangs))
            self.end_headers()
            self.wfile.write(reply.body)
            if reply.hangs:
                self.wfile.flush()
                script.stopped.wait(30)

        def log_message(self, *_: object) -> None:
            """Nothing: the test says what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    script.root = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield script
    finally:
        script.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
