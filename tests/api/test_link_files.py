"""Links for many machines: the administrator's file beneath the user's, export and import, over the real socket."""

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fork_server import ForkServer
from tests.lab import Daemon, wait_for

TWO = """\
[links.jira]
url = "https://127.0.0.1:9/jira"
consumer_key = "fleet-{user}-{host}"

[links.wiki]
url = "https://127.0.0.1:9/wiki"
consumer_key = "shared"
"""
MINE = '[links.jira]\nurl = "https://127.0.0.1:9/mine"\nconsumer_key = "ann"\n'


@pytest.fixture
def managed(fork_server: ForkServer, tmp_path: Path) -> Iterator[tuple[Daemon, Path]]:
    """A daemon with an administrator's file that has two links, and that file."""
    path = tmp_path / "etc/config.toml"
    path.parent.mkdir()
    path.write_text(TWO)
    with Daemon(fork_server, ATL_SIGN_SYSTEM_CONFIG=str(path)) as daemon:
        yield daemon, path


def test_links_say_where_they_come_from(managed: tuple[Daemon, Path]) -> None:
    """In the list and alone; without an administrator's file the list is as it was."""
    daemon, path = managed
    daemon.config.parent.mkdir(parents=True, exist_ok=True)
    daemon.config.write_text(MINE)

    listed = daemon.request("GET", "/links", text=True).text.splitlines()
    wiki = daemon.request("GET", "/links/wiki", text=True).text

    assert [line.split()[-1] for line in listed] == ["FILE", str(daemon.config), str(path)]
    assert f"file: {path}\n" in wiki
    assert daemon.request("GET", "/links/jira").json["url"] == "https://127.0.0.1:9/mine"
    daemon.config.unlink()
    shown = daemon.request("GET", "/links/jira").json
    assert (shown["url"], shown["file"]) == ("https://127.0.0.1:9/jira", str(path))
    assert shown["consumer_key"].startswith("fleet-")
    assert "{" not in shown["consumer_key"]


def test_an_administrators_link_is_not_the_users_to_remove(managed: tuple[Daemon, Path]) -> None:
    """The refusal names the file, and what the user can do; the file stays."""
    daemon, path = managed

    reply = daemon.request("DELETE", "/links/jira")

    assert (reply.status, reply.code) == (409, "administrators_link")
    assert str(path) in reply.message
    assert reply.hint == "to forget its token: atl-sign logout jira"
    assert daemon.request("DELETE", "/links/jira/token").status == 200
    assert path.read_text() == TWO


def test_a_replaced_link_is_the_users_own_until_it_is_removed(managed: tuple[Daemon, Path]) -> None:
    """Without --replace it exists already; the removal brings the administrator's back, and says so."""
    daemon, path = managed
    fields = {"url": "https://127.0.0.1:9/mine", "timeout_s": 5}

    refused = daemon.request("PUT", "/links/jira", fields, headers={"If-None-Match": "*"})
    replaced = daemon.request("PUT", "/links/jira", fields)
    removed = daemon.request("DELETE", "/links/jira", text=True)

    assert refused.code == "link_exists"
    assert (replaced.status, replaced.json["file"]) == (200, str(daemon.config))
    assert replaced.json["consumer_key"].startswith("fleet-")  # kept, as in any change
    assert removed.text == f"removed link jira\nthe link jira of {path} applies from now on\n"
    assert daemon.request("GET", "/links/jira").json["url"] == "https://127.0.0.1:9/jira"
    assert path.read_text() == TWO


def test_a_default_among_administrators_links_is_the_users_choice(managed: tuple[Daemon, Path]) -> None:
    """The link becomes the user's own."""
    daemon, path = managed

    assert daemon.request("POST", "/links/wiki/default").json["file"] == str(daemon.config)
    assert path.read_text() == TWO


def test_the_users_link_goes_in_the_place_of_a_broken_one_of_the_administrator(managed: tuple[Daemon, Path]) -> None:
    """There is nothing of the user's to lose. Asked for, the broken one names its file."""
    daemon, path = managed
    path.write_text('\n[links.jira]\nurl = "htps://x"\nconsumer_key = "k"\n')

    refused = daemon.request("GET", "/links/jira")
    added = daemon.request("PUT", "/links/jira", {"url": "https://127.0.0.1:9/mine"})

    assert refused.code == "config_broken"
    assert refused.message.startswith(f"{path} line 2, links.jira: ")
    assert refused.hint == f"ask the administrator to fix {path}"
    assert added.status == 201
    assert daemon.request("GET", "/links").json["problems"][0]["file"] == str(path)


def test_an_untrusted_administrators_file_is_a_warning(managed: tuple[Daemon, Path]) -> None:
    """The daemon goes on with what it read before, and a new one without it."""
    daemon, path = managed
    assert daemon.request("GET", "/links/jira").status == 200
    path.chmod(0o666)

    (warning,) = [each for each in daemon.request("GET", "/status").json["warning_details"] if each["code"] == "config_problem"]

    assert f"{path}, file: it is not read while others may write {path}: chmod go-w {path}" in warning["message"]
    daemon.stop()
    daemon.start()  # ATL_SIGN_STORE names the store
    assert daemon.request("GET", "/links").json["links"] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("[store"),
        lambda path: path.write_text("[store]\nbackend = 5\n"),
        lambda path: path.write_text("store = 5\n"),
        lambda path: path.chmod(0o666),
    ],
)
def test_no_daemon_starts_with_an_unknown_store(fork_server: ForkServer, tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    """A file that cannot be read may name it: secrets must not go to another one. The user's file can name it too."""
    path = tmp_path / "config.toml"
    path.write_text('[store]\nbackend = "file"\n')
    spoil(path)
    daemon = Daemon(fork_server, ATL_SIGN_SYSTEM_CONFIG=str(path), ATL_SIGN_STORE="")
    try:
        done = daemon.run_program("serve")
        assert done.returncode != 0
        assert "which store keeps the secrets is not known" in done.stderr
        assert f"ask the administrator to fix {path}" in done.stderr
        daemon.config.parent.mkdir(parents=True)
        daemon.config.write_text('[store]\nbackend = "memory"\n')
        daemon.start()
        assert daemon.request("GET", "/status").json["store"] == "memory"
    finally:
        daemon.close()


def test_the_administrators_store_is_used(fork_server: ForkServer, tmp_path: Path) -> None:
    """Unless the user's file names one."""
    path = tmp_path / "config.toml"
    path.write_text('audit = "off"\n[store]\nbackend = "memory"\n')
    with Daemon(fork_server, ATL_SIGN_SYSTEM_CONFIG=str(path), ATL_SIGN_STORE="") as daemon:
        status = daemon.request("GET", "/status").json
        assert (status["store"], status["audit"]) == ("memory", "off")
        daemon.config.parent.mkdir(parents=True)
        daemon.config.write_text('audit = "on"\n')
        wait_for(lambda: daemon.request("GET", "/status").json["audit"] != "off")


def test_the_doctor_names_the_files(managed: tuple[Daemon, Path]) -> None:
    """Both, and the variable that moves one."""
    daemon, path = managed
    daemon.config.parent.mkdir(parents=True, exist_ok=True)
    daemon.config.write_text(MINE)

    checks = json.loads(daemon.run_program("doctor", "--json").stdout)["checks"]

    (config,) = [each for each in checks if each["check"] == "config"]
    assert config["result"] == "ok"
    assert config["cause"] == f"2 links in {path} and {daemon.config}"


# --- export and import ---


def test_an_export_is_imported_elsewhere(managed: tuple[Daemon, Path], daemon: Daemon) -> None:
    """The same links there, as the user's own; it can be the administrator's file too."""
    source, path = managed
    source.request("PUT", "/links/mine", {"url": "https://127.0.0.1:9/mine", "timeout_s": 5})

    text = source.request("GET", "/link-file", text=True).text
    done = daemon.request("POST", "/link-file", {"content": text}, text=True, form=True)

    keys = {name: link["consumer_key"] for name, link in tomllib.loads(text)["links"].items()}
    assert keys == {"mine": "atl-sign-{user}-{host}", "jira": "fleet-{user}-{host}", "wiki": "shared"}
    assert done.text.splitlines() == [
        "added link mine: https://127.0.0.1:9/mine",
        "added link jira: https://127.0.0.1:9/jira",
        "added link wiki: https://127.0.0.1:9/wiki",
    ]
    for name in ("mine", "jira", "wiki"):
        there, here = (each.request("GET", f"/links/{name}").json for each in (source, daemon))
        assert {**there, "file": ""} == {**here, "file": ""}
    path.write_text(text)
    assert source.request("GET", "/links").json["problems"] == []


def test_an_export_of_some_links(managed: tuple[Daemon, Path]) -> None:
    """By name, each once; a name that no link has is refused."""
    daemon, _ = managed

    some = daemon.request("GET", "/link-file?link=wiki&link=wiki").json
    none = daemon.request("GET", "/link-file?link=wiki&link=other")

    assert [*tomllib.loads(some["content"])["links"]] == ["wiki"]
    assert none.code == "unknown_link"


def test_an_export_reports_what_it_leaves_out(daemon: Daemon) -> None:
    """In comments, so that the rest is still a file."""
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(
        '[links.a]\nurl = "https://h"\nconsumer_key = "a{b}"\n[links."x\\ny"]\n'
        '[links.good]\nurl = "https://g"\nconsumer_key = "k"\n'
    )

    text = daemon.request("GET", "/link-file", text=True).text

    assert [*tomllib.loads(text)["links"]] == ["good"]
    assert "# warning: not in this file: link a, whose consumer key has a brace\n" in text
    assert "links.x\\ny: " in text


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (
            MINE + "[links.new]\n[store]\n",
            "bad_link_file",
            ["line 4, links.new: url is missing", "line 5, store: ", "line 1, links.jira: a link of this name exists already"],
        ),
        (
            MINE + '[links.new]\nurl = "https://n"\nconsumer_key = "k"\n',
            "link_exists",
            ["line 1, links.jira: a link of this name exists already"],
        ),
        ("[links", "bad_link_file", ["line 1, file: "]),
        ("", "bad_link_file", ["there is no link in it"]),
    ],
)
def test_nothing_of_a_bad_file_is_imported(daemon: Daemon, text: str, code: str, words: list[str]) -> None:
    """Every problem is named with its line."""
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(MINE)

    reply = daemon.request("POST", "/link-file", {"content": text})

    assert reply.code == code
    assert reply.message.startswith("nothing was changed: ")
    assert [each for each in words if each not in reply.message] == []
    assert daemon.config.read_text() == MINE


def test_replacing_shows_what_changes_first(daemon: Daemon) -> None:
    """With dry_run nothing does; a link that is the same is not written again."""
    daemon.config.parent.mkdir(parents=True)
    same = '\n# Ours.\n[links.same]\nurl = "https://s"  # as it is\nconsumer_key = "k"\n'
    daemon.config.write_text(MINE + same)
    changed = '[links.jira]\nurl = "https://other"\nconsumer_key = "ann"\ntimeout_s = 9\n'
    changed += '[links.new]\nurl = "https://n"\nconsumer_key = "{user}"\n'
    fields = {"content": changed + same, "replace": True}

    trial = daemon.request("POST", "/link-file", {**fields, "dry_run": True}, text=True).text
    assert trial.splitlines() == [
        "would change link jira: url, timeout_s",
        "would add link new: https://n",
        "link same is the same",
        "nothing was changed",
    ]
    assert daemon.config.read_text() == MINE + same
    assert daemon.request("POST", "/link-file", fields).json["links"][0]["changes"] == ["url", "timeout_s"]
    assert daemon.request("GET", "/links/jira").json["url"] == "https://other"
    assert same in daemon.config.read_text()
    lines = [json.loads(line) for line in (daemon.folder / ".local/state/atl-sign/audit.jsonl").read_text().splitlines()]
    assert [line["link"] for line in lines if line["action"] == "link"] == ["jira", "new"]


def test_a_token_does_not_go_along_to_another_address(danced: Daemon, daemon: Daemon) -> None:
    """As with any change of an address: the consent was for the old one."""
    shown = danced.request("GET", "/links/jira").json
    text = danced.request("GET", "/link-file?link=jira").json["content"]
    try:
        moved = text.replace(shown["url"], shown["url"] + "/elsewhere")
        assert danced.request("POST", "/link-file", {"content": moved, "replace": True}).status == 200
        assert danced.request("GET", "/links/jira").json["token"]["state"] == "none"
    finally:
        assert danced.request("POST", "/link-file", {"content": text, "replace": True}).status == 200


def test_a_thousand_links_are_imported_and_replaced(daemon: Daemon) -> None:
    """In seconds."""
    text = "".join(f'[links.l{number}]\nurl = "https://h{number}"\nconsumer_key = "k"\n' for number in range(1000))

    assert len(daemon.request("POST", "/link-file", {"content": text}).json["links"]) == 1000
    changed = daemon.request("POST", "/link-file", {"content": text.replace('"k"', '"other"'), "replace": True})

    assert all(each["changes"] == ["consumer_key"] for each in changed.json["links"])
