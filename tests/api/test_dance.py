"""The dance over the real socket: both ways back, and every way to end."""

import http.client
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from atl_sign.sandbox import Sandbox
from atl_sign.sandbox.problems import RefusalForm
from tests.lab import DEADLINE_S, Daemon, wait_for

GRANTED = {"state": "granted", "user": "alice", "instead_of": None, "error": None}


def visit(url: str) -> tuple[int, str]:
    """Do the browser's last step."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=DEADLINE_S)
    connection.request("GET", f"{parts.path}?{parts.query}")
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def is_listening(url: str) -> bool:
    """Tell whether the address's port takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(urlsplit(url).port or 0))) == 0


def begin(daemon: Daemon, callback: str = "loopback", link: str = "jira") -> dict[str, str]:
    reply = daemon.request("POST", "/dance", {"link": link, "callback": callback})
    assert reply.status == 201, reply.text
    begun: dict[str, str] = reply.json
    return begun


@pytest.fixture
def linked(daemon: Daemon, sandbox: Sandbox) -> Daemon:
    """A daemon whose consumer Jira knows, without a token."""
    daemon.link(sandbox, "jira")
    return daemon


def test_loopback_allow(linked: Daemon, sandbox: Sandbox) -> None:
    """The page says so, the waiting peer learns the user, and signing works."""
    begun = begin(linked)
    assert begun["state"] == "waiting"
    assert begun["expires_at"].endswith("Z")
    assert begun["authorize_url"].startswith(f"{sandbox.base_url('jira')}/plugins/servlet/oauth/authorize?oauth_token=")
    replies = []
    waiter = threading.Thread(target=lambda: replies.append(linked.request("GET", f"/dance/{begun['id']}?wait=30")))
    waiter.start()

    status, page = visit(sandbox.approve("jira", begun["authorize_url"]))

    waiter.join(DEADLINE_S)
    assert status == 200
    assert "Signed in to jira" in page
    assert "alice" in page
    assert replies[0].json == GRANTED
    assert linked.request("GET", f"/dance/{begun['id']}", text=True).text == "state: granted\nuser: alice\n"
    link = linked.request("GET", "/links/jira").json
    assert link["token"]["state"] == "active"
    assert link["token"]["user"] == "alice"
    assert link["token"]["expires_at"] > "2031"
    assert linked.request("POST", "/links/jira/check").json["user"] == "alice"


def test_loopback_deny(linked: Daemon, sandbox: Sandbox) -> None:
    """`oauth_verifier=denied` comes back; nothing is stored."""
    begun = begin(linked)

    status, page = visit(sandbox.approve("jira", begun["authorize_url"], deny=True))

    assert status == 200
    assert "Access to jira denied" in page
    assert linked.request("GET", f"/dance/{begun['id']}").json["state"] == "refused"
    assert linked.request("GET", "/links/jira").json["token"]["state"] == "none"


def test_loopback_takes_no_other_token(linked: Daemon, sandbox: Sandbox) -> None:
    """Somebody else's consent slipped in (RFC 5849 §4.14): refused, and the dance waits on for its own."""
    begun, other = begin(linked), begin(linked)
    address = sandbox.approve("jira", begun["authorize_url"])
    foreign = sandbox.approve("jira", other["authorize_url"], user="bob")
    mixed = address.split("?")[0] + "?" + foreign.split("?")[1]

    assert visit(mixed)[0] == 400
    assert linked.request("GET", f"/dance/{begun['id']}").json["state"] == "waiting"
    assert visit(address)[0] == 200
    assert linked.request("GET", f"/dance/{begun['id']}").json == GRANTED


def test_oob_by_code(linked: Daemon, sandbox: Sandbox) -> None:
    """A wrong code is told and can be typed again; the right one is good once."""
    begun = begin(linked, "oob")
    path = f"/dance/{begun['id']}"
    code = sandbox.approve("jira", begun["authorize_url"])
    assert len(code) == 6

    wrong = linked.request("POST", path, {"verifier": "wrong1"})
    assert (wrong.status, wrong.code) == (502, "provider_refused")
    assert "token_rejected" in wrong.message
    assert linked.request("GET", path).json["state"] == "waiting"

    assert linked.request("POST", path, {"verifier": f" {code}\n"}).json == GRANTED
    again = linked.request("POST", path, {"verifier": code})
    assert (again.status, again.code) == (409, "dance_refused")


def test_before_the_user_decided_the_dance_waits_on(linked: Daemon, sandbox: Sandbox) -> None:
    """permission_unknown is no end."""
    begun = begin(linked, "oob")

    early = linked.request("POST", f"/dance/{begun['id']}", {"verifier": "abcdef"})

    assert early.code == "provider_refused"
    code = sandbox.approve("jira", begun["authorize_url"])
    assert linked.request("POST", f"/dance/{begun['id']}", {"verifier": code}, form=True).json["state"] == "granted"


def test_the_whole_address_can_be_pasted(linked: Daemon, sandbox: Sandbox) -> None:
    """When the browser runs on another machine, its last address still tells everything."""
    begun = begin(linked, "loopback")
    path = f"/dance/{begun['id']}"
    address = sandbox.approve("jira", begun["authorize_url"])

    assert linked.request("POST", path, {"redirect_url": "https://nonsense.example/"}).code == "bad_request"
    assert linked.request("POST", path, {"redirect_url": "http://[::1/?oauth_token=a&oauth_verifier=b"}).code == "bad_request"
    other = address.replace("oauth_token=", "oauth_token=x")
    assert "another dance" in linked.request("POST", path, {"redirect_url": other}).message
    assert linked.request("POST", path, {"redirect_url": address}).json["state"] == "granted"


@pytest.mark.parametrize(
    "fields", [{}, {"verifier": "a", "redirect_url": "b"}, {"verifier": ""}, {"verifier": "x" * 256}, {"nonsense": "x"}]
)
def test_one_of_the_two_fields_is_needed(linked: Daemon, fields: dict[str, str]) -> None:
    """Neither, both, empty or too long: 422, and the dance waits on."""
    begun = begin(linked, "oob")

    reply = linked.request("POST", f"/dance/{begun['id']}", fields)

    assert (reply.status, reply.code) == (422, "bad_request")
    assert linked.request("GET", f"/dance/{begun['id']}").json["state"] == "waiting"


def test_oob_denied(linked: Daemon, sandbox: Sandbox) -> None:
    """The user refused; whatever is typed then, the provider says permission_denied."""
    begun = begin(linked, "oob")
    sandbox.approve("jira", begun["authorize_url"], deny=True)

    reply = linked.request("POST", f"/dance/{begun['id']}", {"verifier": "abcdef"})

    assert (reply.status, reply.code) == (409, "dance_refused")
    assert linked.request("GET", f"/dance/{begun['id']}").json["state"] == "refused"


def test_cancel(linked: Daemon, sandbox: Sandbox) -> None:
    """The callback's port is closed, and the code is good for nothing any more."""
    begun = begin(linked)
    path = f"/dance/{begun['id']}"
    address = sandbox.approve("jira", begun["authorize_url"])

    assert linked.request("DELETE", path, text=True).text == "cancelled the dance with jira\n"
    assert linked.request("GET", path).json["state"] == "cancelled"
    assert "cancelled" in linked.request("POST", path, {"redirect_url": address}).message
    wait_for(lambda: not is_listening(address))
    assert linked.request("GET", "/links/jira").json["token"]["state"] == "none"


def test_an_expired_request_token(daemon: Daemon) -> None:
    """The provider says token_expired; the dance is `expired`, and says to begin again."""
    with Sandbox(("jira",), request_token_life_s=-1) as hasty:
        daemon.link(hasty, "jira")
        begun = begin(daemon, "oob")
        reply = daemon.request("POST", f"/dance/{begun['id']}", {"verifier": "abcdef"})

    assert (reply.status, reply.code, reply.hint) == (409, "dance_expired", "atl-sign dance jira")
    assert daemon.request("GET", f"/dance/{begun['id']}").json["state"] == "expired"


def test_a_provider_that_is_down(daemon: Daemon) -> None:
    """At the beginning nothing is begun; at the end the typed code can be brought again."""
    with Sandbox(("jira",)) as provider:
        daemon.link(provider, "jira", timeout_s=2)
        begun = begin(daemon, "oob")
        code = provider.approve("jira", begun["authorize_url"])
    reply = daemon.request("POST", f"/dance/{begun['id']}", {"verifier": code})

    assert (reply.status, reply.code) == (502, "provider_unreachable")
    assert daemon.request("GET", f"/dance/{begun['id']}").json["state"] == "waiting"
    reply = daemon.request("POST", "/dance", {"link": "jira"})
    assert (reply.status, reply.code) == (502, "provider_unreachable")
    assert daemon.request("GET", "/status").json["dances"] == 1


def test_an_unknown_consumer_is_told_with_the_remedy(daemon: Daemon, sandbox: Sandbox) -> None:
    """The administrator has not entered the link yet."""
    daemon.make_key()
    daemon.request("PUT", "/links/jira", {"url": sandbox.base_url("jira"), "consumer_key": "nobody-knows-this"})

    reply = daemon.request("POST", "/dance", {"link": "jira"})

    assert (reply.status, reply.code) == (502, "provider_refused")
    assert "consumer_key_unknown" in reply.message
    assert "atl-sign link setup jira" in reply.hint


def test_another_key_than_the_registered_one(daemon: Daemon, sandbox: Sandbox) -> None:
    """The base strings are equal, so the words say that it is the key."""
    daemon.link(sandbox, "jira")
    daemon.request("POST", "/key", {"replace": True})

    reply = daemon.request("POST", "/dance", {"link": "jira"})

    assert reply.code == "provider_refused"
    assert "another public key" in reply.message


def test_a_proxy_that_hides_the_address(daemon: Daemon) -> None:
    """The words name both addresses; with `signing_url` it works."""
    with Sandbox(("jira",), base_url="https://jira.example.com/jira", is_behind_proxy=True) as hidden:
        daemon.link(hidden, "jira")
        reply = daemon.request("POST", "/dance", {"link": "jira"})
        assert reply.code == "provider_refused"
        assert "https://jira.example.com" in reply.message
        assert "--signing-url http" in reply.hint

        daemon.request("PUT", "/links/jira", {"url": hidden.base_url("jira"), "signing_url": "https://jira.example.com/jira"})
        begun = begin(daemon, "oob")
        code = hidden.approve("jira", begun["authorize_url"])
        assert daemon.request("POST", f"/dance/{begun['id']}", {"verifier": code}).json["state"] == "granted"
        assert daemon.request("POST", "/links/jira/check").json["user"] == "alice"


@pytest.mark.parametrize("refusals", ["newline", "body"])
def test_a_clock_an_hour_off_behind_a_padded_refusal(daemon: Daemon, refusals: RefusalForm) -> None:
    """A line's end after the body must not keep the clock from being learned: dance, check and signature all succeed."""
    with Sandbox(("jira",), clock=lambda: time.time() + 3_600, refusals=refusals) as late:
        daemon.dance(late, "jira")
        assert daemon.request("POST", "/links/jira/check").json["user"] == "alice"
        url = f"{late.base_url('jira')}/rest/api/2/myself"
        header = daemon.request("POST", "/sign", {"method": "GET", "url": url}).json["authorization"]
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE_S)
        connection.request("GET", urlsplit(url).path, headers={"Authorization": header})
        assert connection.getresponse().status == 200
        connection.close()


def test_without_a_key_or_link_nothing_begins(daemon: Daemon, sandbox: Sandbox) -> None:
    """key_missing, unknown_link, unknown callback."""
    daemon.request("PUT", "/links/jira", {"url": sandbox.base_url("jira")})

    assert daemon.request("POST", "/dance", {"link": "jira"}).code == "key_missing"
    assert daemon.request("POST", "/dance", {"link": "nobody"}).code == "unknown_link"
    assert daemon.request("POST", "/dance", {"link": "jira", "callback": "carrier pigeon"}).status == 422


def test_too_many_waiting_dances(linked: Daemon) -> None:
    """Each holds a port; cancelling one makes room."""
    begun = [begin(linked, "oob") for _ in range(32)]

    assert linked.request("POST", "/dance", {"link": "jira"}).code == "bad_request"
    linked.request("DELETE", f"/dance/{begun[0]['id']}")
    assert linked.request("POST", "/dance", {"link": "jira"}).status == 201
