"""Other programs, called: what they print, what they complain of, and when they are given up."""

from pathlib import Path

import pytest

from atl_sign.commands import programs
from atl_sign.commands.programs import ProgramError, call_program, run_program


def put(folder: Path, text: str) -> dict[str, str]:
    path = folder / "program"
    path.write_text(text)
    path.chmod(0o755)
    return {"PATH": str(folder)}


def test_what_it_prints(tmp_path: Path) -> None:
    """In the C locale, without an input; bytes that are no UTF-8 are shown as such."""
    environment = put(tmp_path, '#!/bin/sh\nread line || printf "%s %s \\377" "$LC_ALL" "$1"\n')

    assert run_program(environment, "program", "word") == "C word \ufffd"


@pytest.mark.parametrize("text", ["#!/bin/sh\necho x; exit 3\n", "#!/nowhere/interpreter\n"])
def test_what_fails(tmp_path: Path, text: str) -> None:
    """Or cannot be run."""
    assert run_program(put(tmp_path, text), "program") is None


def test_what_is_not_there(tmp_path: Path) -> None:
    """Also without any PATH: not the one of this process."""
    assert run_program({"PATH": str(tmp_path)}, "sh") is None
    assert run_program({}, "sh") is None


def test_what_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is given up."""
    monkeypatch.setattr(programs, "PROGRAM_S", 0.2)

    assert run_program(put(tmp_path, "#!/bin/sh\nexec /bin/sleep 60\n"), "program") is None


def test_a_call_gives_all_that_came_of_it(tmp_path: Path) -> None:
    """A failure too, when it may be one; else it is told in the program's own words."""
    environment = put(tmp_path, "#!/bin/sh\necho out\nprintf 'it \\377 fails\\nbadly\\n' >&2\nexit $1\n")

    done = call_program(environment, "program", "3", may_fail=True)

    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "it \ufffd fails\nbadly\n")
    assert call_program(environment, "program", "0").returncode == 0
    with pytest.raises(ProgramError, match="program 3 failed: it \ufffd fails") as caught:
        call_program(environment, "program", "3")
    assert str(caught.value) == "program 3 failed: it \ufffd fails"
    assert caught.value.hint == "try it by hand: program 3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\nexit 1\n", "program failed: it said nothing"),
        ("#!/nowhere/interpreter\n", "program cannot be run: No such file or directory"),
        ("#!/bin/sh\nexec /bin/sleep 60\n", "program does not end"),
        (None, "there is no program here"),
    ],
)
def test_a_call_that_comes_to_nothing(tmp_path: Path, text: str | None, words: str) -> None:
    """Each says what to do; a failure that is allowed is none of the others."""
    environment = {"PATH": str(tmp_path)} if text is None else put(tmp_path, text)

    with pytest.raises(ProgramError, match=words) as caught:
        call_program(environment, "program", timeout_s=0.2 if "end" in words else 30, may_fail="failed" not in words)

    assert caught.value.hint
