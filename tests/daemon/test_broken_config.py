"""A `config.toml` that is not TOML: what it said before stays in force, and a daemon that starts with one guesses no store."""

import subprocess
import sys

from atl_sign.sandbox import Sandbox
from tests.daemon.activation import Activator
from tests.lab import DEADLINE_S, Daemon, wait_for

BROKEN = '[links.wiki]\nurl = "https://wiki.example.com\n'
PROBLEM = "file: illegal character '\\n'"


def start(daemon: Daemon, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Start one in the foreground that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "atl_sign.commands.cli", "serve"],
        env={**daemon.environment, **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_a_running_daemon_goes_on_with_what_it_had(daemon: Daemon, sandbox: Sandbox) -> None:
    """It signs, says what is wrong and where, and changes nothing; the file is fixed, and the change counts."""
    daemon.dance(sandbox, "jira")
    good = daemon.config.read_text()
    request = {"method": "GET", "url": sandbox.base_url("jira") + "/x"}
    daemon.config.write_text(good + BROKEN)
    line = good.count("\n") + 2

    assert daemon.request("POST", "/sign", request).status == 200
    assert daemon.request("GET", "/status").json["warnings"] == [f"config.toml line {line}, {PROBLEM}"]
    assert [link["name"] for link in daemon.request("GET", "/links").json["links"]] == ["jira"]
    missing = daemon.request("POST", "/sign", {"method": "GET", "url": "https://wiki.example.com/x"})
    assert (missing.code, missing.hint) == ("config_broken", f"fix {daemon.config}")
    changed = daemon.request("PUT", "/links/jira", {"url": sandbox.base_url("jira"), "timeout_s": 5})
    assert changed.code == "config_broken"
    assert daemon.config.read_text() == good + BROKEN

    daemon.config.write_text((good + BROKEN).replace("example.com\n", 'example.com"\nconsumer_key = "me"\n'))
    assert daemon.request("GET", "/status").json["warnings"] == []
    assert daemon.request("GET", "/links/wiki").status == 200
    daemon.config.unlink()  # the twin: no file is a reading, too
    assert daemon.request("POST", "/sign", request).code == "unknown_link"


def test_a_daemon_whose_store_is_named_elsewhere_starts_without_links(daemon: Daemon) -> None:
    """It says why there are none; with the file fixed they are there."""
    daemon.stop()
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(BROKEN)

    daemon.start()

    assert daemon.request("GET", "/links").json["links"] == []
    assert daemon.request("GET", "/status").json["warnings"] == [f"config.toml line 2, {PROBLEM}"]
    assert f"config.toml line 2, {PROBLEM}" in daemon.log.read_text()
    assert daemon.request("GET", "/links/wiki").code == "config_broken"
    daemon.config.write_text(BROKEN.replace("com\n", 'com"\nconsumer_key = "me"\n'))
    assert daemon.request("GET", "/links/wiki").status == 200


def test_a_setting_of_earlier_times_is_only_named(daemon: Daemon) -> None:
    """The link works, a link that is not there is not called broken, and the next change of the link takes the line out."""
    daemon.config.parent.mkdir(parents=True, exist_ok=True)
    daemon.config.write_text('[links.wiki]\nurl = "https://wiki.example.com"\nconsumer_key = "me"\nallow_insecure = true\n')

    assert daemon.request("GET", "/links/wiki").status == 200
    assert daemon.request("GET", "/links/other").code == "unknown_link"
    (warning,) = daemon.request("GET", "/status").json["warnings"]
    assert warning.startswith("config.toml line 4, links.wiki.allow_insecure: it has no effect: ")
    assert daemon.request("POST", "/links/wiki/default").status == 200
    assert "allow_insecure" not in daemon.config.read_text()
    assert daemon.request("GET", "/status").json["warnings"] == []
    assert daemon.request("PUT", "/links/wiki", {"url": "https://wiki.example.com", "allow_insecure": True}).code == "bad_request"


def test_a_wrong_name_keeps_no_daemon_from_starting(daemon: Daemon) -> None:
    """The twin of a file that cannot be read, whose problem is one of "file", too."""
    daemon.stop()
    daemon.environment["ATL_SIGN_STORE"] = ""
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text('file = 1\n[store]\nbackend = "memory"\n')

    daemon.start()

    assert daemon.request("GET", "/status").json["warnings"] == ["config.toml line 1, file: no such setting"]


def test_a_daemon_does_not_guess_the_store(daemon: Daemon) -> None:
    """The file that cannot be read may name it; a key or token in another one would seem to be lost."""
    daemon.stop()
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(f'[store]\nbackend = "memory"\n{BROKEN}')

    refused = start(daemon, ATL_SIGN_STORE="")

    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"atl-signd: which store keeps the secrets is not known: config.toml line 4, {PROBLEM}",
        f"hint: fix {daemon.config}",
    ]
    assert not daemon.socket.exists()


def test_a_client_at_the_socket_of_systemd_gets_the_reason() -> None:
    """And after the file is fixed, an answer, without another command."""
    daemon = Daemon(ATL_SIGN_STORE="", NOTIFY_SOCKET="@nobody")
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(f'[store]\nbackend = "memory"\n{BROKEN}')

    with Activator(daemon) as activator:
        refused = daemon.request("GET", "/links")
        wait_for(lambda: activator.statuses == [78])
        daemon.config.write_text('[store]\nbackend = "memory"\n')
        answered = daemon.request("GET", "/status")

    assert (refused.status, refused.code, refused.hint) == (503, "store_unavailable", f"fix {daemon.config}")
    assert refused.message == f"which store keeps the secrets is not known: config.toml line 4, {PROBLEM}"
    assert (answered.status, answered.json["store"]) == (200, "memory")
    daemon.close()
