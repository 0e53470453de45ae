"""Where a link's authorization server is: by its flavour, by its metadata, by its settings, and in which order these count."""

import threading
import time
from collections.abc import Iterator

import pytest

from atl_sign.base.errors import BadRequestError, BadUrlError, ProviderRefusedError
from atl_sign.schemes.oauth2 import server as servers
from atl_sign.schemes.oauth2.server import Server, Servers, address, flavour_of
from tests.oauth2_links import make_link
from tests.strange_server import StrangeServer, as_json
from tests.unit.raw_server import reply

PLACE = "/.well-known/oauth-authorization-server"


@pytest.fixture
def server() -> Iterator[StrangeServer]:
    """It describes itself."""
    with StrangeServer() as started:
        started.answer(PLACE, document(started))
        yield started


def document(server: StrangeServer, **changes: object) -> bytes:
    fields = {
        "issuer": server.url,
        "authorization_endpoint": f"{server.url}/authorize",
        "token_endpoint": f"{server.url}/token",
        "device_authorization_endpoint": f"{server.url}/device",
        "revocation_endpoint": f"{server.url}/revoke",
        "response_types_supported": ["code"],
        "authorization_response_iss_parameter_supported": True,
    }
    return as_json({**fields, **changes})


def test_a_server_that_describes_itself_is_taken_at_its_word(server: StrangeServer) -> None:
    """RFC 8414 §2: client_secret_basic where it says nothing; RFC 9207 §3 for `iss`."""
    found = Servers().find(make_link(issuer=server.url))

    assert found == Server(
        f"{server.url}/authorize",
        f"{server.url}/token",
        f"{server.url}/device",
        f"{server.url}/revoke",
        "basic",
        server.url,
        announces_issuer=True,
    )


def test_addresses_that_the_user_names_count_before_the_document(server: StrangeServer) -> None:
    """One by one; the rest is the document's."""
    link = make_link(issuer=server.url, token_url="https://other.example/token", client_auth="none")

    found = Servers().find(link)

    assert (found.token_url, found.client_auth) == ("https://other.example/token", "none")
    assert (found.authorize_url, found.announces_issuer) == (f"{server.url}/authorize", True)


def test_with_both_addresses_nobody_is_asked(server: StrangeServer) -> None:
    """The issuer is what a redirect's `iss` must be, then."""
    link = make_link(
        issuer=server.url, authorize_url="https://a.example/authorize?x=1", token_url="https://a.example/t", timeout_s=1
    )

    found = Servers().find(link)

    assert found == Server("https://a.example/authorize?x=1", "https://a.example/t", None, None, "basic", server.url)
    assert server.requests == []


@pytest.mark.parametrize(
    ("flavour", "url", "expected"),
    [
        # Facts oauth2.md sections 2, 3, 4, 8 and 9.
        (
            "datacenter",
            "https://h.example/jira",
            Server(
                "https://h.example/jira/rest/oauth2/latest/authorize",
                "https://h.example/jira/rest/oauth2/latest/token",
                None,
                "https://h.example/jira/rest/oauth2/latest/revoke",
                "body",
                None,
            ),
        ),
        (
            "atlassian-cloud",
            "https://example.atlassian.net/wiki",
            Server(
                "https://auth.atlassian.com/authorize",
                "https://auth.atlassian.com/oauth/token",
                None,
                "https://auth.atlassian.com/oauth/revoke",
                "body",
                "https://auth.atlassian.com",
            ),
        ),
        (
            "bitbucket-cloud",
            "https://bitbucket.org",
            Server(
                "https://bitbucket.org/site/oauth2/authorize",
                "https://bitbucket.org/site/oauth2/access_token",
                None,
                None,
                "basic",
                None,
            ),
        ),
        (
            "github",
            "https://github.com",
            Server(
                "https://github.com/login/oauth/authorize",
                "https://github.com/login/oauth/access_token",
                "https://github.com/login/device/code",
                None,
                "body",
                None,
            ),
        ),
        (
            "gitlab",
            "https://h.example/gitlab",
            Server(
                "https://h.example/gitlab/oauth/authorize",
                "https://h.example/gitlab/oauth/token",
                "https://h.example/gitlab/oauth/authorize_device",
                "https://h.example/gitlab/oauth/revoke",
                "body",
                None,
            ),
        ),
    ],
)
def test_a_flavour_knows_its_addresses(flavour: str, url: str, expected: Server) -> None:
    """And nobody is asked."""
    assert Servers().find(make_link(flavour, url=url)) == expected


def test_addresses_that_the_user_names_count_before_the_flavours() -> None:
    link = make_link("gitlab", url="https://gitlab.com", revoke_url="https://x.example/revoke", client_auth="basic")

    found = Servers().find(link)

    assert (found.revoke_url, found.client_auth) == ("https://x.example/revoke", "basic")
    assert found.token_url == "https://gitlab.com/oauth/token"


def test_without_issuer_and_addresses_there_is_no_server() -> None:
    """One of both addresses does not tell the other."""
    for settings in ({}, {"token_url": "https://h.example/t"}, {"authorize_url": "https://h.example/a"}):
        with pytest.raises(BadRequestError, match="does not say where its authorization server is") as caught:
            Servers().find(make_link(**settings))
        assert "--issuer URL" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("flavour", "settings", "words"),
    [
        ("gitlab", {"url": "http://h.example"}, "its token endpoint http://h.example/oauth/token"),
        ("datacenter", {"url": "http://h.example/jira"}, "its token endpoint http://h.example/jira/rest"),
        ("github", {"url": "https://github.com", "gateway": "http://h.example"}, "its gateway http://h.example"),
        ("bitbucket-cloud", {"url": "https://bitbucket.org", "gateway": "http://h.example"}, "its gateway"),
        ("atlassian-cloud", {"url": "https://x.atlassian.net", "gateway": "http://h.example"}, "its gateway"),
    ],
)
def test_a_server_in_the_clear_is_none(flavour: str, settings: dict[str, str], words: str) -> None:
    """Secrets and tokens go there; on this machine nobody listens in."""
    with pytest.raises(BadUrlError) as caught:
        Servers().find(make_link(flavour, **settings))
    assert words in caught.value.message

    near = {name: value.replace("h.example", "127.0.0.1:1") for name, value in settings.items()}
    Servers().find(make_link(flavour, **near))


def test_a_document_is_kept_for_an_hour(server: StrangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By issuer; then it is fetched anew, and a change counts."""
    known, link = Servers(), make_link(issuer=server.url)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(3):
        known.find(link)
    assert len(server.requests) == 1
    server.answer(PLACE, document(server, token_endpoint=f"{server.url}/moved"))

    now += servers.METADATA_S

    assert known.find(link).token_url == f"{server.url}/moved"
    assert len(server.requests) == 2


def test_a_failure_is_not_kept(server: StrangeServer) -> None:
    """The next call asks again."""
    known, link = Servers(), make_link(issuer=server.url, timeout_s=1)
    server.answer(PLACE, reply("", 404))
    with pytest.raises(ProviderRefusedError):
        known.find(link)

    server.answer(PLACE, document(server))

    assert known.find(link).token_url == f"{server.url}/token"


def test_many_ask_at_once(server: StrangeServer) -> None:
    """Each gets the server."""
    known, link = Servers(), make_link(issuer=server.url)
    found: list[Server] = []
    threads = [threading.Thread(target=lambda: found.append(known.find(link))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert len(set(found)) == 1


def test_an_unknown_flavour_is_a_generic_one() -> None:
    """And an address without placeholders stays as it is."""
    assert flavour_of(make_link()) is None
    assert address(make_link(url="https://h.example/a"), "{base}/x/{host}") == "https://h.example/a/x/h.example"
    assert address(make_link("github", url="https://ghe.example:8443"), "{api}") == "https://api.ghe.example:8443"
