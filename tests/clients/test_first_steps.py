"""The way of a new user to the first signed script, without bus, keyring and root: commands and failures are counted."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.clients.person import Person
from tests.daemon.activation import pid_in
from tests.lab import REPOSITORY, Daemon, wait_for

COMMANDS_MAX = 6
NOBODY = 65534
# Python may be installed below root's home, so the other user may read everything; nothing else is left of root.
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
    "--bounding-set=-all,+dac_read_search",
)
WORD = "correct horse"


class Newcomer:
    """A user with an empty home, who types commands at a terminal; `failures` has those that ended with another status than 0."""

    def __init__(self, lab: Daemon, sandbox: Sandbox) -> None:
        self._lab = lab
        self._sandbox = sandbox
        self._as = AS_NOBODY if os.geteuid() == 0 else ()
        self.commands: list[str] = []
        self.failures: list[str] = []
        self.seen = ""

    def type(self, line: str, *answers: tuple[str, str]) -> None:
        """Run *line* in a shell at a terminal; *answers* are (question, what is typed), a name with () is a person's deed."""
        self.commands.append(line)
        person = Person([*self._as, "bash", "-c", line], self._lab.environment, self._lab.folder)
        for question, text in answers:
            person.read_until(question)
            self.seen += person.seen
            person.type(f"{self._do(text, person.seen)}\n")
        status = person.finish()
        self.seen += person.seen
        if status != 0:
            self.failures.append(f"{line}: {status}\n{person.seen}")

    def _do(self, text: str, seen: str) -> str:
        if text == "enter_form()":
            self.enter_form()
            return ""
        return self.press_allow(seen) if text == "press_allow()" else text

    def enter_form(self) -> None:
        """What the administrator of Jira does, with what the command has printed."""
        key = re.findall(r"-----BEGIN PUBLIC KEY-----\n.*?-----END PUBLIC KEY-----\n", self.seen, re.S)[-1]
        consumer_key = re.findall(r"Consumer Key:\s+(\S+)", self.seen)[-1]
        self._sandbox.register_consumer("jira", consumer_key, key, name="a new user's")

    def press_allow(self, seen: str) -> str:
        """What the user does in a browser elsewhere; returns the code that the page shows."""
        return self._sandbox.approve("jira", re.findall(r"http://\S+oauth_token=\w+", seen)[-1])


@pytest.fixture
def newcomer(sandbox: Sandbox) -> Iterator[Newcomer]:
    lab = Daemon(ATL_SIGN_STORE="", ATL_SIGN_AUTOSTART="1", SSH_TTY="/dev/pts/0", TERM="dumb")
    for name in ("ATL_SIGN_STORE", "ATL_SIGN_AUTOSTART", "XDG_CONFIG_HOME"):
        del lab.environment[name]
    if os.geteuid() == 0:
        for folder in (lab.folder, lab.folder / "run"):
            os.chown(folder, NOBODY, NOBODY)
    assert "DBUS_SESSION_BUS_ADDRESS" not in lab.environment
    yield Newcomer(lab, sandbox)
    subprocess.run([*(AS_NOBODY if os.geteuid() == 0 else ()), "atl-sign", "stop"], env=lab.environment, check=True)
    wait_for(lambda: pid_in(lab.socket.with_name(f"{lab.socket.name}.lock")) is None)
    lab.close()


def write_script(newcomer: Newcomer, sandbox: Sandbox) -> Path:
    """The first script: who am I, signed."""
    script = newcomer._lab.folder / "first-script"
    url = shlex.quote(f"{sandbox.base_url('jira')}/rest/api/2/myself")
    script.write_text(f'#!/bin/bash\nset -e\natl-sign curl -sS --fail {url} | grep -o \'"name": "[a-z]*"\'\n')
    script.chmod(0o755)
    return script


def test_by_hand_it_takes_six_commands_at_most_and_none_fails(newcomer: Newcomer, sandbox: Sandbox) -> None:
    """As README's "Use it" has them: the first one offers the encrypted file, and goes on."""
    newcomer.type(
        f"atl-sign link add jira {sandbox.base_url('jira')}",
        (r"\[Y/n\] ", ""),
        ("New passphrase", WORD),
        ("Once more", WORD),
    )
    newcomer.enter_form()
    newcomer.type("atl-sign dance jira", ("The code.*: ", "press_allow()"))
    newcomer.type("atl-sign check jira")
    newcomer.type(f"{write_script(newcomer, sandbox)}")

    assert newcomer.failures == []
    assert len(newcomer.commands) <= COMMANDS_MAX
    assert newcomer.seen.rstrip().endswith('"name": "alice"')
    assert "hint:" not in newcomer.seen


def test_with_setup_it_takes_two(newcomer: Newcomer, sandbox: Sandbox) -> None:
    """The address of any page is enough; the administrator enters the form while the command waits."""
    newcomer.type(
        "atl-sign setup",
        ("Address: ", f"{sandbox.base_url('jira')}/secure/Dashboard.jspa?x=1#top"),
        (r"\[jira\]: ", ""),
        (r"\[Y/n\] ", ""),
        ("New passphrase", WORD),
        ("Once more", WORD),
        ("Press Enter when it is entered", "enter_form()"),
        ("The code.*: ", "press_allow()"),
    )
    newcomer.type(f"{write_script(newcomer, sandbox)}")

    assert newcomer.failures == []
    assert newcomer.seen.rstrip().endswith('"name": "alice"')


def test_what_fails_is_counted(newcomer: Newcomer, sandbox: Sandbox) -> None:
    """The twin: who declines the file, and has no keyring."""
    newcomer.type(f"atl-sign link add jira {sandbox.base_url('jira')}", (r"\[Y/n\] ", "n"))
    newcomer.type(f"{write_script(newcomer, sandbox)}")

    assert len(newcomer.failures) == 2


def test_readme_begins_with_what_is_counted_here() -> None:
    """The commands of "Use it", between the installation and the first request, are these and no more."""
    used = (REPOSITORY / "README.md").read_text().partition("\n## Use it\n")[2].partition("\nThen put ")[0]
    commands = re.findall(r"^    (atl-sign \w+)", used, re.M)

    assert commands[:2] == ["atl-sign setup", "atl-sign link"]
    assert len(commands) <= COMMANDS_MAX
    assert re.search(r"^    .*pipx install \.(?: |$)", used, re.M)
