"""Redirects that no honest server sends, that pages and other programs make up, and that come by other ways than a browser's."""

import http.client
import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from html import unescape
from urllib.parse import quote, urlencode, urlsplit

import pytest

from atl_sign.sandbox import Forge
from tests.lab import Daemon, Reply, wait_for
from tests.oauth2_lab import PORT, begin, dance, give_app, put_link, redirect_of, sign, visit
from tests.strange_server import CODE, SECRET, StrangeServer, back_from, sent_by, settings_of, tokens

Begun = dict[str, str]
STATE = "canary-state-of-another-dance"


@pytest.fixture
def server(daemon: Daemon) -> Iterator[StrangeServer]:
    """The link `app` leads there, and listens on `localhost` as those of Data Center do."""
    with StrangeServer() as started:
        started.answer("/token", tokens())
        settings = settings_of(started, flavour="datacenter", scopes="READ", redirect_port=PORT)
        assert daemon.request("PUT", "/links/app", settings).status == 201
        assert daemon.request("PUT", "/links/app/secret", {"secret": SECRET}).status == 200
        yield started


@pytest.fixture
def begun(daemon: Daemon, server: StrangeServer) -> Begun:
    return begin(daemon, "app")


def state_of(daemon: Daemon, begun: Begun) -> str:
    return str(daemon.request("GET", f"/dance/{begun['id']}").json["state"])


def paste(daemon: Daemon, begun: Begun, address: str) -> Reply:
    return daemon.request("POST", f"/dance/{begun['id']}", {"redirect_url": address})


def check_that_it_waits(daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """Nothing was sent, and the right redirect still ends the dance."""
    assert state_of(daemon, begun) == "waiting"
    assert server.asked("/token") == []
    assert visit(back_from(begun["authorize_url"]))[0] == 200
    assert state_of(daemon, begun) == "granted"
    assert [each.fields["code"] for each in server.asked("/token")] == [CODE]


def ask(address: str, method: str = "GET", at: str | None = None, **headers: str) -> tuple[int, dict[str, str], str]:
    """Send one request to the listener, as a browser that was told to do so, or as anybody else; *at* is the IP address."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(at or str(parts.hostname), parts.port, timeout=10)
    with closing(connection):
        connection.request(method, f"{parts.path}?{parts.query}", headers={"Host": parts.netloc, **headers})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()


# What nobody can have sent to this dance: query, and words of the page.
FOREIGN: dict[str, tuple[str, str]] = {
    "wrong state": (f"code={CODE}&state={STATE}", "belongs to a different sign-in"),
    "no state": (f"code={CODE}", "belongs to a different sign-in"),
    "empty state": (f"code={CODE}&state=", "belongs to a different sign-in"),
    "state in another case": (f"code={CODE}&state={{STATE}}", "belongs to a different sign-in"),
    "two states, ours first": (f"code={CODE}&state={{state}}&state={STATE}", "belongs to a different sign-in"),
    "two states, ours last": (f"code={CODE}&state={STATE}&state={{state}}", "belongs to a different sign-in"),
    "ours twice": (f"code={CODE}&state={{state}}&state={{state}}", "belongs to a different sign-in"),
    "two codes": (f"code={CODE}&code=other&state={{state}}", "belongs to a different sign-in"),
    "state with a letter that is no ASCII": (f"code={CODE}&state=%C3%A9", "belongs to a different sign-in"),
    "state with a zero byte": (f"code={CODE}&state={{state}}%00", "belongs to a different sign-in"),
    "error without state": ("error=access_denied", "belongs to a different sign-in"),
    "error with a wrong state": (f"error=access_denied&state={STATE}", "belongs to a different sign-in"),
    "no code": ("state={state}", "This response is incomplete"),
    "empty code": ("code=&state={state}", "belongs to a different sign-in"),
    "code with a newline": ("code=a%0D%0Ab&state={state}", "belongs to a different sign-in"),
    "code of 5,000 characters": ("code=" + "x" * 5_000 + "&state={state}", "belongs to a different sign-in"),
    "nothing": ("", "does not contain the product's answer"),
    "something else": ("hello=world", "does not contain the product's answer"),
    "broken escape": (f"code={CODE}&state=%zz", "does not contain the product's answer"),
    "no UTF-8": (f"code={CODE}&state=%FF", "does not contain the product's answer"),
}


def made_up(begun: Begun, query: str) -> str:
    asked = sent_by(begun["authorize_url"])
    return f"{asked['redirect_uri']}?{query.format(state=quote(asked['state']), STATE=asked['state'].swapcase())}"


@pytest.mark.parametrize("name", FOREIGN)
def test_a_redirect_that_is_not_this_dances_changes_nothing(
    name: str, daemon: Daemon, server: StrangeServer, begun: Begun
) -> None:
    """RFC 6749 §10.12: in the browser and pasted; the page and the error repeat nothing of it."""
    query, words = FOREIGN[name]
    address = made_up(begun, query)

    status, page = visit(address)
    pasted = paste(daemon, begun, address)

    assert status == 400
    assert words in unescape(page)
    assert pasted.code == "bad_request"
    for text in (page, pasted.text, daemon.log.read_text()):
        assert "canary" not in text
    check_that_it_waits(daemon, server, begun)


def test_an_answer_in_the_fragment_is_none(daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """Of the implicit flow, which nobody began; a browser keeps it to itself, and a pasted address is not searched for it."""
    address = back_from(begun["authorize_url"]).replace("?", "?x=1#")

    refused = paste(daemon, begun, address)

    assert (refused.code, "canary" in refused.text) == ("bad_request", False)
    check_that_it_waits(daemon, server, begun)


def test_parameters_that_nobody_knows_are_ignored(daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """RFC 6749 §4.1.2; Keycloak and Entra ID add some."""
    address = back_from(begun["authorize_url"], ("session_state", "x"), ("scope", "a b"), ("authuser", ""), ("Code", "other"))

    assert visit(address)[0] == 200

    assert state_of(daemon, begun) == "granted"
    assert [each.fields["code"] for each in server.asked("/token")] == [CODE]


def test_a_code_of_4096_characters_is_taken(daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """The twin of the one that is too long; of every printable letter."""
    code = "".join(map(chr, range(0x21, 0x7F))) + "x" * (4_096 - 94)

    assert visit(back_from(begun["authorize_url"], code=code))[0] == 200

    assert [each.fields["code"] for each in server.asked("/token")] == [code]


@pytest.mark.parametrize("length", [4_096, 4_000])
def test_a_long_address_can_be_pasted(length: int, daemon: Daemon, server: StrangeServer) -> None:
    """As it can be visited."""
    begun = begin(daemon, "app", "oob")

    assert paste(daemon, begun, back_from(begun["authorize_url"], code="x" * length)).json["state"] == "granted"


def test_a_code_without_its_address_is_not_taken(daemon: Daemon, server: StrangeServer) -> None:
    """RFC 6749 §10.12, RFC 9207: only the address shows whose answer it is."""
    begun = begin(daemon, "app", "oob")

    refused = daemon.request("POST", f"/dance/{begun['id']}", {"verifier": CODE})

    assert refused.code == "bad_request"
    assert "the whole address" in refused.hint
    assert server.asked("/token") == []
    assert paste(daemon, begun, back_from(begun["authorize_url"])).json["state"] == "granted"


HOSTILE = {
    "html": "<script>alert(1)</script>",
    "attribute": "\"' onmouseover=alert(1) '",
    "terminal": "\u001b]0;owned\u0007\u001b[2J",
    "lines": "a\r\nb: c\u2028d",
    "right to left": "\u202edecline",
    "long": "x" * 3_000,
    "many bytes": "\U0001f511" * 100,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_providers_words_do_no_harm(name: str, daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """The error's code is shown where it is one; its description and page are not (RFC 6749 §4.1.2.1)."""
    text = HOSTILE[name]
    more = (("error", text), ("error_description", f"described {text}"), ("error_uri", f"https://evil.example/{text}"))

    status, headers, page = ask(back_from(begun["authorize_url"], *more, code=None))

    assert status == 200
    assert "text/html; charset=utf-8" in headers["Content-Type"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert re.findall(r"<script|onmouseover=|\x1b|\x07|\u2028|\u202e", page) == []
    assert "described" not in page
    assert "evil.example" not in page
    shown = daemon.request("GET", f"/dance/{begun['id']}")
    assert (shown.json["state"], shown.json["error"]["code"]) == ("failed", "provider_refused")
    assert len(shown.json["error"]["message"]) < 200
    assert shown.json["error"]["message"].isprintable()
    for each in (daemon.request("GET", f"/dance/{begun['id']}", text=True).text, daemon.log.read_text()):
        assert all(line.isprintable() for line in each.splitlines())
    assert server.asked("/token") == []


# By the error's code, the message of the dance that failed; None: the user has refused.
REFUSALS = {
    "access_denied": None,
    "invalid_scope": "the app does not have the scopes that are asked for (invalid_scope)",
    "redirect_uri_mismatch": "the app is registered with another redirect address (redirect_uri_mismatch)",
    "unauthorized_client": "the app may not ask for this consent (unauthorized_client)",
    "temporarily_unavailable": "the provider is not available at the moment (temporarily_unavailable)",
    "server_error": "the provider failed (server_error)",
    "consent_required": "the provider refuses this consent (consent_required)",
    "": "the provider refuses this consent",
}


@pytest.mark.parametrize("word", REFUSALS)
@pytest.mark.parametrize("callback", ["loopback", "oob"])
def test_a_refusal_ends_the_dance(callback: str, word: str, daemon: Daemon, server: StrangeServer) -> None:
    """By the browser and pasted; a code beside it is not sent."""
    words = REFUSALS[word]
    begun = begin(daemon, "app", callback)
    address = back_from(begun["authorize_url"], ("error", word))

    if callback == "loopback":
        assert visit(address)[0] == 200
    else:
        assert paste(daemon, begun, address).code == ("dance_refused" if words is None else "provider_refused")

    shown = daemon.request("GET", f"/dance/{begun['id']}").json
    assert shown["state"] == ("refused" if words is None else "failed")
    assert (shown["error"] or {}).get("message") == (words and f"link app: {words}")
    assert server.asked("/token") == []


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1:{port}", "localhost", "localhost:{port}.attacker.example", ""])
def test_another_host_name_is_not_answered(host: str, daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """DNS rebinding: a page of another site can bring its own name here, but then the request says that name."""
    address = back_from(begun["authorize_url"])

    status, _, page = ask(address, Host=host.format(port=PORT))

    assert status == 400
    assert "cannot read this request" in page
    check_that_it_waits(daemon, server, begun)


def test_two_host_names_are_not_answered(daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """Nor none at all."""
    parts = urlsplit(back_from(begun["authorize_url"]))
    for hosts in (["attacker.example", parts.netloc], [parts.netloc, "attacker.example"], [parts.netloc, parts.netloc], []):
        with socket.create_connection(("127.0.0.1", PORT), timeout=10) as connection:
            lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", *(f"Host: {host}" for host in hosts), "", ""]
            connection.sendall("\r\n".join(lines).encode())
            assert connection.recv(1024).startswith(b"HTTP/1.1 400 ")
    check_that_it_waits(daemon, server, begun)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS"])
def test_another_method_uses_nothing_up(method: str, daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """A link checker's HEAD, response_mode=form_post, a preflight."""
    status, headers, page = ask(back_from(begun["authorize_url"]), method)

    assert (status, headers["Allow"]) == (405, "GET")
    assert (page == "") is (method == "HEAD")
    check_that_it_waits(daemon, server, begun)


@pytest.mark.parametrize(
    "path", ["/", "/callback", "/callback/", "/favicon.ico", "{path}/", "{path}/..", "/x/..{path}", "/{path}"]
)
def test_another_path_is_not_there(path: str, daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """RFC 9700 §4.4.2: each server has its own, so that another one cannot bring a code of its own."""
    parts = urlsplit(back_from(begun["authorize_url"]))

    assert ask(parts._replace(path=path.format(path=parts.path)).geturl())[0] == 404

    check_that_it_waits(daemon, server, begun)


def test_the_path_names_the_server(daemon: Daemon, server: StrangeServer) -> None:
    """Two links of two servers do not listen at one address."""
    with StrangeServer() as other:
        assert daemon.request("PUT", "/links/other", settings_of(other, redirect_port=PORT)).status == 201
        paths = []
        for name in ("app", "other"):
            begun = begin(daemon, name, "oob")
            paths.append(urlsplit(sent_by(begun["authorize_url"])["redirect_uri"]).path)
            daemon.request("DELETE", f"/dance/{begun['id']}")

    assert len(set(paths)) == 2


def test_a_redirect_that_comes_twice_counts_once(daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """A browser that loads the page again; the port is closed, or says that it is over."""
    address = back_from(begun["authorize_url"])
    assert visit(address)[0] == 200

    try:
        status, page = visit(address)
    except ConnectionError:
        pass
    else:
        assert status == 410
        assert "already over" in page

    assert state_of(daemon, begun) == "granted"
    assert len(server.asked("/token")) == 1
    assert paste(daemon, begun, address).code == "dance_refused"
    assert len(server.asked("/token")) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_browser_may_take_either_address_of_localhost(
    address: str, daemon: Daemon, server: StrangeServer, begun: Begun
) -> None:
    """Where the name is registered, the browser asks the system what it is (facts oauth2.md section 2)."""
    assert urlsplit(back_from(begun["authorize_url"])).hostname == "localhost"

    assert ask(back_from(begun["authorize_url"]), at=address)[0] == 200

    assert state_of(daemon, begun) == "granted"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_a_second_program_on_the_port_is_noticed_before_the_browser_opens(
    host: str, daemon: Daemon, server: StrangeServer
) -> None:
    """On either address, or on all: the browser would bring the code to it. When it has gone, the dance begins."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind((host, PORT))
        other.listen()

        refused = daemon.request("POST", "/dance", {"link": "app", "callback": "loopback"})

        assert refused.code == "bad_request"
        assert f"another program listens on port {PORT}" in refused.message
        assert "redirect port" in refused.hint
    assert begin(daemon, "app")["state"] == "waiting"


def test_no_second_program_gets_the_port_while_the_dance_waits(daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """Neither of both addresses; afterwards they are free."""

    def is_free(host: str) -> bool:
        try:
            with socket.create_server((host, PORT), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                return True
        except OSError:
            return False

    for host in ("127.0.0.1", "::1", "0.0.0.0"):
        assert not is_free(host)
    check_that_it_waits(daemon, server, begun)
    wait_for(lambda: is_free("127.0.0.1") and is_free("::1"))


def test_one_dance_after_the_other_gets_the_port(daemon: Daemon, server: StrangeServer) -> None:
    """As soon as one has ended, however it ended."""
    for _ in range(5):
        begun = begin(daemon, "app")
        daemon.request("DELETE", f"/dance/{begun['id']}")
        begun = begin(daemon, "app")
        assert visit(back_from(begun["authorize_url"]))[0] == 200


# the issuer (RFC 9207)


@pytest.fixture
def forge(daemon: Daemon) -> Iterator[Forge]:
    """A server that announces that each redirect names it."""
    with Forge("generic") as started:
        url = started.url("site")
        put_link(daemon, "app", url, flavour="generic", issuer=url, scopes="read")
        give_app(daemon, "app", started.register_app(redirect_uris=[redirect_of(url, host="127.0.0.1")]))
        yield started


def exchanges(forge: Forge) -> int:
    return sum(each.target.startswith(b"/token") for each in forge.state.requests)


@pytest.mark.parametrize("deny", [False, True])
@pytest.mark.parametrize("forged", ["https://attacker.example", "{url}/", "{URL}", ""])
def test_a_redirect_of_another_server_ends_the_dance(forged: str, deny: bool, daemon: Daemon, forge: Forge) -> None:
    """No code is sent to anybody: the server that was asked would get one of the other's, or the other way round."""
    url = forge.url("site")
    forge.faults.iss = forged.format(url=url, URL=url.upper())
    begun = begin(daemon, "app")

    status, page = visit(forge.approve(begun["authorize_url"], deny=deny))

    assert status == 200
    assert "comes from another server than the one that was asked" in page
    shown = daemon.request("GET", f"/dance/{begun['id']}").json
    assert (shown["state"], shown["error"]["code"]) == ("failed", "provider_refused")
    assert exchanges(forge) == 0
    assert "attacker.example" not in daemon.log.read_text() + page


def test_a_redirect_without_its_server_ends_the_dance_where_there_always_is_one(daemon: Daemon, forge: Forge) -> None:
    """RFC 9207 §2.4; with it, the same server's dance is granted."""
    begun = begin(daemon, "app")
    address = forge.approve(begun["authorize_url"])
    without, _, iss = address.rpartition("&iss=")
    assert iss

    assert "names no issuer" in unescape(visit(without)[1])

    assert exchanges(forge) == 0
    assert dance(daemon, "app", forge.approve)["state"] == "granted"
    assert exchanges(forge) == 1
    assert sign(daemon, f"{forge.url('site')}/api/user").status == 200


def test_the_sandboxs_own_faults_in_a_redirect(daemon: Daemon, forge: Forge) -> None:
    """Two states, none, foreign parameters: each with a server that is otherwise right."""
    for fault in ("doubles_state", "omits_state"):
        setattr(forge.faults, fault, True)
        begun = begin(daemon, "app")
        assert visit(forge.approve(begun["authorize_url"]))[0] == 400
        assert state_of(daemon, begun) == "waiting"
        daemon.request("DELETE", f"/dance/{begun['id']}")
        forge.faults.clear()
    assert exchanges(forge) == 0
    forge.faults.extra = (("session_state", "x"), ("utm_source", "<b>"))
    assert dance(daemon, "app", forge.approve)["state"] == "granted"


def test_a_server_that_says_nothing_lets_the_dance_wait(daemon: Daemon, forge: Forge) -> None:
    """Its page ends it: only the user or the time does (facts oauth2.md section 3, a redirect address that is not registered)."""
    forge.faults.is_silent = True
    begun = begin(daemon, "app")

    assert forge.approve(begun["authorize_url"]) == ""

    assert daemon.request("GET", f"/dance/{begun['id']}?wait=0.3").json["state"] == "waiting"
    assert daemon.request("DELETE", f"/dance/{begun['id']}").json["state"] == "cancelled"


def test_the_listeners_head_is_bounded(daemon: Daemon, server: StrangeServer, begun: Begun) -> None:
    """An address of 100 KB is not read to its end."""
    address = back_from(begun["authorize_url"], ("padding", "x" * 100_000))

    with suppress(ConnectionError):  # it may be cut off while it is still being sent
        assert ask(address)[0] == 431

    check_that_it_waits(daemon, server, begun)


def test_a_state_is_new_in_each_dance(daemon: Daemon, server: StrangeServer) -> None:
    """And so is the challenge: 256 bits each."""
    asked = []
    for _ in range(3):
        begun = begin(daemon, "app")
        asked.append(sent_by(begun["authorize_url"]))
        daemon.request("DELETE", f"/dance/{begun['id']}")

    for name in ("state", "code_challenge"):
        assert len({each[name] for each in asked}) == 3
        assert all(len(each[name]) == 43 for each in asked)
    assert {each["code_challenge_method"] for each in asked} == {"S256"}
    assert urlencode(asked[0]).find("canary") == -1
