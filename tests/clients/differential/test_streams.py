"""`atl-sign curl` as a process: what flows through it, how much memory that takes, and how it ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.clients.differential.compare import plainly
from tests.clients.differential.lab import CURL, REFUSED, SCRIPT, Lab
from tests.clients.differential.lines import Line
from tests.clients.differential.processes import members, most_resident_mb, started
from tests.lab import REPOSITORY, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

MEGABYTE = 1_048_576
MANY = 100 * MEGABYTE
RESIDENT_MB_MAX = 40


def _command(lab: Lab, *arguments: str) -> list[str]:
    return [str(SCRIPT), "curl", *(lab.concrete(argument) for argument in arguments)]


def _skip_if_refused(lab: Lab, *arguments: str) -> None:
    run = lab.signed(Line(arguments))
    if run.status == REFUSED:
        pytest.skip(run.stderr.decode().splitlines()[0])


@pytest.fixture(scope="module")
def many(lab: Lab) -> Path:
    """A file of 100 MB, of which the disk holds nothing."""
    path = lab.daemon.folder / "many"
    with path.open("wb") as file:
        file.truncate(MANY)
    return path


@pytest.mark.parametrize(
    "arguments",
    [("-T", "{}"), ("-X", "POST", "-T", "{}"), ("-F", "file=@{}"), ("-T", "-"), ("-v", "-T", "{}"), ("-L", "-T", "{}")],
    ids=" ".join,
)
def test_uploads_are_streamed(lab: Lab, many: Path, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """100 MB go out whole while all processes together stay under 40 MB."""
    given = [argument.format(many) for argument in arguments]
    _skip_if_refused(lab, *(argument.format("form.txt") for argument in arguments), "-s", "http://SERVER/jira/sink/x")
    lab.recorder.streamed_bytes = 0

    with (
        many.open("rb") as stdin,
        started(_command(lab, "-sS", *given, "http://SERVER/jira/sink/x"), lab.environment, tmp_path, stdin.fileno()) as process,
    ):
        most = most_resident_mb(process)

    assert process.returncode == 0, (tmp_path / "stderr").read_text()
    (sent,) = lab.recorder.take()
    assert sent.verdict == "signed"
    assert MANY <= lab.recorder.streamed_bytes < MANY + MEGABYTE
    assert most < RESIDENT_MB_MAX


@pytest.mark.parametrize("arguments", [("-o", "out"), (), ("-v",), ("-L",), ("--retry", "1")], ids=" ".join)
def test_downloads_are_streamed(lab: Lab, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """100 MB come in whole while all processes together stay under 40 MB."""
    _skip_if_refused(lab, *arguments, "-s", "http://SERVER/jira/x")

    with started(_command(lab, "-sS", *arguments, f"http://SERVER/jira/source/{MANY}"), lab.environment, tmp_path) as process:
        most = most_resident_mb(process)

    assert process.returncode == 0, (tmp_path / "stderr").read_text()
    received = (tmp_path / "out") if "-o" in arguments else tmp_path / "stdout"
    assert received.stat().st_size == MANY
    assert most < RESIDENT_MB_MAX
    received.unlink()


@pytest.mark.parametrize(
    "arguments",
    [
        ("-H", "Content-Type: application/json", "-d", "@-"),
        ("-H", "X-Atlassian-Token: no-check", "-d", "@-"),
        ("--data-urlencode", "x@-"),
        ("-G", "--data-binary", "@-"),
        ("-T", "-"),
        ("-F", "f=@-"),
        ("--json", "@-"),
    ],
    ids=" ".join,
)
def test_a_body_comes_through_a_pipe_bit_by_bit(lab: Lab, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """What a slow writer sends in pieces goes out as curl alone sends it."""
    pieces = [b"a=1", b"&b=", b"2"]
    line = Line((*arguments, "-s", "http://SERVER/jira/x"), stdin=b"".join(pieces))
    plain = lab.plain(line)
    _skip_if_refused(lab, *line.arguments)

    with started(_command(lab, *line.arguments), lab.environment, tmp_path, subprocess.PIPE) as process:
        assert process.stdin is not None
        for piece in pieces:
            process.stdin.write(piece)
            process.stdin.flush()
            time.sleep(0.05)  # nothing is waited for: the pieces shall come apart
        process.stdin.close()
        process.wait(20)

    (sent,) = lab.recorder.take()
    assert plainly(sent).less_signature == plainly(plain.sent[0]).less_signature
    assert sent.verdict == "signed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "arguments",
    [
        ("http://SERVER/jira/hang/x",),
        ("-v", "http://SERVER/jira/hang/x"),
        ("-d", "a=1", "http://SERVER/jira/hang/x"),
        ("-L", "http://SERVER/jira/redirect/302/absolute/hang/x"),
        ("--retry", "2", "http://SERVER/jira/hang/x"),
        ("http://SERVER/jira/hang/x", "http://SERVER/jira/second"),
        ("http://SERVER/jira/hang/x", "--next", "http://SERVER/jira/second"),
        ("http://SERVER/jira/hang/{a,b}",),
    ],
    ids=" ".join,
)
def test_an_interrupt_ends_everything(lab: Lab, arguments: tuple[str, ...], number: signal.Signals, tmp_path: Path) -> None:
    """^C, as a terminal sends it to the whole group: the status is that of the signal, nothing more is sent, nobody stays."""
    _skip_if_refused(lab, *(argument.replace("/hang/", "/x/") for argument in arguments))

    with started(_command(lab, "-s", *arguments), lab.environment, tmp_path) as process:
        wait_for(
            lambda: any(sent.target.startswith(b"/jira/hang/") for sent in lab.recorder.sent), (tmp_path / "stderr").read_text
        )
        os.killpg(process.pid, number)
        status = process.wait(10)
        wait_for(lambda: not members(process.pid), lambda: f"{members(process.pid)} outlive it", 3)

    assert status in (-number, 128 + number)
    assert not [sent for sent in lab.recorder.take() if sent.target == b"/jira/second"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay_ms", [0, 3, 6, 9, 12, 20])
@pytest.mark.parametrize("arguments", [("-L", "{}/redirect/302/absolute/hang/x"), ("{}/x", "{}/hang/x")], ids=" ".join)
def test_an_interrupt_between_two_requests_ends_everything(
    lab: Lab, arguments: tuple[str, ...], delay_ms: int, number: signal.Signals, tmp_path: Path
) -> None:
    """^C while the second signature is asked for, or just before or after: never 125, for one request was sent."""
    given = [argument.format("http://SERVER/jira") for argument in arguments]
    lab.recorder.take()
    _skip_if_refused(lab, *(argument.replace("/hang/", "/x/") for argument in given))

    with started(_command(lab, "-s", *given), lab.environment, tmp_path) as process:
        wait_for(lambda: lab.recorder.sent, (tmp_path / "stderr").read_text)
        time.sleep(delay_ms / 1_000)  # the moment is what is tested
        os.killpg(process.pid, number)
        status = process.wait(10)
        wait_for(lambda: not members(process.pid), lambda: f"{members(process.pid)} outlive it", 3)

    assert status in (-number, 128 + number)
    lab.recorder.take()


@pytest.mark.parametrize("number", ["INT", "TERM", "HUP"])
@pytest.mark.parametrize("arguments", [("{}/x", "{}/y"), ("-L", "{}/redirect/302/absolute/x"), ("-v", "{}/x")], ids=" ".join)
def test_a_signal_while_a_child_is_made_ends_everything(
    lab: Lab, arguments: tuple[str, ...], number: str, tmp_path: Path
) -> None:
    """
    Wherever bash makes a child, a signal comes, and the children before it end at that moment: the program ends by the signal.

    strace sends the signal as the n-th child is made, and holds bash there for a while.
    """
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-qq", "true"], capture_output=True).returncode != 0:
        pytest.skip("strace is not installed, or may trace nothing here")
    given = [argument.format("http://SERVER/jira") for argument in arguments]
    statuses = []

    for count in range(1, 20):
        lab.recorder.take()
        inject = f"inject=clone,clone3:signal={number}:delay_exit=400000:when={count}"
        tracing = [strace, "-qq", "-o", "/dev/null", "-e", "trace=clone,clone3", "-e", inject]
        with started([*tracing, *_command(lab, "-s", *given)], lab.environment, tmp_path) as process:
            statuses.append(process.wait(15))
            wait_for(lambda: not members(process.pid), lambda: f"{members(process.pid)} outlive it", 5)
        if statuses[-1] == 0:
            break

    assert statuses.pop() == 0, "a signal that no child is made for changes nothing"
    assert len(statuses) >= 2  # curl, and what finds the program's file or curl's version
    assert set(statuses) == {-signal.Signals[f"SIG{number}"]}


def _folder_of_tools(folder: Path, curl: str | None) -> str:
    """Return a PATH with bash and, if given, a curl that is this script."""
    folder.mkdir()
    for name in ("bash", "env", "cat", "sed"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    if curl is not None:
        (folder / "curl").write_text(f"#!{shutil.which('bash')}\n{curl}")
        (folder / "curl").chmod(0o755)
    return str(folder)


def _run_with_path(lab: Lab, path: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {**lab.environment, "PATH": path}
    return subprocess.run(_command(lab, *arguments), env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True)


def test_without_curl_nothing_is_sent(lab: Lab, tmp_path: Path) -> None:
    """The reason names what is missing."""
    done = _run_with_path(lab, _folder_of_tools(tmp_path / "bin", None), tmp_path, "http://SERVER/jira/x")

    assert done.returncode == REFUSED, done.stderr
    assert done.stdout == b""
    assert b"curl" in done.stderr
    assert b"7.76" in done.stderr


@pytest.mark.parametrize("version", ["7.50.0", "7.75.0", "6.5", "7.76.0"])
def test_a_curl_that_is_too_old_sends_nothing(lab: Lab, version: str, tmp_path: Path) -> None:
    """One before 7.76 does not know --no-fail-with-body, as a real 7.74.0 says here; 7.76 does, and is trusted."""
    asking = f'{CURL} "$@"' if version == "7.76.0" else 'echo "curl: option --no-fail-with-body: is unknown" >&2; exit 2'
    script = (
        f'case " $* " in *" --version "* | *" -V "*) echo "curl {version} (x) libcurl/{version}" ;;\n'
        f'*" --no-fail-with-body "*) {asking} ;;\n'
        f'*) {CURL} "$@" | sed "s#libcurl/[0-9.]*#libcurl/{version}#" ;; esac\n'
    )

    lab.recorder.take()  # what an interrupted test before has left
    done = _run_with_path(lab, _folder_of_tools(tmp_path / "bin", script), tmp_path, "http://SERVER/jira/x")

    sent = lab.recorder.take()
    if version == "7.76.0":
        assert done.returncode == 0, done.stderr
        assert [each.verdict for each in sent] == ["signed"]
    else:
        assert done.returncode == REFUSED, done.stderr
        assert b"7.76" in done.stderr
        assert sent == []


SHAPES = [
    ("http://SERVER/jira/slow/x",),
    ("-v", "http://SERVER/jira/slow/x"),
    ("-d", "a=1", "http://SERVER/jira/slow/x"),
    ("-G", "--data-urlencode", "a=x y", "http://SERVER/jira/slow/x"),
    ("-H", "Content-Type: application/json", "-d", "{}", "http://SERVER/jira/slow/x"),
    ("-F", "a=1", "http://SERVER/jira/slow/x"),
    ("-T", "form.txt", "http://SERVER/jira/slow/"),
    ("http://SERVER/jira/slow/{a,b}", "http://SERVER/jira/slow/c"),
    ("-d", "a=1", "http://SERVER/jira/slow/x", "--next", "http://SERVER/jira/slow/y"),
    ("-L", "http://SERVER/jira/redirect/302/absolute/slow/x"),
    ("--retry", "1", "http://SERVER/jira/slow/x"),
    ("-K", "-",),
]  # fmt: skip


def test_no_process_shows_a_signed_header(lab: Lab, tmp_path: Path) -> None:
    """The arguments and environments of every process are watched while signed requests of every shape are under way."""
    secret = f'oauth_consumer_key="{lab.recorder.judge.consumer_key if lab.recorder.judge else ""}"'
    watcher = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "tests/clients/bash/watch_processes.py"), secret, str(tmp_path / "stop")],
        stdout=subprocess.PIPE,
    )
    signed = 0
    for shape in SHAPES:
        stdin = b'url = "http://SERVER/jira/slow/x"\n' if "-K" in shape else None
        signed += len(lab.signed(Line(("-s", *shape), stdin=stdin)).sent)
    (tmp_path / "stop").touch()
    seen, _ = watcher.communicate(timeout=20)

    assert b"cmdline" not in seen, seen
    assert b"environ" not in seen, seen
    assert int(seen.split()[-2]) > signed >= 5  # looks


def test_the_watcher_sees_a_header_in_the_arguments(lab: Lab, tmp_path: Path) -> None:
    """The twin: curl given the same header by -H is seen."""
    secret = 'oauth_consumer_key="watched"'
    watcher = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "tests/clients/bash/watch_processes.py"), secret, str(tmp_path / "stop")],
        stdout=subprocess.PIPE,
    )
    for _ in range(5):
        lab.plain(Line(("-s", "-H", f"Authorization: OAuth {secret}", "http://SERVER/jira/slow/x")))
    (tmp_path / "stop").touch()
    seen, _ = watcher.communicate(timeout=20)

    assert b"cmdline" in seen
