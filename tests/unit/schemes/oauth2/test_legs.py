"""The requests for tokens, and for their end: to which address, with what, how often, and what comes of it."""

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from atl_sign.base.credentials import App, Credentials, Grant, Secret
from atl_sign.base.errors import (
    DaemonError,
    DanceExpiredError,
    ProviderRefusedError,
    ProviderUnreachableError,
)
from atl_sign.config.links import Link
from atl_sign.providers.clocks import Clocks
from atl_sign.schemes.base import Consent
from atl_sign.schemes.oauth2.begun import Begun
from atl_sign.schemes.oauth2.legs import redeem, refresh, revoke
from atl_sign.schemes.oauth2.server import Server, Servers
from atl_sign.schemes.oauth2.tokens import OAuth2Tokens, make_grant, tokens_of
from tests.oauth2_links import make_link
from tests.strange_server import (
    ACCESS,
    CLIENT_ID,
    CODE,
    HTML,
    PAGE,
    REFRESH,
    SECRET,
    Script,
    StrangeServer,
    as_json,
    refusal,
    reset,
    tokens,
)
from tests.unit.provider_lab import everything_shown
from tests.unit.raw_server import reply

NOW = datetime(2026, 11, 30, tzinfo=UTC)
CLOCKS = Clocks(NOW.timestamp)
APP, PUBLIC = App(CLIENT_ID, Secret(SECRET)), App(CLIENT_ID, None)
VERIFIER = "canary-verifier-dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
REDIRECT = "http://localhost:47813/callback/x"
BEFORE = "canary-refresh-before"


@pytest.fixture
def server() -> Iterator[StrangeServer]:
    with StrangeServer() as started:
        started.answer("/token", tokens())
        started.answer("/revoke", as_json({}))
        yield started


def link_to(server: StrangeServer, flavour: str = "generic", **settings: Any) -> Link:
    """Return a link whose addresses are all at *server*."""
    addresses = {"authorize_url": f"{server.url}/authorize", "token_url": f"{server.url}/token"}
    own = {**addresses, "revoke_url": f"{server.url}/revoke", **settings}
    given = {name: value for name, value in own.items() if value is not None}
    return make_link(flavour, url=f"{server.url}/api", timeout_s=5, **given)


def server_of(link: Link) -> Server:
    return Servers().find(link)


def swap(link: Link, app: App = APP) -> Grant:
    consent = Consent("", Secret("canary-state"), Secret(VERIFIER), Begun(server_of(link), REDIRECT))
    return redeem(link, app, consent, Secret(CODE), CLOCKS)


def grant_of(refresh: str | None = REFRESH, before: str | None = None, **more: Any) -> Grant:
    material = OAuth2Tokens(
        Secret(ACCESS), (refresh and Secret(refresh)) or None, (before and Secret(before)) or None, ("read",), REDIRECT, **more
    )
    return make_grant(material, 3600, NOW, "alice")


def renewed(link: Link, grant: Grant, app: App = APP) -> OAuth2Tokens:
    return tokens_of(Credentials(None, refresh(link, app, server_of(link), grant, CLOCKS)))


def failure(call: Any) -> DaemonError:
    with pytest.raises(DaemonError) as caught:
        call()
    shown = everything_shown(caught.value)
    assert not any(secret in shown for secret in (SECRET, CODE, VERIFIER, ACCESS, REFRESH, BEFORE, "canary-description"))
    return caught.value


# a code


def test_a_code_becomes_a_grant(server: StrangeServer) -> None:
    """RFC 6749 §4.1.3 and §5.1; life is counted from before the request."""
    grant = swap(link_to(server))

    material = tokens_of(Credentials(None, grant))
    assert (material.access.reveal(), material.refresh and material.refresh.reveal()) == (ACCESS, REFRESH)
    assert (material.scopes, material.redirect_uri, material.before) == (("read",), REDIRECT, None)
    assert grant.expires_at == datetime(2026, 11, 30, 1, tzinfo=UTC)
    (asked,) = server.requests
    assert asked.fields == {
        "grant_type": "authorization_code",
        "code": CODE,
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }


@pytest.mark.parametrize(
    ("flavour", "answer", "kind", "words"),
    [
        # Facts oauth2.md section 2: a code that came too late is an invalid_request there.
        ("datacenter", refusal("invalid_request"), DanceExpiredError, "the code came too late (invalid_request)"),
        ("generic", refusal("invalid_request"), ProviderRefusedError, "did not answer with tokens (invalid_request)"),
        ("github", refusal("bad_verification_code", 200), DanceExpiredError, "came too late (bad_verification_code)"),
        ("github", refusal("redirect_uri_mismatch", 200), ProviderRefusedError, "(redirect_uri_mismatch)"),
        ("datacenter", refusal("invalid_grant"), ProviderRefusedError, "does not take this code (invalid_grant)"),
        ("generic", refusal("access_denied", 401), ProviderRefusedError, "does not take the app's id and secret (access_denied)"),
    ],
)
def test_a_refused_code_is_explained(
    flavour: str, answer: bytes, kind: type[DaemonError], words: str, server: StrangeServer
) -> None:
    server.answer("/token", answer)
    gateway = {"gateway": server.url} if flavour == "github" else {}

    error = failure(lambda: swap(link_to(server, flavour, **gateway)))

    assert isinstance(error, kind)
    assert words in error.message
    assert len(server.asked("/token")) == 1


@pytest.mark.parametrize(
    ("answer", "user"),
    [
        (as_json({"sub": "alice"}), "alice"),
        (as_json({"sub": 5}), None),
        (as_json({"name": "alice"}), None),
        (as_json({"sub": "a\nb"}), None),
        (as_json({"sub": "\u001b[31malice"}), None),
        (as_json({"sub": "x" * 5_000}), None),
        (as_json([{"sub": "alice"}]), None),
        (reply(PAGE, 200, HTML), None),
        (reply("", 401), None),
        (reply("", 302, {"Location": "https://attacker.example/"}), None),
        (reset, None),
    ],
    ids=["name", "number", "other", "lines", "terminal", "long", "list", "page", "401", "302", "reset"],
)
def test_a_user_whose_name_is_not_known_is_one_all_the_same(
    answer: bytes | Script, user: str | None, server: StrangeServer
) -> None:
    """The grant is there; who-am-I is asked once, with the new token."""
    server.answer("/who", answer)

    assert swap(link_to(server, who_url=f"{server.url}/who")).user == user

    (asked,) = server.asked("/who")
    assert asked.headers["authorization"] == f"Bearer {ACCESS}"


# a refresh


def test_a_refresh_shows_what_the_flavour_wants(server: StrangeServer) -> None:
    """Facts oauth2.md section 9: GitLab wants to see the dance's redirect address again; Data Center reads none."""
    renewed(link_to(server, "gitlab"), grant_of())
    renewed(link_to(server, "datacenter"), grant_of())

    gitlab, datacenter = (each.fields for each in server.requests)
    assert gitlab.pop("redirect_uri") == REDIRECT
    assert gitlab == datacenter == {
        "grant_type": "refresh_token",
        "refresh_token": REFRESH,
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
    }  # fmt: skip


def test_a_public_client_only_names_itself(server: StrangeServer) -> None:
    renewed(link_to(server, "gitlab"), grant_of(), PUBLIC)

    (asked,) = server.requests
    assert asked.fields["client_id"] == CLIENT_ID
    assert "client_secret" not in asked.fields
    assert "authorization" not in asked.headers


@pytest.mark.parametrize(
    ("given", "refresh_token", "before"),
    [
        ("canary-next", "canary-next", REFRESH),  # rotated
        (REFRESH, REFRESH, BEFORE),  # the same: an old server
        (..., REFRESH, BEFORE),  # none: RFC 6749 §6
        (None, REFRESH, BEFORE),
    ],
)
def test_the_next_refresh_token(given: Any, refresh_token: str, before: str, server: StrangeServer) -> None:
    """The one before stays beside it until another one has worked."""
    server.answer("/token", tokens(refresh_token=given, scope=...))

    found = renewed(link_to(server), grant_of(before=BEFORE))

    assert found.refresh is not None
    assert found.before is not None
    assert (found.refresh.reveal(), found.before.reveal()) == (refresh_token, before)
    assert (found.scopes, found.redirect_uri) == (("read",), REDIRECT)


def test_sites_stay_with_the_grant(server: StrangeServer) -> None:
    """A refresh asks for none."""
    sites = {"https://example.atlassian.net": "1-2"}
    link = link_to(server, "atlassian-cloud", gateway=server.url)

    assert renewed(link, grant_of(sites=sites)).sites == sites
    assert [each.path for each in server.requests] == ["/token"]


@pytest.mark.parametrize(("flavour", "is_tried"), [("atlassian-cloud", True), ("bitbucket-cloud", True), ("datacenter", False)])
def test_the_token_before_is_tried_where_it_still_may_work(flavour: str, is_tried: bool, server: StrangeServer) -> None:
    """Facts oauth2.md sections 3 and 4: ten minutes of leeway; elsewhere a used one can only do harm."""
    server.answer("/token", refusal("invalid_grant"), tokens(access_token="canary-new"))
    gateway = {} if flavour == "datacenter" else {"gateway": server.url}
    link = link_to(server, flavour, **gateway)

    if is_tried:
        assert renewed(link, grant_of(before=BEFORE)).access.reveal() == "canary-new"
    else:
        assert failure(lambda: renewed(link, grant_of(before=BEFORE))).reason.startswith("its refresh token is no longer good")

    sent = [each.fields["refresh_token"] for each in server.requests]
    assert sent == ([REFRESH, BEFORE] if is_tried else [REFRESH])


@pytest.mark.parametrize(
    ("answers", "count", "is_in_doubt"),
    [
        ((refusal("invalid_grant"),), 1, False),
        ((reset, refusal("invalid_grant")), 2, True),
    ],
    ids=["at once", "after a lost answer"],
)
def test_a_dead_refresh_token_ends_the_grant(
    answers: tuple[bytes | Script, ...], count: int, is_in_doubt: bool, server: StrangeServer
) -> None:
    """Without the provider's word where it may be our own doing."""
    server.answer("/token", *answers)

    error = failure(lambda: renewed(link_to(server), grant_of()))

    assert isinstance(error, ProviderRefusedError)
    assert error.ends_grant
    assert (error.problem is None) is is_in_doubt
    assert error.hint == "atl-sign dance app"
    assert len(server.requests) == count


@pytest.mark.parametrize(
    ("answer", "problem"),
    [(refusal("invalid_client", 401), "invalid_client"), (refusal("invalid_scope"), "invalid_scope"), (as_json([]), None)],
)
def test_other_refusals_end_nothing(answer: bytes, problem: str | None, server: StrangeServer) -> None:
    server.answer("/token", answer)

    error = failure(lambda: renewed(link_to(server), grant_of()))

    assert isinstance(error, ProviderRefusedError)
    assert (error.ends_grant, error.problem) == (False, problem)


# the end


def end(link: Link, grant: Grant, app: App = APP) -> bool:
    return revoke(link, app, server_of(link), tokens_of(Credentials(None, grant)))


def test_both_tokens_are_revoked(server: StrangeServer) -> None:
    """RFC 7009 §2.1: the refresh token first, with the app's credentials."""
    assert end(link_to(server), grant_of())

    first, second = server.asked("/revoke")
    assert first.fields == {"token": REFRESH, "token_type_hint": "refresh_token"}
    assert second.fields == {"token": ACCESS, "token_type_hint": "access_token"}
    for each in (first, second):
        assert b64decode(each.headers["authorization"].removeprefix("Basic ")).decode() == f"{CLIENT_ID}:{SECRET}"


def test_without_refresh_token_and_secret_the_access_token_is_revoked(server: StrangeServer) -> None:
    assert end(link_to(server), grant_of(None), PUBLIC)

    (asked,) = server.asked("/revoke")
    assert asked.fields == {"token": ACCESS, "token_type_hint": "access_token", "client_id": CLIENT_ID}


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500, 503])
def test_only_the_server_can_say_that_they_are_revoked(status: int, server: StrangeServer) -> None:
    """RFC 7009 §2.2: 200, for an unknown token, too; after 503 it is still good."""
    server.answer("/revoke", reply("", status), as_json({}))

    assert not end(link_to(server), grant_of())


def test_without_an_address_nothing_is_revoked(server: StrangeServer) -> None:
    """And nobody is asked."""
    assert not end(link_to(server, revoke_url=None), grant_of())
    assert server.requests == []


def test_a_server_that_is_away_revokes_nothing(server: StrangeServer) -> None:
    server.answer("/revoke", reset)

    assert isinstance(failure(lambda: end(link_to(server), grant_of())), ProviderUnreachableError)


def test_github_has_a_way_of_its_own(server: StrangeServer) -> None:
    """Facts oauth2.md section 8.1: by the app's password, or without one by showing the token; 204 and 202 mean yes."""
    link = link_to(server, "github", gateway=server.url, revoke_url=None)
    server.answer(f"/applications/{CLIENT_ID}/token", reply("", 204), reply("", 404))
    server.answer("/credentials/revoke", reply("", 202), reply("", 422))

    assert [end(link, grant_of(None)), end(link, grant_of(None))] == [True, False]
    assert [end(link, grant_of(None), PUBLIC), end(link, grant_of(None), PUBLIC)] == [True, False]

    by_secret, _, by_token, _ = server.requests
    assert (by_secret.method, json.loads(by_secret.body)) == ("DELETE", {"access_token": ACCESS})
    assert b64decode(by_secret.headers["authorization"].removeprefix("Basic ")).decode() == f"{CLIENT_ID}:{SECRET}"
    assert (by_token.method, json.loads(by_token.body)) == ("POST", {"credentials": [ACCESS]})
    assert "authorization" not in by_token.headers


def test_an_id_with_a_slash_names_no_other_call(server: StrangeServer) -> None:
    """An app's id is any text; it must not lead to another address of GitHub's."""
    link = link_to(server, "github", gateway=server.url, revoke_url=None)
    server.answer("/credentials/revoke", reply("", 204))

    ids = ("../credentials/revoke?x=", "a/../../x", "a?b", "a#b", "a%2e")
    for client_id in ids:
        assert not end(link, grant_of(None), replace(APP, client_id=client_id))

    assert [each.path.split("/")[1::2] for each in server.requests] == [["applications", "token"]] * len(ids)
