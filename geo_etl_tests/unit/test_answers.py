"""Asking servers that are away, slow, endless or broken."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from geo_etl.resources import answers
from geo_etl.resources.answers import Answer, asker
from geo_etl_tests.servers import Reply, scripted

GOOD = Reply(b'{"a": 1}')
AWAY = Reply(b"soon back", 503, "text/plain")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "RETRY_SECONDS", (0.0, 0.0))


def ask(url: str, first_bytes: int | None = None) -> Answer:
    with asker() as asking:
        return asking.ask(url, first_bytes)


def test_an_answer_is_what_came_back() -> None:
    with scripted(GOOD) as server:
        answer = ask(f"{server.root}/x?y=1")
        assert answer == Answer(f"{server.root}/x?y=1", 200, "application/json", b'{"a": 1}')
    assert answer.is_ok
    assert str(answer) == 'HTTP 200 application/json: {"a": 1}'


@pytest.mark.parametrize("away", [AWAY, Reply(closes=True)])
def test_a_server_that_is_restarted_is_asked_again(away: Reply) -> None:
    with scripted(away, away, GOOD) as server:
        assert ask(server.root).is_ok
        assert len(server.asked) == 3


def test_a_server_that_stays_away_is_asked_three_times() -> None:
    with scripted(AWAY) as server:
        answer = ask(server.root)
        assert str(answer) == "HTTP 503 text/plain: soon back"
        assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_failure_that_stays_is_not_repeated(status: int) -> None:
    with scripted(Reply(b"no\n\n  such\tthing", status, "text/plain; charset=utf-8")) as server:
        answer = ask(server.root)
        assert len(server.asked) == 1
    assert not answer.is_ok
    assert str(answer) == f"HTTP {status} text/plain: no such thing"


def test_a_server_that_hangs_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "WHOLE_SECONDS", 0.2)
    monkeypatch.setattr(answers, "GIVEN_UP_SECONDS", 0.1)
    with scripted(Reply(b"{", hangs=True)) as server, asker() as asking:
        first, second = asking.ask(server.root), asking.ask(server.root)
        assert len(server.asked) == 2
    assert (first.status, first.fault) == (None, "none within 0.2 s")
    assert str(second) == "no answer (none within 0.1 s)"


def test_nobody_listens() -> None:
    answer = ask("http://127.0.0.1:9/x")
    assert answer.status is None
    assert "Connection refused" in str(answer)


def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_BYTES", 1000)
    with scripted(Reply(b"x" * 5000)) as server:
        answer = ask(server.root)
    assert answer.fault == "more than 1,000 bytes"
    assert len(answer.body) == 1000


def test_a_range_is_asked_for_and_no_more_is_read() -> None:
    with scripted(Reply(b"II*\0" + b"x" * 100_000, 206)) as server:
        answer = ask(server.root, first_bytes=4)
        assert server.asked == [("/", "bytes=0-3")]
    assert (answer.body, answer.fault) == (b"II*\0", None)


@pytest.mark.parametrize("address", ["ftp://h/x", "nonsense", "http://[", "http://h:port/", ""])
def test_an_address_that_is_none_is_no_answer(address: str) -> None:
    answer = ask(address)
    assert answer.status is None
    assert str(answer).startswith("no answer (")


def test_user_and_password_are_used_and_not_shown() -> None:
    with scripted(Reply(b"", 500)) as server:
        answer = ask(server.root.replace("//", "//anna:secret@") + "/x")
        assert server.asked
    assert answer.url == f"{server.root}/x"
    assert "secret" not in f"{answer}{answer!r}"


@given(st.binary(max_size=3000) | st.text(max_size=3000).map(str.encode))
@example(b"a lot of text" + b"\0" + b"\x1b[31m")
def test_what_is_shown_is_one_short_line(body: bytes) -> None:
    shown = Answer("http://h/", 200, "x/y", body).text
    assert len(shown) <= 300
    assert shown.isprintable()


def test_what_is_no_text_is_told_by_its_length() -> None:
    assert Answer("http://h/", 200, "image/png", b"\x89PNG\r\n\x1a\n" + b"\0\1" * 900).text == (
        "1,808 bytes"
    )
