"""What is made of the table of commands: help, completions, manual pages. `python -m tests.tools.write_commands` writes it."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from atl_sign.commands.table.calls import CALLS, COMMANDS, LINK_ADD_SETTINGS
from atl_sign.commands.table.handed_over import HANDED_OVER
from atl_sign.commands.table.rows import Command, aliases_of, help_of, plain, usage_of
from atl_sign.config.setting import Switch
from tests.lab import REPOSITORY
from tests.tools import completions, manual

_BEGIN, _END = "--- made by tests/tools/write_commands.py: {} ---", "--- end of {} ---"


def files() -> dict[Path, dict[str, str]]:
    """By file, what stands between the marks of each name."""
    folder = REPOSITORY / "clients"
    return {
        folder / "bash/atl-sign": {"table": bash_table()},
        folder / "completion/atl-sign.bash": {"table": completions.for_bash()},
        folder / "completion/_atl-sign": {"commands": completions.for_zsh(), "table": completions.for_zsh_table()},
        folder / "completion/atl-sign.fish": {"words": completions.for_fish_words(), "table": completions.for_fish()},
        REPOSITORY / "docs/man/atl-sign.1": manual.parts("atl-sign"),
        REPOSITORY / "docs/man/atl-signd.1": manual.parts("atl-signd"),
    }


def rewritten(path: Path, blocks: dict[str, str]) -> str:
    """Return the text of the file at *path* with *blocks* between their marks."""
    text = path.read_text()
    for name, block in blocks.items():
        begin, end = (re.escape(mark.format(name)) for mark in (_BEGIN, _END))
        found = re.search(rf"(?m)^(.*{begin}\n)((?s:.*?))^([^\w\n]*{end})$", text)
        assert found is not None, f"{path}: no marks of {name}"
        text = f"{text[: found.end(1)]}{block.rstrip()}\n{text[found.start(3) :]}"
    return text


def overview() -> str:
    """Return what `atl-sign help` prints."""
    lines = ["usage: atl-sign COMMAND …", ""]
    for command in COMMANDS:
        words = " ".join([command.name, *_words_of(command)])
        if len(words) < 26:
            lines.append(f"  {words:27}{command.summary}")
        else:
            lines += [f"  {words}", f"{'':29}{command.summary}"]
    names = "; ".join(f"{alias} for {full}" for command in COMMANDS for alias, full in aliases_of(command))
    lines += [
        "",
        f"Shorter or usual names: {names}.",
        "Each command takes --json and then prints the daemon's JSON answer; curl and run do not.",
        "Exit status: 0 done, 1 refused, 2 usage, 3 no daemon; curl: curl's own, 125 when nothing was sent;",
        "run: the program's own, 125 when it was not started.",
    ]
    return "\n".join(lines)


def _words_of(command: Command) -> Iterator[str]:
    """Give what stands behind *command*'s name in the list of commands: its verbs, and words that all of them take."""
    verbs = "|".join(command.verbs)
    if verbs:
        yield verbs if all(form.verb for form in command.forms) else f"[{verbs}]"
    first = command.forms[0].arguments
    if all(form.arguments == first for form in command.forms):
        yield from (argument.usage for argument in first)


def bash_table() -> str:
    """Return the bash command's tables."""
    valued = {row.name: [option.name[2:] for option in row.options if option.value] for row in CALLS}
    flags = {row.name: [option.name[2:] for option in row.options if not option.value] for row in CALLS}
    aliases = {alias: full for row in COMMANDS for alias, full in aliases_of(row)}
    fields = [f"{row.flag[2:]}={row.name}{_kind(row.metavar, isinstance(row.kind, Switch))}" for row in LINK_ADD_SETTINGS]
    handed_over = [row.name for row in HANDED_OVER.values() if row.is_handed_over]
    return "\n".join(
        [
            f"COMMANDS={quote(' '.join(row.name for row in COMMANDS))}",
            f"HANDED_OVER={quote(' '.join(handed_over))}",
            "# Options with a value, and without one.",
            *_array("VALUED", {name: " ".join(words) for name, words in valued.items() if words}),
            *_array("FLAGS", {name: " ".join(words) for name, words in flags.items() if words}),
            *_array("ALIASES", aliases),
            "# Option, the daemon's field, and f for a file, s for a switch.",
            f"LINK_SETTINGS={quote(' '.join(fields))}",
            f"OVERVIEW={quote(overview())}",
            *_array("USAGES", {row.name: usage_of(row) for row in CALLS}),
            "# shellcheck disable=SC2016 # no expansion is meant",
            *_array("HELP", {row.name: help_of(row) for row in CALLS}),
        ]
    )


def quote(text: str) -> str:
    """Return *text* as a word for bash."""
    return "'" + text.replace("'", "'\\''") + "'"


def _kind(metavar: str, is_switch: bool) -> str:
    return ":s" if is_switch else ":f" if metavar == "FILE" else ""


def _array(name: str, items: dict[str, str]) -> Iterable[str]:
    return [f"declare -A {name}=(", *(f"\t[{key}]={quote(plain(text))}" for key, text in items.items()), ")"]


if __name__ == "__main__":
    for place, made in files().items():
        place.write_text(rewritten(place, made))
