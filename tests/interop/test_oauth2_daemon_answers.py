"""The daemon at OAuth 2.0 servers that others wrote: right, wrong and forged answers at the listener, and further dances."""

import pytest

from tests.interop.daemon_lab import add_link, assert_signed_out, change_query, query_of
from tests.interop.oauth2_servers import ForeignServer
from tests.interop.web_person import LostPersonError
from tests.lab import Daemon
from tests.oauth2_lab import PORT, visit

pytestmark = pytest.mark.slow  # they need Node's packages, which `make test` installs


def test_denied(daemon: Daemon, server: ForeignServer) -> None:
    link = add_link(daemon, server)
    begun = link.begin()

    status, page = visit(server.consent(begun["authorize_url"], deny=True))

    assert (status, "Access to app denied" in page) == (200, True)
    assert link.ask(begun)["state"] == "refused"
    assert_signed_out(link)


def test_redirect_that_is_not_registered(daemon: Daemon, server: ForeignServer) -> None:
    """The server shows an error and never redirects, so the dance waits."""
    link = add_link(daemon, server, "exact", port=PORT + 1)
    begun = link.begin()

    with pytest.raises(LostPersonError, match=r"(?i)redirect"):
        server.consent(begun["authorize_url"])

    assert link.ask(begun, wait_s=0)["state"] == "waiting"


def test_wrong_state(daemon: Daemon, server: ForeignServer) -> None:
    """An answer of another dance changes nothing, whether it has a code or an error; the dance's own answer still counts."""
    link = add_link(daemon, server)
    begun = link.begin()
    for deny in (False, True):
        redirect = server.consent(begun["authorize_url"], deny=deny)

        for state in ("x" * 43, "", None):
            status, page = visit(change_query(redirect, state=state))
            assert (status, "belongs to a different sign-in" in page) == (400, True)

        assert link.ask(begun, wait_s=0)["state"] == "waiting"
    assert visit(server.consent(begun["authorize_url"]))[0] == 200
    assert link.ask(begun)["state"] == "granted"


@pytest.mark.parametrize("deny", [False, True])
@pytest.mark.parametrize("issuer", ["http://evil.example", "", None])
def test_forged_issuer(daemon: Daemon, server: ForeignServer, issuer: str | None, deny: bool) -> None:
    """Of another server, or missing where the metadata announce it: the dance ends, no code is sent (RFC 9207 §2.4)."""
    link = add_link(daemon, server)
    begun = link.begin()
    redirect = server.consent(begun["authorize_url"], deny=deny)
    before = server.read_token_requests()

    _, page = visit(change_query(redirect, iss=issuer))

    state = link.ask(begun)
    assert (state["state"], state["error"]["code"]) == ("failed", "provider_refused")
    assert ("issuer" if issuer is None else "another server") in state["error"]["message"]
    assert "Sign-in to app failed" in page
    assert server.read_token_requests() == before
    with pytest.raises(ConnectionRefusedError):  # the listener is gone
        visit(redirect)
    assert_signed_out(link)


def test_missing_issuer_where_nobody_announced_it(daemon: Daemon, server: ForeignServer) -> None:
    """The twin: without metadata a redirect need not have `iss`, but a link with an issuer still compares one."""
    link = add_link(daemon, server, by="hand", issuer=server.issuer)
    begun = link.begin()
    visit(change_query(server.consent(begun["authorize_url"]), iss=None))
    assert link.ask(begun)["state"] == "granted"

    begun = link.begin()
    visit(change_query(server.consent(begun["authorize_url"]), iss="http://evil.example"))
    assert link.ask(begun)["state"] == "failed"


def test_foreign_parameters(daemon: Daemon, server: ForeignServer) -> None:
    """Those that nobody knows are ignored (RFC 6749 §4.1.2); none may be there twice (§3.1)."""
    link = add_link(daemon, server)
    begun = link.begin()
    redirect = server.consent(begun["authorize_url"])

    assert visit(f"{redirect}&code=other")[0] == 400
    assert visit(f"{redirect}&state=other")[0] == 400
    assert link.ask(begun, wait_s=0)["state"] == "waiting"
    assert visit(f"{redirect}&session_state=abc&utm_source=mail&x")[0] == 200
    assert link.ask(begun)["state"] == "granted"


def test_code_that_the_server_never_gave(daemon: Daemon, server: ForeignServer) -> None:
    link = add_link(daemon, server)
    begun = link.begin()

    visit(change_query(server.consent(begun["authorize_url"]), code="forged"))

    state = link.ask(begun)
    assert (state["state"], state["error"]["code"]) == ("failed", "provider_refused")
    assert "invalid_grant" in state["error"]["message"]
    assert server.read_token_requests()[-1] == ("authorization_code", "invalid_grant")
    assert_signed_out(link)


def test_code_of_another_dance(daemon: Daemon, server: ForeignServer) -> None:
    """Injected into this one: its verifier is another (RFC 7636 §1)."""
    link = add_link(daemon, server)
    other = add_link(daemon, server, name="other", port=PORT + 1)
    stolen = query_of(server.consent(other.begin()["authorize_url"]))["code"]
    begun = link.begin()

    visit(change_query(server.consent(begun["authorize_url"]), code=stolen))

    state = link.ask(begun)
    assert (state["state"], "invalid_grant" in state["error"]["message"]) == ("failed", True)


def test_second_dance(daemon: Daemon, server: ForeignServer) -> None:
    """At once after the first one, and on its port; the new token takes the place of the old one."""
    link = add_link(daemon, server)
    assert link.dance()["state"] == "granted"
    first = link.fetch_header()

    second = link.dance()

    assert (second["state"], second["instead_of"]) == ("granted", None)
    assert link.fetch_header() != first
    assert link.use() == "alice"


def test_second_dance_that_is_denied(daemon: Daemon, server: ForeignServer) -> None:
    """The twin: the token before stays."""
    link = add_link(daemon, server)
    link.dance()
    before = link.fetch_header()

    begun = link.begin()
    visit(server.consent(begun["authorize_url"], deny=True))

    assert link.ask(begun)["state"] == "refused"
    assert link.fetch_header() == before
    assert link.use() == "alice"


def test_dance_after_a_cancelled_one(daemon: Daemon, server: ForeignServer) -> None:
    """The port is free again as soon as the cancellation is answered; the old address leads nowhere."""
    link = add_link(daemon, server)
    for _ in range(30):
        begun = link.begin()
        assert daemon.request("DELETE", f"/dance/{begun['id']}").json["state"] == "cancelled"
    old = server.consent(begun["authorize_url"])

    begun = link.begin()

    assert visit(old)[0] == 400
    assert visit(server.consent(begun["authorize_url"]))[0] == 200
    assert link.ask(begun)["state"] == "granted"


def test_two_dances_at_once(daemon: Daemon, server: ForeignServer) -> None:
    """The redirect address has one port: the second dance is refused until the first is over."""
    link = add_link(daemon, server)
    begun = link.begin()

    refused = daemon.request("POST", "/dance", {"link": "app", "callback": "loopback"})

    assert (refused.status, refused.code) == (400, "bad_request")
    assert str(PORT) in refused.message
    visit(server.consent(begun["authorize_url"]))
    assert link.ask(begun)["state"] == "granted"
