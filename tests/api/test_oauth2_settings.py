"""The settings of OAuth 2.0 over the socket: what is refused and how, and what a change of one takes away."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from atl_sign.schemes.oauth2.settings import SETTINGS
from tests.lab import Daemon, Reply
from tests.oauth2_lab import PORT, begin, sign, visit
from tests.strange_server import ACCESS, CLIENT_ID, REFRESH, SECRET, StrangeServer, as_json, back_from, settings_of, tokens

MARK = "canary"
NO_ADDRESS: list[object] = [
    "", MARK, f"/{MARK}", f"//{MARK}.example", f"http://{MARK}.example", f"http://{MARK}.example/x", f"ftp://{MARK}.example",
    f"javascript:{MARK}", f"javascript://{MARK}/%0Aalert(1)", f"https://user:{MARK}@h.example", f"https://h.example:99999/{MARK}",
    f"https://h.example/{MARK} x", f"https://h.example/\n{MARK}", f"https://{MARK}.1/", "https://", "http://127.0.0.1.example/",
    "http://localhost.example/", "http://10.0.0.1/", "http://[::2]/", f"https://h.example/{MARK}é", f"https://h/%zz{MARK}",
]  # fmt: skip
NO_TEXT: list[object] = [5, 1.5, True, False, [], {}, [MARK], {MARK: 1}]
WRONG: dict[str, list[object]] = {
    "flavour": ["", MARK, "Generic", " generic", "generic\n", "oauth2"],
    "client_id": ["", f"{MARK} b", f"{MARK}\u0007", f"{MARK}ü", "x" * 256],
    "account": ["", "x" * 256, f"a\n{MARK}", f"{MARK}\u001b[31m"],
    "issuer": NO_ADDRESS,
    "scopes": ["", " READ", "READ ", "READ  WRITE", f'a"{MARK}', f"a\\{MARK}", f"{MARK}ü", f"READ\t{MARK}", f"READ\n{MARK}"],
    "redirect_port": [MARK, "47813", "", 0, 80, 1023, 65_536, -1, 10**30, 1.5, 47_813.0],
    "gateway": [
        "",
        MARK,
        f"ftp://{MARK}",
        f"https://{MARK}/path",
        f"https://{MARK}?x",
        f"https://user@{MARK}",
        f"https:// {MARK}",
    ],
    "authorize_url": NO_ADDRESS,
    "token_url": NO_ADDRESS,
    "device_url": NO_ADDRESS,
    "revoke_url": NO_ADDRESS,
    "who_url": NO_ADDRESS,
    "who_field": ["", f"{MARK} x", f"{MARK}/x", "x" * 65, f"$.{MARK}"],
    "client_auth": ["", MARK, "BASIC", "client_secret_basic"],
    "git_minutes": [MARK, "15", 0, 121, -1, 1.5],
}
RIGHT: dict[str, list[object]] = {
    "flavour": ["generic", "gitlab"],
    "client_id": ["x", "!" * 255, "a/b:c?d"],
    "account": ["alice@example.com", "Ålice Ünder", "x" * 255],
    "issuer": [
        "https://h.example",
        "https://h.example/realms/a%20b/",
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:1/x",
    ],
    "scopes": ["READ", "read:jira-work offline_access", "https://graph.example/.default"],
    "redirect_port": [1024, 65_535],
    "gateway": ["https://api.example", "http://127.0.0.1:1"],
    "authorize_url": ["https://h.example/authorize?tenant=a"],
    "token_url": ["https://h.example/token", "http://localhost:1/token"],
    "device_url": ["https://h.example/device"],
    "revoke_url": ["https://h.example/revoke"],
    "who_url": ["https://h.example/userinfo"],
    "who_field": ["preferred_username", "https.x-y"],
    "client_auth": ["basic", "body", "none"],
    "git_minutes": [1, 120],
}


@pytest.fixture
def server(daemon: Daemon) -> Iterator[StrangeServer]:
    """The link `app` leads there and has danced; it knows every address of the server."""
    with StrangeServer() as started:
        started.answer("/token", tokens())
        started.answer("/revoke", as_json({}))
        put(daemon, started)
        assert daemon.request("PUT", "/links/app/secret", {"secret": SECRET}).status == 200
        dance(daemon)
        assert is_signed(daemon, started)
        started.requests.clear()
        yield started


def put(daemon: Daemon, server: StrangeServer, **changes: object) -> Reply:
    addresses = {"device_url": f"{server.url}/device", "revoke_url": f"{server.url}/revoke", "who_url": f"{server.url}/who"}
    fields = settings_of(server, **{"redirect_port": PORT, **addresses, **changes})
    reply = daemon.request("PUT", "/links/app", {name: value for name, value in fields.items() if value is not None})
    assert reply.status in (200, 201), reply.text
    return reply


def dance(daemon: Daemon) -> None:
    begun = begin(daemon, "app")
    assert visit(back_from(begun["authorize_url"]))[0] == 200


def is_signed(daemon: Daemon, server: StrangeServer) -> bool:
    return sign(daemon, f"{server.url}/api/x").status == 200


def test_every_setting_is_tried_here() -> None:
    """A new one comes with its wrong values."""
    assert WRONG.keys() == RIGHT.keys() == {row.name for row in SETTINGS}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_named_and_not_repeated(name: str, daemon: Daemon, server: StrangeServer) -> None:
    """With status 422, in JSON and as text; nothing is changed."""
    before = daemon.config.read_bytes()
    kinds = [value for value in NO_TEXT if not (name == "git_minutes" and value == 5)]  # five minutes are right
    for value in [*kinds, *WRONG[name]]:
        for text in (False, True):
            fields = {**settings_of(server), name: value}
            refused = daemon.request("PUT", "/links/app", fields, text=text)
            assert refused.status == 422, (value, refused.text)
            assert name in refused.text, value
            assert MARK not in refused.text, value
    assert daemon.config.read_bytes() == before
    assert MARK not in daemon.log.read_text()
    assert is_signed(daemon, server)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_value_is_kept_as_it_was_written(name: str, daemon: Daemon) -> None:
    """An issuer is compared character by character."""
    fields = {"url": "http://127.0.0.1:1/api", "scheme": "oauth2", "flavour": "generic", "timeout_s": 1}
    for value in RIGHT[name]:
        assert daemon.request("PUT", "/links/other", {**fields, name: value}).status in (200, 201), value
        shown = daemon.request("GET", "/links/other").json[name]
        assert shown == value
        assert type(shown) is type(value)


@pytest.mark.parametrize("secret", [5, None, True, [], {}, [MARK], "", " ", f"{MARK} x", f"{MARK}\n x", f"{MARK}ü", MARK * 1_000])
def test_a_wrong_secret_is_not_repeated(secret: object, daemon: Daemon, server: StrangeServer) -> None:
    """Nor does it take the place of the one before."""
    for fields in ({"secret": secret}, {"secret": secret, MARK[:3]: 1}):
        for text in (False, True):
            refused = daemon.request("PUT", "/links/app/secret", fields, text=text)
            assert refused.status in (400, 422), refused.text
            assert MARK not in refused.text
    assert MARK not in daemon.log.read_text()
    dance(daemon)
    assert "Basic" in server.asked("/token")[-1].headers["authorization"]


def test_a_setting_of_another_scheme_is_refused(daemon: Daemon, server: StrangeServer) -> None:
    """And a link of another scheme has none of these."""
    refused = daemon.request("PUT", "/links/app", {**settings_of(server), "consumer_key": MARK})
    assert (refused.status, MARK in refused.text) == (422, False)
    for name, (value, *_) in RIGHT.items():
        refused = daemon.request("PUT", "/links/x", {"url": server.url, "scheme": "oauth1", name: value})
        assert (refused.status, name in refused.text) == (422, True)


# what a change takes away


def changes_of(other: StrangeServer) -> dict[str, dict[str, object]]:
    """Return the changes after which the secret and the tokens would go to somebody else."""
    return {
        "url": {"url": f"{other.url}/api"},
        "client_id": {"client_id": "another-app"},
        "flavour": {"flavour": "gitlab"},
        "issuer": {"issuer": other.url},
        "token_url": {"token_url": f"{other.url}/token"},
        "gateway": {"gateway": other.url},
        "device_url": {"device_url": f"{other.url}/device"},
        "revoke_url": {"revoke_url": f"{other.url}/revoke"},
        "who_url": {"who_url": f"{other.url}/who"},
    }


CHANGES = ("url", "client_id", "flavour", "issuer", "token_url", "gateway", "device_url", "revoke_url", "who_url")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_takes_grant_and_secret_along(name: str, daemon: Daemon, server: StrangeServer) -> None:
    """They were given for another place: the new one gets neither, whatever is asked for; changed back, they are gone, too."""
    with StrangeServer() as other:
        for each in (server, other):
            each.answer("/token", tokens())
            each.answer("/device", as_json({"error": "invalid_client"}, 401))
            each.answer("/oauth/authorize_device", as_json({"error": "invalid_client"}, 401))
            each.answer("/revoke", as_json({}))
            each.answer("/who", as_json({"sub": "alice"}))
        put(daemon, server, **changes_of(other)[name])

        assert daemon.request("GET", "/links/app").json["token"]["state"] == "none"
        assert not is_signed(daemon, server)
        daemon.request("POST", "/links/app/check")
        daemon.request("DELETE", "/links/app/token")
        daemon.request("POST", "/dance", {"link": "app", "callback": "device"})
        begun = daemon.request("POST", "/dance", {"link": "app", "callback": "oob"})
        if begun.status == 201:
            fields = {"redirect_url": back_from(begun.json["authorize_url"])}
            daemon.request("POST", f"/dance/{begun.json['id']}", fields)
            daemon.request("DELETE", "/links/app/token")

        for asked in (*other.requests, *server.requests):
            assert SECRET not in asked.everything
            assert encoded_secret() not in asked.everything
        put(daemon, server)
        assert daemon.request("GET", "/links/app").json["token"]["state"] == "none"


def encoded_secret() -> str:
    """Return what a Basic header has of the app's secret."""
    return b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"timeout_s": 7},
        {"scopes": "write"},
        {"client_auth": "body"},
        {"who_field": "login"},
        {"redirect_port": 20_000},
        {"proxy": None},
        {"git_minutes": 20},
        {"authorize_url": "{url}/authorize?prompt=login"},
    ],
    ids=repr,
)
def test_another_change_keeps_both(change: dict[str, Any], daemon: Daemon, server: StrangeServer) -> None:
    """The twin: the server is the same."""
    put(
        daemon,
        server,
        **{name: value.format(url=server.url) if isinstance(value, str) else value for name, value in change.items()},
    )

    assert is_signed(daemon, server)
    assert daemon.request("DELETE", "/links/app/token").json["is_revoked"]
    revoked = server.asked("/revoke")
    assert [each.fields["token"] for each in revoked] == [REFRESH, ACCESS]
    assert all(SECRET in each.everything or encoded_secret() in each.everything for each in revoked)


def test_a_file_that_was_edited_by_hand_takes_them_along_too(daemon: Daemon, server: StrangeServer) -> None:
    """The daemon reads it again; what the store has belongs to what it was given for."""
    with StrangeServer() as other:
        other.answer("/token", tokens())
        text = daemon.config.read_text()
        assert f"{server.url}/token" in text
        daemon.config.write_text(text.replace(f"{server.url}/token", f"{other.url}/token"))

        assert not is_signed(daemon, server)
        dance(daemon)

        (asked,) = other.asked("/token")
        assert SECRET not in asked.everything
        assert "authorization" not in asked.headers


# http

PLAIN = "http://h.example"


@pytest.mark.parametrize(
    "settings",
    [
        {"flavour": "datacenter", "url": PLAIN, "scopes": "READ"},
        {"flavour": "gitlab", "url": PLAIN},
        {"flavour": "github", "url": PLAIN},
        {"flavour": "github-enterprise", "url": PLAIN},
        {"flavour": "bitbucket-cloud", "url": PLAIN},
        {"flavour": "github", "url": "{url}", "gateway": PLAIN},
        {"flavour": "bitbucket-cloud", "url": "{url}", "gateway": PLAIN},
        {"flavour": "atlassian-cloud", "url": "{url}", "issuer": "{url}", "gateway": PLAIN},
    ],
    ids=repr,
)
@pytest.mark.parametrize("callback", ["oob", "device"])
def test_no_secret_goes_out_in_the_clear(callback: str, settings: dict[str, str], daemon: Daemon) -> None:
    """A server that is neither https nor on this machine: the dance does not begin; the proxy would see all that goes there."""
    with StrangeServer() as proxy:
        filled = {name: value.format(url=proxy.url) for name, value in settings.items()}
        fields = {"scheme": "oauth2", "client_id": CLIENT_ID, "proxy": proxy.url, "timeout_s": 5, **filled}
        assert daemon.request("PUT", "/links/plain", fields).status == 201
        assert daemon.request("PUT", "/links/plain/secret", {"secret": SECRET}).status == 200

        refused = daemon.request("POST", "/dance", {"link": "plain", "callback": callback})

        assert (refused.status, refused.code) == (400, "bad_url"), refused.text
        assert "neither https nor on this machine" in refused.message
        assert not any(SECRET in each.everything or "authorization" in each.headers for each in proxy.requests)


def test_on_this_machine_http_will_do(daemon: Daemon, server: StrangeServer) -> None:
    """The twin, and where a sandbox is."""
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        put(daemon, server, token_url=f"{url}/token")
        dance(daemon)
        assert is_signed(daemon, server)
