"""What every scheme promises, whatever it is."""

from datetime import UTC, datetime
from typing import Any

import pytest

from atl_sign.base.credentials import Consumer, Credentials, Grant
from atl_sign.base.request import Request
from atl_sign.base.urls import parse_url
from atl_sign.config.links import Link
from atl_sign.schemes.base import HasBaseString, Scheme
from atl_sign.schemes.registry import SCHEME_SETTINGS, SCHEMES

CANARY = "canary-secret-5d1e"
URL = "https://h.example/jira/rest/x?a=1"


class SchemeContract:
    """The tests; a class for each scheme gives it and a grant with `CANARY` in every secret."""

    @pytest.fixture
    def scheme(self) -> Scheme:
        raise NotImplementedError

    @pytest.fixture
    def grant(self) -> Grant:
        raise NotImplementedError

    @pytest.fixture
    def client(self) -> Consumer | None:
        return None

    def test_the_registry_has_it(self, scheme: Scheme) -> None:
        """By its name, with its settings."""
        assert SCHEMES[scheme.name] is not None
        assert type(SCHEMES[scheme.name]) is type(scheme)
        assert SCHEME_SETTINGS[scheme.name] == scheme.settings

    def test_a_grant_comes_back_whole(self, scheme: Scheme, grant: Grant) -> None:
        """Everything that the store keeps; the fields are what JSON can carry."""
        fields = scheme.dump(grant)

        assert all(value is None or isinstance(value, str | int) for value in fields.values())
        again = scheme.load(fields)
        assert scheme.dump(again) == fields
        assert again.is_same_as(grant)
        assert (again.user, again.expires_at, again.renew_at, again.is_in_doubt) == (
            grant.user,
            grant.expires_at,
            grant.renew_at,
            grant.is_in_doubt,
        )

    def test_fields_that_lack_one_are_refused(self, scheme: Scheme, grant: Grant) -> None:
        """The twin: nothing is made of half a grant, but for what older versions did not have."""
        fields = dict(scheme.dump(grant))
        refused = 0
        for name in fields:
            try:
                scheme.load({key: value for key, value in fields.items() if key != name})
            except (KeyError, TypeError, ValueError):
                refused += 1

        assert refused >= len(fields) - 2

    def test_a_grant_hides_its_secrets(self, grant: Grant) -> None:
        """In repr, str and format."""
        assert CANARY not in f"{grant!r} {grant} {grant.material!r}"

    def test_another_grant_is_another(self, scheme: Scheme, grant: Grant) -> None:
        """By its secret, not by what is known of it."""
        fields = {
            name: value.replace(CANARY, "other") if isinstance(value, str) else value
            for name, value in scheme.dump(grant).items()
        }

        assert not scheme.load(fields).is_same_as(grant)
        assert grant.with_user("somebody").is_same_as(grant)
        assert not grant.is_same_as(Grant(Stranger()))

    def test_a_header_is_one_line(self, scheme: Scheme, grant: Grant, client: Consumer | None) -> None:
        """Visible ASCII, and hidden until it is asked for; for one use two are never the same, for many always."""
        request, credentials = Request("GET", parse_url(URL)), Credentials(client, grant)
        headers = [scheme.authorize(request, credentials, 1_700_000_000) for _ in range(2)]
        first, second = (each.reveal() for each in headers)

        assert first.isascii()
        assert first.isprintable()
        assert first.split(" ")[0] in ("OAuth", "Bearer", "Basic")
        assert (first == second) == (scheme.uses == "many")
        assert str(headers[0]) == "<secret>"

    def test_a_request_is_sent_where_it_was_asked_for(self, scheme: Scheme, grant: Grant, link: Link) -> None:
        """Unless the grant says otherwise."""
        url = parse_url(URL)

        assert scheme.send_to(link, Credentials(None, grant), url) is url

    def test_what_it_signs_can_be_shown_if_it_signs(self, scheme: Scheme) -> None:
        """A signature covers a request, a token does not."""
        assert isinstance(scheme, HasBaseString) == (scheme.uses == "one")

    @pytest.fixture
    def link(self, scheme: Scheme) -> Link:
        from atl_sign.config.link_fields import link_from_fields

        needed: dict[str, Any] = {
            "oauth1": {"consumer_key": "k"},
            "oauth2": {"flavour": "datacenter"},
            "basic": {"user": "alice"},
        }.get(scheme.name, {})
        return link_from_fields("jira", {"url": "https://h.example/jira", "scheme": scheme.name, **needed}, SCHEME_SETTINGS)


class Stranger:
    """The material of a scheme that nobody knows."""

    def is_same_as(self, other: object) -> bool:
        return False

    def may_renew(self, now: datetime) -> bool:
        return False


ENDS = datetime(2031, 3, 1, tzinfo=UTC)
