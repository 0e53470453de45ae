"""How the doctor runs its checks and shows what they found: deadlines, checks that fail themselves, columns, colours."""

import io
import json
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from atl_sign.base.findings import LINK_CHECKS, MACHINE_CHECKS, Finding, worst_of
from atl_sign.commands.doctor import examine as doctor
from atl_sign.commands.doctor.examine import examine, format_findings, run_doctor

LINK = '[links.jira]\nurl = "http://127.0.0.1:{port}"\nconsumer_key = "x"\n'
FINDINGS = [
    Finding("config", "ok", "1 link"),
    Finding("socket", "broken", "it is\nopen", "chmod 600 it"),
    Finding("link.dns", "warning", "slow", "wait", "jira"),
    Finding("link.tcp", "skipped", "the proxy does that", "not shown", "jira"),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """An environment in which there is nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": str(tmp_path)}


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """What a check waits for that hangs; set at the end, so that its thread does end."""
    event = threading.Event()
    yield event
    event.set()


def test_lines_are_aligned() -> None:
    """A hint stands below what is not well; nothing breaks a line; the last line counts."""
    assert format_findings(FINDINGS) == [
        "ok       config     1 link",
        "broken   socket     it is\\nopen",
        "                    hint: chmod 600 it",
        "warning  jira: dns  slow",
        "                    hint: wait",
        "skipped  jira: tcp  the proxy does that",
        "",
        "1 ok, 1 warning, 1 broken, 1 skipped",
    ]


def test_colours_are_on_a_terminal_alone(nowhere: Mapping[str, str]) -> None:
    """And not with NO_COLOR (no-color.org: when it is there and not empty)."""
    shown = []
    for out, variables in (
        (Terminal(), {}),
        (Terminal(), {"NO_COLOR": "1"}),
        (Terminal(), {"NO_COLOR": ""}),
        (io.StringIO(), {}),
    ):
        run_doctor({**nowhere, **variables}, None, as_json=False, report=None, redact=False, out=out)
        shown.append("\033[" in out.getvalue())

    assert shown == [True, False, True, False]
    terminal = Terminal()
    run_doctor(nowhere, None, as_json=False, report=None, redact=False, out=terminal)
    assert re.search("^\033\\[33mwarning\033\\[0m  config", terminal.getvalue(), re.M)


def test_the_worst_counts() -> None:
    """What is skipped is no fault."""
    assert worst_of(FINDINGS) == "broken"
    assert worst_of(FINDINGS[2:]) == "warning"
    assert worst_of(FINDINGS[3:]) == "ok"


def test_where_nothing_is(nowhere: Mapping[str, str]) -> None:
    """Every check says something, and the missing daemon is broken."""
    out = io.StringIO()

    assert run_doctor(nowhere, None, as_json=True, report=None, redact=False, out=out) == 1

    answer = json.loads(out.getvalue())
    assert [each["check"] for each in answer["checks"]] == list(MACHINE_CHECKS)
    assert {each["check"] for each in answer["checks"] if each["result"] == "broken"} == {"daemon", "bash", "curl"}


def test_a_check_that_hangs_or_fails_is_told(
    nowhere: Mapping[str, str], hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the others' results."""

    def hang(_: Mapping[str, str]) -> list[Finding]:
        hanging.wait()
        return []

    def fail(_: Mapping[str, str]) -> list[Finding]:
        raise ValueError("canary-7f3a9c")

    monkeypatch.setattr(doctor, "MACHINE_S", 1.5)
    monkeypatch.setattr(doctor, "_MACHINE", {**doctor._MACHINE, "git": hang, "browser": fail})

    found = {finding.check: finding for finding in examine(nowhere).findings}

    assert (found["git"].result, found["git"].cause) == ("broken", "no result in time")
    assert (found["browser"].result, found["browser"].cause) == ("broken", "the check itself failed: ValueError")
    assert found["callback"].result == "ok"


def test_a_daemon_check_that_fails_is_told(nowhere: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The links are looked at all the same."""

    def fail(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(doctor, "look_at_daemon", fail)

    found = {finding.check: finding for finding in examine(nowhere).findings}

    assert (found["daemon"].result, found["key"].result) == ("broken", "skipped")
    assert found["daemon"].hint == "please report it"


def test_links_for_which_no_time_is_left_are_skipped(
    nowhere: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, hanging: threading.Event
) -> None:
    """The whole ends; one link's deadline does not take another's."""
    monkeypatch.setattr(doctor, "RUN_S", 1.5)
    monkeypatch.setattr(doctor, "LINK_S", 0.2)
    monkeypatch.setattr(doctor, "_LINKS_AT_ONCE", 1)
    asked: list[str] = []

    def hang(link: object) -> list[Finding]:
        asked.append(str(link))
        hanging.wait()
        return []

    monkeypatch.setattr(doctor, "check_network", hang)
    path = Path(nowhere["XDG_CONFIG_HOME"]) / "atl-sign/config.toml"
    path.parent.mkdir()
    path.write_text("".join(LINK.format(port=port).replace("jira", f"l{port}") for port in range(1, 101)))

    found = [finding for finding in examine(nowhere).findings if finding.link]

    assert len(found) == 100 * len(LINK_CHECKS)
    assert 1 < len(asked) < 100
    assert (found[0].check, found[0].result, found[0].cause) == ("link.proxy", "broken", "no result in time")
    assert {finding.cause for finding in found[-len(LINK_CHECKS) :]} == {"no time was left"}


def test_a_report_that_cannot_be_written(nowhere: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """In a folder that is not there."""
    report = f"{nowhere['HOME']}/none/report.json"

    assert run_doctor(nowhere, None, as_json=False, report=report, redact=False) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "cannot be written: No such file or directory" in captured.err
    assert "hint: name a new file" in captured.err
