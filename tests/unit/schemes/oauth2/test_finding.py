"""The flavour of a new link: by its address, by what is set beside it, by what product and server say; else by the user."""

from collections.abc import Iterator

import pytest

from atl_sign.base.errors import BadFieldsError, DaemonError, ProviderBusyError
from atl_sign.sandbox import Cloud, Forge, Sandbox
from atl_sign.schemes.oauth2.finding import find_for
from tests.oauth2_links import make_link
from tests.strange_server import HTML, PAGE, Script, StrangeServer, as_json, reset
from tests.unit.raw_server import reply


@pytest.fixture
def server() -> Iterator[StrangeServer]:
    with StrangeServer() as started:
        yield started


@pytest.mark.parametrize(
    ("url", "flavour"),
    [
        ("https://example.atlassian.net", "atlassian-cloud"),
        ("https://EXAMPLE.atlassian.net/wiki", "atlassian-cloud"),
        ("https://example.jira.com", "atlassian-cloud"),
        ("https://bitbucket.org", "bitbucket-cloud"),
        ("https://github.com/acme", "github"),
        ("https://acme.ghe.com", "github"),
        ("https://gitlab.com", "gitlab"),
    ],
)
def test_some_addresses_tell(url: str, flavour: str) -> None:
    """Nobody is asked."""
    found, why = find_for(make_link(url=url, timeout_s=1, proxy="http://127.0.0.1:1"))

    assert found == {"flavour": flavour}
    assert why


@pytest.mark.parametrize(
    "url", ["https://github.com.attacker.example", "https://notgithub.com", "https://atlassian.net", "https://xghe.com"]
)
def test_an_address_that_only_looks_like_one_tells_nothing(url: str) -> None:
    """Nobody is reached there in this test, so nothing else tells."""
    with pytest.raises(BadFieldsError, match="flavour is missing"):
        find_for(make_link(url=url, timeout_s=1, proxy="http://127.0.0.1:1"))


@pytest.mark.parametrize("name", ["issuer", "token_url"])
def test_a_server_beside_the_link_makes_it_a_generic_one(name: str) -> None:
    found, why = find_for(make_link(url="https://app.example.com", **{name: "https://login.example.com"}))

    assert found == {"flavour": "generic"}
    assert "names its own authorization server" in why


def test_the_products_say_what_they_are() -> None:
    """Data Center's, and Atlassian's own at an address that nobody knows."""
    with Sandbox(["jira"]) as sandbox:
        found, why = find_for(make_link(url=sandbox.base_url("jira")))
        assert found == {"flavour": "datacenter"}
        assert "Jira" in why
    with Cloud() as cloud:
        assert find_for(make_link(url=cloud.url("site")))[0] == {"flavour": "atlassian-cloud"}


def test_servers_say_what_they_are() -> None:
    """By their metadata: a GitLab, and any other one with its issuer."""
    with Forge("gitlab") as forge:
        assert find_for(make_link(url=forge.url("site")))[0] == {"flavour": "gitlab"}
    with Forge("generic") as forge:
        url = forge.url("site")
        found, why = find_for(make_link(url=url))
        assert found == {"flavour": "generic", "issuer": url}
        assert url in why


@pytest.mark.parametrize(
    "answer",
    [reply("", 404), reply(PAGE, 200, HTML), as_json([]), as_json({"issuer": "https://attacker.example"}), reply("", 302)],
    ids=["404", "page", "list", "lie", "302"],
)
def test_what_nobody_understands_is_left_to_the_user(answer: bytes, server: StrangeServer) -> None:
    """The hint lists the words; nothing is guessed."""
    for path in (
        "/rest/applinks/1.0/manifest",
        "/_edge/tenant_info",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ):
        server.answer(path, answer)

    with pytest.raises(BadFieldsError, match="flavour is missing") as caught:
        find_for(make_link(url=server.url, timeout_s=5))

    assert caught.value.status == 422
    for word in ("datacenter", "atlassian-cloud", "bitbucket-cloud", "github", "github-enterprise", "gitlab", "generic"):
        assert word in (caught.value.hint or "")


@pytest.mark.parametrize(("answer", "kind"), [(reset, BadFieldsError), (reply(PAGE, 503, HTML), ProviderBusyError)])
def test_a_server_that_is_away_is_named(answer: bytes | Script, kind: type[DaemonError], server: StrangeServer) -> None:
    """With the reason; the user can name the flavour, or try again."""
    server.answer("/rest/applinks/1.0/manifest", answer)

    with pytest.raises(kind) as caught:
        find_for(make_link(url=server.url, timeout_s=5))

    assert caught.value.hint
