"""A code of OAuth 2.0 that a person types: nothing shows which dance it belongs to, so it goes nowhere (RFC 6749 §10.12)."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from atl_sign.base.credentials import App, Credentials, Grant, Secret
from atl_sign.base.errors import BadRequestError
from atl_sign.grants.dance import Dance
from atl_sign.providers.clocks import Clocks
from atl_sign.schemes.base import Consent, RedirectPlace
from atl_sign.schemes.oauth2.scheme import OAuth2
from atl_sign.schemes.oauth2.tokens import tokens_of
from tests.oauth2_links import make_link
from tests.strange_server import ACCESS, CLIENT_ID, CODE, SECRET, StrangeServer, tokens

APP = App(CLIENT_ID, Secret(SECRET))


class Site:
    """A link to *server*, as a dance meets it."""

    def __init__(self, server: StrangeServer) -> None:
        settings = {"authorize_url": f"{server.url}/authorize", "token_url": f"{server.url}/token"}
        self.link = make_link("generic", url=f"{server.url}/api", timeout_s=5, **settings)
        self.kept: list[Grant] = []
        self._scheme = OAuth2()

    def begin(self, callback: str) -> Consent:
        return self._scheme.begin(self.link, APP, callback, Clocks())

    def redirect_place(self) -> RedirectPlace:
        raise AssertionError("nothing listens in this dance")

    def read_redirect(self, consent: Consent, query: str) -> Secret:
        return self._scheme.read_redirect(self.link, consent, query)

    def redeem(self, consent: Consent, answer: Secret) -> Grant:
        return self._scheme.redeem(self.link, APP, consent, answer, Clocks())

    def find_user(self) -> str | None:
        return None

    def keep(self, grant: Grant) -> None:
        self.kept.append(grant)

    def learn_user(self, grant: Grant) -> str | None:
        return grant.user


@pytest.fixture
def server() -> Iterator[StrangeServer]:
    with StrangeServer() as started:
        started.answer("/token", tokens())
        yield started


def back_from(authorize_url: str, **fields: Any) -> Secret:
    """Return the address that the browser ends on."""
    asked = parse_qs(urlsplit(authorize_url).query)
    return Secret(f"{asked['redirect_uri'][0]}?{urlencode({'state': asked['state'][0], **fields})}")


def test_a_code_that_no_redirect_has_brought_is_not_sent(server: StrangeServer) -> None:
    """Neither a wrong one nor the right one; the dance waits on, and takes the whole address, from which the code is sent."""
    site = Site(server)
    dance = Dance(site, "oob")
    dance.begin()

    for typed in ("wrong", CODE):
        with pytest.raises(BadRequestError) as refused:
            dance.finish(Secret(typed))
        assert refused.value.hint == "paste the whole address that the browser ended on"
        assert CODE not in refused.value.message
    assert (server.requests, dance.state.word) == ([], "waiting")

    dance.finish_by_url(back_from(dance.authorize_url, code=CODE))

    (asked,) = server.requests
    assert asked.fields["code"] == CODE
    (grant,) = site.kept
    assert tokens_of(Credentials(None, grant)).access.reveal() == ACCESS
    assert dance.state.word == "granted"
