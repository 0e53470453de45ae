"""`POST /policy/check` and `atl-sign lease` over the real socket: no key, no provider, no audit line."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from atl_sign.access.presets import NAMES
from atl_sign.access.presets.loading import load_preset
from tests.fork_server import ForkServer
from tests.lab import Daemon

BASE = "https://jira.example.com/jira"
COMMENT = f"{BASE}/rest/api/2/issue/WEB-1/comment"
LINKS = f"""
[links.jira]
url = "{BASE}"
consumer_key = "c"
signing_url = "https://other.example.com/x"
[links.tokens]
url = "https://tokens.example.com"
scheme = "bearer"
[links.one]
url = "https://twice.example.com"
consumer_key = "c"
[links.two]
url = "https://twice.example.com"
consumer_key = "c"
"""


@pytest.fixture(scope="module")
def linked(fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon without a key, with links to hosts that do not exist."""
    with Daemon(fork_server) as daemon:
        daemon.config.parent.mkdir(parents=True, exist_ok=True)
        daemon.config.write_text(LINKS)
        yield daemon


def check(daemon: Daemon, method: str = "POST", url: str = COMMENT, **fields: Any) -> Any:
    reply = daemon.request("POST", "/policy/check", {"method": method, "url": url, **fields})
    assert reply.status == 200, reply.text
    return reply.json


def test_a_request_that_the_rules_allow(linked: Daemon) -> None:
    """With the rule, the preset that it is from, and the path as it was read."""
    assert check(linked, allow=["read", "jira:comment"]) == {
        "decision": "allow",
        "by": "allow",
        "reason": "a rule allows it",
        "rule": "POST /rest/api/*/issue/*/comment",
        "preset": "jira:comment",
        "reading": "/rest/api/2/issue/WEB-1/comment",
        "link": "jira",
    }


@pytest.mark.parametrize(
    ("fields", "by", "rule"),
    [
        ({}, "none", None),
        ({"allow": []}, "none", None),
        ({"allow": ["* /**"], "deny": ["jira:comment"]}, "deny", "POST /rest/api/*/issue/*/comment"),
        ({"allow": ["* /**"], "url": f"{BASE}/rest/pat/latest/tokens"}, "built_in", "* /rest/pat/**"),
        ({"allow": ["* /**"], "url": f"{COMMENT}?_method=PUT"}, "built_in", None),
        ({"allow": ["* /**"], "form": "_method=PUT"}, "built_in", None),
        ({"allow": ["* /**"], "form": [["_method", "PUT"]]}, "built_in", None),
        ({"allow": ["* /**"], "method": "TRACE"}, "built_in", None),
        ({"allow": ["POST /rest/api/*/issue/*/comment ?a=b"], "form": "a=c"}, "none", None),
    ],
)
def test_a_request_that_the_rules_do_not_allow(linked: Daemon, fields: dict[str, Any], by: str, rule: str | None) -> None:
    """By the list that decided; a check itself goes well."""
    answer = check(linked, **fields)

    assert (answer["decision"], answer["by"], answer["rule"]) == ("deny", by, rule)


def test_without_allow_reading_is_allowed(linked: Daemon) -> None:
    assert check(linked, "GET")["preset"] == "read"
    assert check(linked, "GET", allow=[])["decision"] == "deny"


def test_the_rules_are_for_the_path_that_goes_out(linked: Daemon) -> None:
    """Below the base URL, not below the one that a proxy's product believes in; for a link of any scheme."""
    assert check(linked, "GET", f"{BASE}/rest/x")["reading"] == "/rest/x"
    assert check(linked, "GET", "https://tokens.example.com/rest/x")["link"] == "tokens"
    assert check(linked, "GET", "https://twice.example.com/rest/x", link="two")["link"] == "two"


@pytest.mark.parametrize("rules", ["read\nPOST /rest/api/*/issue/*/comment\n", "\r\n POST  /rest/api/*/issue/*/comment \r\n\r\n"])
def test_a_text_has_one_rule_on_each_line(linked: Daemon, rules: str) -> None:
    """In a form, and in JSON too; both answer as text."""
    fields = {"method": "POST", "url": COMMENT, "allow": rules, "deny": "DELETE /**\nPUT /**"}

    for form in (True, False):
        assert linked.request("POST", "/policy/check", fields, form=form, text=True).text.splitlines() == [
            "decision: allow",
            "by: allow",
            "reason: a rule allows it",
            "rule: POST /rest/api/*/issue/*/comment",
            "reading: /rest/api/2/issue/WEB-1/comment",
            "link: jira",
        ]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"allow": ["get /x"]}, 400, "bad_rule"),
        ({"deny": ["jira:coment"]}, 400, "bad_rule"),
        ({"allow": ["confirm POST /x"]}, 400, "bad_rule"),
        ({"allow": ["GET /x\nPOST /y"]}, 400, "bad_rule"),
        ({"allow": ["GET /x"] * 201}, 400, "bad_rule"),
        ({"url": f"{BASE}/a?{'&'.join('a' * 1_001)}"}, 400, "path_ambiguous"),
        ({"url": f"{BASE}/rest/%2e%2e/secure"}, 400, "path_ambiguous"),
        ({"url": f"{BASE}/../secure"}, 400, "path_ambiguous"),  # also where a link could not be chosen
        ({"url": f"{BASE}/a;b"}, 400, "path_ambiguous"),
        ({"url": f"{BASE}/a?b=ä"}, 400, "path_ambiguous"),
        ({"url": f"{BASE}/a\\b"}, 400, "bad_url"),
        ({"url": f"{BASE}/a b"}, 400, "bad_url"),
        ({"url": "/rest/x"}, 400, "bad_url"),
        ({"url": f"{BASE}/a?%FF"}, 400, "bad_url"),
        ({"method": "GET /"}, 400, "bad_request"),
        ({"method": "PUT", "form": "a=b"}, 400, "bad_request"),
        ({"form": "a" * 1_048_577}, 413, "too_large"),
        ({"url": "https://jira.example.com/jira-admin/rest/x"}, 404, "unknown_link"),
        ({"url": "https://twice.example.com/rest/x"}, 409, "ambiguous_link"),
        ({"link": "nobody"}, 404, "unknown_link"),
        ({"link": "tokens"}, 404, "unknown_link"),
        ({"confirm": ["GET /x"]}, 422, "bad_request"),
        ({"allow": [1]}, 422, "bad_request"),
        ({"allow": None}, 422, "bad_request"),
        ({"url": None}, 422, "bad_request"),
    ],
)
def test_what_cannot_be_compared_is_refused(linked: Daemon, fields: dict[str, Any], status: int, code: str) -> None:
    """In the shape of every error."""
    reply = linked.request("POST", "/policy/check", {"method": "POST", "url": COMMENT, "allow": ["* /**"], **fields})

    assert (reply.status, reply.code) == (status, code)


def test_a_bad_rule_is_named_with_a_hint(linked: Daemon) -> None:
    reply = linked.request("POST", "/policy/check", {"method": "GET", "url": COMMENT, "deny": ["read", "post /x"]}, text=True)

    assert reply.text == "the rule post /x: a rule has no method 'post'\nhint: write POST\n"


def test_a_check_needs_no_key_and_leaves_no_audit_line(linked: Daemon) -> None:
    """The twin: a request to sign is recorded, and lacks the key."""
    audit = linked.folder / ".local/state/atl-sign/audit.jsonl"

    check(linked, allow=["* /**"])
    assert not audit.exists()

    assert linked.request("POST", "/sign", {"method": "POST", "url": COMMENT}).code == "key_missing"
    assert len(audit.read_text().splitlines()) == 1


# --- the commands ---


def test_lease_check_prints_the_decision(linked: Daemon) -> None:
    """Its status is 0 only if the request would be allowed; each option may be repeated."""
    allow = ("--allow", "read", "--allow=jira:comment")

    allowed = linked.run_program("lease", "check", f"POST {COMMENT}", *allow)
    assert (allowed.returncode, allowed.stderr) == (0, "")
    assert allowed.stdout.startswith("decision: allow\nby: allow\n")
    assert "preset: jira:comment\n" in allowed.stdout

    denied = linked.run_program(
        "lease", "check", f"  POST   {COMMENT} ", *allow, "--deny", "DELETE /**", "--deny", "jira:comment"
    )
    assert (denied.returncode, denied.stderr) == (1, "")
    assert denied.stdout.startswith("decision: deny\nby: deny\n")

    default = linked.run_program("lease", "check", f"POST {COMMENT}", "--json")
    assert default.returncode == 1
    assert json.loads(default.stdout)["by"] == "none"


def test_lease_check_takes_the_link_that_is_named(linked: Daemon) -> None:
    """By the option, else by the variable."""
    command = ("lease", "check", "GET https://twice.example.com/rest/x")

    assert "link: one\n" in linked.run_program(*command, ATL_SIGN_LINK="one").stdout
    assert "link: two\n" in linked.run_program(*command, "--link", "two", ATL_SIGN_LINK="one").stdout
    assert "several links" in linked.run_program(*command).stderr


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([f"GET {BASE}/a;b"], 2, "atl-sign: the path holds a semicolon\nhint: take it out: servers differ in how they read it\n"),
        ([f"GET {BASE}/a", "--allow", "get /a"], 2, "atl-sign: the rule get /a: a rule has no method 'get'\nhint: write GET\n"),
        (
            [COMMENT],
            2,
            "atl-sign: the request has no URL\nhint: atl-sign lease check 'GET https://jira.example.com/rest/api/2/myself'\n",
        ),
    ],
)
def test_lease_check_reports_what_is_wrong(linked: Daemon, words: list[str], status: int, message: str) -> None:
    done = linked.run_program("lease", "check", *words)

    assert (done.returncode, done.stdout, done.stderr) == (status, "", message)


def test_lease_check_reports_errors_as_json(linked: Daemon) -> None:
    done = linked.run_program("lease", "check", f"GET {BASE}/a;b", "--json")

    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["error"]["code"] == "path_ambiguous"


def test_lease_presets_prints_names_or_rules(linked: Daemon) -> None:
    """From the files of the package, without a daemon."""
    names = linked.run_program("lease", "presets", ATL_SIGN_SOCK="/nowhere/agent.sock")
    rules = linked.run_program("lease", "presets", "jira:edit", ATL_SIGN_SOCK="/nowhere/agent.sock")

    assert [line.split("  ")[0] for line in names.stdout.splitlines()] == list(NAMES)
    assert rules.stdout.splitlines() == [rule.text for rule in load_preset("jira:edit").rules]
    assert (names.returncode, rules.returncode) == (0, 0)


def test_lease_presets_prints_json(linked: Daemon) -> None:
    every = json.loads(linked.run_program("lease", "presets", "--json").stdout)["presets"]
    one = json.loads(linked.run_program("lease", "presets", "jira:comment", "--json").stdout)["presets"]

    assert [each["name"] for each in every] == list(NAMES)
    assert one == [{"name": "jira:comment", "summary": "comment on issues", "rules": ["POST /rest/api/*/issue/*/comment"]}]


def test_lease_presets_suggests_a_name(linked: Daemon) -> None:
    done = linked.run_program("lease", "presets", "jira:coment")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "atl-sign: there is no preset jira:coment, did you mean: jira:comment\nhint: atl-sign lease presets\n"
