"""A machine without a keyring: the first command offers the encrypted file, or prints the command that makes it."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.person import Person
from tests.daemon.activation import end_autostarted
from tests.lab import REPOSITORY, Daemon
from tests.store.readers import read_file

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
WORD = "canary \\\"pass% phrase' ü"
NO_BUS = "atl-sign: there is no session bus: DBUS_SESSION_BUS_ADDRESS is not set\n"
HINT = "hint: log in to the desktop, or keep the secrets in an encrypted file: atl-sign store move file\n"
ADD = ("link", "add", "jira", "http://127.0.0.1:9/jira")  # where no product answers: the link is kept, with status 1
KEPT = "link jira is kept, but no product answered at http://127.0.0.1:9/jira\n"


@pytest.fixture
def lab() -> Iterator[Daemon]:
    """A folder without a daemon, a bus or a keyring, where clients start the daemon."""
    made = Daemon(ATL_SIGN_STORE="", ATL_SIGN_AUTOSTART="1")
    yield made
    end_autostarted(made)


def run(lab: Daemon, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Without a terminal."""
    return subprocess.run(
        [ATL_SIGN, *arguments],
        env={**lab.environment, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
    )


def at_terminal(lab: Daemon, *arguments: str, **environment: str) -> Person:
    return Person([ATL_SIGN, *arguments], {**lab.environment, **environment})


def path_of(lab: Daemon) -> Path:
    return lab.folder / ".local/state/atl-sign/store"


def test_the_first_command_makes_the_file_and_goes_on(lab: Daemon) -> None:
    """One command: the passphrase is asked for twice, the link is there afterwards, and the next start has the same store."""
    person = at_terminal(lab, *ADD)
    person.answer(r"No keyring here\. Keep the secrets in an encrypted file instead\? \[Y/n\] ", "")
    person.answer("New passphrase", WORD)
    person.answer("Once more", WORD)

    assert person.finish() == 1
    assert person.seen.endswith(KEPT)
    assert "Public Key:" in person.seen
    assert "keyring" not in person.seen.partition("[Y/n]")[2]
    assert 'backend = "file"' in lab.config.read_text()
    assert "consumer-key" in read_file(path_of(lab).read_bytes(), WORD.encode())
    assert "canary" not in person.seen
    assert run(lab, "restart").returncode == 0
    assert run(lab, "unlock", "--stdin", stdin=WORD).stdout == "store: file\nstate: ready\n"
    assert run(lab, "link", "list").stdout.splitlines()[1].startswith("jira ")


@pytest.mark.parametrize("answer", ["n", "\x04"], ids=["no", "end of input"])
def test_who_declines_hears_what_else_there_is(lab: Daemon, answer: str) -> None:
    """The twin: nothing is made, and the command has failed as without a terminal."""
    person = at_terminal(lab, "key", "new")
    person.answer(r"\[Y/n\] ", answer)

    assert person.finish() == 1
    assert person.seen.endswith(NO_BUS + HINT)
    assert not path_of(lab).exists()
    assert not lab.config.exists()


def test_two_passphrases_that_differ_change_nothing(lab: Daemon) -> None:
    """The same command asks again."""
    person = at_terminal(lab, "key", "new")
    person.answer(r"\[Y/n\] ", "y")
    person.answer("New passphrase", WORD)
    person.answer("Once more", "another")

    assert person.finish() == 1
    assert "not the same" in person.seen
    assert not path_of(lab).exists()
    assert run(lab, "key").stderr == NO_BUS + HINT


@pytest.mark.parametrize("arguments", [("key",), ("key", "new"), ADD, ("unlock",)])
def test_without_a_terminal_the_hint_is_the_command(lab: Daemon, arguments: tuple[str, ...]) -> None:
    """Nobody is asked; pasted at a terminal it makes the file, and the command works then."""
    refused = run(lab, *arguments)
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", NO_BUS + HINT)
    command = shlex.split(refused.stderr.rpartition(": ")[2])
    assert command[0] == "atl-sign"

    person = at_terminal(lab, *command[1:])
    person.answer("New passphrase", WORD)
    person.answer("Once more", WORD)

    assert person.finish() == 0
    assert re.search(r"store: file\nwarning: the new store starts empty: there is no session bus", person.seen)
    assert run(lab, *ADD).stderr.endswith(KEPT)


def test_a_script_makes_the_file_from_standard_input(lab: Daemon) -> None:
    """And --json asks nobody, at a terminal neither."""
    person = at_terminal(lab, "--json", "key")
    assert person.finish() == 1
    assert '"code": "keyring_missing"' in person.seen

    assert run(lab, "store", "move", "file", "--stdin", stdin=f"{WORD}\n").returncode == 0

    assert run(lab, "key", "new").returncode == 0


def test_with_links_a_keyring_may_be_elsewhere(lab: Daemon) -> None:
    """Over ssh, say: Enter then means no, and the question says why."""
    lab.config.parent.mkdir(parents=True)
    lab.config.write_text('[links.jira]\nurl = "https://jira.example.com"\nconsumer_key = "k"\n')
    person = at_terminal(lab, "key")
    person.answer(r"keyring of your desktop; log in there.*\[y/N\] ", "")

    assert person.finish() == 1
    assert not path_of(lab).exists()


def test_a_file_that_is_configured_and_not_there_is_made(lab: Daemon) -> None:
    """The sibling: the store has been chosen, so that only the passphrase is asked for."""
    lab.config.parent.mkdir(parents=True)
    lab.config.write_text('[store]\nbackend = "file"\n')
    refused = run(lab, *ADD)
    assert (refused.returncode, refused.stderr.endswith("hint: atl-sign unlock --new\n")) == (1, True)

    person = at_terminal(lab, *ADD)
    person.answer("New passphrase", WORD)
    person.answer("Once more", WORD)

    assert person.finish() == 1
    assert person.seen.endswith(KEPT)
    assert "consumer-key" in read_file(path_of(lab).read_bytes(), WORD.encode())


def test_a_new_passphrase_for_another_store_is_not_even_asked_for(lab: Daemon) -> None:
    """The refusal names the store there is and the command that moves to the file."""
    person = at_terminal(lab, "unlock", "--new")

    assert person.finish() == 1
    assert person.seen == (
        "atl-sign: the store is secret-service, which has no passphrase\n"
        "hint: to keep the secrets in an encrypted file instead: atl-sign store move file\n"
    )


def test_a_store_named_too_late_is_said(lab: Daemon) -> None:
    """The daemon has read ATL_SIGN_STORE at its start; the hint's command makes it count. The twin: the store that it has."""
    assert run(lab, "key").stderr == NO_BUS + HINT

    for arguments in (("key",), ("unlock",), ADD):
        late = run(lab, *arguments, ATL_SIGN_STORE="memory")
        hint = "hint: the running daemon uses the store secret-service; to use memory: atl-sign restart\n"
        assert (late.returncode, late.stderr) == (1, NO_BUS + hint)
    status = run(lab, "status", ATL_SIGN_STORE="memory")
    assert (status.returncode, status.stderr) == (0, hint)
    assert run(lab, "key", ATL_SIGN_STORE="secret-service").stderr == NO_BUS + HINT

    assert run(lab, "restart", ATL_SIGN_STORE="memory").stdout.endswith("store memory ready\n")

    assert run(lab, *ADD, ATL_SIGN_STORE="memory").stderr.endswith(KEPT)
    refused = run(lab, "store", "move", "file", "--stdin", stdin="x\n")
    assert refused.stderr.endswith("unset ATL_SIGN_STORE; atl-sign restart\n")
