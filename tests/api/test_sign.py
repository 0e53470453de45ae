"""`POST /sign` over the real socket; what comes out is sent to the sandbox, which verifies with code of its own."""

import http.client
import json
import socket
import time
from urllib.parse import unquote, urlsplit

import pytest

from atl_sign.sandbox import Sandbox
from tests.lab import Daemon, Reply


def send(method: str, url: str, authorization: str, body: bytes = b"", content_type: str = "") -> tuple[int, str]:
    """Send one request, its target exactly as written in *url*, which http.client would refuse; returns status and text."""
    host = urlsplit(url).netloc
    target = url.split(host, 1)[1]
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"Authorization: {authorization}", "X-Atlassian-Token: no-check"]
    lines += [f"Content-Type: {content_type}"] if content_type else []
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", ""])
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        return response.status, response.read().decode()


@pytest.mark.parametrize("product", ["bamboo", "jira", "confluence", "bitbucket"])
def test_a_signed_get_is_accepted_by_each_product(danced: Daemon, sandbox: Sandbox, product: str) -> None:
    """The user's own name comes back."""
    paths = {
        "bamboo": "/rest/api/latest/currentUser",
        "jira": "/rest/api/2/myself",
        "confluence": "/rest/api/user/current",
        "bitbucket": "/plugins/servlet/applinks/whoami",
    }
    url = sandbox.base_url(product) + paths[product]

    reply = danced.request("POST", "/sign", {"method": "GET", "url": url})

    assert reply.status == 200
    assert reply.json["link"] == product
    assert reply.json["scheme"] == "oauth1"
    status, text = send("GET", url, reply.json["authorization"])
    assert status == 200
    assert "alice" in text


HARD_QUERIES = [
    'a=[1]&b={x}&c=p|q&d=^&e="',
    "q=a+b&r=a%2Bb&s=a%20b",
    "x=1;y=2&z",
    "empty=&&a=1",
    "n=2&n=1&n=2",
    "u=ü&v=%C3%BC&w=%c3%bc",
    "star=*&tilde=~&enc=%7E%2A",
    "pct=%25&amp=%26&eq=%3D&slash=a/b%2Fc",
]


@pytest.mark.parametrize("query", HARD_QUERIES)
def test_what_curl_can_send_is_signable(danced: Daemon, sandbox: Sandbox, query: str) -> None:
    """Characters that other libraries refuse or rewrite go out as they are, and the provider computes the same signature."""
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself?{query}"

    reply = danced.request("POST", "/sign", {"method": "GET", "url": url})

    assert reply.status == 200, reply.text
    quoted = "".join(char if ord(char) < 128 else "".join(f"%{byte:02X}" for byte in char.encode()) for char in url)
    assert send("GET", quoted, reply.json["authorization"])[0] == 200
    again = danced.request("POST", "/sign", {"method": "GET", "url": url}).json["authorization"]
    assert send("GET", quoted + "0", again)[0] == 401


def test_a_form_is_part_of_the_signature(danced: Daemon, sandbox: Sandbox) -> None:
    """The same header with another form body is refused."""
    url = f"{sandbox.base_url('bamboo')}/rest/api/latest/currentUser"
    form = "stage=&b=hello+world&c=%C3%A9~&a=0&a=1"
    kind = "application/x-www-form-urlencoded"

    for sent, verdict in ((form, "signature_valid"), (form + "0", "signature_invalid")):
        reply = danced.request("POST", "/sign", {"method": "POST", "url": url, "form": form})
        status, text = send("POST", url, reply.json["authorization"], sent.encode(), kind)
        assert (verdict in text) == (verdict == "signature_invalid")
        assert (status == 401) == (verdict == "signature_invalid")


def test_a_form_as_pairs_signs_like_the_raw_string(danced: Daemon, sandbox: Sandbox) -> None:
    """`form` may be decoded pairs."""
    url = f"{sandbox.base_url('bamboo')}/rest/api/latest/currentUser"

    reply = danced.request("POST", "/sign", {"method": "POST", "url": url, "form": [["b", "hello world"], ["a", "1"]]})

    assert send("POST", url, reply.json["authorization"], b"b=hello+world&a=1", "application/x-www-form-urlencoded")[0] != 401


FORM_BYTES_MAX = 1 << 20  # docs/api.md
LONG_FORMS = {
    "one value": "a=" + "x" * (FORM_BYTES_MAX - 2),
    "escapes": "a=" + "%C3%A9" * 174_762 + "xx",
    "9,532 parameters": "&".join(f"k{number:05}={'%20+' * 25}ab" for number in range(9_532)).ljust(FORM_BYTES_MAX, "x"),
    "raw letters": "a=" + "é" * ((FORM_BYTES_MAX - 2) // 2),
}


@pytest.mark.parametrize("in_json", [True, False])
@pytest.mark.parametrize("kind", LONG_FORMS)
def test_a_form_of_one_mebibyte_is_signed(danced: Daemon, sandbox: Sandbox, kind: str, in_json: bool) -> None:
    """However it is encoded on its way to the daemon, and the provider takes it; of one byte more there is nothing."""
    url = f"{sandbox.base_url('bamboo')}/rest/api/latest/currentUser"
    form = LONG_FORMS[kind]
    fields = {"method": "POST", "url": url}

    reply = danced.request("POST", "/sign", {**fields, "form": form}, form=not in_json)
    longer = danced.request("POST", "/sign", {**fields, "form": form + "x"}, form=not in_json)

    assert len(form.encode()) == FORM_BYTES_MAX
    assert reply.status == 200, reply.text
    status, text = send("POST", url, reply.json["authorization"], form.encode(), "application/x-www-form-urlencoded")
    assert status != 401, text
    assert (longer.status, longer.code, longer.message) == (413, "too_large", f"the form is over {FORM_BYTES_MAX} bytes")
    assert longer.hint == "send it as multipart or JSON, which are not signed"


def test_pairs_have_the_same_limit(danced: Daemon, sandbox: Sandbox) -> None:
    """Counted as the text that they are sent as when nothing has to be escaped."""
    fields = {"method": "POST", "url": f"{sandbox.base_url('bamboo')}/x"}
    pairs = [["a", "x" * (FORM_BYTES_MAX - 6)], ["b", "é"]]

    assert danced.request("POST", "/sign", {**fields, "form": [["a", "x" * (FORM_BYTES_MAX - 7)], ["b", "é"]]}).status == 200
    assert danced.request("POST", "/sign", {**fields, "form": pairs}).code == "too_large"


@pytest.mark.parametrize(
    ("query", "form", "count"),
    [
        ("&".join(f"a{number}" for number in range(1000)), None, None),
        ("&".join(f"a{number}" for number in range(1001)), None, 1001),
        ("a=1&&b&", "&".join(["c=d"] * 998), None),
        ("a=1&&b&", "&".join(["c=d"] * 999), 1001),
        ("", [["a", "b"]] * 1001, 1001),
    ],
    ids=["1000", "1001", "1000 in both", "1001 in both", "1001 pairs"],
)
def test_more_parameters_than_many_servers_read(
    danced: Daemon, sandbox: Sandbox, query: str, form: str | list[list[str]] | None, count: int | None
) -> None:
    """They are signed, and the answer has a warning; as text only with `details`, for without them it is one header line."""
    fields = {"method": "POST", "url": f"{sandbox.base_url('bamboo')}/x?{query}#a&b&c", "form": form}

    answer = danced.request("POST", "/sign", fields).json
    plain = danced.request("POST", "/sign", fields, text=True).text
    detailed = danced.request("POST", "/sign", {**fields, "details": True}, text=True).text.splitlines()

    assert plain.startswith("Authorization: OAuth ")
    assert plain.count("\n") == 1
    if count is None:
        assert "warning" not in answer
        assert not any(line.startswith("warning: ") for line in detailed)
    else:
        assert answer["warning"].startswith(f"the request has {count} parameters; many servers read only the first 1000 ")
        assert detailed[-1] == f"warning: {answer['warning']}"


def test_a_json_body_is_not_part_of_the_signature(danced: Daemon, sandbox: Sandbox) -> None:
    """Only forms are signed; a JSON body goes with a header signed without one."""
    url = f"{sandbox.base_url('jira')}/rest/api/2/issue"
    issue = {"fields": {"project": {"key": "WEB"}, "summary": "from a test", "issuetype": {"name": "Bug"}}}

    reply = danced.request("POST", "/sign", {"method": "POST", "url": url})
    status, text = send("POST", url, reply.json["authorization"], json.dumps(issue).encode(), "application/json")

    assert status != 401, text


def test_each_header_has_its_own_nonce(danced: Daemon, sandbox: Sandbox) -> None:
    """A header sent twice is refused; two headers for the same request are not."""
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
    first, second = (danced.request("POST", "/sign", {"method": "GET", "url": url}).json["authorization"] for _ in range(2))

    assert first != second
    assert send("GET", url, first)[0] == 200
    assert send("GET", url, second)[0] == 200
    status, text = send("GET", url, first)
    assert status == 401
    assert "nonce_used" in text


def test_text_is_one_header_line(danced: Daemon, sandbox: Sandbox) -> None:
    """What a shell hands to curl."""
    reply = danced.request("POST", "/sign", {"method": "GET", "url": f"{sandbox.base_url('jira')}/x"}, text=True, form=True)

    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text.startswith('Authorization: OAuth oauth_consumer_key="')
    assert reply.text.endswith('"\n')
    assert reply.text.count("\n") == 1


def refusal(daemon: Daemon, **fields: object) -> Reply:
    return daemon.request("POST", "/sign", {"method": "GET", **fields})


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        ("/../admin", "bad_url"),
        ("/%2e%2e/admin", "bad_url"),
        ("/a/..%2f..%2fadmin", "bad_url"),
        ("/a b", "bad_url"),
        ("/a\nb", "bad_url"),
        ("/a\x00", "bad_url"),
        ("/a\\b", "bad_url"),
        ("/a%zz", "bad_url"),
        ("/a?x=%ff", "bad_url"),
        ("/a[1]", "bad_url"),
        ("/a|b?c=1", "bad_url"),
        ('/a"', "bad_url"),
        ("/a?oauth_token=x", "bad_url"),
        ("/a?oauth_callback=x", "bad_url"),
        ("/a?oauth_token_secret=x", "bad_url"),
        ("/a?=x", "bad_url"),
        ("-test/a", "unknown_link"),
    ],
)
def test_what_cannot_be_signed_exactly_is_refused(danced: Daemon, sandbox: Sandbox, tail: str, code: str) -> None:
    """By name, and never by a guess."""
    reply = refusal(danced, url=sandbox.base_url("jira") + tail)

    assert reply.code == code
    assert reply.status == (404 if code == "unknown_link" else 400)
    assert "Authorization" not in reply.text


def test_urls_outside_every_link_are_refused(danced: Daemon, sandbox: Sandbox) -> None:
    """Other host, other port, other scheme, a user in the address, no address at all."""
    base = sandbox.base_url("jira")

    assert refusal(danced, url="https://jira.example.com/").code == "unknown_link"
    assert refusal(danced, url=base.replace("http:", "https:")).code == "unknown_link"
    assert refusal(danced, url=base.replace("//", "//alice:alice@")).code == "bad_url"
    assert refusal(danced, url="/rest/api/2/myself").code == "bad_url"
    assert refusal(danced, url="ftp://127.0.0.1/").code == "bad_url"


def test_a_named_link_must_cover_the_url(danced: Daemon, sandbox: Sandbox) -> None:
    """`link` chooses among those that fit, never beyond."""
    url = f"{sandbox.base_url('jira')}/x"

    assert danced.request("POST", "/sign", {"method": "GET", "url": url, "link": "jira"}).status == 200
    assert refusal(danced, url=url, link="bamboo").code == "unknown_link"
    assert refusal(danced, url=url, link="nobody").code == "unknown_link"


def test_a_form_with_another_method_than_post_is_refused(danced: Daemon, sandbox: Sandbox) -> None:
    """A servlet container reads forms of POST alone."""
    url = f"{sandbox.base_url('jira')}/x"

    reply = danced.request("POST", "/sign", {"method": "PUT", "url": url, "form": "a=1"})

    assert reply.code == "bad_request"
    assert danced.request("POST", "/sign", {"method": "PUT", "url": url}).status == 200


@pytest.mark.parametrize("method", ["GET /", "", "GE\nT", "G" * 65, "GET\r\nX: y"])
def test_a_method_that_is_no_token_is_refused(danced: Daemon, sandbox: Sandbox, method: str) -> None:
    """Nothing can be slipped into the request line."""
    assert danced.request("POST", "/sign", {"method": method, "url": f"{sandbox.base_url('jira')}/x"}).code == "bad_request"


def test_a_url_of_a_megabyte_is_refused(danced: Daemon, sandbox: Sandbox) -> None:
    """Over 64 KiB it is `bad_url`, over 4 MiB of body `too_large`."""
    base = sandbox.base_url("jira")

    assert refusal(danced, url=f"{base}/{'a' * 70_000}").code == "bad_url"
    reply = refusal(danced, url=f"{base}/{'a' * (1 << 22)}")
    assert (reply.status, reply.code) == (413, "too_large")


def test_without_key_or_token_the_hint_says_what_to_do(daemon: Daemon, sandbox: Sandbox) -> None:
    """key_missing, then dance_needed."""
    base = sandbox.base_url("jira")
    daemon.request("PUT", "/links/jira", {"url": base})

    reply = refusal(daemon, url=f"{base}/x")
    assert (reply.status, reply.code, reply.hint) == (409, "key_missing", "atl-sign key new")

    daemon.make_key()
    reply = refusal(daemon, url=f"{base}/x")
    assert (reply.status, reply.code, reply.hint) == (409, "dance_needed", "atl-sign dance jira")


def test_two_links_with_one_address_are_ambiguous(daemon: Daemon, sandbox: Sandbox) -> None:
    """Until the peer names one."""
    daemon.dance(sandbox, "jira", "one")
    daemon.link(sandbox, "jira", "two")
    url = f"{sandbox.base_url('jira')}/x"

    reply = refusal(daemon, url=url)
    assert (reply.status, reply.code) == (409, "ambiguous_link")
    assert daemon.request("POST", "/sign", {"method": "GET", "url": url, "link": "one"}).status == 200
    for name in ("two", "one"):
        assert daemon.request("POST", f"/links/{name}/default").json["default"] is True
        links = {link["name"]: link["default"] for link in daemon.request("GET", "/links").json["links"]}
        assert links == {"one": name == "one", "two": name == "two"}
    assert daemon.request("POST", "/sign", {"method": "GET", "url": url}).json["link"] == "one"
    assert daemon.request("POST", "/links/three/default").code == "unknown_link"
    daemon.request("PUT", "/links/one", {"url": sandbox.base_url("jira")})
    assert daemon.request("POST", "/sign", {"method": "GET", "url": url}).json["link"] == "one", "a change elsewhere leaves it"


def test_details_are_lines_below_the_header(danced: Daemon, sandbox: Sandbox) -> None:
    """Only in text: JSON has its fields in any case."""
    fields = {"method": "GET", "url": f"{sandbox.base_url('jira')}/x"}

    plain, detailed = (danced.request("POST", "/sign", {**fields, "details": each}) for each in (False, True))
    header, *lines = danced.request("POST", "/sign", {**fields, "details": True}, text=True).text.splitlines()

    assert set(plain.json) == set(detailed.json) == {"authorization", "link", "scheme", "uses"}
    assert header.startswith("Authorization: OAuth ")
    assert lines == ["link: jira"]


def test_a_dry_run_shows_the_base_string_without_secrets(daemon: Daemon, sandbox: Sandbox) -> None:
    """Before there is a token, too; what cannot be signed is refused like ever."""
    daemon.link(sandbox, "jira")
    url = f"{sandbox.base_url('jira')}/x?b=2&a=[1]"
    fields = {"method": "POST", "url": url, "form": "c=d+e", "dry_run": True}

    answer = daemon.request("POST", "/sign", fields).json

    assert sorted(answer) == ["base_string", "base_url", "form", "link", "method", "url"]
    method, uri, parameters = answer["base_string"].split("&")
    assert (method, unquote(uri)) == ("POST", f"{sandbox.base_url('jira')}/x")
    assert unquote(parameters).startswith("a=%5B1%5D&b=2&c=d%20e&oauth_consumer_key=")
    assert "oauth_token=TOKEN" in unquote(parameters)
    assert "base_string: POST&http%3A" in daemon.request("POST", "/sign", fields, text=True).text
    assert daemon.request("POST", "/sign", {**fields, "url": "https://elsewhere.example.com/"}).code == "unknown_link"
    assert daemon.request("GET", "/status").json["signatures"] == 0


def test_a_refusal_is_put_into_words(danced: Daemon) -> None:
    """What `atl-sign curl` says after a 401; a header without a problem has nothing to say."""
    header = 'OAuth realm="http%3A%2F%2Fx", oauth_problem="token_rejected"'

    answer = danced.request("POST", "/links/jira/problem", {"www_authenticate": header}).json
    assert answer["problem"] == "token_rejected"
    assert "token_rejected" in answer["message"]
    assert answer["hint"] == "atl-sign dance jira"
    text = danced.request("POST", "/links/jira/problem", {"www_authenticate": header}, text=True, form=True)
    assert text.text == f"{answer['message']}\nhint: atl-sign dance jira\n"
    nothing = danced.request("POST", "/links/jira/problem", {"www_authenticate": 'Basic realm="x"'}, text=True)
    assert (nothing.status, nothing.text) == (200, "")
    assert danced.request("POST", "/links/nobody/problem", {"www_authenticate": header}).code == "unknown_link"


def test_a_refused_timestamp_teaches_the_clock(daemon: Daemon, sandbox: Sandbox) -> None:
    """The next header has the provider's time."""
    daemon.dance(sandbox, "jira")
    url = f"{sandbox.base_url('jira')}/x"
    now = int(time.time())
    header = f'OAuth oauth_problem="timestamp_refused", oauth_acceptable_timestamps="{now + 3300}-{now + 3900}"'

    daemon.request("POST", "/links/jira/problem", {"www_authenticate": header})

    signed = daemon.request("POST", "/sign", {"method": "GET", "url": url}).json["authorization"]
    timestamp = int(signed.partition('oauth_timestamp="')[2].partition('"')[0])
    assert abs(timestamp - now - 3600) < 20
