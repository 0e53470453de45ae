"""The lines of git's global settings: which are written, kept and taken out; git is the real one."""

import subprocess
import sys
from pathlib import Path

import pytest

from atl_sign.commands import git_setup
from atl_sign.commands.calling import CommandError
from atl_sign.commands.git_setup import run_git
from atl_sign.sandbox import Sandbox
from tests.lab import Daemon

URL = "https://bitbucket.example.com"
OURS = f'[credential "{URL}"]\n\thelper =\n\thelper = atl-sign --link bb\n'


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which git's helper is on PATH."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "git-credential-atl-sign").write_text("#!/bin/sh\n")
    (commands / "git-credential-atl-sign").chmod(0o755)
    return {
        "PATH": f"{commands}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": str(tmp_path / "settings"),
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def settings(environment: dict[str, str], text: str | None = None) -> str:
    path = Path(environment["GIT_CONFIG_GLOBAL"])
    if text is not None:
        path.write_text(text)
    return path.read_text()


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (OURS, "", f'- [credential "{URL}"]\n- \thelper =\n- \thelper = atl-sign --link bb\n'),
        # Another link's and another program's stay, each with what stands before it.
        (
            OURS + "\thelper = atl-sign --link other\n[user]\n\tname = Ann\n",
            f'[credential "{URL}"]\n\thelper = atl-sign --link other\n[user]\n\tname = Ann\n',
            f'- [credential "{URL}"]\n- \thelper =\n- \thelper = atl-sign --link bb\n',
        ),
        ("[credential]\n\thelper = store\n", "[credential]\n\thelper = store\n", ""),
    ],
)
def test_remove_takes_out_ours(
    environment: dict[str, str], before: str, after: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so; where there is nothing to change, on standard error."""
    settings(environment, before)

    assert run_git(environment, "remove", "bb", as_json=False) == 0

    printed = capsys.readouterr()
    assert printed.out == shown
    assert printed.err == ("" if shown else "nothing to change in git's settings\n")
    left = listed(environment)
    settings(environment, after)
    assert left == listed(environment)


def listed(environment: dict[str, str]) -> list[str]:
    """What git reads, whatever the order of the sections."""
    command = ["git", "config", "--global", "--list"]
    return sorted(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines())


def test_a_value_goes_back_as_it_came(environment: dict[str, str]) -> None:
    """Bytes that are no UTF-8 too, in what is kept."""
    path = Path(environment["GIT_CONFIG_GLOBAL"])
    path.write_bytes(OURS.encode() + b"\thelper = caf\xe9\n")

    assert run_git(environment, "remove", "bb", as_json=True) == 0

    assert b"helper = caf\xe9\n" in path.read_bytes()
    assert b"atl-sign" not in path.read_bytes()


def test_settings_that_cannot_be_written_are_reported(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """With git's own words; the twin is every other test here."""
    settings(environment, OURS)
    Path(f"{environment['GIT_CONFIG_GLOBAL']}.lock").touch()

    assert run_git(environment, "remove", "bb", as_json=False) == 1

    assert capsys.readouterr().err.startswith("atl-sign: git does not change its settings: error: could not lock config file")
    assert settings(environment) == OURS


def test_without_git(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_git({**environment, "PATH": "/nonexistent"}, "remove", "bb", as_json=False) == 1

    assert capsys.readouterr().err == "atl-sign: git is not on PATH\nhint: install git\n"


def test_setup_writes_what_remove_takes_out(
    daemon: Daemon, sandbox: Sandbox, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the file as it was; a second time nothing changes; a helper of the user's own is left, and refused."""
    daemon.link(sandbox, "bitbucket", "bb")
    daemon.link(sandbox, "jira", "tasks")
    url = sandbox.base_url("bitbucket")
    here = {**daemon.environment, **environment}
    settings(environment, "[user]\n\tname = Ann\n")

    assert run_git(here, "setup", "bb", as_json=False) == 0
    added = f'+ [credential "{url}"]\n+ \thelper =\n+ \thelper = atl-sign --link bb\n+ \tuseHttpPath = true\n'
    assert capsys.readouterr().out == added
    assert run_git(here, "setup", "bb", as_json=False) == 0
    assert capsys.readouterr().err == "nothing to change in git's settings\n"
    # What comes later for every address would be asked, too.
    settings(environment, settings(environment) + "[credential]\n\thelper = store\n")
    assert run_git(here, "setup", "bb", as_json=False) == 0
    assert capsys.readouterr().out == added.replace("+", "-") + added
    assert run_git(here, "remove", "bb", as_json=False) == 0
    assert settings(environment) == "[user]\n\tname = Ann\n[credential]\n\thelper = store\n"
    capsys.readouterr()

    assert run_git(here, "setup", "tasks", as_json=False) == 1
    assert capsys.readouterr().err == (
        "atl-sign: link tasks is a jira, which has no git repositories\nhint: atl-sign link list\n"
    )
    assert run_git(here, "setup", "nobody", as_json=False) == 1
    assert "no application link is called nobody" in capsys.readouterr().err
    settings(environment, f'[credential "{url}"]\n\thelper = store\n')
    assert run_git(here, "setup", "bb", as_json=False) == 1
    assert f"hint: take it out first: git config --global --unset-all credential.{url}.helper" in capsys.readouterr().err


def test_the_helper_beside_the_program_is_named_by_its_path(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For git's shell, quoted where that is needed; the twin: there is none."""
    environment["PATH"] = "/usr/bin:/bin"
    for name, helper in (("plain", "{}/git-credential-atl-sign"), ("a folder", "!{}/git-credential-atl-sign")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "git-credential-atl-sign").write_text("#!/bin/sh\n")
        (folder / "git-credential-atl-sign").chmod(0o755)
        monkeypatch.setattr(sys, "argv", [str(folder / "atl-signd")])

        assert git_setup._find_helper(environment) == helper.format(str(folder).replace(" ", "\\ "))

    monkeypatch.setattr(sys, "argv", [str(tmp_path / "atl-signd")])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(CommandError, match="neither on PATH nor beside"):
        git_setup._find_helper(environment)
