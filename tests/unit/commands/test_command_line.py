"""How the words of a command line are read by a command's row."""

import pytest

from atl_sign.commands.cli import main
from atl_sign.commands.command_line import UsageError, read_line, show_help
from atl_sign.commands.table.handed_over import HANDED_OVER
from atl_sign.commands.table.rows import usage_of


@pytest.mark.parametrize(
    ("words", "options", "arguments"),
    [
        ([], {}, []),
        (["jira"], {}, ["jira"]),
        (["--json", "jira"], {"--json": ""}, ["jira"]),
        (["jira", "--json"], {"--json": ""}, ["jira"]),
        (["--report", "bundle"], {"--report": "bundle"}, []),
        (["--report=bundle", "jira"], {"--report": "bundle"}, ["jira"]),
        (["--report", "--redact"], {"--report": "", "--redact": ""}, []),  # its value may be left out
        (["jira", "--report"], {"--report": ""}, ["jira"]),
        (["--", "jira"], {}, ["jira"]),
    ],
)
def test_options_stand_anywhere(words: list[str], options: dict[str, str], arguments: list[str]) -> None:
    """Before and behind the arguments, with their value behind a blank or an equals sign."""
    line = read_line(HANDED_OVER["doctor"], words)

    assert (line.options, line.words) == (options, arguments)


def test_an_option_that_may_be_repeated_keeps_every_value() -> None:
    """In their order, behind a blank or an equals sign."""
    line = read_line(
        HANDED_OVER["lease"], ["check", "--allow", "read", "GET https://h/", "--deny=a", "--allow=b c", "--allow", ""]
    )

    assert line.get_all("--allow") == ["read", "b c", ""]
    assert line.get_all("--deny") == ["a"]
    assert line.get_all("--link") == []


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("doctor", ["a", "b"], "doctor takes at most 1 argument(s), not 2"),
        ("doctor", ["a/b"], "a link's name is up to 64 letters, digits, dots, dashes and underscores"),
        ("doctor", ["--", "--json"], "a link's name is up to 64 letters, digits, dots, dashes and underscores"),
        ("doctor", ["--jsno"], "unknown option --jsno, did you mean: --json"),
        ("doctor", ["-j"], "unknown option -j"),
        ("doctor", ["--json=1"], "option --json takes no value"),
        ("log", ["--since"], "option --since needs a value"),
        ("log", ["jira"], "log takes 0 argument(s), not 1"),
        ("service", [], "service needs a verb: install, uninstall or status"),
        ("service", ["instal"], "there is no service instal, did you mean: atl-sign service install"),
        ("service", ["install", "--json"], "service install does not take --json"),
        ("service", ["status", "x"], "service takes 1 argument(s), not 2"),
        ("lease", ["check"], "lease takes 2 argument(s), not 1"),
        ("lease", ["presets", "read", "--allow", "x"], "lease presets does not take --allow"),
        ("store", [], "store needs a verb: move"),
        ("store", ["frobnicate"], "there is no store frobnicate"),
        ("unlock", ["--new", "--change"], "--new and --change exclude each other"),
        ("serve", ["--report"], "unknown option --report"),  # what programs of ours alone use is not suggested
    ],
)
def test_what_cannot_be_understood_is_named(command: str, words: list[str], message: str) -> None:
    """With the usage; a slip of the keys with the nearest name."""
    with pytest.raises(UsageError) as caught:
        read_line(HANDED_OVER[command], words)

    assert str(caught.value) == message
    assert caught.value.usage == usage_of(HANDED_OVER[command])


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["status", "--help"], ["--nonsense", "--help"][1:]])
def test_help_is_wanted_before_anything_is_checked(words: list[str]) -> None:
    """Also where arguments are missing."""
    assert read_line(HANDED_OVER["service"], words).wants_help


def test_hidden_options_are_read_and_not_shown() -> None:
    """Those between programs of ours."""
    line = read_line(HANDED_OVER["serve"], ["--report-fd", "3"])

    assert line.get("--report-fd") == "3"
    assert "--report-fd" not in show_help(HANDED_OVER["serve"])
    assert "--key-fd N" in show_help(HANDED_OVER["serve"])


@pytest.mark.parametrize("words", [["serve", "--key-fd", "x"], ["serve", "--passed-on", "3"], ["doctor", "--redact"], ["lgo"]])
def test_main_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What only the command itself can judge, too."""
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("atl-sign")
    assert "usage: " in said or said.endswith("did you mean: atl-signd log\nhint: atl-signd --help\n")


def test_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0, on standard output; the twin: without a command it is usage."""
    assert main(["log", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: atl-sign log [--follow]")
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert "  autostart   start the daemon" in listed

    assert main([]) == 2
    assert capsys.readouterr().err == listed
