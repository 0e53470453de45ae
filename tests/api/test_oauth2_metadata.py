"""Authorization servers that describe themselves, by what they should not say (RFC 8414, OpenID Connect Discovery 1.0)."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab import Daemon, Reply
from tests.oauth2_lab import PORT, begin, sign, visit
from tests.strange_server import (
    ACCESS,
    CLIENT_ID,
    HTML,
    PAGE,
    SECRET,
    Script,
    StrangeServer,
    as_json,
    back_from,
    reset,
    sent_by,
    tokens,
)
from tests.unit.raw_server import reply

RFC_PLACE, OPENID_PLACE = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"


class Lab:
    """A daemon with the link `app`, whose server is known by its issuer."""

    def __init__(self, daemon: Daemon, server: StrangeServer) -> None:
        self.daemon = daemon
        self.server = server
        self.server.answer("/token", tokens())

    def put(self, **changes: object) -> None:
        fields = {
            "url": f"{self.server.url}/api",
            "scheme": "oauth2",
            "flavour": "generic",
            "issuer": self.server.url,
            "client_id": CLIENT_ID,
            "redirect_port": PORT,
            "timeout_s": 5,
            **changes,
        }
        reply = self.daemon.request("PUT", "/links/app", fields)
        assert reply.status in (200, 201), reply.text
        assert self.daemon.request("PUT", "/links/app/secret", {"secret": SECRET}).status == 200

    def document(self, **changes: Any) -> bytes:
        """Return the server's document, with *changes*; `...` leaves a field out, and `{url}` is the server's address."""
        fields = {
            "issuer": "{url}",
            "authorization_endpoint": "{url}/authorize",
            "token_endpoint": "{url}/token",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            **changes,
        }
        url = self.server.url
        filled = {name: value.format(url=url) if isinstance(value, str) else value for name, value in fields.items()}
        return as_json({name: value for name, value in filled.items() if value is not ...})

    def begin(self) -> Reply:
        return self.daemon.request("POST", "/dance", {"link": "app", "callback": "oob"})

    def dance(self) -> None:
        """Dance, successfully."""
        begun = begin(self.daemon, "app")
        assert begun["authorize_url"].startswith(f"{self.server.url}/authorize?")
        assert sent_by(begun["authorize_url"])["code_challenge_method"] == "S256"
        status, page = visit(back_from(begun["authorize_url"]))
        assert (status, "Signed in to app" in page) == (200, True), page
        assert sign(self.daemon, f"{self.server.url}/api/x").json["authorization"] == f"Bearer {ACCESS}"


@pytest.fixture
def lab(daemon: Daemon) -> Iterator[Lab]:
    with StrangeServer() as server:
        made = Lab(daemon, server)
        made.put()
        yield made


# Documents that are not used, and why.
LIES: dict[str, tuple[Callable[[Lab], bytes | Script], str]] = {
    "another issuer": (
        lambda lab: lab.document(issuer="https://attacker.example"),
        "of another issuer, https://attacker.example",
    ),
    "an issuer with a slash": (lambda lab: lab.document(issuer="{url}/"), "of another issuer"),
    "an issuer in upper case": (lambda lab: lab.document(issuer=lab.server.url.upper()), "of another issuer"),
    "an issuer that is a list": (lambda lab: lab.document(issuer=[lab.server.url]), "it names no issuer"),
    "no issuer": (lambda lab: lab.document(issuer=...), "it names no issuer"),
    "a long issuer": (lambda lab: lab.document(issuer="https://" + "a" * 5_000), "of another issuer"),
    "http for the token": (
        lambda lab: lab.document(token_endpoint="http://attacker.example/token"),
        "its token_endpoint cannot be used: it is neither https nor on this machine",
    ),
    "http for the consent": (
        lambda lab: lab.document(authorization_endpoint="http://attacker.example/authorize"),
        "its authorization_endpoint cannot be used",
    ),
    "http for devices": (
        lambda lab: lab.document(device_authorization_endpoint="http://attacker.example/device"),
        "its device_authorization_endpoint cannot be used",
    ),
    "http for revocation": (
        lambda lab: lab.document(revocation_endpoint="http://attacker.example/revoke"),
        "its revocation_endpoint cannot be used",
    ),
    "javascript": (lambda lab: lab.document(authorization_endpoint="javascript://x/%0Aalert(1)"), "cannot be used"),
    "a file": (lambda lab: lab.document(authorization_endpoint="file:///etc/passwd"), "cannot be used"),
    "a password": (lambda lab: lab.document(token_endpoint="https://user:canary@attacker.example/"), "cannot be used"),
    "a fragment": (lambda lab: lab.document(token_endpoint="{url}/token#x"), "is not an address"),
    "a relative address": (lambda lab: lab.document(token_endpoint="/token"), "cannot be used"),
    "a number for an address": (lambda lab: lab.document(token_endpoint=5), "is not an address"),
    "no token endpoint": (lambda lab: lab.document(token_endpoint=...), "it has no token_endpoint"),
    "no authorization endpoint": (lambda lab: lab.document(authorization_endpoint=...), "it has no authorization_endpoint"),
    "no response types": (lambda lab: lab.document(response_types_supported=...), "has no code"),
    "no response type code": (lambda lab: lab.document(response_types_supported=["token"]), "has no code"),
    "response types as text": (lambda lab: lab.document(response_types_supported="code"), "is not a list of texts"),
    "no way to authenticate": (
        lambda lab: lab.document(token_endpoint_auth_methods_supported=["private_key_jwt"]),
        "takes neither client_secret_basic",
    ),
    "a page": (lambda _: reply(PAGE, 200, HTML), "it is not JSON"),
    "nothing": (lambda _: reply(""), "it is not JSON"),
    "a list": (lambda _: as_json([]), "it is not a JSON object"),
    "deep": (lambda _: reply("[" * 100_000), "it is not JSON"),
    "300 KB": (lambda lab: lab.document(padding="x" * 300_000), "it is larger than 256 KiB"),
    "status 204": (lambda _: reply("", 204), "the answer has status 204"),
    "status 400": (lambda _: as_json({"error": "x"}, 400), "the answer has status 400"),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("place", [RFC_PLACE, OPENID_PLACE])
def test_a_document_that_cannot_be_trusted_is_not_used(place: str, name: str, lab: Lab) -> None:
    """The dance does not begin, and nothing of the app's goes anywhere; when the document is right, it does."""
    make, words = LIES[name]
    lab.server.answer(place, make(lab))

    refused = lab.begin()

    assert refused.code == "provider_refused"
    assert f"metadata at {lab.server.url}{place} cannot be used" in refused.message
    assert words in refused.message
    assert len(refused.message) < 500
    assert "--issuer" in refused.hint
    assert "canary" not in refused.text + lab.daemon.log.read_text()
    assert not any("canary" in each.everything for each in lab.server.requests)
    lab.server.answer(place, lab.document())
    lab.dance()


@pytest.mark.parametrize(
    "first",
    [
        reply("not found", 404),
        reply(PAGE, 200, HTML),  # of an application that answers every path with its page
        as_json({"message": "Bad Request"}, 400),
        reply("", 401),
        reply("", 302, {"Location": "/login"}),
    ],
    ids=["404", "page", "400", "401", "302"],
)
def test_the_second_place_is_for_servers_that_do_not_know_the_first(first: bytes, lab: Lab) -> None:
    """RFC 8414 §3 is younger than OpenID Connect's: facts oauth2.md section 10 has both tried."""
    lab.server.answer(RFC_PLACE, first)
    lab.server.answer(OPENID_PLACE, lab.document())

    lab.dance()


def test_without_any_document_the_addresses_can_be_named(lab: Lab) -> None:
    """404 at both places: the hint says how; then nobody looks there any more."""
    refused = lab.begin()

    assert refused.code == "provider_refused"
    assert "has no metadata" in refused.message
    assert "--authorize-url and --token-url" in refused.hint
    assert [each.target for each in lab.server.requests] == [RFC_PLACE, OPENID_PLACE]
    lab.server.requests.clear()
    lab.put(authorize_url=f"{lab.server.url}/authorize", token_url=f"{lab.server.url}/token")
    lab.dance()
    assert {each.target for each in lab.server.requests} == {"/token"}


def test_an_issuer_with_a_path_has_its_document_between_host_and_path(lab: Lab) -> None:
    """RFC 8414 §3.1."""
    issuer = f"{lab.server.url}/issuer1"
    lab.put(issuer=issuer)
    lab.server.answer(f"{RFC_PLACE}/issuer1", lab.document(issuer=issuer))

    lab.dance()


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_to_another_host_is_not_followed(status: int, lab: Lab) -> None:
    """It would make the other one the server."""
    with StrangeServer() as other:
        other.answer(RFC_PLACE, lab.document())
        for place in (RFC_PLACE, OPENID_PLACE):
            lab.server.answer(place, reply("", status, {"Location": f"{other.url}{RFC_PLACE}"}))

        refused = lab.begin()

        assert refused.code == "provider_refused"
        assert f"the answer has status {status}" in refused.message
        assert other.connections == 0


@pytest.mark.parametrize("methods", [..., [], ["plain"]])
def test_a_server_that_does_not_announce_s256_gets_it_all_the_same(methods: Any, lab: Lab) -> None:
    """Facts oauth2.md section 10: absent means unknown. RFC 7636 §7.2: there is no way back to plain, whatever it says."""
    lab.server.answer(RFC_PLACE, lab.document(code_challenge_methods_supported=methods))

    lab.dance()


@pytest.mark.parametrize(
    ("methods", "in_header", "in_body"),
    [
        (..., True, False),  # RFC 8414 §2: client_secret_basic is the default
        (["client_secret_post"], False, True),
        (["client_secret_post", "client_secret_basic"], True, False),
        (["none"], False, False),
        (["private_key_jwt", "client_secret_post"], False, True),
    ],
)
def test_the_secret_goes_where_the_document_wants_it(methods: Any, in_header: bool, in_body: bool, lab: Lab) -> None:
    """And nowhere else."""
    lab.server.answer(RFC_PLACE, lab.document(token_endpoint_auth_methods_supported=methods))
    lab.dance()

    (asked,) = lab.server.asked("/token")

    assert ("authorization" in asked.headers) is in_header
    assert (asked.fields.get("client_secret") == SECRET) is in_body


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (as_json({"message": "slow"}, 429, **{"Retry-After": "7"}), "provider_busy", "try again in 7 s"),
        (reply(PAGE, 503, HTML), "provider_busy", "not available at the moment"),
        (reply(PAGE, 502, HTML), "provider_unreachable", "a gateway in front of it answered"),
        (reset, "provider_unreachable", "the connection broke"),
        (reply(b"x" * 2_000_000), "provider_unreachable", "larger than any real one"),
    ],
    ids=["429", "503", "502", "reset", "2 MB"],
)
def test_a_failure_that_passes_is_not_the_issuers_fault(answer: bytes | Script, code: str, words: str, lab: Lab) -> None:
    """Nobody is asked to check the setting; a moment later it works."""
    for place in (RFC_PLACE, OPENID_PLACE):
        lab.server.answer(place, answer)

    refused = lab.begin()

    assert refused.code == code
    assert words in f"{refused.message}\n{refused.hint}"
    assert "--issuer" not in refused.hint
    lab.server.answer(RFC_PLACE, lab.document())
    lab.dance()


def test_a_slow_document_costs_the_links_time(lab: Lab) -> None:
    """Only once: the second place is not asked when the first does not answer."""
    lab.put(timeout_s=1)
    for place in (RFC_PLACE, OPENID_PLACE):
        lab.server.answer(place, lab.server.hang)
    began = time.monotonic()

    refused = lab.begin()

    assert refused.code == "provider_unreachable"
    assert time.monotonic() - began < 5
    assert len(lab.server.requests) == 1


def test_a_document_is_fetched_once_an_hour(lab: Lab) -> None:
    """Each dance and each refresh needs it."""
    lab.server.answer(RFC_PLACE, lab.document())

    for _ in range(3):
        lab.dance()

    assert len(lab.server.asked(RFC_PLACE)) == 1


def test_another_issuer_has_another_document(lab: Lab) -> None:
    """What one said is not believed of the other."""
    lab.server.answer(RFC_PLACE, lab.document())
    lab.dance()
    with StrangeServer() as other:
        lab.put(issuer=other.url)

        refused = lab.begin()

    assert refused.code == "provider_refused"
    assert [each.target for each in other.requests] == [RFC_PLACE, OPENID_PLACE]


@pytest.mark.parametrize("name", ["another issuer", "http for the token", "a page"])
def test_a_new_link_does_not_get_its_flavour_from_a_lie(name: str, daemon: Daemon) -> None:
    """Nobody says what it is, then; of an honest server the link gets issuer and flavour."""
    with StrangeServer() as server:
        lab = Lab(daemon, server)
        fields = {"url": server.url, "scheme": "oauth2", "client_id": CLIENT_ID}
        server.answer(RFC_PLACE, LIES[name][0](lab))

        refused = daemon.request("PUT", "/links/new", fields)

        assert (refused.status, refused.code) == (422, "bad_request")
        assert "flavour is missing" in refused.message
        assert daemon.request("GET", "/links/new").status == 404
        server.answer(RFC_PLACE, lab.document())
        added = daemon.request("PUT", "/links/new", fields)
        assert (added.json["flavour"], added.json["issuer"]) == ("generic", server.url)
