"""The signed who-am-I and its traps (facts section 7)."""

import time
from email.utils import formatdate

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DanceNeededError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.config.links import Link, parse_base_url
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifest, fetch_manifest
from atl_sign.providers.products import PRODUCTS
from atl_sign.providers.who_am_i import check_link, learn_user
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.oauth1.tokens import AccessToken
from tests.unit.provider_lab import (
    CONSUMER_KEY,
    Provider,
    everything_shown,
    make_link,
    make_provider,
    make_send,
    make_token,
    private_key,
    token_of,
)
from tests.unit.raw_server import RawServer, reply

JIRA = Manifest("jira", "9.12.0", "")


def join(sandbox: Sandbox, product: str) -> tuple[Link, Provider, AccessToken]:
    """Return link, provider and a token of alice's."""
    sandbox.register_consumer(product, CONSUMER_KEY, private_key().public.pem)
    link = make_link(sandbox.base_url(product), product)
    provider = make_provider(link)
    request_token = provider.fetch_request_token("oob")
    code = sandbox.approve(product, provider.authorize_url(request_token))
    return link, provider, token_of(provider.fetch_access_token(request_token, Secret(code)))


def refusal(answer: bytes, manifest: Manifest = JIRA) -> ProviderRefusedError:
    with RawServer(answer) as server:
        link = make_link(server.url, "tools")
        with pytest.raises(ProviderRefusedError) as refused:
            check_link(link, make_send(link), Clocks(), manifest)
    assert "canary" not in everything_shown(refused.value)
    return refused.value


@pytest.mark.parametrize("product", PRODUCTS)
def test_each_product_says_who_we_are(sandbox: Sandbox, product: str) -> None:
    """By the product's own call; nothing to warn of."""
    link, provider, token = join(sandbox, product)
    manifest = fetch_manifest(link)

    result = check_link(link, provider.session(token).send, provider.clocks, manifest)

    assert (result.link, result.user, result.product) == (link, "alice", product)
    assert (result.version, result.base_url) == (manifest.version, sandbox.base_url(product))
    assert result.clock_offset_s is not None
    assert abs(result.clock_offset_s) < 5
    assert result.warnings == ()
    assert learn_user(provider.session(token).send, PRODUCTS[product]) == "alice"


@pytest.mark.parametrize(("ahead_s", "words"), [(120, "s ahead: from 300 s"), (-120, "s behind: from 300 s")])
def test_a_clock_that_drifts_is_warned_of_and_learned(ahead_s: int, words: str) -> None:
    """Two minutes still work; at five the provider refuses."""
    with Sandbox(("jira",), clock=lambda: time.time() + ahead_s) as sandbox:
        link, provider, token = join(sandbox, "jira")

        result = check_link(link, provider.session(token).send, provider.clocks, fetch_manifest(link))

    assert len(result.warnings) == 1
    assert result.clock_offset_s is not None
    assert abs(result.clock_offset_s - ahead_s) < 5
    assert "the provider's clock is 1" in result.warnings[0]
    assert words in result.warnings[0]
    assert provider.clock_offset_s == result.clock_offset_s


def test_a_clock_an_hour_off_is_learned_by_the_refusal() -> None:
    """The request gets through at its second try, and the warning says why it took one."""
    ahead_s = 0.0
    with Sandbox(("jira",), clock=lambda: time.time() + ahead_s) as sandbox:
        link, provider, token = join(sandbox, "jira")
        ahead_s = 3600.0

        result = check_link(link, provider.session(token).send, provider.clocks, fetch_manifest(link))

    assert result.user == "alice"
    assert abs(provider.clock_offset_s - 3600) < 5
    assert "s ahead" in result.warnings[0]


def test_a_date_of_something_in_between_is_not_believed() -> None:
    """The provider took our time, so a Date that is an hour off comes from a proxy: told, and not signed with."""
    now = time.time()
    with RawServer(reply('{"name": "alice"}', headers={"Date": formatdate(now + 3600, usegmt=True)})) as server:
        link = make_link(server.url)
        provider = make_provider(link, clock=lambda: now)

        result = check_link(link, provider.session(make_token()).send, provider.clocks, JIRA)

    assert len(result.warnings) == 1
    assert provider.clock_offset_s == 0.0


def test_without_a_date_there_is_no_offset() -> None:
    """None rather than nought; the token's user is known all the same."""
    with RawServer(reply('{"name": "alice"}')) as server:
        link = make_link(server.url)
        result = check_link(link, make_send(link), Clocks(), JIRA)

    assert result.clock_offset_s is None
    assert result.warnings == ()


def test_another_configured_base_url_is_warned_of() -> None:
    """It predicts signature_invalid; the twin signs for that address and needs no warning."""
    with Sandbox(("jira",), base_url="https://public.example/jira") as sandbox:
        link, provider, token = join(sandbox, "jira")
        manifest = fetch_manifest(link)

        result = check_link(link, provider.session(token).send, provider.clocks, manifest)

    assert result.base_url == "https://public.example/jira"
    assert result.warnings == (f"the product's configured base URL is https://public.example/jira, the link has {link.url}",)
    with RawServer(reply('{"name": "alice"}')) as server:
        signed = make_link(server.url, signing_url=parse_base_url("https://public.example/jira"))
        assert check_link(signed, make_send(signed), Clocks(), manifest).warnings == ()


def test_the_header_names_the_user_when_the_body_does_not() -> None:
    """X-AUSERNAME comes with every answer of Jira and Bitbucket."""
    with RawServer(reply("", headers={"X-AUSERNAME": "alice"})) as server:
        link = make_link(server.url)
        result = check_link(link, make_send(link), Clocks(), Manifest("bitbucket", "8", ""))

    assert result.user == "alice"


def test_a_product_that_we_do_not_know_is_named() -> None:
    """Crowd has application links too."""
    error = refusal(reply(""), Manifest("crowd", "5", ""))

    assert error.message == "link tools: the product there calls itself crowd"
    assert error.hint == "known are bamboo, jira, confluence, bitbucket"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply("{}"), "the provider treated the request as anonymous"),
        (reply("", headers={"X-AUSERNAME": "anonymous"}), "the provider treated the request as anonymous"),
        (reply("<html>Log in"), "a page for people answers"),
        (reply("", 401), "does not let this user in (status 401, no oauth_problem)"),
        (reply("{}", 403), "does not let this user in (status 403, no oauth_problem)"),
        (reply("<html>", 403, {"X-AREQUESTID": "1x2x3"}), "does not let this user in (status 403, no oauth_problem)"),
        (
            reply("<html>", 401, {"WWW-Authenticate": 'OAuth realm="x"'}),
            "does not let this user in (status 401, no oauth_problem)",
        ),
        (reply("<html>", 403), "a proxy or firewall in front of the product refuses this (status 403)"),
        (reply("", 302, {"Location": "/login.action?os_destination=canary"}), "the address redirects to /login.action"),
        (reply("", 404), "nothing is at this address (404): the product's who-am-I is not there"),
        (reply("", 500), "the provider failed (status 500)"),
    ],
)
def test_an_answer_that_names_nobody_is_no_success(answer: bytes, words: str) -> None:
    """Anonymous answers, login pages, bare refusals and redirects: each is told by what it is."""
    assert words in refusal(answer).message


def test_an_anonymous_answer_of_confluence_is_no_success() -> None:
    """It comes with status 200."""
    error = refusal(reply('{"type": "anonymous", "username": "x"}'), Manifest("confluence", "8", ""))

    assert "treated the request as anonymous" in error.message


@pytest.mark.parametrize("problem", ["token_rejected", "token_expired", "token_revoked", "token_used"])
def test_a_dead_token_asks_for_a_dance(problem: str) -> None:
    """Another code than a refusal: programs act on it."""
    with RawServer(reply(f"oauth_problem={problem}", 401)) as server:
        link = make_link(server.url, "tools")
        with pytest.raises(DanceNeededError) as refused:
            check_link(link, make_send(link), Clocks(), JIRA)
        assert learn_user(make_send(link), PRODUCTS["jira"]) is None

    assert refused.value.hint == "atl-sign dance tools"
    assert "canary" not in everything_shown(refused.value)


def test_another_refusal_stays_a_refusal() -> None:
    """A new dance would not help."""
    error = refusal(reply("oauth_problem=consumer_key_unknown", 401))

    assert error.problem == "consumer_key_unknown"
    assert "atl-sign link setup tools" in str(error.hint)


def test_learning_the_user_never_fails() -> None:
    """It comes after a dance that has succeeded: not known is not an error."""
    with RawServer(b"") as server:
        link = make_link(server.url)
        assert learn_user(make_send(link), None) is None
        assert learn_user(make_send(link), PRODUCTS["jira"]) is None
        with pytest.raises(ProviderUnreachableError):
            check_link(link, make_send(link), Clocks(), JIRA)
    with RawServer(reply("<html>")) as server:
        link = make_link(server.url)
        assert learn_user(make_send(link), PRODUCTS["jira"]) is None
