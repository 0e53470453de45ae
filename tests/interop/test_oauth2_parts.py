"""Our parts of OAuth 2.0 against servers that others wrote: dances, refreshes and revocations, and twins that must fail."""

from dataclasses import replace

import pytest
import requests

from atl_sign.base.credentials import App, Secret
from atl_sign.schemes.oauth2.consent import make_state, make_verifier
from atl_sign.schemes.oauth2.metadata import BadMetadataError, find_documents, read_metadata
from atl_sign.schemes.oauth2.redirect import ForeignRedirectError, MixedUpError, Refused
from atl_sign.schemes.oauth2.token_answer import Failure, Tokens
from atl_sign.schemes.oauth2.token_request import TokenRequests
from tests.interop.oauth2_servers import SCOPES, AuthlibServer, ForeignServer, Kind, OidcProvider
from tests.interop.our_client import DEAD, Begun, OurClient, knows_alice
from tests.interop.web_person import LostPersonError
from tests.lab import wait_for

pytestmark = pytest.mark.slow  # they need Node's packages, which `make test` installs


def make_code(client: OurClient, begun: Begun) -> Secret:
    code = client.consent(begun)
    assert isinstance(code, Secret)
    return code


def test_metadata(server: ForeignServer) -> None:
    metadata = OurClient(server).metadata

    assert metadata.issuer == server.issuer
    addresses = (metadata.authorize_url, metadata.token_url, metadata.device_url, metadata.revoke_url)
    assert all(each is not None and each.startswith(f"{server.issuer}/") for each in addresses)
    assert metadata.client_auths == ("basic", "body", "none")
    assert metadata.announces_issuer
    assert metadata.knows_s256
    assert metadata.scopes == frozenset(SCOPES)


def test_metadata_has_two_addresses(oidc_provider: OidcProvider, authlib_server: AuthlibServer) -> None:
    """Authlib has only RFC 8414's document, oidc-provider only OpenID's; each is at the address that we expect."""
    addresses = [find_documents(server.issuer) for server in (authlib_server, oidc_provider)]

    assert [[requests.get(url, timeout=10).status_code for url in pair] for pair in addresses] == [[200, 404], [404, 200]]


def test_metadata_of_another_issuer(authlib_server: AuthlibServer) -> None:
    """The twin: the same server, with another host name."""
    text = requests.get(find_documents(authlib_server.issuer)[0], timeout=10).text

    with pytest.raises(BadMetadataError, match="of another issuer"):
        read_metadata(authlib_server.issuer.replace("127.0.0.1", "localhost"), text)


@pytest.mark.parametrize("kind", ["basic", "post", "public", "exact"])
def test_dance(server: ForeignServer, kind: Kind) -> None:
    """With each client authentication, and with both kinds of redirect."""
    tokens = OurClient(server, kind).dance()

    assert tokens.lifetime_s == 3_600
    assert tokens.refresh is not None
    assert tokens.scopes == frozenset(SCOPES)
    assert knows_alice(server, tokens)


def test_denied_consent(server: ForeignServer) -> None:
    client = OurClient(server)

    assert client.consent(client.begin(), deny=True) == Refused("access_denied")


def test_wrong_state(server: ForeignServer) -> None:
    """A redirect of another dance is rejected, whether it has a code or an error."""
    client = OurClient(server)
    begun = client.begin()
    other = replace(begun, expected=replace(begun.expected, state=make_state()))

    for deny in (False, True):
        with pytest.raises(ForeignRedirectError, match="state"):
            client.consent(other, deny=deny)


def test_redirect_of_another_server(oidc_provider: OidcProvider, authlib_server: AuthlibServer) -> None:
    """`iss` gives it away, so the code is sent nowhere (RFC 9207)."""
    for asked, other in ((oidc_provider, authlib_server), (authlib_server, oidc_provider)):
        client = OurClient(asked)
        begun = client.begin()
        mixed_up = replace(begun, expected=replace(begun.expected, issuer=other.issuer))

        for deny in (False, True):
            with pytest.raises(MixedUpError):
                client.consent(mixed_up, deny=deny)


@pytest.mark.parametrize("kind", ["basic", "public"])
def test_wrong_verifier(server: ForeignServer, kind: Kind) -> None:
    client = OurClient(server, kind)
    begun = client.begin()

    assert client.swap(make_code(client, begun), replace(begun, verifier=make_verifier())) == DEAD


def test_wrong_redirect_with_the_code(server: ForeignServer) -> None:
    """The other port is valid for the client, but the dance began with another one."""
    client = OurClient(server)
    begun = client.begin()

    assert client.swap(make_code(client, begun), replace(begun, redirect_uri=client.client.redirect_at(50_124))) == DEAD


def test_wrong_redirect_in_the_address(server: ForeignServer) -> None:
    """The server shows an error and does not redirect."""
    client = OurClient(server)
    begun = client.begin()

    with pytest.raises(LostPersonError, match=r"(?i)redirect"):
        client.consent(replace(begun, url=begun.url.replace("callback", "elsewhere")))


@pytest.mark.parametrize("kind", ["basic", "post"])
def test_wrong_secret(server: ForeignServer, kind: Kind) -> None:
    client = OurClient(server, kind)
    begun = client.begin()
    code = make_code(client, begun)
    client.requests = TokenRequests(App(client.client.client_id, Secret("wrong")), "basic" if kind == "basic" else "body")

    assert client.swap(code, begun) == Failure("client", "invalid_client")


def test_replayed_code(server: ForeignServer) -> None:
    """It is rejected; oidc-provider revokes its tokens too (RFC 6749 §4.1.2)."""
    client = OurClient(server)
    begun = client.begin()
    code = make_code(client, begun)
    tokens = client.swap(code, begun)
    assert knows_alice(server, tokens)

    assert client.swap(code, begun) == DEAD

    assert knows_alice(server, tokens) == isinstance(server, AuthlibServer)


@pytest.mark.parametrize("kind", ["basic", "post", "public"])
def test_refresh(server: ForeignServer, kind: Kind) -> None:
    client = OurClient(server, kind)
    first = client.dance()

    second = client.refresh(first)

    assert isinstance(second, Tokens)
    assert second.refresh is not None
    assert second.lifetime_s == 3_600
    assert second.scopes == frozenset(SCOPES)
    assert knows_alice(server, second)


def test_replayed_refresh_token(server: ForeignServer) -> None:
    """It is rejected; oidc-provider revokes the newest tokens too (RFC 9700 §4.14.2)."""
    client = OurClient(server)
    first = client.dance()
    second = client.refresh(first)
    assert knows_alice(server, second)

    assert client.refresh(first) == DEAD

    assert knows_alice(server, second) == isinstance(server, AuthlibServer)
    assert isinstance(second, Tokens)
    assert (client.refresh(second) == DEAD) == isinstance(server, OidcProvider)


def test_refresh_token_of_another_client(server: ForeignServer) -> None:
    assert OurClient(server, "post").refresh(OurClient(server).dance()) == DEAD


@pytest.mark.parametrize("kind", ["basic", "post", "public"])
def test_revocation(server: ForeignServer, kind: Kind) -> None:
    """The access token is revoked with its refresh token. A repetition and an unknown token succeed too (RFC 7009 §2.2)."""
    client = OurClient(server, kind)
    tokens = client.dance()
    assert tokens.refresh is not None

    for token in (tokens.refresh, tokens.refresh, Secret("unknown")):
        assert client.revoke(token, "refresh_token") == 200

    assert not knows_alice(server, tokens)
    assert client.refresh(tokens) == DEAD


def test_revocation_of_the_access_token(server: ForeignServer) -> None:
    """The refresh token stays valid."""
    client = OurClient(server)
    tokens = client.dance()

    assert client.revoke(tokens.access, "access_token") == 200

    assert not knows_alice(server, tokens)
    assert knows_alice(server, client.refresh(tokens))


def test_revocation_by_another_client(server: ForeignServer) -> None:
    """The twin: the token stays valid."""
    tokens = OurClient(server).dance()
    assert tokens.refresh is not None

    OurClient(server, "post").revoke(tokens.refresh, "refresh_token")

    assert knows_alice(server, tokens)


def test_expired_access_token(server: ForeignServer) -> None:
    with type(server)(access_s=3) as short:
        client = OurClient(short)
        tokens = client.dance()
        assert tokens.lifetime_s == 3
        assert knows_alice(short, tokens)
        wait_for(lambda: not knows_alice(short, tokens))

        assert knows_alice(short, client.refresh(tokens))
