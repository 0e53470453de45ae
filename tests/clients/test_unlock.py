"""`atl-sign unlock`, `lock` and `store move`: who is asked for the passphrase, and that it shows nowhere."""

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.person import Person
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY, Daemon, wait_for
from tests.store.readers import read_file

ATL_SIGN = str(REPOSITORY / "clients/bash/atl-sign")
WORD = "canary \\\"pass% phrase' ü"
DEADLINE_S = 20.0
RECORDED = """#!/bin/bash
{ printf '%s\\n' "$@"; env; echo "pid $$"; } >>"$RECORD"
exec REAL "$@"
"""


@pytest.fixture
def daemon(fork_server: ForkServer) -> Iterator[Daemon]:
    """One whose store is a file that is not there yet; curl and atl-signd record their arguments and environment."""
    daemon = Daemon(fork_server, ATL_SIGN_STORE="")
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text('[store]\nbackend = "file"\n')
    commands = daemon.folder / "commands"
    commands.mkdir()
    for name in ("curl", "atl-signd"):
        put_command(daemon, name, RECORDED.replace("REAL", find(daemon, name)))
    daemon.environment.update(PATH=f"{commands}:{daemon.environment['PATH']}", RECORD=str(daemon.folder / "record"))
    with daemon:
        yield daemon


def find(daemon: Daemon, name: str) -> str:
    path = shutil.which(name, path=daemon.environment["PATH"])
    assert path is not None
    return path


def put_command(daemon: Daemon, name: str, script: str) -> Path:
    path = daemon.folder / "commands" / name
    path.write_text(script)
    path.chmod(0o755)
    return path


def run(daemon: Daemon, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Without a terminal."""
    return subprocess.run(
        ["bash", ATL_SIGN, *arguments],
        env={**daemon.environment, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=DEADLINE_S,
    )


def store_of(daemon: Daemon) -> dict[str, str]:
    return read_file((daemon.folder / ".local/state/atl-sign/store").read_bytes(), WORD.encode())


def state_of(daemon: Daemon) -> str:
    return str(daemon.request("GET", "/status").json["store_state"])


def at_terminal(daemon: Daemon, *arguments: str) -> Person:
    """Somebody who runs the command in a terminal of its own."""
    return Person(["bash", ATL_SIGN, *arguments], daemon.environment)


def test_at_a_terminal_the_passphrase_is_asked_without_an_echo(daemon: Daemon) -> None:
    """Twice for a new one; what is typed shows neither there nor in arguments and environments."""
    person = at_terminal(daemon, "unlock", "--new")
    person.answer("New passphrase", WORD)
    person.answer("Once more", WORD)

    assert person.finish() == 0, person.seen
    assert "state: ready" in person.seen
    assert store_of(daemon) == {}
    assert run(daemon, "lock").stdout == "store: file\nstate: locked\n"
    person = at_terminal(daemon, "unlock")
    person.answer("Passphrase of the atl-sign store", WORD)
    assert person.finish() == 0, person.seen
    assert state_of(daemon) == "ready"
    record = (daemon.folder / "record").read_text()
    assert "unlock\n--new\n" in record
    assert "canary" not in person.seen + record + daemon.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_question_gives_the_echo_back(daemon: Daemon, number: int) -> None:
    """What is typed into the shell afterwards can be seen; the twin: until then it cannot."""
    person = at_terminal(daemon, "unlock", "--new")
    person.read_until("New passphrase of the atl-sign store: ")
    assert not person.has_echo()
    pid = int((daemon.folder / "record").read_text().rpartition("pid ")[2].split()[0])

    os.kill(pid, number)

    wait_for(person.has_echo, lambda: Path(f"/proc/{pid}/status").read_text() + person.seen)
    assert person.finish() != 0
    assert state_of(daemon) == "locked"


def test_two_that_differ_and_an_empty_one_are_refused(daemon: Daemon) -> None:
    """Nothing is made."""
    person = at_terminal(daemon, "unlock", "--new")
    person.answer("New passphrase", WORD)
    person.answer("Once more", "another")
    assert person.finish() == 1
    assert "not the same" in person.seen
    person = at_terminal(daemon, "unlock", "--new")
    person.answer("New passphrase", "")
    assert person.finish() == 1
    assert "empty" in person.seen

    assert state_of(daemon) == "locked"
    done = run(daemon, "unlock")
    assert (done.returncode, "hint: atl-sign unlock --new" in done.stderr) == (1, True)


def test_without_a_terminal_a_program_asks(daemon: Daemon) -> None:
    """The one that SSH_ASKPASS names, with the question as its argument; the twin: one that is cancelled changes nothing."""
    run(daemon, "unlock", "--new", "--stdin", stdin=f"{WORD}\n")
    run(daemon, "lock")
    secret = daemon.folder / "secret"
    secret.write_text(f"{WORD}\n")
    ask = put_command(daemon, "ask", f'#!/bin/bash\nprintf %s "$1" >"{daemon.folder}/asked"\ncat "{secret}"\n')
    cancel = put_command(daemon, "cancel", "#!/bin/bash\nexit 1\n")

    done = run(daemon, "unlock", SSH_ASKPASS=str(cancel))
    assert (done.returncode, done.stderr) == (1, "atl-sign: no passphrase was given\n")
    assert state_of(daemon) == "locked"
    done = run(daemon, "unlock", SSH_ASKPASS=str(ask))

    assert (done.returncode, done.stdout) == (0, "store: file\nstate: ready\n"), done.stderr
    assert (daemon.folder / "asked").read_text() == "Passphrase of the atl-sign store: "
    assert "canary" not in (daemon.folder / "record").read_text()


def test_else_pinentry_asks(daemon: Daemon) -> None:
    """By its protocol, whose escapes are undone; the twin: a cancellation, and no program at all."""
    run(daemon, "unlock", "--new", "--stdin", stdin=f"{WORD}\n")
    run(daemon, "lock")
    escaped = WORD.replace("%", "%25")
    script = f"""#!/bin/bash
        echo OK Pleased to meet you
        while IFS= read -r line; do
            case $line in
            GETPIN) cat "{daemon.folder}/pin" ;;
            BYE) echo OK; exit ;;
            *) echo OK ;;
            esac
        done
    """
    put_command(daemon, "pinentry", script)
    (daemon.folder / "pin").write_text("ERR 83886179 Operation cancelled <Pinentry>\n")
    done = run(daemon, "unlock")
    assert (done.returncode, done.stderr.startswith("atl-sign: no passphrase was given\nhint: where pinentry")) == (1, True)
    (daemon.folder / "pin").write_text(f"D {escaped}\nOK\n")

    done = run(daemon, "unlock")

    assert (done.returncode, done.stdout) == (0, "store: file\nstate: ready\n"), done.stderr
    run(daemon, "lock")
    bare = daemon.folder / "bare"
    bare.mkdir()
    for name in ("bash", "curl", "atl-signd"):
        (bare / name).symlink_to(find(daemon, name))
    done = run(daemon, "unlock", PATH=str(bare))
    assert (done.returncode, "SSH_ASKPASS" in done.stderr) == (1, True)


def test_scripts_bring_it_by_standard_input(daemon: Daemon) -> None:
    """The present one and the new one, a line each; a wrong one says so and says how long to wait."""
    assert run(daemon, "unlock", "--new", "--stdin", stdin="first\n").returncode == 0
    assert run(daemon, "unlock", "--change", "--stdin", stdin=f"first\n{WORD}\n").returncode == 0
    assert store_of(daemon) == {}

    done = run(daemon, "unlock", "--stdin", stdin="first\n")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "atl-sign: the passphrase is wrong\nhint: try again in 1 s\n"
    wait_for(lambda: run(daemon, "unlock", "--stdin", stdin=WORD).returncode == 0)
    assert run(daemon, "unlock", "--stdin").returncode == 1


def test_what_needs_no_passphrase_asks_for_none(daemon: Daemon) -> None:
    """A store that is open; the twin: `--new` of one that is there."""
    run(daemon, "unlock", "--new", "--stdin", stdin=f"{WORD}\n")

    assert run(daemon, "unlock").stdout == "store: file\nstate: ready\n"
    done = run(daemon, "--json", "unlock", "--new", "--stdin", stdin="x\n")
    assert (done.returncode, '"code": "store_exists"' in done.stderr) == (1, True)


def test_a_move_asks_for_what_the_new_store_needs(daemon: Daemon) -> None:
    """A new passphrase for a file that is to be made, the present one for a file that is there."""
    run(daemon, "unlock", "--new", "--stdin", stdin="first\n")
    daemon.make_key()
    done = run(daemon, "store", "move", "memory")
    assert (done.returncode, "--volatile" in done.stderr) == (1, True)
    assert run(daemon, "store", "move", "memory", "--volatile").stdout == "store: memory\n"

    done = run(daemon, "store", "move", "file", "--stdin")
    assert (done.returncode, done.stderr) == (1, "atl-sign: standard input holds no passphrase\n")
    person = at_terminal(daemon, "store", "move", "file")
    person.answer("New passphrase", WORD)
    person.answer("Once more", WORD)

    assert person.finish() == 0, person.seen
    assert "consumer-key" in store_of(daemon)


def test_a_credential_that_does_not_fit_any_more_does_not_keep_the_question_away(daemon: Daemon) -> None:
    """After the passphrase was changed, say: it is asked for, and taken at once; the twin: one that fits needs no question."""
    run(daemon, "unlock", "--new", "--stdin", stdin=f"{WORD}\n")
    credential = daemon.folder / "atl-sign-store-key"
    daemon.environment["CREDENTIALS_DIRECTORY"] = str(daemon.folder)
    for content, ask in (
        ("stale", put_command(daemon, "ask", f"#!/bin/bash\nprintf '%s\\n' {shlex.quote(WORD)}\n")),
        (WORD, None),
    ):
        credential.write_text(content)
        daemon.stop()
        daemon.start()
        assert state_of(daemon) == ("locked" if ask else "ready")

        done = run(daemon, "unlock", SSH_ASKPASS=str(ask or "/bin/false"))

        assert (done.returncode, done.stdout) == (0, "store: file\nstate: ready\n"), done.stderr


def test_a_move_takes_the_passphrase_from_standard_input(daemon: Daemon) -> None:
    """The file is made with it, and a file that is there is opened with it; the twin: a wrong one moves nothing."""
    run(daemon, "unlock", "--new", "--stdin", stdin="first\n")
    daemon.make_key()
    assert run(daemon, "store", "move", "memory", "--volatile").returncode == 0

    assert run(daemon, "store", "move", "file", "--stdin", stdin=f"{WORD}\n").stdout == "store: file\n"

    assert "consumer-key" in store_of(daemon)
    path = daemon.folder / ".local/state/atl-sign/store"
    content = path.read_bytes()
    assert run(daemon, "store", "move", "memory", "--volatile").returncode == 0
    path.write_bytes(content)
    path.chmod(0o600)
    done = run(daemon, "store", "move", "file", "--stdin", stdin="wrong\n")
    assert (done.returncode, "the passphrase is wrong" in done.stderr) == (1, True)
    wait_for(lambda: run(daemon, "store", "move", "file", "--stdin", stdin=WORD).stdout == "store: file\n")


def test_what_a_move_has_left_in_the_file_is_removed_with_its_passphrase(daemon: Daemon) -> None:
    """Status tells of it and of the command, which asks; the twin: without the passphrase the file stays as it is."""
    run(daemon, "unlock", "--new", "--stdin", stdin=f"{WORD}\n")
    daemon.make_key()
    path = daemon.folder / ".local/state/atl-sign/store"
    content = path.read_bytes()
    assert run(daemon, "store", "move", "memory", "--volatile").returncode == 0
    path.write_bytes(content)  # as a SIGKILL after the change of the configuration leaves it
    path.chmod(0o600)
    note = {"stores": ["file", "memory"], "whole": ["file", "memory"], "items": ["consumer-key", "token:jira"]}
    daemon.config.with_name("store-move.json").write_text(json.dumps(note))
    told = "warning: a move of the store was cut off, and file may still hold copies of secrets: atl-sign store move memory\n"
    assert told in run(daemon, "status").stdout
    assert "hint: atl-sign store move memory\n" in run(daemon, "doctor").stdout

    refused = run(daemon, "store", "move", "memory", "--stdin", stdin="wrong\n")
    assert (refused.returncode, "the passphrase is wrong" in refused.stderr) == (1, True)
    assert path.read_bytes() == content
    wait_for(lambda: run(daemon, "store", "move", "memory", "--stdin", stdin=WORD).stdout == "store: memory\n")

    assert not path.exists()
    assert "cut off" not in run(daemon, "status").stdout
    assert "atl-sign store move" not in run(daemon, "doctor").stdout
    assert run(daemon, "store", "move", "memory", "--volatile").returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["unlock", "--new", "--change"],
        ["unlock", "word"],
        ["lock", "x"],
        ["store"],
        ["store", "move"],
        ["store", "drop", "file"],
        ["store", "move", "file", "x"],
    ],
)
def test_a_line_that_makes_no_sense_is_usage(daemon: Daemon, arguments: list[str]) -> None:
    """Status 2, and nothing is asked."""
    done = run(daemon, *arguments)

    assert (done.returncode, "usage: atl-sign" in done.stderr) == (2, True)


def test_a_link_is_added_after_the_unlock_as_before_it(daemon: Daemon) -> None:
    """What the locked store refused has left no link behind, so the same command works then."""
    refused = run(daemon, "link", "add", "jira", "http://127.0.0.1:9/jira")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith("hint: atl-sign unlock --new\n")
    assert run(daemon, "link", "list").stdout == ""
    assert run(daemon, "unlock", "--new", "--stdin", stdin=f"{WORD}\n").returncode == 0

    added = run(daemon, "link", "add", "jira", "http://127.0.0.1:9/jira")

    assert added.returncode == 1, added.stderr  # nobody answers there
    assert "link jira is kept" in added.stderr
    assert "made the consumer's key" in added.stderr
    assert "Public Key:" in added.stdout
