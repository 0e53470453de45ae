"""The sites of a consent, as Atlassian Cloud's gateway lists them, and as it should not (facts oauth2.md section 3)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DaemonError, ProviderBusyError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.config.links import Link
from atl_sign.schemes.oauth2.sites import find_sites
from tests.oauth2_links import make_link
from tests.strange_server import ACCESS, HTML, PAGE, Script, StrangeServer, as_json, reset
from tests.unit.provider_lab import everything_shown
from tests.unit.raw_server import reply

PLACE = "/oauth/token/accessible-resources"
SITE = "https://example.atlassian.net"
OURS = {
    "id": "1324a887-45db-1bf4-1e99-ef0ff456d421",
    "name": "Example",
    "url": SITE,
    "scopes": ["read:jira-work"],
    "avatarUrl": "x",
}
THEIRS = {"id": "1324a887-45db-1bf4-1e99-ef0ff456d422", "name": "Other", "url": "https://other.atlassian.net", "scopes": []}


@pytest.fixture
def gateway() -> Iterator[StrangeServer]:
    with StrangeServer() as server:
        yield server


def link_to(gateway: StrangeServer, url: str = SITE) -> Link:
    return make_link("atlassian-cloud", url=url, gateway=gateway.url, client_id="x", timeout_s=5)


def find(gateway: StrangeServer, answer: Any, url: str = SITE) -> dict[str, str]:
    gateway.answer(PLACE, answer if isinstance(answer, bytes) or callable(answer) else as_json(answer))
    return find_sites(link_to(gateway, url), Secret(ACCESS))


def refusal(gateway: StrangeServer, answer: Any, url: str = SITE) -> DaemonError:
    with pytest.raises(DaemonError) as caught:
        find(gateway, answer, url)
    assert "canary" not in everything_shown(caught.value)
    assert len(gateway.requests) == 1
    return caught.value


def test_the_site_is_found_among_others(gateway: StrangeServer) -> None:
    """The token goes in the header alone."""
    assert find(gateway, [THEIRS, OURS]) == {THEIRS["url"]: THEIRS["id"], SITE: OURS["id"]}

    (asked,) = gateway.requests
    assert (asked.method, asked.target, asked.body) == ("GET", PLACE, b"")
    assert asked.headers["authorization"] == f"Bearer {ACCESS}"


def test_a_site_is_there_once_for_each_product(gateway: StrangeServer) -> None:
    """Jira's and Confluence's scopes come apart, with one id."""
    assert find(gateway, [OURS, {**OURS, "scopes": ["read:confluence-user"]}]) == {SITE: OURS["id"]}


@pytest.mark.parametrize(
    "written", ["https://example.atlassian.net/", "https://EXAMPLE.atlassian.net", "HTTPS://Example.Atlassian.Net:443/"]
)
def test_an_address_may_be_written_in_other_ways(written: str, gateway: StrangeServer) -> None:
    """In upper case, with a slash or the usual port; in the link's setting, too."""
    assert find(gateway, [{**OURS, "url": written}]) == {SITE: OURS["id"]}
    assert find(gateway, [OURS], written) == {SITE: OURS["id"]}


def test_confluence_has_the_site_of_jira(gateway: StrangeServer) -> None:
    """Its base URL has /wiki."""
    assert find(gateway, [OURS], f"{SITE}/wiki") == {SITE: OURS["id"]}


@pytest.mark.parametrize(
    ("listed", "named"),
    [
        ([], "none, or the app has no product's permissions"),
        ([THEIRS], "https://other.atlassian.net"),
        ([THEIRS, {**THEIRS, "url": "https://third.atlassian.net"}], "https://other.atlassian.net, https://third.atlassian.net"),
        ([{**OURS, "url": "http://example.atlassian.net"}], "http://example.atlassian.net"),
        ([{**OURS, "url": "https://example.atlassian.net.attacker.example"}], "https://example.atlassian.net.attacker.example"),
        ([{**OURS, "url": "https://example.atlassian.net:8443"}], "https://example.atlassian.net:8443"),
        ([{**OURS, "id": "../../evil"}], "none"),
        ([{**OURS, "id": ""}], "none"),
        ([{**OURS, "id": "x" * 65}], "none"),
        ([{**OURS, "id": "a/b?c"}], "none"),
    ],
)
def test_no_site_is_guessed(listed: list[Any], named: str, gateway: StrangeServer) -> None:
    """MCP servers took the first one, and wrote in the wrong place; the error lists what there is."""
    error = refusal(gateway, listed)

    assert isinstance(error, ProviderRefusedError)
    assert f"the consent is not for {SITE}; its sites are: {named}" in error.message
    assert "atl-sign dance app" in (error.hint or "")


@pytest.mark.parametrize(
    "odd",
    [
        None,
        5,
        "text",
        [],
        {},
        {"id": "1"},
        {"url": SITE},
        {"id": "1", "url": None},
        {"id": "1", "url": 5},
        {"id": "1", "url": []},
        {"id": "1", "url": {}},
        {"id": "1", "url": "javascript:alert(1)"},
        {"id": "1", "url": "https://user:canary@example.atlassian.net"},
        {"id": "1", "url": "https://exa mple"},
        {"id": None, "url": SITE},
        {"id": ["1"], "url": SITE},
        {"id": 5, "url": "https://numbered.atlassian.net"},
    ],
    ids=repr,
)
def test_an_entry_that_cannot_be_read_hides_no_other(odd: Any, gateway: StrangeServer) -> None:
    """And is never taken for the link's site itself."""
    found = find(gateway, [odd, OURS, odd])

    assert found[SITE] == OURS["id"]
    gateway.requests.clear()
    error = refusal(gateway, [odd])
    assert isinstance(error, ProviderRefusedError)
    assert f"the consent is not for {SITE}" in error.message


@pytest.mark.parametrize("listed", [None, {}, {"values": [OURS]}, OURS, 5, "text", True], ids=repr)
def test_an_answer_that_is_no_list_is_no_answer(listed: Any, gateway: StrangeServer) -> None:
    error = refusal(gateway, listed)

    assert isinstance(error, ProviderRefusedError)
    assert "does not list the sites" in error.message


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (reply("[" * 100_000), ProviderRefusedError, "does not list the sites"),
        (reply(PAGE, 200, HTML), ProviderRefusedError, "a page for people"),
        (reply("", 200), ProviderRefusedError, "does not list the sites"),
        (as_json({"code": 401, "message": "Unauthorized"}, 401), ProviderRefusedError, "status 401"),
        (as_json([OURS], 403), ProviderRefusedError, "status 403"),
        (reply("", 404), ProviderRefusedError, "404"),
        (as_json({}, 429, **{"Retry-After": "3"}), ProviderBusyError, "too many requests"),
        (reply(PAGE, 503, HTML), ProviderBusyError, "not available"),
        (reply(PAGE, 502, HTML), ProviderUnreachableError, "a gateway in front of it"),
        (as_json({"message": "x"}, 500), ProviderRefusedError, "the provider failed"),
        (reset, ProviderUnreachableError, "the connection broke"),
        (as_json([{**OURS, "padding": "x" * 2_000_000}]), ProviderUnreachableError, "larger than any real one"),
    ],
    ids=["deep", "page", "empty", "401", "403", "404", "429", "503", "502", "500", "reset", "2 MB"],
)
def test_a_gateway_that_fails_is_named(
    answer: bytes | Script, kind: type[DaemonError], words: str, gateway: StrangeServer
) -> None:
    error = refusal(gateway, answer)

    assert isinstance(error, kind)
    assert words in error.message


def test_a_token_does_not_follow_a_redirect(gateway: StrangeServer) -> None:
    with StrangeServer() as other:
        other.answer(PLACE, as_json([OURS]))
        error = refusal(gateway, reply("", 302, {"Location": f"{other.url}{PLACE}"}))

        assert other.connections == 0
    assert isinstance(error, ProviderRefusedError)
    assert "redirects" in error.message


def test_a_slow_gateway_takes_the_links_time(gateway: StrangeServer) -> None:
    gateway.answer(PLACE, gateway.hang)
    link = make_link("atlassian-cloud", url=SITE, gateway=gateway.url, client_id="x", timeout_s=1)

    with pytest.raises(ProviderUnreachableError, match="no whole answer within 1 s"):
        find_sites(link, Secret(ACCESS))


def test_the_words_of_a_list_are_cut(gateway: StrangeServer) -> None:
    """A user with a thousand sites, or a gateway that pours."""
    listed = [{"id": str(number), "url": f"https://s{number}.atlassian.net"} for number in range(1_000)]
    assert len(json.dumps(listed)) > 20_000

    error = refusal(gateway, listed)

    assert len(error.message) < 1_000
