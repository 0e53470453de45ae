"""The examples of docs/clients.md: taken out of the page, compiled, and run against the real daemon and the sandbox."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.clients.bad_daemons import BadDaemon, foreign_symlink, long_path
from tests.clients.impostor import FORGED, Impostor
from tests.lab import REPOSITORY, Daemon

LANGUAGES = {"go": "sign.go", "rust": "sign.rs", "java": "Sign.java", "ruby": "sign.rb"}
LINES_MAX = 30
COLUMNS_MAX = 120
ASK_S = 5.0
COMPILE_S = 400  # Go has to compile its own library first, a minute of one core
RUNS = 12  # Java takes half a second
SLOW_START_S = 15.0  # a virtual machine on a busy computer
# Each of these is signed or sent wrongly by some library; none is refused by a URL parser.
TRICKY = "?a=%2B+%20;&b=c%5B%5D&b=&x=%C3%A4~*'()!&%7e=%2f&y=a=b"
_VERSION = {"go": "version"}
_PLACES = ("/usr/local/go/bin", "~/.cargo/bin")  # where the languages' own installers put them
_UNCOUNTED = re.compile(r'\s*([)}\]]+;?|end)?|package .*|import .*|use .*|require .*|\t"[\w/]+"')
pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


def example_of(language: str) -> str:
    """Return the example's text."""
    page = (REPOSITORY / "docs/clients.md").read_text()
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)
    return str(text)


def find_tool(name: str) -> str:
    """Return the path of *name*; skips the test, with its name, where it is not installed."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *(str(Path(place).expanduser()) for place in _PLACES)]))
    if path is None:
        pytest.skip(f"{name} is not installed")
    # Version managers put names on PATH that run only where their user has chosen a version.
    if subprocess.run([path, _VERSION.get(name, "--version")], capture_output=True, timeout=60).returncode != 0:
        pytest.skip(f"{name} is there and does not run")
    return path


def prepare(language: str, folder: Path) -> list[str]:
    """Write and compile the example in *folder*, with nothing from the network; returns the command that runs it."""
    source = folder / LANGUAGES[language]
    source.write_text(example_of(language))
    if language == "ruby":
        return [find_tool("ruby"), "-w", str(source)]
    program = str(folder / "program")
    if language == "java":
        subprocess.run([find_tool("javac"), "-Xlint:all", "-Werror", "-d", program, source], check=True, timeout=COMPILE_S)
        return [find_tool("java"), "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", program, "Sign"]
    environment = dict(os.environ)
    if language == "go":
        go = find_tool("go")
        off = {"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTELEMETRY": "off", "CGO_ENABLED": "0"}
        environment |= {**off, "HOME": str(folder), "GOCACHE": str(folder / "cache"), "GOPATH": str(folder / "path")}
        command = [go, "build", "-o", program, str(source)]
    else:
        command = [find_tool("rustc"), "-D", "warnings", "-o", program, str(source)]
    subprocess.run(command, env=environment, check=True, timeout=COMPILE_S)
    return [program]


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def command(language: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The compiled example of one language; compiled once, whichever of the workers comes first."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / f"example-{language}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "command.json"
        if not made.exists():
            made.write_text(json.dumps(prepare(language, folder)))
        return list(json.loads(made.read_text()))


def run(command: list[str], url: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run it with an environment of these variables alone; returns also how long it took."""
    before = time.monotonic()
    done = subprocess.run(
        [*command, url],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, time.monotonic() - before


@pytest.mark.parametrize("name", LANGUAGES)
def test_an_example_is_short(name: str) -> None:
    """Lines that hold code, besides imports; and none is too wide to be read."""
    lines = example_of(name).splitlines()

    assert 0 < sum(not _UNCOUNTED.fullmatch(line) for line in lines) <= LINES_MAX
    assert [line for line in lines if len(line.expandtabs(4)) > COLUMNS_MAX] == []


def test_the_go_example_has_its_format() -> None:
    """Gofmt has nothing to change."""
    done = subprocess.run([find_tool("gofmt"), "-d"], input=example_of("go"), capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")


def test_the_provider_takes_the_signature(danced: Daemon, sandbox: Sandbox, language: str, command: list[str]) -> None:
    """Of a query in which every library differs."""
    url = sandbox.base_url("jira") + "/rest/api/2/myself" + TRICKY

    done, _ = run(command, url, ATL_SIGN_SOCK=str(danced.socket))
    shown = done.stdout
    if language == "rust":
        assert re.fullmatch(r"Authorization: OAuth .*\n", shown)
        shown = subprocess.run(["curl", "-qsSg", "-H", "@-", url], input=shown, capture_output=True, text=True).stdout

    assert (done.returncode, done.stderr) == (0, "")
    assert '"displayName": "Alice Adams"' in shown


@pytest.mark.parametrize("variables", [{"XDG_RUNTIME_DIR": "run"}, {"HOME": "home", "XDG_RUNTIME_DIR": "", "ATL_SIGN_SOCK": ""}])
def test_the_socket_is_found_by_the_rule(danced: Daemon, sandbox: Sandbox, command: list[str], variables: dict[str, str]) -> None:
    """In the runtime folder; in the state folder when there is none, and when variables are empty."""
    if "HOME" in variables and Path(f"/run/user/{os.getuid()}").exists():
        pytest.skip("this user has a runtime folder, which comes first")
    # Not pytest's tmp_path: a socket's address holds 107 bytes.
    with tempfile.TemporaryDirectory(prefix="atls-") as base:
        folder = Path(base) / ("run/atl-sign" if "HOME" not in variables else "home/.local/state/atl-sign")
        folder.mkdir(parents=True)
        (folder / "agent.sock").symlink_to(danced.socket)
        named = {name: str(Path(base) / value) if value else "" for name, value in variables.items()}

        done, _ = run(command, sandbox.base_url("jira") + "/rest/api/2/myself", **named)

    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_dance_the_hint_comes_out(daemon: Daemon, sandbox: Sandbox, command: list[str]) -> None:
    """The twin: code, message and hint, and no success."""
    daemon.link(sandbox, "jira")

    done, _ = run(command, sandbox.base_url("jira") + "/rest/api/2/myself", ATL_SIGN_SOCK=str(daemon.socket))

    assert done.returncode == 1
    assert done.stdout == ""
    assert "dance_needed: no access token for link jira" in done.stderr
    assert "\nhint: atl-sign dance jira\n" in done.stderr


@pytest.mark.parametrize("kind", ["absent", "stale", "dangling"])
def test_an_absent_daemon_is_said_at_once(command: list[str], kind: str) -> None:
    with BadDaemon(kind) as bad:
        done, elapsed = run(command, "http://127.0.0.1:1/", ATL_SIGN_SOCK=str(bad.socket))

    assert done.returncode == 1
    assert done.stdout == ""
    assert ("no_daemon: " if kind != "stale" else "refused") in done.stderr
    assert elapsed < ASK_S + SLOW_START_S


@pytest.mark.parametrize("kind", ["never_accepts", "half_body_hangs", "trickle"])
def test_a_hanging_daemon_is_left_at_the_deadline(command: list[str], kind: str) -> None:
    """Also one that keeps the connection alive by a byte now and then."""
    with BadDaemon(kind) as bad:
        done, elapsed = run(command, "http://127.0.0.1:1/", ATL_SIGN_SOCK=str(bad.socket))

    assert done.returncode == 1
    assert (done.stdout, "imeout" in done.stderr) == ("", True)
    assert ASK_S - 0.5 < elapsed < ASK_S + SLOW_START_S


@pytest.mark.parametrize("kind", ["closes", "garbage", "broken_json", "json_list", "no_authorization", "html_error", "crlf"])
def test_a_bad_answer_is_an_error(command: list[str], language: str, kind: str) -> None:
    """Nothing comes out that looks like a header."""
    with BadDaemon(kind) as bad:
        done, elapsed = run(command, "http://127.0.0.1:1/", ATL_SIGN_SOCK=str(bad.socket))

    if (language, kind) == ("rust", "crlf"):
        assert done.stdout.count("\n") == 1  # JSON's escape of the line break stays as it is, so it breaks none
    else:
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr != ""
    assert elapsed < ASK_S + SLOW_START_S


def test_a_socket_path_may_be_too_long(command: list[str], tmp_path: Path) -> None:
    done, _ = run(command, "http://127.0.0.1:1/", ATL_SIGN_SOCK=str(long_path(tmp_path)))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr != ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")
def test_another_users_socket_is_not_asked(command: list[str]) -> None:
    """Though our own link leads there and its mode would let us."""
    with foreign_symlink() as path:
        done, _ = run(command, "http://127.0.0.1:1/", ATL_SIGN_SOCK=str(path))

    assert (done.returncode, done.stdout) == (1, "")
    assert "no_daemon: " in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize("way", ["ATL_SIGN_SOCK", "XDG_RUNTIME_DIR"])
def test_nothing_comes_to_an_impostor(danced: Daemon, command: list[str], way: str) -> None:
    """Whose link leads to the user's own folder and to theirs by turns of a few milliseconds."""
    with Impostor(danced.folder / "run") as impostor:
        for _ in range(RUNS):
            named = impostor.socket if way == "ATL_SIGN_SOCK" else impostor.link
            done, _ = run(command, "http://127.0.0.1:1/", **{way: str(named)})

            assert FORGED not in done.stdout
            assert impostor.captured() == []
