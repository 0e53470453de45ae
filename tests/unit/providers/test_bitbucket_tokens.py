"""Bitbucket's HTTP access tokens over the wire: answers of other shapes, other versions and other moods."""

import json
import socket
from datetime import UTC, datetime
from typing import Any

import pytest

from atl_sign.base.errors import DaemonError, DanceNeededError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.providers.bitbucket_tokens import HttpTokens
from tests.unit.provider_lab import everything_shown, make_link, make_send
from tests.unit.raw_server import RawServer, Script, header_of, reply

JSON = {"Content-Type": "application/json;charset=UTF-8"}
SECRET = "BBDC-canary-5a1e"


def made(**changes: Any) -> bytes:
    return reply(json.dumps({"id": "123", "token": SECRET, "createdDate": 1_000, "expiryDate": 61_000, **changes}), headers=JSON)


def refused(message: str, status: int = 400) -> bytes:
    return reply(json.dumps({"errors": [{"context": None, "message": message, "exceptionName": None}]}), status, JSON)


def after_body(answer: bytes, requests: list[bytes]) -> Script:
    """A script that answers once it has the body too, and keeps the request."""

    def run(connection: socket.socket, request: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        while len(body) < int(header_of(head, "Content-Length") or 0):
            body += connection.recv(65_536)
        requests.append(head + b"\r\n\r\n" + body)
        connection.sendall(answer)

    return run


def open_tokens(server: RawServer, user: str = "alice") -> HttpTokens:
    link = make_link(f"{server.url}/bitbucket", "bb")
    return HttpTokens(link, make_send(link), user)


def test_what_goes_out() -> None:
    """A signed PUT with name, permission and days as JSON (facts section 9)."""
    requests: list[bytes] = []
    with RawServer(after_body(made(), requests)) as server:
        token = open_tokens(server).make("a name", "read", 7)

    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /bitbucket/rest/access-tokens/1.0/users/alice HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in head
    assert b"Authorization: OAuth oauth_" in head
    assert json.loads(body) == {"name": "a name", "permissions": ["REPO_READ"], "expiryDays": 7}
    assert (token.id, token.secret.reveal(), token.life_s) == ("123", SECRET, 60.0)


@pytest.mark.parametrize("changes", [{"createdDate": None}, {"expiryDate": None}, {"expiryDate": "soon"}])
def test_a_provider_that_does_not_say_when_it_ends(changes: dict[str, Any]) -> None:
    """Older ones; then the days that were asked for count."""
    with RawServer(made(**changes)) as server:
        assert open_tokens(server).make("x", "write", 7).life_s is None


@pytest.mark.parametrize(
    "answer",
    [
        made(token=None),
        made(token="short"),
        made(token="with a blank"),
        made(token="two\nlines-of-it"),
        made(token="ümläute-überall"),
        made(id=None),
        made(id="../../x"),
        reply("[]", headers=JSON),
        reply("nonsense", headers=JSON),
        reply("[" * 100_000, headers=JSON),
        reply("<html>log in</html>", headers={"Content-Type": "text/html"}),
        reply("", 302, {"Location": "https://login.example.com/?secret"}),
        reply("", 500),
        reply("", 404),
        reply("", 403),
        refused("no more than 5 tokens", 409),
    ],
)
def test_an_answer_without_a_token_is_an_error(answer: bytes) -> None:
    """And none of what it held is in the error's words when it could be a token."""
    with RawServer(answer) as server, pytest.raises(ProviderRefusedError) as told:
        open_tokens(server).make("x", "write", 7)

    for text in (SECRET, "with a blank", "two", "ümläute", "?secret"):
        assert text not in everything_shown(told.value)
    assert told.value.message.startswith("link bb: ")


@pytest.mark.parametrize(
    ("words", "days"),
    [
        ("expiryDays must be a number from 1 to 30.", 30),
        ("The maximum expiry is 5 days", 5),
        ("Tokens must expire within 14 day(s).", 14),
    ],
)
def test_a_refusal_that_names_the_maximum(words: str, days: int) -> None:
    """That many are asked for, once."""
    requests: list[bytes] = []
    with RawServer(refused(words), after_body(made(), requests)) as server:
        open_tokens(server).make("x", "write", 90)

    assert len(server.requests) == 2
    assert f'"expiryDays": {days}}}'.encode() in requests[0]


@pytest.mark.parametrize("words", ["expiryDays is wrong", "Too many tokens: 5", "no more than 90 days", "day 0"])
def test_a_refusal_that_names_none(words: str) -> None:
    """Is told in the provider's words, and nothing is tried again."""
    with RawServer(refused(words)) as server, pytest.raises(ProviderRefusedError, match=words.partition(":")[0]):
        open_tokens(server).make("x", "write", 90)

    assert len(server.requests) == 1


def test_a_maximum_that_is_refused_too() -> None:
    """Is not haggled over."""
    with (
        RawServer(refused("at most 30 days"), refused("at most 20 days"), made()) as server,
        pytest.raises(ProviderRefusedError, match="20 days") as told,
    ):
        open_tokens(server).make("x", "write", 90)

    assert len(server.requests) == 2
    assert isinstance(told.value, DaemonError)


def page(*values: object, last: bool | None = True, **more: Any) -> bytes:
    fields = {"values": list(values), **({} if last is None else {"isLastPage": last}), **more}
    return reply(json.dumps(fields), headers=JSON)


ONE, TWO = {"id": "1", "name": "one", "expiryDate": 1_000}, {"id": 2, "name": "two"}


def test_the_list_has_pages() -> None:
    """Each begins where the last ended, or where the provider says."""
    with RawServer(page(ONE, last=False), page(TWO, last=False, nextPageStart=7), page(last=True)) as server:
        tokens = open_tokens(server).list()

    assert [(token.id, token.name, token.expires_at) for token in tokens] == [
        ("1", "one", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ("2", "two", None),
    ]
    assert [request.split(b" ")[1].partition(b"?")[2] for request in server.requests] == [
        b"start=0&limit=500",
        b"start=1&limit=500",
        b"start=7&limit=500",
    ]


@pytest.mark.parametrize("answer", [page(ONE, last=False, nextPageStart=0), page(last=False), page(ONE, last=None)])
def test_a_list_that_does_not_go_on_ends(answer: bytes) -> None:
    """Nobody is asked for ever."""
    with RawServer(answer) as server:
        open_tokens(server).list()

    assert len(server.requests) == 1


def test_a_list_without_end_is_left() -> None:
    """After 20 pages."""
    numbers = iter(range(1, 10_000))

    def go_on(connection: Any, _: bytes) -> None:
        connection.sendall(page(ONE, last=False, nextPageStart=next(numbers)))

    with RawServer(go_on) as server:
        assert len(open_tokens(server).list()) == 20


def test_what_is_odd_in_the_list_is_passed_over() -> None:
    """A token that cannot be named cannot be removed."""
    odd = [None, {}, {"id": "1"}, {"name": "x"}, {"id": "a/b", "name": "x"}, {"id": "1", "name": 5}]
    with RawServer(page(*odd, ONE)) as server:
        assert [token.name for token in open_tokens(server).list()] == ["one"]
    far = {"id": "3", "name": "far", "expiryDate": 10**17}
    with RawServer(page(far, TWO | {"expiryDate": "soon"})) as server:  # an end that no calendar has is none, and hides no token
        assert [(token.name, token.expires_at) for token in open_tokens(server).list()] == [("far", None), ("two", None)]
    with RawServer(reply('{"values": 5}', headers=JSON)) as server:
        assert open_tokens(server).list() == []


@pytest.mark.parametrize("status", [200, 204, 404])
def test_removed_is_removed(status: int) -> None:
    """By whomever."""
    with RawServer(reply("", status)) as server:
        open_tokens(server).remove("12")

    assert server.requests[0].startswith(b"DELETE /bitbucket/rest/access-tokens/1.0/users/alice/12 ")


def test_not_removed_is_an_error() -> None:
    """With the provider's words, without line breaks of its own."""
    with RawServer(refused("no\nway", 409)) as server, pytest.raises(ProviderRefusedError, match="no way"):
        open_tokens(server).remove("12")


@pytest.mark.parametrize("problem", ["token_rejected", "token_expired"])
def test_a_dead_access_token_wants_a_dance(problem: str) -> None:
    """As everywhere."""
    answer = reply("", 401, {"WWW-Authenticate": f'OAuth realm="x", oauth_problem="{problem}"'})
    with RawServer(answer) as server, pytest.raises(DanceNeededError):
        open_tokens(server).list()


def test_another_problem_is_a_refusal() -> None:
    """In its own words."""
    answer = reply("", 401, {"WWW-Authenticate": 'OAuth realm="x", oauth_problem="permission_denied"'})
    with RawServer(answer) as server, pytest.raises(ProviderRefusedError):
        open_tokens(server).list()


def test_a_provider_that_is_silent() -> None:
    """Within the link's own time."""
    with RawServer(b"") as server:
        link = make_link(server.url, "bb", timeout_s=1.0)
        with pytest.raises(ProviderUnreachableError):
            HttpTokens(link, make_send(link), "alice").list()


@pytest.mark.parametrize(
    ("users", "slug"),
    [
        ([{"name": "Ann X", "slug": "ann_x"}], "ann_x"),
        ([{"name": "ANN x", "slug": "ann_x"}], "ann_x"),
        ([{"name": "Ann Xaver", "slug": "wrong"}, {"name": "Ann X", "slug": "ann_x"}], "ann_x"),
        ([], "ann%20x"),
        ([None, {}, {"name": "Ann X"}], "ann%20x"),
    ],
)
def test_the_slug_is_asked_for(users: list[object], slug: str) -> None:
    """When the name has more than small letters; of a user who is not in the answer the name stands for it."""
    with RawServer(page(*users), page()) as server:
        open_tokens(server, "Ann X").list()

    assert server.requests[0].startswith(b"GET /bitbucket/rest/api/1.0/users?filter=Ann%20X ")
    assert server.requests[1].startswith(f"GET /bitbucket/rest/access-tokens/1.0/users/{slug}?".encode())
