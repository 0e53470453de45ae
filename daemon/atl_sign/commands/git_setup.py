"""`atl-sign git setup` and `git remove`: the lines of git's global settings by which git asks the daemon."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from atl_sign.base.terminal import say
from atl_sign.commands.calling import FAILURES, CommandError, Conversation, print_answer, report, to_json
from atl_sign.commands.programs import find_program, first_line

_HELPER = "git-credential-atl-sign"
_Line = tuple[str, str]  # a setting's key and its value


def run_git(environment: Mapping[str, str], action: str, name: str, *, as_json: bool) -> int:
    """Set git up for the link called *name*, or take that out (*action* `remove`); returns the exit status."""
    removed: list[_Line] = []
    added: list[_Line] = []
    try:
        settings = _Settings(environment)
        if action == "setup":
            removed, added = _set_up(settings, environment, name, as_json=as_json)
        else:
            removed = settings.remove(name)
        if as_json:
            changes = {"removed": removed, "added": added}
            print_answer(to_json({way: [f"{key}={value}" for key, value in lines] for way, lines in changes.items()}))
        elif removed or added:
            print_answer("\n".join([*_show("-", removed), *_show("+", added)]))
        else:
            say("nothing to change in git's settings", out=sys.stderr)
    except FAILURES as exc:
        return report(exc)
    return 0


def _set_up(
    settings: "_Settings", environment: Mapping[str, str], name: str, *, as_json: bool
) -> tuple[list[_Line], list[_Line]]:
    helper = f"{_find_helper(environment)} --link {name}"
    daemon = Conversation(environment, as_json=as_json)
    url = daemon.fields_of(f"/links/{name}")["url"]
    found = daemon.read(f"/links/{name}?product=true").fields
    if found.get("has_git") is False:
        raise CommandError(f"link {name} is a {found['product']}, which has no git repositories", "atl-sign link list")
    key, path_key = f"credential.{url}.helper", f"credential.{url}.useHttpPath"
    values = settings.values(key)
    for value in values:
        if value and "atl-sign --link " not in value:
            hint = f"take it out first: git config --global --unset-all {key}"
            raise CommandError(f"git has a helper of yours for {url}: {value}", hint)
    # Without the path, the address below a context path is another one for `git credential` and Git LFS.
    needs_path = "/" in url.partition("://")[2]
    has_path = not needs_path or settings.values(path_key)[-1:] == ["true"]
    if values == ["", helper] and has_path and settings.is_last(key):
        return [], []
    removed = settings.remove(name)
    rest = settings.values(key)
    if rest:
        settings.change("--unset-all", key)
        removed += [(key, value) for value in rest]
    # The empty one makes git forget the helpers that were named before: they would be given our token to keep.
    added = [(key, ""), (key, helper)]
    for line in added:
        settings.change("--add", *line)
    if needs_path and settings.values(path_key)[-1:] != ["true"]:
        settings.change(path_key, "true")
        added.append((path_key, "true"))
    return removed, added


def _find_helper(environment: Mapping[str, str]) -> str:
    """Return the helper for git's settings: its name if that is on PATH, else the file beside this program, for git's shell."""
    if find_program(environment, _HELPER) is not None:
        return "atl-sign"
    program = Path(sys.argv[0]).absolute()
    for folder in (program.parent, program.resolve().parent, Path(sys.executable).parent):
        path = folder / _HELPER
        if os.access(path, os.X_OK):
            quoted = re.sub(r"([^A-Za-z0-9/._-])", r"\\\1", str(path))
            return quoted if quoted == str(path) else f"!{quoted}"
    raise CommandError(f"{_HELPER} is neither on PATH nor beside atl-signd", "install atl-sign again")


class _Settings:
    """Git's global settings."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        git = find_program(environment, "git")
        if git is None:
            raise CommandError("git is not on PATH", "install git")
        self._git = git
        self._environment = dict(environment)

    def values(self, key: str) -> list[str]:
        """Return the values of *key*, the first in the file first."""
        return self._read("--get-all", key)

    def is_last(self, key: str) -> bool:
        """Tell whether no helper for every address comes after *key*: git would ask that one, too."""
        named = [line.partition("\n")[0] for line in self._read("--get-regexp", r"^credential\..*helper$")]
        return [each for each in named if each in ("credential.helper", key)][-1:] == [key]

    def change(self, *arguments: str) -> None:
        """Change a setting; raises CommandError when git does not."""
        done = self._call(*arguments)
        if done.returncode != 0:
            raise CommandError(f"git does not change its settings: {first_line(done.stderr)}")

    def remove(self, name: str) -> list[_Line]:
        """Take out every helper of ours for the link called *name*, whatever its address was; returns what is gone."""
        removed: list[_Line] = []
        found = self._read("--get-regexp", r"^credential\..*\.helper$")
        for key in dict.fromkeys(line.partition("\n")[0] for line in found):
            values = self.values(key)
            kept: list[str] = []
            for value in values:
                if not value.endswith(f"atl-sign --link {name}"):
                    kept.append(value)
                    continue
                if kept and not kept[-1]:
                    removed.append((key, kept.pop()))
                removed.append((key, value))
            if kept == values:
                continue
            self.change("--unset-all", key)
            path_key = f"{key.removesuffix('.helper')}.useHttpPath"
            if self.values(path_key)[-1:] == ["true"]:
                self.change("--unset-all", path_key)
                removed.append((path_key, "true"))
            for value in kept:
                self.change("--add", key, value)
        return removed

    def _read(self, *arguments: str) -> list[str]:
        return self._call("--null", *arguments).stdout.split("\0")[:-1]

    def _call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self._git, "config", "--global", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",  # a value goes back as it came
            check=False,
        )


def _show(sign: str, lines: list[_Line]) -> list[str]:
    """Return *lines* as git's file has them, below their sections."""
    shown = []
    before = None
    for key, value in lines:
        section, _, name = key.rpartition(".")
        if section != before:
            shown.append(f'{sign} [credential "{section.removeprefix("credential.")}"]')
            before = section
        shown.append(f"{sign} \t{name} ={f' {value}' if value else ''}")
    return shown
