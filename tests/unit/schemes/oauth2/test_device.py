"""The begin of a device flow: what the server must say, and what it may say wrong (RFC 8628 §3.1, §3.2)."""

from collections.abc import Iterator
from typing import Any

import pytest

from atl_sign.base.credentials import App, Secret
from atl_sign.base.errors import BadRequestError, DaemonError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.schemes.base import Consent, DeviceCode
from atl_sign.schemes.oauth2.device import begin_device_flow
from atl_sign.schemes.oauth2.metadata import ClientAuth
from atl_sign.schemes.oauth2.server import Server
from tests.oauth2_links import make_link
from tests.strange_server import CLIENT_ID, DEVICE, HTML, PAGE, SECRET, StrangeServer, as_json, refusal, reset
from tests.unit.provider_lab import everything_shown
from tests.unit.raw_server import reply

# RFC 8628 §3.2, with the device's code as a canary.
EXAMPLE = {
    "device_code": DEVICE,
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://example.com/device",
    "verification_uri_complete": "https://example.com/device?user_code=WDJB-MJHT",
    "expires_in": 1800,
    "interval": 5,
}
PATIENCE = 1.2  # facts oauth2.md section 8.3: a little slower than the server says


@pytest.fixture
def server() -> Iterator[StrangeServer]:
    with StrangeServer() as started:
        yield started


def begin(server: StrangeServer, answer: Any, secret: str | None = SECRET, auth: ClientAuth = "body") -> Consent:
    server.answer("/device", answer)
    known = Server(f"{server.url}/authorize", f"{server.url}/token", f"{server.url}/device", None, auth, None)
    link = make_link(url=server.url, timeout_s=5)
    return begin_device_flow(link, App(CLIENT_ID, None if secret is None else Secret(secret)), known, ["read", "write"])


def fields(**changes: Any) -> bytes:
    return as_json({name: value for name, value in {**EXAMPLE, **changes}.items() if value is not ...})


def device_of(server: StrangeServer, **changes: Any) -> DeviceCode:
    device = begin(server, fields(**changes)).device
    assert device is not None
    return device


def failure(server: StrangeServer, answer: Any) -> DaemonError:
    with pytest.raises(DaemonError) as caught:
        begin(server, answer)
    assert "canary" not in everything_shown(caught.value)
    assert len(server.requests) == 1
    return caught.value


def test_the_example_of_the_standard_is_read(server: StrangeServer) -> None:
    consent = begin(server, fields())

    assert consent.authorize_url == EXAMPLE["verification_uri"]
    assert consent.key is not None
    assert consent.key.reveal() == DEVICE
    assert consent.device == DeviceCode(
        "WDJB-MJHT", "https://example.com/device?user_code=WDJB-MJHT", interval_s=5 * PATIENCE, lifetime_s=1800
    )
    assert "canary" not in repr(consent)


@pytest.mark.parametrize(("secret", "auth"), [(SECRET, "body"), (SECRET, "basic"), (None, "body"), (SECRET, "none")])
def test_the_app_shows_who_it_is(secret: str | None, auth: ClientAuth, server: StrangeServer) -> None:
    """RFC 8628 §3.1: as at the token endpoint; a public client only names itself."""
    begin(server, fields(), secret, auth)

    (asked,) = server.requests
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.fields["scope"] == "read write"
    assert ("client_secret" in asked.fields) is (secret is not None and auth == "body")
    assert ("authorization" in asked.headers) is (auth == "basic")


def test_without_an_address_there_is_no_device_flow(server: StrangeServer) -> None:
    known = Server(f"{server.url}/authorize", f"{server.url}/token", None, None, "body", None)

    with pytest.raises(BadRequestError, match="has no device flow") as caught:
        begin_device_flow(make_link(url=server.url), App(CLIENT_ID, None), known, [])

    assert caught.value.hint == "atl-sign dance app --oob"
    assert server.requests == []


@pytest.mark.parametrize(
    "changes",
    [
        {"user_code": ...},
        {"user_code": ""},
        {"user_code": 5},
        {"user_code": None},
        {"user_code": "x" * 65},
        {"user_code": "WDJB\r\nMJHT"},
        {"user_code": "\u001b[31mWDJB"},
        {"user_code": "ΩDJB"},
        {"device_code": ...},
        {"device_code": ""},
        {"device_code": ["canary"]},
        {"device_code": "canary\n"},
        {"device_code": "canary" * 1_000},
        {"verification_uri": ...},
        {"verification_uri": ""},
        {"verification_uri": 5},
        {"verification_uri": "http://example.com/device"},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "javascript://example.com/%0Aalert(1)"},
        {"verification_uri": "data:text/html,x"},
        {"verification_uri": "file:///etc/passwd"},
        {"verification_uri": "//example.com/device"},
        {"verification_uri": "https://github.com@attacker.example/"},
        {"verification_uri": "https://example.com/a b"},
        {"verification_uri": "https://example.com/\r\nx"},
        {"verification_uri": "example.com/device"},
        {"error": "x", "user_code": ...},
    ],
    ids=repr,
)
def test_a_code_or_a_page_that_cannot_be_shown_begins_nothing(changes: dict[str, Any], server: StrangeServer) -> None:
    """The user would type it, and open it in a browser."""
    error = failure(server, fields(**changes))

    assert isinstance(error, ProviderRefusedError)
    assert "begins no device flow" in error.message
    assert "atl-sign dance app" in (error.hint or "")


@pytest.mark.parametrize("page", ["http://127.0.0.1:8080/device", "http://localhost/device", "https://x.example/d?a=b"])
def test_a_page_may_be_on_this_machine(page: str, server: StrangeServer) -> None:
    """As every other address of a server may."""
    assert begin(server, fields(verification_uri=page)).authorize_url == page


def test_an_older_name_of_the_page_is_known(server: StrangeServer) -> None:
    """`verification_url`, from before RFC 8628; the right one counts when both are there."""
    assert (
        begin(server, fields(verification_uri=..., verification_url="https://old.example")).authorize_url == "https://old.example"
    )
    assert begin(server, fields(verification_url="https://old.example")).authorize_url == EXAMPLE["verification_uri"]


@pytest.mark.parametrize("whole", [..., None, "", 5, "javascript:alert(1)", "http://example.com/device", "https://exa mple"])
def test_a_page_with_the_code_is_left_out_when_it_is_none(whole: object, server: StrangeServer) -> None:
    """It is for a QR code; the code can always be typed."""
    assert device_of(server, verification_uri_complete=whole).whole_url is None


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (5, 5), (1, 1), (7.5, 7.5), (..., 5), (None, 5), ("5", 5), ("soon", 5), (True, 5), ([], 5),
        (0, 5), (-1, 5), (float("nan"), 5),
        (0.001, 1),  # thousands of questions a second
        (1e-300, 1), (3_600, 60), (10**400, 60), (float("inf"), 60),
    ],
)  # fmt: skip
def test_an_interval_is_bounded(interval: object, expected: float, server: StrangeServer) -> None:
    """RFC 8628 §3.2: 5 s when there is none; neither a flood of questions, nor an hour until the first."""
    assert device_of(server, interval=interval).interval_s == expected * PATIENCE


@pytest.mark.parametrize(
    ("expires_in", "expected"),
    [
        (1800, 1800), (300, 300), (..., 900), (None, 900), ("1800", 900), (0, 900), (-1, 900), (float("nan"), 900),
        (True, 900), (10**9, 3600), (10**400, 3600), (float("inf"), 3600),
    ],
)  # fmt: skip
def test_a_life_is_bounded(expires_in: object, expected: float, server: StrangeServer) -> None:
    """It ends some time."""
    assert device_of(server, expires_in=expires_in).lifetime_s == expected


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusal("invalid_client", 401), ProviderRefusedError, "(invalid_client)"),
        (refusal("device_flow_disabled", 200), ProviderRefusedError, "(device_flow_disabled)"),
        (refusal("unauthorized_client"), ProviderRefusedError, "(unauthorized_client)"),
        (refusal("invalid_scope"), ProviderRefusedError, "(invalid_scope)"),
        (refusal("<b>canary</b>"), ProviderRefusedError, "(status 400)"),
        (as_json([EXAMPLE]), ProviderRefusedError, "(status 200)"),
        (as_json(5), ProviderRefusedError, "(status 200)"),
        (reply(PAGE, 200, HTML), ProviderRefusedError, "(status 200)"),
        (reply("", 404), ProviderRefusedError, "(status 404)"),
        (reply("", 302, {"Location": "https://attacker.example/"}), ProviderRefusedError, "(status 302)"),
        (as_json({}, 500), ProviderRefusedError, "(status 500)"),
        (reset, ProviderUnreachableError, "the connection broke"),
        (fields(padding="x" * 2_000_000), ProviderUnreachableError, "larger than any real one"),
    ],
    ids=["client", "disabled", "unauthorized", "scope", "shout", "list", "number", "page", "404", "302", "500", "reset", "2 MB"],
)
def test_a_server_that_begins_nothing_says_why(answer: Any, kind: type[DaemonError], words: str, server: StrangeServer) -> None:
    """And is asked once."""
    error = failure(server, answer)

    assert isinstance(error, kind)
    assert words in error.message


@pytest.mark.parametrize(("status", "code"), [(429, "provider_busy"), (503, "provider_busy"), (502, "provider_unreachable")])
def test_a_failure_that_passes_is_not_the_apps_fault(status: int, code: str, server: StrangeServer) -> None:
    """Nobody is asked to tick a box."""
    error = failure(server, reply(PAGE, status, {**HTML, "Retry-After": "7"}))

    assert error.code == code
    assert "link setup" not in (error.hint or "")
