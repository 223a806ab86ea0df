"""What an HTTP server answers, asked so that no server can hold up or overwhelm who asks.

Each answer is bounded in time and bytes. A server that is away for a moment is asked again, twice
and soon; who did not answer then either is not waited for another time.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

WHOLE_SECONDS = 30.0
"""For one answer, from the connection to its last byte."""
GIVEN_UP_SECONDS = 2.0
"""For an answer of a server that has left another question unanswered."""
RETRY_SECONDS = (0.2, 1.0)
MOST_BYTES = 16_000_000
SHOWN_CHARACTERS = 300
USER = re.compile(r"(?<=//)[^/?#]*@")
UNREADABLE = "\ufffd"
TRANSIENT = frozenset([429, 502, 503, 504])


@dataclass(frozen=True)
class Answer:
    """What came back from one address.

    Attributes:
        url: what was asked, without user and password.
        status: of HTTP; None without an answer.
        body: of its bytes those that were asked for.
        fault: why there is no answer, or no whole one; None when there is.
    """

    url: str
    status: int | None = None
    content_type: str = ""
    body: bytes = b""
    fault: str | None = None

    @property
    def is_ok(self) -> bool:
        """Whether the server gave what it was asked for."""
        return self.fault is None and self.status is not None and self.status // 100 == 2

    @property
    def text(self) -> str:
        """The beginning of what came back, on one line; of what is no text, its length."""
        words = self.body[: 20 * SHOWN_CHARACTERS].decode(errors="replace").split()
        said = " ".join(words)[:SHOWN_CHARACTERS]
        shown = "".join(one if one.isprintable() else UNREADABLE for one in said)
        is_text = 10 * shown.count(UNREADABLE) <= len(shown)
        return shown if is_text else f"{len(self.body):,} bytes"

    def __str__(self) -> str:
        """In words: status, type and beginning."""
        if self.fault is not None:
            return f"no answer ({self.fault})"
        kind = f" {self.content_type.partition(';')[0]}" if self.content_type else ""
        return f"HTTP {self.status}{kind}: {self.text or 'nothing'}"


@dataclass(frozen=True)
class _Attempt:
    """An answer; whether the server is away, and whether that may pass soon."""

    answer: Answer
    is_away: bool
    may_pass: bool


class Asker:
    """Asks servers over connections that it keeps."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._given_up: set[bytes] = set()

    def ask(self, url: str, first_bytes: int | None = None) -> Answer:
        """What is at an address; what goes wrong is in the answer.

        Args:
            first_bytes: how many to ask for, by a range; None for all.
        """
        shown = without_user(url)
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            return Answer(shown, fault=f"the address is not usable: {error}")
        if address.scheme not in ("http", "https"):
            return Answer(shown, fault="it is no HTTP address")
        host = address.netloc
        if host in self._given_up:
            return self._try(url, shown, first_bytes, GIVEN_UP_SECONDS).answer
        for pause in (*RETRY_SECONDS, None):
            found = self._try(url, shown, first_bytes, WHOLE_SECONDS)
            if pause is None or not found.may_pass:
                break
            time.sleep(pause)
        if found.is_away:
            self._given_up.add(host)
        return found.answer

    def _try(self, url: str, shown: str, first_bytes: int | None, seconds: float) -> "_Attempt":
        try:
            answer = self._answer(url, shown, first_bytes, seconds)
        except httpx.TimeoutException:
            return _Attempt(Answer(shown, fault=f"none within {seconds:g} s"), True, False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            answer = Answer(shown, fault=str(error) or type(error).__name__)
            away = isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)
            return _Attempt(answer, away, away)
        away = answer.status in TRANSIENT
        return _Attempt(answer, away, away)

    def _answer(self, url: str, shown: str, first_bytes: int | None, seconds: float) -> Answer:
        deadline, most, body = time.monotonic() + seconds, first_bytes or MOST_BYTES, bytearray()
        headers = {}
        if first_bytes is not None:
            headers = {"range": f"bytes=0-{first_bytes - 1}", "accept-encoding": "identity"}
        with self._client.stream("GET", url, headers=headers, timeout=seconds) as response:
            for part in response.iter_bytes():
                body += part
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer is too slow")
                if len(body) >= most:
                    break
        fault = f"more than {most:,} bytes" if first_bytes is None and len(body) >= most else None
        kind = response.headers.get("content-type", "")
        return Answer(shown, response.status_code, kind, bytes(body[:most]), fault)


@contextmanager
def asker() -> Iterator[Asker]:
    """Something to ask with; its connections are closed at the end."""
    with httpx.Client(follow_redirects=True) as client:
        yield Asker(client)


def without_user(url: str) -> str:
    """An address as it may be shown: without user and password."""
    return USER.sub("", url, count=1)
