"""Links for many machines at the command line: export, import, and application links made with an administrator's password."""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.clients.person import Person
from tests.lab import REPOSITORY, Daemon

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
PASSWORD = 'canary  pass"\\word ü '


@pytest.fixture
def provider() -> Iterator[Sandbox]:
    """The four products; the administrator's password is a hard one."""
    started = Sandbox()
    started.start()
    started.state.sites["jira"].state.users["admin"].password = PASSWORD
    yield started
    started.stop()


@pytest.fixture
def linked(daemon: Daemon, provider: Sandbox) -> Daemon:
    """A daemon with a key and a link to Jira that nobody has registered there."""
    assert run(daemon, "link", "add", "jira", provider.base_url("jira")).returncode == 0
    return daemon


def run(daemon: Daemon, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ATL_SIGN, *arguments],
        env=daemon.environment,
        input=stdin,
        capture_output=True,
        text=True,
        cwd=daemon.folder,
        start_new_session=True,
        timeout=60,
        check=False,
    )


def test_links_go_by_a_file_to_another_machine(linked: Daemon, fork_server: object) -> None:
    """By standard input too. A dry run changes nothing, and links that exist need --replace."""
    exported = run(linked, "link", "export")
    file = linked.folder / "links.toml"
    file.write_text(exported.stdout)

    with Daemon(fork_server) as other:  # type: ignore[arg-type]
        trial = run(other, "link", "import", str(file), "--dry-run")
        none = run(other, "link", "list")
        imported = run(other, "link", "import", "-", stdin=exported.stdout)
        again = run(other, "link", "import", str(file))
        same = run(other, "link", "import", str(file), "--replace")

    assert tomllib.loads(exported.stdout)["links"]["jira"]["consumer_key"] == "atl-sign-{user}-{host}"
    assert (trial.returncode, trial.stdout.splitlines()[1]) == (0, "nothing was changed")
    assert none.stdout.strip() == ""
    assert imported.stdout.startswith("added link jira: http://127.0.0.1:")
    assert again.returncode == 1
    assert again.stderr.splitlines() == [
        "atl-sign: nothing was changed: link file line 1, links.jira: a link of this name exists already",
        "hint: to see what would change: --replace --dry-run; to do it: --replace",
    ]
    assert same.stdout == "link jira is the same\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "words"),
    [
        (("import", "-"), "", 1, "the file of links is empty: -"),
        (("import", "-"), "[links.a]\0", 1, "the file of links holds a zero byte: -"),
        (("import", "missing"), "", 1, "the file cannot be read: missing"),
        (("import", "."), "", 1, "the file cannot be read: ."),
        (
            ("import", "-"),
            "[links.a]\nurl = 5\n[x]\n",
            1,
            "link file line 1, links.a: url is not a text; link file line 3, x: a file",
        ),
        (("import", "-"), "#" * 1_048_577, 1, "the file of links is over 1048576 bytes"),
        (("import",), "", 2, "link takes 1 argument(s), not 0"),
        (("export", "a/b"), "", 2, "a link's name is"),
        (("export", "other"), "", 1, "no application link is called other"),
        (("export", "--replace"), "", 2, "link export does not take --replace"),
        (("list", "--dry-run"), "", 2, "link list does not take --dry-run"),
        (("add", "a", "https://a", "--admin", "x"), "", 2, "link add does not take --admin"),
        (("register", "jira"), "", 2, "link register needs --admin USER"),
        (("register", "jira", "--admin", "a", "--print-script"), "", 2, "--admin and --print-script exclude each other"),
        (("register", "other", "--admin", "admin"), "x\n", 1, "no application link is called other"),
        (("register", "jira", "--admin", "admin"), "\n", 1, "no password was given"),
    ],
)
def test_mistakes(linked: Daemon, arguments: tuple[str, ...], stdin: str, status: int, words: str) -> None:
    """Each with its reason, and nothing is changed."""
    done = run(linked, "link", *arguments, stdin=stdin)

    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert run(linked, "link", "list").stdout.count("\n") == 2


def test_a_password_comes_by_standard_input(linked: Daemon, provider: Sandbox) -> None:
    """A line of it, as it is."""
    wrong = run(linked, "link", "register", "jira", "--admin", "admin", stdin=PASSWORD.strip() + "\n")
    done = run(linked, "link", "register", "jira", "--admin", "admin", stdin=PASSWORD + "\n")

    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (
        1,
        "atl-sign: link jira: the product does not take the user name and the password of admin",
    )
    assert done.stdout.splitlines()[1] == "Then: atl-sign dance jira"
    assert len(provider.state.sites["jira"].state.links) == 1
    assert "canary" not in done.stdout + done.stderr + wrong.stdout + wrong.stderr


def test_a_password_is_typed_unseen(linked: Daemon, provider: Sandbox) -> None:
    """On the terminal."""
    person = Person([ATL_SIGN, "link", "register", "jira", "--admin", "admin"], linked.environment)
    person.answer(r"The password of admin \(it is not shown\): ", PASSWORD)

    assert person.finish() == 0
    assert "canary" not in person.seen
    assert len(provider.state.sites["jira"].state.links) == 1


def test_a_password_comes_from_a_program(linked: Daemon, provider: Sandbox) -> None:
    """With neither a terminal nor standard input, as from a desktop's menu."""
    program = linked.folder / "askpass"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$1\" >{linked.folder}/asked\nprintf '%s\\n' {shlex.quote(PASSWORD)}\n")
    program.chmod(0o700)
    linked.environment["SSH_ASKPASS"] = str(program)

    done = run(linked, "link", "register", "jira", "--admin", "admin")

    assert done.returncode == 0, done.stderr
    assert (linked.folder / "asked").read_text() == "The password of admin for link jira: \n"
    assert len(provider.state.sites["jira"].state.links) == 1


def write_script(daemon: Daemon) -> Path:
    printed = run(daemon, "link", "register", "jira", "--print-script")
    assert printed.returncode == 0, printed.stderr
    path = daemon.folder / "register.sh"
    path.write_text(printed.stdout)
    return path


def test_an_administrator_runs_a_script(linked: Daemon, provider: Sandbox) -> None:
    """Any sh; curl asks for the password, twice, and shows it to nobody. Afterwards the daemon finds its key there."""
    script = write_script(linked)
    person = Person(["sh", str(script), "admin"], linked.environment)
    for _ in range(2):
        person.answer("Enter host password for user 'admin':", PASSWORD)

    assert person.finish() == 0, person.seen
    assert "The application link is made." in person.seen
    assert "canary" not in person.seen
    done = run(linked, "link", "register", "jira", "--admin", "admin", stdin="not needed\n")
    assert done.stdout.startswith("the product has the application link already")
    checked = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert checked.stdout == ""


def test_a_script_says_what_is_refused(linked: Daemon, provider: Sandbox) -> None:
    """And makes nothing."""
    script = write_script(linked)
    person = Person(["sh", str(script), "admin"], linked.environment)
    person.answer("Enter host password for user 'admin':", "wrong")

    assert person.finish() == 1
    assert re.search(r"does not take this user name and password.*nothing was made", person.seen)
    assert provider.state.sites["jira"].state.links == {}
    for words in ((), ("a:b",), ("",), ("a", "b")):
        done = subprocess.run(["sh", str(script), *words], env=linked.environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
