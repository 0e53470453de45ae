"""What is made of the table of commands is current: help, completions and manual pages."""

import re
from pathlib import Path

import pytest

from atl_sign.commands.table.calls import CALLS, COMMANDS
from atl_sign.commands.table.handed_over import HANDED_OVER
from tests.lab import REPOSITORY
from tests.tools.write_commands import files, rewritten

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
FILES = files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_file_is_as_the_table_has_it(path: Path) -> None:
    assert path.read_text() == rewritten(path, FILES[path]), "python -m tests.tools.write_commands"


def test_what_was_written_by_hand_is_found(tmp_path: Path) -> None:
    """The twin."""
    path = tmp_path / "atl-sign"
    path.write_text(ATL_SIGN.read_text().replace("COMMANDS='setup ", "COMMANDS='set-up "))

    assert path.read_text() != rewritten(path, FILES[ATL_SIGN])
    assert rewritten(path, FILES[ATL_SIGN]) == ATL_SIGN.read_text()


def test_every_command_is_carried_out() -> None:
    """Each of the table by a function of the bash program or of atl-signd, and no other."""
    functions = set(re.findall(r"^cmd_([a-z]+)\(\)", ATL_SIGN.read_text(), re.M))

    assert functions == {command.name for command in CALLS} - {"curl"}  # that one has a file of its own
    assert {command.name for command in COMMANDS} == {row.name for row in CALLS} | {
        row.name for row in HANDED_OVER.values() if row.is_handed_over
    }


def test_header_takes_the_options_of_the_table() -> None:
    """It runs before bash has read the table, so that its options stand before that, too."""
    text = ATL_SIGN.read_text()
    (header,) = (command for command in CALLS if command.name == "header")

    before = re.search(r"^declare -A VALUED=\(\[header\]='(.*?)'\) FLAGS=\(\[header\]='(.*?)'\)$", text, re.M)
    assert before is not None
    assert before[1].split() == [option.name.removeprefix("--") for option in header.options if option.value]
    assert before[2].split() == [option.name.removeprefix("--") for option in header.options if not option.value]


def test_every_name_is_one_commands() -> None:
    """No alias is a command's name or another's alias."""
    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    names += [alias for command in COMMANDS for form in command.forms for alias in form.aliases]

    assert len(names) == len(set(names))
