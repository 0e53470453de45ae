"""The schemes, each by the one contract."""

import base64
from datetime import timedelta

import pytest

from atl_sign.base.credentials import Consumer, Credentials, Grant, Secret
from atl_sign.base.errors import BadUrlError
from atl_sign.base.request import Request
from atl_sign.base.urls import parse_url
from atl_sign.config.link_fields import link_from_fields
from atl_sign.schemes.base import Scheme
from atl_sign.schemes.basic import Basic
from atl_sign.schemes.oauth1.scheme import OAuth1
from atl_sign.schemes.oauth1.tokens import AccessToken
from atl_sign.schemes.oauth2.scheme import OAuth2
from atl_sign.schemes.oauth2.tokens import OAuth2Tokens, make_grant
from atl_sign.schemes.registry import SCHEME_SETTINGS
from atl_sign.schemes.static import Bearer, StaticToken
from tests.unit.provider_lab import make_consumer
from tests.unit.schemes.contract import CANARY, ENDS, URL, SchemeContract


class TestOAuth1(SchemeContract):
    """A signature with the consumer's key."""

    @pytest.fixture
    def scheme(self) -> Scheme:
        return OAuth1()

    @pytest.fixture
    def grant(self) -> Grant:
        token = AccessToken(Secret(CANARY), Secret(CANARY), Secret(CANARY), ENDS)
        return Grant(token, user="alice", expires_at=ENDS, renew_at=ENDS, is_in_doubt=True)

    @pytest.fixture
    def client(self) -> Consumer | None:
        return make_consumer()


class TestOAuth2(SchemeContract):
    """An access token, and the refresh token beside it."""

    @pytest.fixture
    def scheme(self) -> Scheme:
        return OAuth2()

    @pytest.fixture
    def grant(self) -> Grant:
        secret = Secret(CANARY)
        tokens = OAuth2Tokens(secret, secret, secret, ("READ", "WRITE"), "http://localhost:1/x", {"https://s.example": "id"})
        return Grant(tokens, user="alice", expires_at=ENDS, renew_at=ENDS, is_in_doubt=True)

    def test_the_header(self, scheme: Scheme, grant: Grant) -> None:
        """RFC 6750 §2.1."""
        header = scheme.authorize(Request("GET", parse_url(URL)), Credentials(None, grant), 0)

        assert header.reveal() == f"Bearer {CANARY}"

    def test_a_grant_without_a_refresh_token_comes_back(self, scheme: Scheme) -> None:
        """GitHub's OAuth apps give none, and name no end."""
        grant = Grant(OAuth2Tokens(Secret(CANARY)))

        again = scheme.load(scheme.dump(grant))

        assert again == Grant(again.material)
        assert not again.may_renew(ENDS)

    @pytest.mark.parametrize(
        ("life_s", "renewed_after_s"), [(3600, 3240), (7200, 6480), (300, 240), (28_800, 25_920), (60, 30), (2, 1)]
    )
    def test_a_grant_is_renewed_a_tenth_and_a_minute_ahead(self, life_s: float, renewed_after_s: float) -> None:
        """Facts oauth2.md section 12; of a short life, in its middle."""
        grant = make_grant(OAuth2Tokens(Secret(CANARY)), life_s, ENDS)

        assert grant.expires_at == ENDS + timedelta(seconds=life_s)
        assert grant.renew_at == ENDS + timedelta(seconds=renewed_after_s)

    @pytest.mark.parametrize("sites", ["[]", "null", "{", 5])
    def test_sites_that_are_none_are_refused(self, scheme: Scheme, grant: Grant, sites: object) -> None:
        """The twin of a grant that comes back: a spoilt item is not read as half a grant."""
        with pytest.raises((TypeError, ValueError)):
            scheme.load({**scheme.dump(grant), "sites": sites})


class TestBearer(SchemeContract):
    """A token by itself."""

    @pytest.fixture
    def scheme(self) -> Scheme:
        return Bearer()

    @pytest.fixture
    def grant(self) -> Grant:
        return Grant(StaticToken(Secret(CANARY), None, "42", "ci"), user="alice", expires_at=ENDS)

    def test_the_header(self, scheme: Scheme, grant: Grant) -> None:
        """RFC 6750 §2.1."""
        header = scheme.authorize(Request("GET", parse_url(URL)), Credentials(None, grant), 0)

        assert header.reveal() == f"Bearer {CANARY}"


class TestBasic(SchemeContract):
    """A user and a token."""

    @pytest.fixture
    def scheme(self) -> Scheme:
        return Basic()

    @pytest.fixture
    def grant(self) -> Grant:
        return Grant(StaticToken(Secret(CANARY), "alice"), user="Alice")

    def test_the_header(self, scheme: Scheme) -> None:
        """RFC 7617 §2: Aladdin's, and a name beyond ASCII in UTF-8 (§2.1)."""
        for user, secret, expected in (
            ("Aladdin", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("test", "123£", "dGVzdDoxMjPCow=="),
        ):
            credentials = Credentials(None, Grant(StaticToken(Secret(secret), user)))
            assert scheme.authorize(Request("GET", parse_url(URL)), credentials, 0).reveal() == f"Basic {expected}"

    @pytest.mark.parametrize(
        ("base", "path", "sent"),
        [
            ("https://s.example", "/rest/api/3/myself?a=b", "https://gw.example/ex/jira/id/rest/api/3/myself?a=b"),
            ("https://s.example/wiki", "/rest/api/content", "https://gw.example/ex/confluence/id/wiki/rest/api/content"),
            ("https://s.example/wiki", "/api/v2/pages", "https://gw.example/ex/confluence/id/wiki/api/v2/pages"),
        ],
    )
    def test_a_scoped_token_is_sent_to_the_gateway(self, base: str, path: str, sent: str, scheme: Scheme) -> None:
        """Facts oauth2.md section 3.1; a page of the site is refused by name."""
        link = link_from_fields("c", {"url": base, "scheme": "basic", "user": "a@example.com"}, SCHEME_SETTINGS)
        product = "confluence" if base.endswith("/wiki") else "jira"
        there = f"https://gw.example/ex/{product}/id{base.removeprefix('https://s.example')}"
        credentials = Credentials(None, Grant(StaticToken(Secret(CANARY), "a@example.com", base_url=there)))

        assert str(scheme.send_to(link, credentials, parse_url(base + path))) == sent
        for page in ("/browse/WEB-1", "/restless", "/", ""):
            with pytest.raises(BadUrlError, match="gateway"):
                scheme.send_to(link, credentials, parse_url(base + page))


def test_aladdin_is_the_standards_own() -> None:
    """The example of RFC 7617 decodes to what it says."""
    assert base64.b64decode("QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == b"Aladdin:open sesame"
