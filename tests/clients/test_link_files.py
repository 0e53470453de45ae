"""Links for many machines at the command line: export and import."""

import subprocess
import tomllib
from collections.abc import Iterator

import pytest

from atl_sign.sandbox import Sandbox
from tests.lab import REPOSITORY, Daemon

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"


@pytest.fixture
def provider() -> Iterator[Sandbox]:
    """The four products."""
    started = Sandbox()
    started.start()
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
    ],
)
def test_mistakes(linked: Daemon, arguments: tuple[str, ...], stdin: str, status: int, words: str) -> None:
    """Each with its reason, and nothing is changed."""
    done = run(linked, "link", *arguments, stdin=stdin)

    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert run(linked, "link", "list").stdout.count("\n") == 2
