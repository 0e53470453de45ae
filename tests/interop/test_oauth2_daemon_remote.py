"""The daemon at OAuth 2.0 servers that others wrote: dances with a browser on another machine, by a pasted address or a code."""

import subprocess
import time

import pytest

from tests.interop.daemon_lab import By, add_link, assert_signed_out, change_query, query_of, who_is
from tests.interop.oauth2_servers import ForeignServer, Kind
from tests.interop.web_person import LostPersonError
from tests.lab import Daemon

pytestmark = pytest.mark.slow  # they need Node's packages, which `make test` installs

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.mark.parametrize("by", ["issuer", "hand"])
@pytest.mark.parametrize("kind", ["basic", "post", "public", "exact"])
def test_pasted(server: ForeignServer, daemon: Daemon, kind: Kind, by: By) -> None:
    """The browser ends on the registered address, where nobody listens; pasted, it gives the token."""
    link = add_link(daemon, server, kind, by)
    begun = link.begin("oob")
    redirect = server.consent(begun["authorize_url"])
    assert query_of(begun["authorize_url"])["redirect_uri"] == link.redirect
    assert redirect.startswith(f"{link.redirect}?")
    assert begun["redirect_url"] is None

    reply = link.paste(begun, redirect)

    assert (reply.status, reply.json["state"]) == (200, "granted"), reply.text
    assert reply.json["user"] == ("alice" if by == "issuer" else "alice@example.com")
    assert link.use() == "alice"
    assert who_is(server, link.fetch_header() + "x") == ""
    again = link.paste(begun, redirect)
    assert (again.status, again.code) == (409, "dance_refused")
    assert link.use() == "alice"


def test_pasted_denial(server: ForeignServer, daemon: Daemon) -> None:
    link = add_link(daemon, server)
    begun = link.begin("oob")

    reply = link.paste(begun, server.consent(begun["authorize_url"], deny=True))

    assert (reply.status, reply.code) == (409, "dance_refused")
    assert "the user refused access" in reply.message
    assert reply.hint == "atl-sign dance app"
    assert link.ask(begun)["state"] == "refused"
    assert_signed_out(link)


def test_pasted_address_of_another_dance(server: ForeignServer, daemon: Daemon) -> None:
    """It changes nothing; the right one still counts, also with parameters that nobody knows (RFC 6749 §4.1.2)."""
    link = add_link(daemon, server)
    begun = link.begin("oob")
    redirect = server.consent(begun["authorize_url"])
    wrong = {
        change_query(redirect, state="x" * 43): "belongs to another dance",
        change_query(redirect, state=None): "belongs to another dance",
        f"{redirect}&code=second": "belongs to another dance",
        begun["authorize_url"]: "this address is not the answer",
        change_query(redirect, code=None): "this address is not the answer",
        link.redirect: "this address is not the answer",
        "alice": "this address is not the answer",
    }

    for address, words in wrong.items():
        reply = link.paste(begun, address)
        assert (reply.status, reply.code) == (400, "bad_request"), address
        assert words in reply.message

    assert link.ask(begun, wait_s=0)["state"] == "waiting"
    assert link.paste(begun, f"  {redirect}&session_state=abc#fragment\n").json["state"] == "granted"


@pytest.mark.parametrize("issuer", ["http://evil.example", None])
def test_pasted_address_of_another_server(server: ForeignServer, daemon: Daemon, issuer: str | None) -> None:
    """`iss` is of another server, or missing: the dance ends, and no code is sent (RFC 9207 §2.4)."""
    link = add_link(daemon, server)
    begun = link.begin("oob")
    redirect = server.consent(begun["authorize_url"])
    before = server.read_token_requests()

    reply = link.paste(begun, change_query(redirect, iss=issuer))

    assert (reply.status, reply.code) == (502, "provider_refused")
    assert link.ask(begun)["state"] == "failed"
    assert link.paste(begun, redirect).code == "provider_refused"
    assert server.read_token_requests() == before
    assert_signed_out(link)


def test_pasted_code_that_was_used_already(server: ForeignServer, daemon: Daemon) -> None:
    """A code of the dance before, under the state of this one; the token before stays."""
    link = add_link(daemon, server)
    begun = link.begin("oob")
    redirect = server.consent(begun["authorize_url"])
    assert link.paste(begun, redirect).json["state"] == "granted"

    other = link.begin("oob")
    reply = link.paste(other, change_query(redirect, state=query_of(other["authorize_url"])["state"]))

    assert (reply.status, reply.code) == (502, "provider_refused")
    assert "(invalid_grant)" in reply.message
    assert reply.hint == "atl-sign dance app"
    assert link.use() == "alice"


def test_pasted_after_a_cancellation(server: ForeignServer, daemon: Daemon) -> None:
    link = add_link(daemon, server)
    begun = link.begin("oob")
    redirect = server.consent(begun["authorize_url"])
    before = server.read_token_requests()
    assert daemon.request("DELETE", f"/dance/{begun['id']}").json["state"] == "cancelled"

    reply = link.paste(begun, redirect)

    assert (reply.status, reply.code) == (409, "dance_refused")
    assert "was cancelled" in reply.message
    assert server.read_token_requests() == before
    assert_signed_out(link)


def test_pasted_late(server: ForeignServer, daemon: Daemon) -> None:
    """The server's code lives for a second."""
    with type(server)(code_s=1) as short:
        link = add_link(daemon, short)
        begun = link.begin("oob")
        redirect = short.consent(begun["authorize_url"])
        time.sleep(2)  # asking earlier would use it up; the servers count whole seconds

        reply = link.paste(begun, redirect)

    assert (reply.status, reply.code) == (502, "provider_refused")
    assert "(invalid_grant)" in reply.message
    assert_signed_out(link)


def test_typed_code(server: ForeignServer, daemon: Daemon) -> None:
    """Without its address nothing shows which dance a code belongs to: it is not sent, and the address still counts."""
    link = add_link(daemon, server)
    begun = link.begin("oob")
    redirect = server.consent(begun["authorize_url"])
    before = server.read_token_requests()

    for code in (query_of(redirect)["code"], "wrong"):
        reply = daemon.request("POST", f"/dance/{begun['id']}", {"verifier": code})
        assert (reply.status, reply.code) == (400, "bad_request")
        assert "paste the whole address" in reply.hint

    assert server.read_token_requests() == before
    assert link.paste(begun, redirect).json["state"] == "granted"


def test_pasted_in_the_terminal(server: ForeignServer, daemon: Daemon) -> None:
    """`atl-sign dance --oob` prints the consent's address, and reads another one; pasted back, the former is refused."""
    link = add_link(daemon, server)
    command = ["atl-sign", "dance", "app", "--oob"]
    with subprocess.Popen(
        command, env=daemon.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stderr.readline()
        url = process.stderr.readline().strip()
        print(url, file=process.stdin, flush=True)
        words, rest = process.communicate(f"{server.consent(url)}\n", timeout=20)

    assert "this address is not the answer" in rest
    assert process.returncode == 0, rest
    assert "alice" in words + rest
    assert link.use() == "alice"


def test_device(server: ForeignServer, daemon: Daemon) -> None:
    """Three clients at once, one that the issuer describes by hand; alice enters each code, and the daemon finds out."""
    links = [
        add_link(daemon, server, "basic", name="basic"),
        add_link(daemon, server, "post", "hand", name="post"),
        add_link(daemon, server, "public", name="public"),
    ]
    begun = [link.begin("device") for link in links]
    for each in begun:
        assert each["user_code"]
        assert each["redirect_url"] is None
        assert daemon.request("POST", f"/dance/{each['id']}", {"verifier": each["user_code"]}).code == "bad_request"
        assert server.enter_device_code(each["authorize_url"], each["user_code"]) == "Device allowed"

    states = [link.ask(each, wait_s=30) for link, each in zip(links, begun, strict=True)]

    assert [(state["state"], state["user"]) for state in states] == [
        ("granted", "alice"),
        ("granted", "alice@example.com"),
        ("granted", "alice"),
    ]
    assert [link.use() for link in links] == ["alice"] * 3
    assert who_is(server, links[0].fetch_header() + "x") == ""
    asked = [outcome for grant_type, outcome in server.read_token_requests() if grant_type == DEVICE]
    assert "slow_down" not in asked


def test_denied_device(server: ForeignServer, daemon: Daemon) -> None:
    """The twin; a cancelled dance beside it never asks again."""
    link, other = add_link(daemon, server, "post"), add_link(daemon, server, "public", name="other")
    begun, cancelled = link.begin("device"), other.begin("device")
    assert daemon.request("DELETE", f"/dance/{cancelled['id']}").json["state"] == "cancelled"
    assert server.enter_device_code(cancelled["authorize_url"], cancelled["user_code"]) == "Device allowed"

    assert server.enter_device_code(begun["authorize_url"], begun["user_code"], deny=True) == "Device denied"

    assert link.ask(begun, wait_s=30)["state"] == "refused"
    assert other.ask(cancelled, wait_s=0)["state"] == "cancelled"
    assert_signed_out(link)
    assert_signed_out(other)


def test_late_device(server: ForeignServer, daemon: Daemon) -> None:
    """The server's code lives for a second, which is before the daemon asks for the first time."""
    with type(server)(device_s=1) as short:
        link = add_link(daemon, short, "post")
        begun = link.begin("device")

        assert begun["wait_s"] == 1
        assert link.ask(begun)["state"] == "expired"
        assert_signed_out(link)
        with pytest.raises(LostPersonError):
            short.enter_device_code(begun["authorize_url"], begun["user_code"])


@pytest.mark.parametrize("kind", ["basic", "post"])
def test_device_with_a_wrong_secret(server: ForeignServer, daemon: Daemon, kind: Kind) -> None:
    """The server begins no device flow (RFC 8628 §3.1)."""
    link = add_link(daemon, server, kind)
    daemon.request("PUT", "/links/app/secret", {"secret": "wrong"})

    reply = daemon.request("POST", "/dance", {"link": "app", "callback": "device"})

    assert (reply.status, reply.code) == (502, "provider_refused")
    assert "(invalid_client)" in reply.message
    assert_signed_out(link)


def test_device_at_a_server_without_that_flow(server: ForeignServer, daemon: Daemon) -> None:
    """By hand and without its address; the hint's command is another way to sign in."""
    add_link(daemon, server, by="hand", device_url=None)

    reply = daemon.request("POST", "/dance", {"link": "app", "callback": "device"})

    assert (reply.status, reply.code) == (400, "bad_request")
    assert reply.hint == "atl-sign dance app --oob"
