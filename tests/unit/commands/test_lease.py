"""What the options of `lease new` and `run` become, and how a lease is printed."""

from datetime import timedelta
from typing import Any

import pytest

from atl_sign.commands.command_line import UsageError, read_line
from atl_sign.commands.durations import format_duration, parse_duration
from atl_sign.commands.lease_opening import _docker_options, _format_environment, read_limits, read_terms
from atl_sign.commands.leases import describe
from atl_sign.commands.table.lease import LEASE, RUN
from atl_sign.commands.table.rows import usage_of

FOLDER = "/run/user/1000/atl-sign/leases/0a1b2c3d"


def make_lease(**changed: Any) -> dict[str, Any]:
    """A lease as the daemon answers it."""
    return {
        "id": "0a1b2c3d",
        "name": None,
        "purpose": None,
        "state": "open",
        "links": ["jira"],
        "rules": ["GET /x"],
        "entries": ["http"],
        "peers": "own",
        "tunnel": False,
        "expires_at": "2026-11-29T12:00:00Z",
        "expires_in_s": 3600,
        "uses_left": None,
        "allowed": 0,
        "denied": 0,
        "last_used_at": None,
        "last_peer": None,
        "parent": None,
        "lives_with": None,
        "sockets": {"http": f"{FOLDER}/http.sock"},
        "url": None,
        "ca_file": None,
        "secret": None,
        "env": {},
        **changed,
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800), ("1w", 604800), ("0s", 0), ("007m", 420)]
)
def test_a_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "1.5h", "2 h", "2H", "2y", "1h30m", "1234567s", "\uff12h", "2h\n"])
def test_other_times_are_refused(text: str) -> None:
    """The twin; other digits than 0 to 9 too."""
    with pytest.raises(ValueError, match="not a time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (3661, "1h 1m"), (7199, "1h 59m"), (90061, "1d 1h"), (86405, "1d 5s")],
)
def test_a_time_is_shown_by_its_largest_units(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


def test_options_become_fields() -> None:
    """Those that may be given several times as lines."""
    words = ["--link", "jira", "--link=wiki", "--allow", "read", "--deny", "DELETE /**", "--for", "2h", "--uses", "10"]

    opened = read_terms(read_line(LEASE, ["new", *words]), LEASE)
    run = read_terms(read_line(RUN, [*words, "--", "env", "--link", "other"]), RUN)

    assert opened == {"links": "jira\nwiki", "allow": "read", "deny": "DELETE /**", "expires_in_s": "7200", "uses": "10"}
    assert run == opened


def test_what_is_left_out_is_left_to_the_daemon() -> None:
    """So that defaults stand once."""
    assert read_terms(read_line(LEASE, ["new"]), LEASE) == {}
    assert read_terms(read_line(LEASE, ["new", "--read-only"]), LEASE) == {"allow": "read"}


def test_a_program_has_its_own_options() -> None:
    """Behind its name none is ours, with and without `--` before it."""
    for words in (["--sign", "--", "curl", "--link", "x", "--help"], ["--sign", "curl", "--link", "x", "--help"]):
        line = read_line(RUN, words)

        assert line.words == ["curl", "--link", "x", "--help"]
        assert not line.has("--link")
        assert line.has("--sign")
        assert not line.wants_help
    assert read_line(RUN, ["--", "--", "x"]).words == ["--", "x"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--for", "soon"], "option --for needs a time such as 90s, 30m, 2h or 7d"),
        (["--for", "0m"], "option --for takes from 1s to 30d"),
        (["--for", "721h"], "option --for takes from 1s to 30d"),
        (["--uses", "0"], "option --uses needs a whole number from 1 to 999999999"),
        (["--uses", "-1"], "option --uses needs a whole number from 1 to 999999999"),
        (["--uses", "1000000000"], "option --uses needs a whole number from 1 to 999999999"),
        (["--uses", "¹"], "option --uses needs a whole number from 1 to 999999999"),
    ],
)
def test_limits_that_cannot_be_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_limits(read_line(LEASE, ["change", "agent", *words]), LEASE)

    assert str(caught.value) == message
    assert caught.value.usage == usage_of(LEASE)


def test_the_largest_limits_are_taken() -> None:
    """The twin."""
    line = read_line(LEASE, ["change", "agent", "--for", "720h", "--uses", "999999999"])

    assert read_limits(line, LEASE) == {"expires_in_s": "2592000", "uses": "999999999"}


def test_rules_of_a_preset_are_shown_by_its_name() -> None:
    """A preset within another one is not named, nor one of which a rule is missing."""
    from atl_sign.access.presets.loading import load_preset

    read, edit = ([rule.text for rule in load_preset(name).rules] for name in ("read", "jira:edit"))
    rules = [*read, *edit[1:], "GET /x", "deny DELETE /**", "deny POST /rest/api/*/issue/*/comment"]

    lines = [line for line in describe(make_lease(rules=rules)) if line.startswith(("allow:", "deny:"))]

    rest = [f"allow: {rule}" for rule in edit[1:] if rule not in read]
    assert lines == ["allow: read", *rest, "allow: GET /x", "deny: jira:comment", "deny: DELETE /**"]


def test_a_lease_is_shown_as_far_as_there_is_something_to_say() -> None:
    assert describe(make_lease(), is_new=True) == [
        "id: 0a1b2c3d",
        "link: jira",
        "allow: GET /x",
        "until: 2026-11-29T12:00:00Z, in 1h",
        f"http_socket: {FOLDER}/http.sock",
    ]
    used = {"last_used_at": "2026-11-29T11:59:00Z", "last_peer": {"pid": 7, "uid": 0, "program": "/usr/bin/cu\x1brl"}}
    more = {"name": "agent", "purpose": "a\nid: b", "state": "used_up", "uses_left": 0, "peers": [0, 1000], "tunnel": True}
    assert describe(make_lease(**used, **more, allowed=3, denied=1, lives_with=42, url="http://127.0.0.1:7")) == [
        "id: 0a1b2c3d",
        "name: agent",
        "purpose: a\\nid: b",
        "state: used up",
        "link: jira",
        "allow: GET /x",
        "until: 2026-11-29T12:00:00Z, in 1h",
        "uses_left: 0",
        "allowed: 3",
        "denied: 1",
        "last_used: 2026-11-29T11:59:00Z by cu\\u001brl[7]",
        "peers: 0 1000",
        "tunnel: true",
        "lives_with: 42",
        f"http_socket: {FOLDER}/http.sock",
        "url: http://127.0.0.1:7",
    ]


def test_a_lease_that_is_over_has_no_sockets() -> None:
    lines = describe(make_lease(state="revoked", url="http://127.0.0.1:7"))

    assert lines[-3:] == ["until: 2026-11-29T12:00:00Z", "allowed: 0", "denied: 0"]


def test_the_environment_is_for_a_shell() -> None:
    """A quote in a value ends no word."""
    assert _format_environment(make_lease(env={"A": "x y", "B": "it's $HOME"})) == [
        "export A='x y'",
        "export B='it'\\''s $HOME'",
    ]


def test_a_container_sees_the_folder_elsewhere() -> None:
    """Values that are paths there are changed, and no others, such as one that only begins alike."""
    env = {"ATL_SIGN_SOCK": f"{FOLDER}/sign.sock", "CA": f"{FOLDER}/ca.pem", "OTHER": f"{FOLDER}-2/x", "ID": "0a1b2c3d"}

    assert _docker_options(make_lease(env=env)) == [
        *("-v", f"{FOLDER}:/run/atl-sign"),
        *("-e", "ATL_SIGN_SOCK=/run/atl-sign/sign.sock"),
        *("-e", "CA=/run/atl-sign/ca.pem"),
        *("-e", f"OTHER={FOLDER}-2/x"),
        *("-e", "ID=0a1b2c3d"),
    ]
