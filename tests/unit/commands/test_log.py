"""`atl-sign log`: what stands in the files and in the journal, filtered and in order."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from atl_sign.access.audit import Decision, FileSink, format_decision
from atl_sign.commands import log as log_reader
from atl_sign.commands.cli import main
from atl_sign.commands.log import parse_since
from tests.lab import wait_for

NOON = datetime(2026, 11, 25, 12, 0, 0, 0, UTC)


class Over(Exception):
    """Ends a reader that follows."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, in a state folder of the test's own; there is no journal."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "atl-sign/audit.jsonl"


def make_line(minutes: int, link: str = "jira", outcome: str = "ok") -> str:
    decision = Decision("sign", outcome, link, "GET", "jira.example.com", f"/{minutes}", 42, 1000, "/usr/bin/curl")
    return format_decision(decision, NOON + timedelta(minutes=minutes))


def test_the_files_are_shown_in_order(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Full ones too; lines that a crash cut off are left out."""
    sink = FileSink(path, bytes_max=400)
    for minute in range(10):
        sink.write(make_line(minute))
    with path.open("a") as file:
        file.write('{"time": "9999-12-31T23:59:59-23:59"}\n{"time": "0001-01-01T00:00:00+23:59"}\n')
        file.write('null\n{"time": 5}\n{"time": "2026-11-25"}\n{"time": "2026-1')

    assert main(["log"]) == 0

    heads, *lines = capsys.readouterr().out.splitlines()
    assert heads.split("  ")[0] == "TIME (UTC)"
    assert [line.rpartition("/")[2] for line in lines] == [str(minute) for minute in range(10)]
    assert lines[3] == "2026-11-25 12:03:00  ok            sign    jira          curl[42]  GET jira.example.com/3"


def test_lines_without_a_request_are_shown(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """git's helper names a host and no path, a lock neither; a line that is not ours in all its parts ends nothing."""
    sink = FileSink(path)
    sink.write(
        format_decision(Decision("git-credential", "ok", "bitbucket", None, "git.example.com", None, 42, 1000, None), NOON)
    )
    sink.write(format_decision(Decision("lock", "ok", None, None, None, None, 42, 1000, None), NOON))
    sink.write('{"time": "2026-11-25T12:00:00Z", "method": 5, "program": []}')

    assert main(["log"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "TIME (UTC)           OUTCOME       ACTION  LINK          PROGRAM[PID]  REQUEST",
        "2026-11-25 12:00:00  ok            git-credential  bitbucket     [42]  git.example.com",
        "2026-11-25 12:00:00  ok            lock    -             [42]",
        "2026-11-25 12:00:00                        -             [daemon]  5",
    ]


def test_a_program_at_a_port_is_not_the_daemon(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The kernel names nobody there; a lease's end is the daemon's own work."""
    entry = {"time": "2026-11-25T12:00:00Z", "outcome": "ok", "lease": "0badcafe"}
    sink = FileSink(path)
    for action in ("sign", "tunnel", "lease"):
        sink.write(json.dumps({**entry, "action": action}))

    assert main(["log"]) == 0

    peers = [line.split()[5] for line in capsys.readouterr().out.splitlines()[1:]]
    assert peers == ["[port]", "[port]", "[daemon]"]


def test_lines_are_filtered(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By link and by time, as JSON too."""
    sink = FileSink(path)
    for minute, link in ((0, "jira"), (1, "bamboo"), (2, "jira")):
        sink.write(make_line(minute, link))

    assert main(["log", "--link", "jira", "--since", "2026-11-25T12:01:00+00:00", "--json"]) == 0

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == json.loads(make_line(2))


def test_times() -> None:
    """Ago, or a date; a date without a zone is local."""
    assert parse_since("90m", NOON) == NOON - timedelta(minutes=90)
    assert parse_since("2w", NOON) == NOON - timedelta(weeks=2)
    assert parse_since("2026-11-25T10:00+02:00", NOON) == datetime(2026, 11, 25, 8, tzinfo=UTC)
    for wrong in ("yesterday", "", "5", "999999w", "2026-13-01", "-5m"):
        with pytest.raises(ValueError, match="this is not a time"):
            parse_since(wrong, NOON)


def test_bad_usage_and_nothing_there(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 with what a time looks like; status 1 with where the daemon writes."""
    for since in ("soon", ""):  # a script's empty variable is not the beginning of time
        assert main(["log", "--since", since]) == 2
        assert "hint: write 30m" in capsys.readouterr().err
    assert main(["log", "jira"]) == 2
    assert capsys.readouterr().err.startswith("atl-sign: log takes 0 argument(s), not 1\nusage: atl-sign log ")
    assert main(["log"]) == 1
    assert str(path) in capsys.readouterr().err


def test_full_files_are_shown_without_a_current_one(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As after a crash between the two, or when somebody has removed it."""
    FileSink(path).write(make_line(1))
    path.rename(path.with_name(f"{path.name}.1"))

    assert main(["log"]) == 0

    assert capsys.readouterr().out.endswith("/1\n")


def test_what_cannot_be_read_is_told(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder in the file's place, say: which one, and why."""
    path.mkdir(parents=True)

    for arguments in (["log"], ["log", "--follow"]):
        assert main(arguments) == 1
        assert f"{path} cannot be read: Is a directory\nhint: atl-sign doctor" in capsys.readouterr().err
    path.rmdir()
    os.mkfifo(path)  # it would keep a reader waiting for ever
    assert main(["log"]) == 1
    assert "it is not a regular file" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`atl-sign log | head`."""
    FileSink(path).write(make_line(1))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        monkeypatch.setattr("sys.stdout", gone)
        assert main(["log"]) == 0


def test_the_output_may_be_narrow_or_full(path: Path) -> None:
    """What the terminal cannot show is replaced; a full disk is told, without a traceback."""
    FileSink(path).write(json.dumps({"time": "2026-11-25T12:00:00Z", "path": "/日/\udcff"}))
    command = [sys.executable, "-m", "atl_sign.commands.cli", "log"]

    narrow = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=True)
    with Path("/dev/full").open("w") as full:
        refused = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)

    assert narrow.stdout.endswith(b"  /?/\\udcff\n")
    assert refused.returncode == 1
    assert refused.stderr == "atl-sign: the output cannot be written: No space left on device\nhint: atl-sign doctor\n"


def test_a_follower_sees_what_comes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also past a rotation, and from the journal; and not what was there before, twice."""
    journal = path.parent.parent / "bin/journalctl"
    journal.write_text(
        "#!/bin/bash\n"
        f"if [[ $* == *--follow* ]]; then echo '{make_line(50, 'bamboo')}'; exec sleep 20; else echo '{make_line(0)}'; fi\n"
    )
    journal.chmod(0o700)
    monkeypatch.setenv("PATH", f"{journal.parent}:/usr/bin:/bin")
    monkeypatch.setattr(log_reader, "_POLL_S", 0.01)
    sink = FileSink(path, bytes_max=400)
    sink.write(make_line(1))
    shown: list[str] = []
    position = log_reader.show_log(os.environ, log_reader.LogFilter(), as_json=True, write=lambda text: None)
    sink.write(make_line(2))  # while the rest is shown

    def follow() -> None:
        with pytest.raises(Over):
            log_reader.follow_log(os.environ, log_reader.LogFilter(), position, as_json=True, write=_until(shown, 7))

    reader = threading.Thread(target=follow)
    reader.start()
    wait_for(lambda: len(shown) == 2)  # the journal's, and what came before it followed
    shown.sort(key=lambda line: "/50" not in line)
    for minute in range(3, 8):
        sink.write(make_line(minute))
        wait_for(lambda: len(shown) == minute)  # noqa: B023 - waited for at once
    reader.join(20)

    assert [json.loads(line)["path"] for line in shown] == ["/50", *(f"/{minute}" for minute in range(2, 8))]
    log_reader.show_log(os.environ, log_reader.LogFilter(), as_json=True, write=shown.append)
    assert json.loads(shown[7])["path"] == "/0"


def test_files_that_are_moved_aside_meanwhile_are_read_once_each(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation between two of them loses no line and shows none twice."""
    FileSink(path).write(make_line(2))
    FileSink(path.with_name(f"{path.name}.1")).write(make_line(1))
    real_open = log_reader._open

    def open_and_rotate(asked: Path) -> object:
        file = real_open(asked)
        if asked == path:
            path.with_name(f"{path.name}.1").rename(path.with_name(f"{path.name}.2"))
            path.rename(path.with_name(f"{path.name}.1"))
        return file

    monkeypatch.setattr(log_reader, "_open", open_and_rotate)
    shown: list[str] = []

    position = log_reader.show_log(os.environ, log_reader.LogFilter(), as_json=True, write=shown.append)

    assert [json.loads(line)["path"] for line in shown] == ["/1", "/2"]
    FileSink(path).write(make_line(3))
    monkeypatch.setattr(log_reader, "_open", real_open)
    with pytest.raises(Over):
        log_reader.follow_log(os.environ, log_reader.LogFilter(), position, as_json=True, write=_until(shown, 3))
    assert json.loads(shown[2])["path"] == "/3"


def _until(shown: list[str], count: int) -> Callable[[str], None]:
    def write(text: str) -> None:
        shown.append(text)
        if len(shown) == count:
            raise Over

    return write
