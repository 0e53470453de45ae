"""The manual pages name every command, option, status and variable there is and no other, and are typeset without a complaint."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from atl_sign import __version__
from tests.lab import REPOSITORY

MAN = REPOSITORY / "docs/man"
PAGES = ("atl-sign.1", "atl-signd.1")
ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
COMMON = {"--json", "--help"}  # of every command of the script; the page has them once
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def read(page: str) -> str:
    """The page's source, with the dashes and quotes that are typed as they will be read."""
    return (MAN / page).read_text().replace("\\-", "-").replace("\\(aq", "'").replace("\\&", "")


def section(text: str, title: str) -> str:
    """One section's text."""
    return text.partition(f".Sh {title}\n")[2].partition("\n.Sh ")[0]


def synopsis_of(text: str) -> dict[str, set[str]]:
    """By command, the options in the synopsis; under "" those that stand without a command."""
    found: dict[str, set[str]] = {}
    for form in section(text, "SYNOPSIS").split(".Nm\n")[1:]:
        command = re.match(r"\.Cm ([a-z |]+)", form)
        names = command[1].strip().split(" | ") if command and "|" in command[1] and not command[1].startswith("link") else None
        for name in names or [command[1].split()[0] if command else ""]:
            found.setdefault(name, set()).update(f"-{option}" for option in re.findall(r"\bFl (-[a-z-]+)", form))
    return found


def commands_of(text: str) -> dict[str, set[str]]:
    """By command, the options that its part has an entry for; those of "Without a command" are under ""."""
    found: dict[str, set[str]] = {}
    for part in section(text, "COMMANDS").split(".Ss ")[1:]:
        title, _, body = part.partition("\n")
        names, colon, _ = title.partition(": ")
        for name in names.split(", ") if colon else [""]:
            found[name] = {f"-{option}" for option in re.findall(r"^\.It Fl (-[a-z-]+)", body, re.M)}
    return found


def ask(*command: str | Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # the script asks atl-signd
    return subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=True).stdout


def script_says() -> dict[str, set[str]]:
    """By command of the script, the options that its help names; of `curl` only those in the usage, for the others are curl's."""
    found: dict[str, set[str]] = {}
    for line in re.findall(r"^  (\S.*?)(?:   |$)", ask(ATL_SIGN, "help"), re.M):
        for name in line.split(", ") if ", " in line else [line.split()[0]]:
            found[name] = set()
    for name in found.keys() - {"log", "setup", "serve", "stop", "restart", "demo", "sandbox", "doctor", "service"}:
        text = ask(ATL_SIGN, "help", name)
        found[name] = set(_OPTION.findall(text.splitlines()[0] if name == "curl" else text)) - COMMON
    return found


def daemon_says() -> dict[str, set[str]]:
    """By command of atl-signd, the options that its help names."""
    signd = (sys.executable, "-m", "atl_sign.commands.cli")
    names = re.findall(r"^  ([a-z]+)  ", ask(*signd, "--help"), re.M)
    return {name: set(_OPTION.findall(ask(*signd, name, "--help"))) - {"--help"} for name in names}


def differences(said: Mapping[str, set[str]], written: Mapping[str, set[str]]) -> set[str]:
    """What one of the two has and the other has not, as "command" or "command --option"."""
    one, other = ({*names} | {f"{name} {option}" for name in names for option in names[name]} for names in (said, written))
    return one ^ other


def test_the_command_page_has_what_the_script_says() -> None:
    """Each command and each of its options has an entry, and no entry is of something that is not there."""
    written = commands_of(read("atl-sign.1"))
    written["help"] -= {"--version"}  # stands without a command

    assert differences(script_says(), written) == set()


def test_the_synopsis_of_the_command_has_what_the_script_says() -> None:
    """The same, for those who read no further."""
    written = synopsis_of(read("atl-sign.1"))

    assert written.pop("") == {"--version"}
    assert differences(script_says(), written) == set()


def test_the_verbs_have_entries() -> None:
    """Those of `link`, `key` and `git`."""
    page = read("atl-sign.1")
    for command in ("link", "key", "git"):
        usage = ask(ATL_SIGN, "help", command).partition("\n\n")[0].replace("[", "").replace("]", "")
        verbs = set(re.findall(rf"\b{command} ([a-z]+)", usage))

        assert verbs, command
        assert set(re.findall(rf"^\.It Cm {command} ([a-z]+)", page, re.M)) == verbs


def test_what_every_command_takes_is_said_once() -> None:
    """Before the commands."""
    described = section(read("atl-sign.1"), "DESCRIPTION")

    assert {f"-{option}" for option in re.findall(r"^\.It Fl (-[a-z-]+)", described, re.M)} == COMMON
    assert "takes --json" in " ".join(ask(ATL_SIGN, "help").split())


def test_the_daemon_page_has_what_the_daemon_says() -> None:
    """In the commands and in the synopsis."""
    page = read("atl-signd.1")
    written, synopsis = commands_of(page), synopsis_of(page)

    assert written.pop("") == {"--version", "--help"}
    assert synopsis.pop("") == {"--version"}
    assert differences(daemon_says(), written) == set()
    assert differences(daemon_says(), synopsis) == set()


def test_a_difference_is_found() -> None:
    """The twin: an option less, one more, and one that went to a command that is not there."""
    page = read("atl-signd.1")
    less = page.replace(".It Fl -token-life Ar SECONDS\n", "").replace(".Op Fl -token-life Ar SECONDS\n", "")
    more = page.replace(".Ss demo: ", ".Ss demo: it works\n.It Fl -quietly\n.Ss dream: ")

    said = {"": {"--version", "--help"}, **daemon_says()}
    assert differences(said, commands_of(less)) == {"sandbox --token-life"}
    assert differences(said, commands_of(more)) == {"demo --quietly", "dream", "demo --no-browser", "dream --no-browser"}
    assert "--token-life" not in synopsis_of(less)["sandbox"]


def test_the_statuses_are_those_of_the_command_documentation() -> None:
    """The same numbers as in docs/commands.md."""
    rows = re.findall(r"^\| (\d+) \|", (REPOSITORY / "docs/commands.md").read_text(), re.M)

    assert re.findall(r"^\.It (\d+)$", section(read("atl-sign.1"), "EXIT STATUS"), re.M) == rows


def test_the_variables_are_those_of_the_configuration() -> None:
    """The daemon's page has each of docs/configuration.md; the command's page each of ours that the script reads."""
    table = (REPOSITORY / "docs/configuration.md").read_text().partition("## Environment variables")[2].partition("\n\n## ")[0]
    rows = {name for cell in re.findall(r"^\| (`.*?`) \|", table, re.M) for name in re.findall(r"`(\w+)`", cell)}
    entries = {
        page: {
            name
            for names in re.findall(r"^\.It Ev (.+)$", section(read(page), "ENVIRONMENT"), re.M)
            for name in names.split(" , ")
        }
        for page in PAGES
    }

    assert entries["atl-signd.1"] == rows
    assert set(re.findall(r"\$\{?(ATL_SIGN_\w+)", ATL_SIGN.read_text())) <= entries["atl-sign.1"]
    assert {name for name in entries["atl-sign.1"] if name not in ATL_SIGN.read_text()} == set()


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_of_this_version(page: str) -> None:
    """In the footer."""
    assert f".Os atl-sign {__version__}\n" in read(page)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_has_its_sections(page: str) -> None:
    """In the order in which mdoc(7) has them."""
    assert re.findall(r"^\.Sh (.+)$", read(page), re.M) == [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "ENVIRONMENT",
        "FILES",
        "EXIT STATUS",
        "EXAMPLES",
        "SEE ALSO",
        "STANDARDS",
        "SECURITY CONSIDERATIONS",
    ]


def typed_wrong(source: str) -> list[str]:
    """Lines whose dashes or quotes a typesetter may turn into others, so that a copied option or example does not work."""
    wrong = []
    is_literal = False
    for line in source.splitlines():
        if line.startswith((".Bd", ".Ed")):
            is_literal = line.startswith(".Bd")
        elif is_literal:
            if re.search(r"(?<!\\)-|'", line):
                wrong.append(line)
        elif re.match(r"\.(?!\\|Dd|Bl|Xr)", line) and re.search(r"(?<!\\)-", line):
            wrong.append(line)
    return wrong


@pytest.mark.parametrize("page", PAGES)
def test_what_is_typed_can_be_copied(page: str) -> None:
    """Dashes and quotes are the ones on the keyboard."""
    assert typed_wrong((MAN / page).read_text()) == []


def test_a_dash_that_cannot_be_copied_is_found() -> None:
    """The twin."""
    lines = [".It Fl -json", ".Bd -literal", "$ curl -s 'x'", "$ curl \\-s \\(aqx\\(aq", ".Ed", "It's set-up."]

    assert typed_wrong("\n".join(lines)) == [lines[0], lines[2]]


# --- with the typesetters ---


def find(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is not installed: make system-packages"
    return path


def run_quietly(command: list[str], width: int = 80) -> tuple[str, list[str]]:
    """Return output and complaints."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": str(width), "MAN_KEEP_FORMATTING": "", "TERM": "dumb"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30)
    return done.stdout, done.stderr.splitlines()


def lint(page: Path) -> list[str]:
    """What mandoc has against the page, except that a page it names is not installed here."""
    output, complaints = run_quietly([find("mandoc"), "-T", "lint", "-W", "style", str(page)])
    lines = output.splitlines() + complaints
    return [line for line in lines if "referenced manual not found" not in line and "outdated mandoc.db" not in line]


def complain(page: Path) -> list[str]:
    """What groff, through man, has against the page."""
    return run_quietly([find("man"), "--warnings=w", "-P", "cat", "-l", str(page)])[1]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_nobody_complains(page: str) -> None:
    """Neither mandoc's lint nor man's warnings."""
    assert lint(MAN / page) == []
    assert complain(MAN / page) == []


@pytest.mark.slow
def test_a_broken_page_is_complained_of(tmp_path: Path) -> None:
    """The twin."""
    broken = tmp_path / "broken.1"
    broken.write_text((MAN / "atl-sign.1").read_text().replace(".Sh FILES", ".Sh FILES\n.El\n.ft NOSUCHFONT\n\\*[nosuchstring]"))

    assert lint(broken) != []
    assert complain(broken) != []


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("page", PAGES)
def test_the_page_fits(page: str, width: int) -> None:
    """No line is over the terminal's width, with man and with mandoc, and no option lost its dashes."""
    options = {option for names in commands_of(read(page)).values() for option in names}
    for command in ([find("man"), "-P", "cat", "-l"], [find("mandoc"), "-T", "utf8", "-O", f"width={width}"]):
        output, _ = run_quietly([*command, str(MAN / page)], width)
        lines = [re.sub(".\b", "", line) for line in output.splitlines()]  # overstruck: bold and underlined

        assert len(lines) > 100
        assert [line for line in lines if len(line) > width] == []
        assert {option for option in options if not any(option in line for line in lines)} == set()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_whatis_finds_the_page(page: str) -> None:
    """man-db's indexer reads name and description."""
    output, complaints = run_quietly([find("lexgrog"), str(MAN / page)])

    assert complaints == []
    assert f'"{page.removesuffix(".1")} - ' in output
