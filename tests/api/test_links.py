"""Links, key, setup, check, logout and status over the real socket, against the sandbox."""

import json
import os
import resource
import socket
import time
import tomllib

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from atl_sign.sandbox import Sandbox
from tests.lab import PRODUCTS, Daemon, UnixConnection, revoke_tokens
from tests.tools.write_docs import OPENAPI
from tests.unit.raw_server import RawServer, reply


def test_a_link_is_added_changed_shown_and_removed(daemon: Daemon, sandbox: Sandbox) -> None:
    """The whole life of a link, and the file that it stands in."""
    base = sandbox.base_url("bamboo")

    added = daemon.request("PUT", "/links/bamboo", {"url": base + "/", "timeout_s": 5})
    assert added.status == 201
    assert added.json["url"] == base
    assert added.json["product"] == "bamboo"
    assert added.json["warnings"] == []
    assert added.json["token"]["state"] == "none"
    assert added.json["consumer_key"].startswith("atl-sign-")
    assert tomllib.loads(daemon.config.read_text())["links"]["bamboo"]["url"] == base
    assert daemon.config.stat().st_mode & 0o777 == 0o600

    changed = daemon.request("PUT", "/links/bamboo", {"url": base, "signing_url": "https://bamboo.example.com"}, form=True)
    assert changed.status == 200
    assert changed.json["consumer_key"] == added.json["consumer_key"]
    assert changed.json["timeout_s"] == 30
    assert daemon.request("GET", "/links/bamboo").json["signing_url"] == "https://bamboo.example.com"
    assert [link["name"] for link in daemon.request("GET", "/links").json["links"]] == ["bamboo"]
    assert daemon.request("GET", "/links", text=True).text.splitlines() == [
        f"NAME    URL{' ' * (len(base) - 3)}  TOKEN",
        f"bamboo  {base}  none",
    ]

    assert daemon.request("DELETE", "/links/bamboo", text=True).text == "removed link bamboo\n"
    assert daemon.request("GET", "/links/bamboo").code == "unknown_link"
    assert daemon.request("DELETE", "/links/bamboo").code == "unknown_link"
    assert daemon.request("GET", "/links", text=True).text == ""


def test_if_none_match_protects_an_existing_link(daemon: Daemon, sandbox: Sandbox) -> None:
    """`link add` does not replace by accident."""
    fields = {"url": sandbox.base_url("jira")}
    headers = {"If-None-Match": "*"}

    assert daemon.request("PUT", "/links/jira", fields, headers=headers).status == 201
    reply = daemon.request("PUT", "/links/jira", fields, headers=headers)
    assert (reply.status, reply.code) == (409, "link_exists")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"url": "ftp://a.example"}, "url"),
        ({"url": "https://a.example/?x"}, "url"),
        ({"url": "https://a.example", "signing_url": "nonsense"}, "signing_url"),
        ({"url": "https://a.example", "consumer_key": "a b"}, "consumer_key"),
        ({"url": "https://a.example", "ca_bundle": "relative.pem"}, "ca_bundle"),
        ({"url": "https://a.example", "proxy": "http://user:pw@proxy"}, "proxy"),
        ({"url": "https://a.example", "proxy": "http://\0"}, "proxy holds a control character"),
        ({"url": "https://a.example", "timeout_s": 0}, "timeout_s"),
        ({"url": "https://a.example", "timeout_s": "soon"}, "timeout_s"),
        ({"url": "https://a.example", "nonsense": 1}, "nonsense"),
        ({}, "url"),
    ],
)
def test_bad_settings_are_named_and_change_nothing(daemon: Daemon, fields: dict[str, object], word: str) -> None:
    """The file is not even made."""
    reply = daemon.request("PUT", "/links/a", fields)

    assert reply.status in (400, 422)
    assert word in reply.message
    assert not daemon.config.exists()


@pytest.mark.slow
def test_slow_providers_keep_nobody_else_waiting(daemon: Daemon) -> None:
    """More calls than there are threads wait for one provider: the links are added, and what needs no provider is quick."""
    count, connections = 60, []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        for index in range(count):
            fields = {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/c{index}", "timeout_s": 6}
            connections.append(UnixConnection(daemon.socket))
            connections[-1].request("PUT", f"/links/l{index}", json.dumps(fields), {"Content-Type": "application/json"})
        began_at = time.monotonic()
        status = daemon.request("GET", "/status")
        waited_s = time.monotonic() - began_at
        answers = [connection.getresponse() for connection in connections]
        added = [(answer.status, json.loads(answer.read())["warnings"]) for answer in answers]
        for connection in connections:
            connection.close()

    assert status.status == 200
    assert waited_s < 4
    assert [status for status, _ in added] == [201] * count
    words = ("no whole answer within 6 s", "too many requests wait for providers")
    assert all(len(warnings) == 1 and any(word in warnings[0] for word in words) for _, warnings in added)
    assert sum(words[0] in warnings[0] for _, warnings in added) >= 4
    assert len(tomllib.loads(daemon.config.read_text())["links"]) == count


def test_a_file_that_could_not_be_read_for_a_moment_is_read_again(daemon: Daemon) -> None:
    """Out of open files while it changed: what it said before goes on, and the problem is gone with its cause."""
    daemon.request("PUT", "/links/l", {"url": "http://127.0.0.1:1/l"})
    assert daemon.process is not None
    pid = daemon.process.pid
    connection = UnixConnection(daemon.socket)  # one that is open already: a new one is a file too

    def names_and_problems() -> tuple[list[str], list[str]]:
        connection.request("GET", "/links")
        answer = json.loads(connection.getresponse().read())
        return [link["name"] for link in answer["links"]], [problem["cause"] for problem in answer["problems"]]

    assert names_and_problems() == (["l"], [])
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # Below all that are open: their count leaves a gap for one more while the first request's connection is closed.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, before[1]))
    os.utime(daemon.config)
    assert names_and_problems() == (["l"], ["Too many open files"])

    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    assert names_and_problems() == (["l"], [])
    connection.close()


def test_a_file_that_is_nested_too_deeply_is_not_changed(daemon: Daemon) -> None:
    """2,000 names in one gave `internal`."""
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(".".join(["a"] * 2_000) + " = 1\n")

    refused = daemon.request("PUT", "/links/l", {"url": "http://127.0.0.1:1/l"})

    assert (refused.status, refused.code) == (503, "config_broken")
    assert refused.message == "config.toml is nested too deeply to be changed from here"


def test_a_bad_name_is_refused(daemon: Daemon) -> None:
    """Names stand in commands and in the store's items."""
    assert daemon.request("PUT", "/links/-x", {"url": "https://a.example"}).status == 422
    assert daemon.request("PUT", "/links/a%0Ab", {"url": "https://a.example"}).status == 422


def test_a_changed_address_forgets_the_grant(daemon: Daemon, sandbox: Sandbox) -> None:
    """A token goes to no other address than the one it was granted for."""
    daemon.dance(sandbox, "jira")
    assert daemon.request("GET", "/links/jira").json["token"]["state"] == "active"

    daemon.request("PUT", "/links/jira", {"url": sandbox.base_url("bamboo")})

    assert daemon.request("GET", "/links/jira").json["token"]["state"] == "none"
    reply = daemon.request("POST", "/sign", {"method": "GET", "url": sandbox.base_url("bamboo") + "/x"})
    assert reply.code == "dance_needed"


def test_a_hand_edited_address_gets_no_token_either(daemon: Daemon, sandbox: Sandbox) -> None:
    """The file is read again when it changed, and the safe compares."""
    daemon.dance(sandbox, "jira")
    daemon.config.write_text(daemon.config.read_text().replace(sandbox.base_url("jira"), sandbox.base_url("bamboo")))

    reply = daemon.request("POST", "/sign", {"method": "GET", "url": sandbox.base_url("bamboo") + "/x"})

    assert reply.code == "dance_needed"


def test_a_broken_part_is_told_with_line_and_cause(daemon: Daemon, sandbox: Sandbox) -> None:
    """The other links go on working, and the broken file is not rewritten."""
    daemon.dance(sandbox, "jira")
    text = daemon.config.read_text() + '\n[links.broken]\nurl = "https://a.example\n'
    daemon.config.write_text(text)
    line = text.count("\n")

    assert daemon.request("POST", "/sign", {"method": "GET", "url": sandbox.base_url("jira") + "/x"}).status == 200
    reply = daemon.request("GET", "/links/broken")
    assert (reply.status, reply.code) == (503, "config_broken")
    assert f"line {line}" in reply.message
    assert daemon.request("PUT", "/links/new", {"url": "https://b.example"}).code == "config_broken"
    assert daemon.config.read_text() == text
    assert f"line {line}" in daemon.request("GET", "/status", text=True).text
    assert daemon.request("GET", "/links").json["problems"][0]["line"] == line


def test_the_manifest_warns_of_another_base_url(daemon: Daemon) -> None:
    """A product that sees itself elsewhere predicts signature_invalid."""
    with Sandbox(("jira",), base_url="https://jira.example.com/jira") as other:
        reply = daemon.request("PUT", "/links/jira", {"url": other.base_url("jira")})

    assert reply.status == 201
    assert reply.json["base_url"] == "https://jira.example.com/jira"
    assert "https://jira.example.com" in reply.json["warnings"][0]


def test_a_link_to_nowhere_is_kept_with_a_warning(daemon: Daemon) -> None:
    """The server may be down just now."""
    reply = daemon.request("PUT", "/links/jira", {"url": "http://127.0.0.1:1/jira"}, text=True)

    assert reply.status == 201
    assert "warning: the provider of link jira" in reply.text
    assert daemon.request("GET", "/links/jira").status == 200


def test_a_link_says_its_product_when_it_is_asked(daemon: Daemon, sandbox: Sandbox) -> None:
    """Also after a restart, for any scheme, without a token; null where nobody answers, and no field without the question."""
    for product in PRODUCTS:
        daemon.request("PUT", f"/links/{product}", {"url": sandbox.base_url(product), "scheme": "bearer"})
    daemon.request("PUT", "/links/nowhere", {"url": "http://127.0.0.1:1/jira", "scheme": "bearer"})
    daemon.stop()
    daemon.start()

    found = {name: daemon.request("GET", f"/links/{name}?product=true").json["product"] for name in (*PRODUCTS, "nowhere")}

    assert found == {**{product: product for product in PRODUCTS}, "nowhere": None}
    assert "product: jira\n" in daemon.request("GET", "/links/jira?product=true", text=True).text
    assert "product" not in daemon.request("GET", "/links/jira").json
    assert daemon.request("GET", "/links/none?product=true").code == "unknown_link"


def test_setup_needs_a_key_and_prints_what_to_enter(daemon: Daemon, sandbox: Sandbox) -> None:
    """Field by field, for each product, old form and new."""
    for product in PRODUCTS:
        daemon.request("PUT", f"/links/{product}", {"url": sandbox.base_url(product), "consumer_key": f"key-{product}"})
    assert daemon.request("GET", "/links/jira/setup").code == "key_missing"
    public_key = daemon.make_key()

    for product in PRODUCTS:
        text = daemon.request("GET", f"/links/{product}/setup", text=True).text
        assert f"Where: {sandbox.base_url(product)}/plugins/servlet/applinks/listApplicationLinks" in text
        assert f"Consumer Key:  key-{product}" in text
        assert public_key in text
        assert "Create incoming link" in text
        assert "Atlassian product" in text
        answer = daemon.request("GET", f"/links/{product}/setup").json
        assert answer["product"] == product
        assert {field["label"]: field["value"] for field in answer["fields"]}["Public Key"] == public_key


def test_the_key_is_made_once_and_replaced_on_purpose(daemon: Daemon) -> None:
    """A second one would break every link."""
    missing = daemon.request("GET", "/key")
    assert (missing.status, missing.code) == (409, "key_missing")
    first = daemon.request("POST", "/key", {"bits": 3072})
    assert (first.status, first.json["bits"]) == (201, 3072)
    assert first.json["fingerprint"].startswith("SHA256:")

    again = daemon.request("POST", "/key", {})
    assert (again.status, again.code) == (409, "key_exists")
    assert daemon.request("GET", "/key", text=True).text == first.json["public_key"]

    replaced = daemon.request("POST", "/key", {"bits": "2048", "replace": "true"}, form=True)
    assert replaced.status == 201
    assert replaced.json["public_key"] != first.json["public_key"]
    assert daemon.request("POST", "/key", {"bits": 1024, "replace": True}).status == 422
    assert daemon.request("POST", "/key", {"bits": "1024", "replace": "true"}, form=True).status == 422


@pytest.mark.parametrize("product", PRODUCTS)
def test_check_names_the_user(danced: Daemon, product: str) -> None:
    """A signed who-am-I at each product."""
    reply = danced.request("POST", f"/links/{product}/check")

    assert reply.status == 200, reply.text
    assert reply.json["user"] == "alice"
    assert reply.json["product"] == product
    assert abs(reply.json["clock_offset_s"]) < 5
    assert reply.json["warnings"] == []
    assert "user: alice\n" in danced.request("POST", f"/links/{product}/check", text=True).text


def test_check_after_revocation_asks_for_a_dance(daemon: Daemon, sandbox: Sandbox) -> None:
    """The user took the grant back at the provider."""
    daemon.dance(sandbox, "jira")
    assert daemon.request("POST", "/links/jira/check").status == 200

    revoke_tokens(sandbox, "jira")

    reply = daemon.request("POST", "/links/jira/check")
    assert (reply.status, reply.code, reply.hint) == (409, "dance_needed", "atl-sign dance jira")
    assert "token_rejected" in reply.message


def test_check_learns_a_clock_that_is_an_hour_off(daemon: Daemon) -> None:
    """Refused with the acceptable timestamps, tried once more with the provider's time, and told."""
    with Sandbox(("jira",), clock=lambda: time.time() + 3600) as late:
        daemon.dance(late, "jira")
        reply = daemon.request("POST", "/links/jira/check")

        assert reply.status == 200, reply.text
        assert reply.json["clock_offset_s"] == pytest.approx(3600, abs=5)
        assert "s ahead" in reply.json["warnings"][0]


def test_a_public_key_of_another_length_is_named_everywhere(daemon: Daemon, sandbox: Sandbox) -> None:
    """The dance, the check and the doctor's diagnosis say the same, though the provider says nothing but 500."""
    daemon.dance(sandbox, "jira")
    consumer = sandbox.state.sites["jira"].state.find_consumer(daemon.request("GET", "/links/jira").json["consumer_key"])
    assert consumer is not None
    consumer.public_key = rsa.generate_private_key(65_537, 4_096).public_key()

    replies = [daemon.request("POST", "/links/jira/check"), daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"})]
    findings = {each["check"]: each for each in daemon.request("POST", "/links/jira/diagnosis").json["findings"]}

    words = "the provider has another public key for this consumer: it has 4096 bits, this machine's has 2048"
    for each in replies:
        assert (each.status, each.code) == (502, "provider_refused")
        assert words in each.message
        assert "atl-sign key" in each.hint
    assert findings["link.consumer"]["result"] == "ok"
    assert findings["link.signature"]["result"] == "broken"
    assert words in findings["link.signature"]["cause"]


def test_a_provider_that_asks_for_patience(daemon: Daemon) -> None:
    """The code, the hint and Retry-After reach the peer of a dance; the diagnosis has the same words."""
    daemon.make_key()
    with RawServer(reply("<html>Maintenance", 503, {"Retry-After": "45", "Content-Type": "text/html"})) as server:
        assert daemon.request("PUT", "/links/jira", {"url": f"{server.url}/jira"}).json["warnings"] != []
        begun = daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"})
        found = daemon.request("POST", "/links/jira/diagnosis").json["findings"][0]

    assert (begun.status, begun.code, begun.headers["retry-after"]) == (503, "provider_busy", "45")
    assert begun.message == "link jira: the provider is not available at the moment (status 503)"
    assert begun.hint == found["hint"] == "try again in 45 s"
    assert found["result"] == "broken"


def test_logout_forgets_the_token_and_says_where_to_revoke(daemon: Daemon, sandbox: Sandbox) -> None:
    """Here it is gone; there the user takes it back."""
    daemon.dance(sandbox, "jira")

    reply = daemon.request("DELETE", "/links/jira/token")

    assert reply.json["revoke_url"] == f"{sandbox.base_url('jira')}/plugins/servlet/oauth/users/access-tokens"
    assert daemon.request("GET", "/links/jira").json["token"]["state"] == "none"
    assert daemon.request("DELETE", "/links/nobody/token").code == "unknown_link"


def test_status_counts(danced: Daemon) -> None:
    """Version, store, links, tokens, signatures."""
    before = danced.request("GET", "/status").json
    danced.request("POST", "/sign", {"method": "GET", "url": danced.request("GET", "/links/jira").json["url"] + "/x"})
    after = danced.request("GET", "/status").json

    assert after["signatures"] == before["signatures"] + 1
    assert (after["store"], after["store_state"]) == ("memory", "ready")
    assert [(link["name"], link["token"]["state"], link["token"]["user"]) for link in after["links"]] == [
        (name, "active", "alice") for name in PRODUCTS
    ]
    assert after["dance_needed"] == []
    assert after["pid"] == danced.process.pid  # type: ignore[union-attr]
    assert f"version: {after['version']}\n" in danced.request("GET", "/status", text=True).text


def test_openapi_is_served(danced: Daemon) -> None:
    """Whole, though the app that serves is made without it."""
    document = json.loads(danced.request("GET", "/openapi.json").text)

    assert "/sign" in document["paths"]
    assert document == json.loads(OPENAPI.read_text())
