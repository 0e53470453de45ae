"""What the real daemon records, and what a disk does to it."""

import json
import os
from pathlib import Path
from typing import Any

from atl_sign.sandbox import Sandbox
from tests.lab import Daemon, wait_for


def entries(daemon: Daemon) -> list[dict[str, Any]]:
    path = daemon.folder / ".local/state/atl-sign/audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_every_decision_is_recorded(daemon: Daemon, sandbox: Sandbox) -> None:
    """Key, link, dance and its end, check, signatures, refusals, logout; each with the peer that the kernel names."""
    daemon.dance(sandbox, "jira")
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
    daemon.request("POST", "/links/jira/check")
    daemon.request("POST", "/sign", {"method": "GET", "url": f"{url}?q=1"})
    daemon.request("POST", "/sign", {"method": "GET", "url": "http://127.0.0.1:1/"})
    daemon.request("DELETE", "/links/jira/token")
    daemon.request("POST", "/sign", {"method": "GET", "url": url})
    daemon.request("DELETE", "/links/jira")

    lines = entries(daemon)

    assert [(line["action"], line["outcome"]) for line in lines] == [
        ("key", "ok"),
        ("link", "ok"),
        ("dance", "ok"),
        ("dance", "granted"),
        ("check", "ok"),
        ("sign", "ok"),
        ("sign", "unknown_link"),
        ("logout", "ok"),
        ("sign", "dance_needed"),
        ("link", "ok"),
    ]
    assert {line["pid"] for line in lines} == {os.getpid()}
    assert {line["program"] for line in lines} == {str(Path("/proc/self/exe").readlink())}
    assert "q=1" not in str(lines)


def test_what_becomes_of_the_store_is_recorded(danced: Daemon) -> None:
    """Locks, unlocks and moves, also when they are refused; never a passphrase."""
    before = len(entries(danced))
    danced.request("POST", "/lock")
    danced.request("POST", "/unlock")
    danced.request("POST", "/unlock", {"passphrase": "canary"})
    danced.request("POST", "/store/move", {"backend": "file", "new_passphrase": "canary"})

    lines = entries(danced)[before:]

    assert [(line["action"], line["outcome"]) for line in lines] == [
        ("lock", "bad_request"),  # the memory store would lose everything
        ("unlock", "ok"),
        ("unlock", "bad_request"),
        ("store", "bad_request"),
    ]
    assert {line["pid"] for line in lines} == {os.getpid()}
    assert "canary" not in str(lines)


def test_a_dry_run_and_questions_are_no_decisions(daemon: Daemon) -> None:
    """Nothing is given away."""
    daemon.make_key()
    before = len(entries(daemon))
    for path in ("/status", "/links", "/key", "/nowhere"):
        daemon.request("GET", path)
    daemon.request("POST", "/sign", {"method": "GET", "url": "http://127.0.0.1:1/", "dry_run": True})

    assert len(entries(daemon)) == before


def test_a_log_that_cannot_be_written_stops_signing_only_when_required(danced: Daemon, sandbox: Sandbox) -> None:
    """A folder in the file's place, as a disk without room would."""
    path = danced.folder / ".local/state/atl-sign/audit.jsonl"
    request = {"method": "GET", "url": f"{sandbox.base_url('jira')}/x"}
    before = danced.config.read_text()
    path.unlink()
    path.mkdir()
    try:
        assert danced.request("POST", "/sign", request).status == 200
        (warning,) = danced.request("GET", "/status").json["warnings"]
        assert "audit" in warning
        danced.config.write_text(f'audit = "required"\n{before}')
        refused = danced.request("POST", "/sign", request)
        assert (refused.status, refused.code) == (503, "audit_unavailable")
    finally:
        path.rmdir()
        danced.config.write_text(before)
    assert danced.request("POST", "/sign", request).status == 200
    wait_for(lambda: danced.request("GET", "/status").json["warnings"] == [])


def test_what_is_done_is_told_as_done_though_it_cannot_be_recorded(daemon: Daemon, sandbox: Sandbox) -> None:
    """A lock above all; the twin: what gives something away is held back. The missing line is told by the status."""
    daemon.stop()
    daemon.environment["ATL_SIGN_STORE"] = "file"
    daemon.start()
    daemon.config.parent.mkdir(parents=True, exist_ok=True)
    daemon.config.write_text('audit = "required"\n')
    path = daemon.folder / ".local/state/atl-sign/audit.jsonl"
    path.mkdir(parents=True)

    assert daemon.request("POST", "/unlock", {"new_passphrase": "word"}).status == 200
    daemon.link(sandbox, "jira")
    assert daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"}).code == "audit_unavailable"
    assert daemon.request("DELETE", "/links/jira/token").status == 200
    locked = daemon.request("POST", "/lock")

    assert (locked.status, locked.json["state"]) == (200, "locked")
    status = daemon.request("GET", "/status").json
    assert status["store_state"] == "locked"
    assert any("audit log cannot be written" in warning for warning in status["warnings"])
    assert "audit log cannot be written" in daemon.log.read_text()
    assert daemon.request("POST", "/unlock", {"passphrase": "word"}).json["state"] == "ready"
    assert daemon.request("DELETE", "/links/jira").status == 200


def test_status_of_one_link(danced: Daemon) -> None:
    """And of none."""
    one = danced.request("GET", "/status?link=jira").json

    assert [link["name"] for link in one["links"]] == ["jira"]
    assert danced.request("GET", "/status?link=none").code == "unknown_link"
    assert "link: jira  active  alice  until " in danced.request("GET", "/status?link=jira", text=True).text
