"""What other programs print: at once, or not at all."""

from pathlib import Path

import pytest

from atl_sign import programs
from atl_sign.programs import run_program


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
