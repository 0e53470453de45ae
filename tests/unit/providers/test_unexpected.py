"""Answers in the provider's place, from a raw server that sends them byte for byte, at every call that the daemon makes."""

import re
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DaemonError, ProviderBusyError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.config.links import Link
from atl_sign.providers.bitbucket_tokens import HttpTokens
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifest, fetch_manifest
from atl_sign.providers.who_am_i import check_link
from atl_sign.schemes.oauth1.tokens import AccessToken, RequestToken
from tests.unit.provider_lab import everything_shown, make_link, make_provider, make_send
from tests.unit.raw_server import RawServer, reply

HTML = {"Content-Type": "text/html"}
REQUEST_TOKEN = RequestToken(Secret("canary-request-token"), Secret("canary-request-secret"))
VERIFIER = Secret("canary-verifier")
RENEWABLE = AccessToken(Secret("canary-token"), Secret("canary-secret"), session_handle=Secret("canary-handle"))

CALLS: dict[str, Callable[[Link], object]] = {
    "request-token": lambda link: make_provider(link).fetch_request_token("oob"),
    "access-token": lambda link: make_provider(link).fetch_access_token(REQUEST_TOKEN, VERIFIER),
    "renewal": lambda link: make_provider(link).renew_access_token(RENEWABLE),
    "check": lambda link: check_link(link, make_send(link), Clocks(), Manifest("jira", "9", "")),
    "git-list": lambda link: HttpTokens(link, make_send(link), "alice").list(),
    "git-make": lambda link: HttpTokens(link, make_send(link), "alice").make("n", "read", 1),
    "git-remove": lambda link: HttpTokens(link, make_send(link), "alice").remove("1"),
    "manifest": fetch_manifest,
}


def failure(answer: bytes, call: str = "request-token") -> DaemonError:
    """Return the error of *call*, which met *answer* once, and which shows no secret."""
    with RawServer(answer) as server:
        with pytest.raises(DaemonError) as raised:
            CALLS[call](make_link(f"{server.url}/jira", "tools"))
        assert len(server.requests) == 1  # no second try at something that is overloaded
    assert "canary" not in everything_shown(raised.value)
    return raised.value


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("answer", "kind", "words", "hint"),
    [
        (
            reply("slow down", 429, {"Retry-After": "30"}),
            ProviderBusyError,
            "has received too many requests (status 429)",
            "try again in 30 s",
        ),
        (
            reply("<html>", 503, {**HTML, "Retry-After": "7"}),
            ProviderBusyError,
            "is not available at the moment",
            "try again in 7 s",
        ),
        (reply("", 503), ProviderBusyError, "not available at the moment (status 503)", "try again in a moment"),
        (reply("", 500, {"Retry-After": "9"}), ProviderBusyError, "names a time to try again (status 500)", "try again in 9 s"),
        (
            reply("<html>", 407, {**HTML, "Proxy-Authenticate": "Basic realm=x"}),
            ProviderUnreachableError,
            "the proxy requires a user name and a password (status 407)",
            "user name and the password of the proxies in",
        ),
        (reply("<html>", 502, HTML), ProviderUnreachableError, "a gateway in front of it answered", "product is running"),
        (reply("", 504), ProviderUnreachableError, "cannot reach it (status 504)", "try again in a moment"),
        (reply("<html>", 522, HTML), ProviderUnreachableError, "cannot reach it (status 522)", "try again in a moment"),
        (reply("<html>", 511, HTML), ProviderUnreachableError, "this network requires a login first", "in a browser"),
        (
            reply("", 401, {"WWW-Authenticate": 'Negotiate, Basic realm="x"', "Server": "Microsoft-IIS/10.0"}),
            ProviderRefusedError,
            "requires its own login (status 401, Negotiate, Microsoft-IIS)",
            "/jira/plugins/servlet/oauth and http://127.0.0.1:",
        ),
        (
            reply("<html>", 403, {**HTML, "Server": "cloudflare"}),
            ProviderRefusedError,
            "a proxy or firewall in front of the product refuses this (status 403, cloudflare)",
            "ask the administrator",
        ),
        (reply("no", 403, {"Via": "1.1 squid"}), ProviderRefusedError, "a proxy or firewall in front", "ask the administrator"),
        (
            reply("", 302, {"Location": "https://sso.example/login?from=canary"}),
            ProviderRefusedError,
            "redirects to https://sso.example/login",
            "if it is a login page, ask the administrator to let",
        ),
        (reply("<html>Log in", headers=HTML), ProviderRefusedError, "a page for people answers", "captive portal"),
    ],
)
def test_what_answers_in_the_providers_place_is_named(
    call: str, answer: bytes, kind: type[DaemonError], words: str, hint: str
) -> None:
    """In both legs of the dance, a renewal, the check, git's tokens and the manifest: the same words, and what to do."""
    error = failure(answer, call)

    assert type(error) is kind
    assert words in error.message
    assert hint in str(error.hint)
    assert "holds no token" not in error.message
    assert getattr(error, "problem", None) is None


@pytest.mark.parametrize(
    "answer",
    [
        reply("oauth_problem=token_rejected", 401, {"WWW-Authenticate": "Basic realm=x"}),
        reply("<html>", 401, {"WWW-Authenticate": 'Basic realm=x, OAuth oauth_problem="token_rejected"', **HTML}),
        reply("oauth_problem=token_rejected", 503, {"Retry-After": "30"}),
    ],
)
def test_a_problem_of_the_products_own_goes_before(answer: bytes) -> None:
    """The twin: what the product says counts, whatever was put beside it on the way."""
    error = failure(answer)

    assert isinstance(error, ProviderRefusedError)
    assert error.problem == "token_rejected"


@pytest.mark.parametrize(
    "headers",
    [
        {"WWW-Authenticate": 'OAuth realm="x"', **HTML},
        {"X-AREQUESTID": "1x2x3", "Via": "1.1 nginx", **HTML},
        {"X-Seraph-LoginReason": "AUTHENTICATED_FAILED", **HTML},
        {"Content-Type": "application/json", "Via": "1.1 nginx"},
        {},
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_product_is_not_blamed_on_a_proxy(headers: dict[str, str], status: int) -> None:
    """The twin: an OAuth challenge, a header that only the product sends, its JSON, or nothing that tells."""
    error = failure(reply("{}", status, headers), "check")

    assert error.message == f"link tools: the provider does not let this user in (status {status}, no oauth_problem)"


# when


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("1", 1),
        ("120", 120),
        (" 60 ", 60),
        ("0", 1),
        ("00030", 30),
        ("9" * 40, 86_400),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("30, 40", None),
        ("\xb2", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_a_wait_is_bounded_and_never_made_up(retry_after: str, expected: int | None) -> None:
    """Seconds or a date (RFC 9110 §10.2.3); a day at most."""
    assert failure(reply("", 429, {"Retry-After": retry_after})).retry_after_s == expected


@pytest.mark.parametrize("skew_s", [0, 7_200, -7_200])
def test_a_date_counts_by_the_clock_that_made_it(skew_s: int) -> None:
    """The answer's own Date stands beside it; this machine's clock may be off."""
    theirs = time.time() + skew_s
    headers = {"Date": formatdate(theirs, usegmt=True), "Retry-After": formatdate(theirs + 90, usegmt=True)}

    error = failure(reply("", 503, headers))

    assert error.retry_after_s == 90
    assert error.hint == "try again in 90 s"


def test_a_date_without_a_clock_counts_by_ours() -> None:
    """There is no other."""
    error = failure(reply("", 503, {"Retry-After": formatdate(time.time() + 60, usegmt=True)}))

    assert error.retry_after_s is not None
    assert 50 <= error.retry_after_s <= 60


def test_a_long_wait_is_told_as_the_time_of_day() -> None:
    """In UTC, and never too early; a day away with its date."""
    soon, late = failure(reply("", 503, {"Retry-After": "600"})), failure(reply("", 429, {"Retry-After": "86400"}))

    told = re.fullmatch(r"try again after (?:\d{4}-\d\d-\d\d )?(\d\d):(\d\d) UTC", str(soon.hint))
    assert told is not None
    minutes = (int(told[1]) * 60 + int(told[2]) - time.time() / 60) % (24 * 60)
    assert 9 < minutes <= 11
    assert re.fullmatch(r"try again after \d{4}-\d\d-\d\d \d\d:\d\d UTC", str(late.hint))


# where


def test_a_proxy_that_refuses_is_named_with_whose_it_is() -> None:
    """For an http address a proxy answers itself, where for an https one it refuses the tunnel."""
    with RawServer(reply("<html>", 407, HTML)) as proxy, pytest.raises(ProviderUnreachableError) as wants:
        fetch_manifest(make_link("http://jira.invalid", proxy=proxy.url))
    with RawServer(reply("<html>", 403, {**HTML, "Via": "1.1 squid"})) as proxy, pytest.raises(ProviderRefusedError) as refuses:
        fetch_manifest(make_link("http://jira.invalid", proxy=proxy.url))

    assert wants.value.hint == "check the user name and the password of the link's proxy"
    assert str(refuses.value.hint).startswith("check the link's proxy, or ask the administrator")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "the proxy does not let us through: it forbids this address (status 403)"),
        (407, "the proxy does not let us through: it requires a user name and a password (status 407)"),
        (502, "the proxy does not let us through: it cannot reach the provider (status 502)"),
        (418, "the proxy does not let us through (status 418)"),
    ],
)
def test_a_proxy_that_makes_no_tunnel_says_why(status: int, words: str) -> None:
    """Its answer to CONNECT is the only thing that is known."""
    with RawServer(reply("canary", status)) as proxy, pytest.raises(ProviderUnreachableError) as refused:
        fetch_manifest(make_link("https://jira.invalid", proxy=proxy.url))

    assert words in refused.value.message
    assert "canary" not in everything_shown(refused.value)


@pytest.mark.parametrize(
    ("location", "hint"),
    [
        (
            "https://127.0.0.1/jira/plugins/servlet/oauth/request-token",
            "atl-sign link add tools https://127.0.0.1/jira --timeout 5",
        ),
        ("http://127.0.0.1:8080/plugins/servlet/oauth/request-token", "atl-sign link add tools http://127.0.0.1:8080 --timeout"),
        ("https://elsewhere.example/jira/rest/x", "give the link the base URL"),
        ("https://[broken/rest/x", "give the link the base URL"),
        ("/login.action", "if it is a login page"),
    ],
)
def test_a_product_that_has_moved_is_told_from_a_login_page(location: str, hint: str) -> None:
    """The same call below another base URL, at the same host, is a command; another host is for the user to judge."""
    assert hint in str(failure(reply("", 301, {"Location": location})).hint)


def test_a_server_that_repeats_a_token_is_not_quoted() -> None:
    """Its name has letters alone, and few."""
    error = failure(reply("<html>", 403, {**HTML, "Server": "a" * 32}))

    assert error.message.endswith("(status 403)")
