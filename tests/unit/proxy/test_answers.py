"""Answers as they are written for the client, held against h11: what it writes itself, and what it reads of ours."""

from itertools import product

import h11
import pytest

from atl_sign.proxy.answers import AnswerWriter, MisframedError

Header = tuple[bytes, bytes]
PIECES = (b"one", b"\r\n0\r\n\r\n", b"x" * 70_000)
LENGTH = sum(map(len, PIECES))
KINDS = [(b"X-Kind", b"a"), (b"x-kind", b"b")]


def write(method: bytes, version: bytes, status: int, headers: list[Header], *, is_last: bool) -> tuple[bytes, bytes]:
    """Return the head and the body, as we write them."""
    writer = AnswerWriter(is_1_0=version == b"1.0", is_for_head=method == b"HEAD")
    head = writer.begin(status, b"Fine", headers, is_last=is_last)
    has_body = method != b"HEAD" and status not in (204, 304)
    body = b"".join(map(writer.write, PIECES)) if has_body else b""
    return head, body + writer.end()


def write_by_h11(method: bytes, version: bytes, status: int, headers: list[Header], *, is_last: bool) -> tuple[bytes, bytes]:
    """Return the same by h11."""
    connection = h11.Connection(h11.SERVER)
    close = b"Connection: close\r\n" if is_last else b""
    connection.receive_data(b"%b / HTTP/%b\r\nHost: h\r\n%b\r\n" % (method, version, close))
    while not isinstance(connection.next_event(), h11.EndOfMessage):
        pass
    head = connection.send(h11.Response(status_code=status, reason=b"Fine", headers=headers)) or b""
    body = b""
    if method != b"HEAD" and status not in (204, 304):
        body = b"".join(connection.send(h11.Data(data=piece)) or b"" for piece in PIECES)
    return head, body + (connection.send(h11.EndOfMessage()) or b"")


ANSWERS = [
    (method, version, status, headers, is_last)
    for method, version, status, headers, is_last in product(
        (b"GET", b"HEAD", b"POST"),
        (b"1.1", b"1.0"),
        (200, 204, 304, 404),
        ([], KINDS, [*KINDS[:1], (b"Content-Length", b"%d" % LENGTH), *KINDS[1:]]),
        (False, True),
    )
    if is_last or version == b"1.1"
]


@pytest.mark.parametrize(("method", "version", "status", "headers", "is_last"), ANSWERS)
def test_an_answer_is_written_as_h11_writes_it(
    method: bytes, version: bytes, status: int, headers: list[Header], *, is_last: bool
) -> None:
    """Line by line, whatever the order and the case of the lines that are added."""
    head, body = write(method, version, status, headers, is_last=is_last)
    expected_head, expected_body = write_by_h11(method, version, status, headers, is_last=is_last)

    assert head.endswith(b"\r\n\r\n")
    assert sorted(head.lower().split(b"\r\n")) == sorted(expected_head.lower().split(b"\r\n"))
    assert body == expected_body


@pytest.mark.parametrize(("method", "version", "status", "headers", "is_last"), ANSWERS)
def test_a_client_reads_what_was_written(
    method: bytes, version: bytes, status: int, headers: list[Header], *, is_last: bool
) -> None:
    """By h11's reader: the headers with their names as they came, the whole body, and whether the connection goes on."""
    del version  # a client of HTTP/1.0 gets the same, as far as it is framed
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())

    client.receive_data(b"".join(write(method, b"1.1", status, headers, is_last=is_last)))

    answer = client.next_event()
    assert isinstance(answer, h11.Response)
    assert [each for each in answer.headers.raw_items() if each in headers] == headers
    content = b""
    while isinstance(event := client.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert content == (b"" if method == b"HEAD" or status in (204, 304) else b"".join(PIECES))
    assert client.their_state is (h11.MUST_CLOSE if is_last else h11.DONE)


def test_a_body_is_as_long_as_its_head_says() -> None:
    """Or a client would take a part of it for the next answer, or wait for one."""
    for pieces, is_too_long in (([b"abc", b"de"], True), ([b"abc"], False), ([], False)):
        writer = AnswerWriter(is_1_0=False, is_for_head=False)
        writer.begin(200, b"OK", [(b"content-length", b"4")], is_last=False)
        for piece in pieces[: len(pieces) - is_too_long]:
            writer.write(piece)
        with pytest.raises(MisframedError):
            writer.write(pieces[-1]) if is_too_long else writer.end()
        assert not writer.is_over


@pytest.mark.parametrize("length", [b"x", b"-1", b"", b"1, 1", b"+1"])
def test_a_length_is_a_number(length: bytes) -> None:
    with pytest.raises(MisframedError):
        AnswerWriter(is_1_0=False, is_for_head=False).begin(200, b"OK", [(b"Content-Length", length)], is_last=False)


def test_an_answer_without_a_body_has_none() -> None:
    writer = AnswerWriter(is_1_0=False, is_for_head=True)
    writer.begin(200, b"OK", [(b"Content-Length", b"4")], is_last=False)

    with pytest.raises(MisframedError):
        writer.write(b"four")
