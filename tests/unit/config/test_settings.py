"""The text of the configuration file: links and settings out of it, and each wrong one named with its line."""

import time

import pytest

from atl_sign.config.settings import BrokenFileError, parse_settings
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.unit.config.config_lab import BROKEN, GOOD, problems


@pytest.mark.parametrize(("broken", "line", "cause"), BROKEN)
def test_a_file_that_is_not_toml_is_named_with_its_line(broken: str, line: int | None, cause: str) -> None:
    """Where a table ends that cannot be read nobody knows, so nothing of the file is used."""
    with pytest.raises(BrokenFileError) as refused:
        parse_settings(f"{GOOD}\n{broken}", SCHEME_SETTINGS)

    problem = refused.value.problem
    assert problem.line == (None if line is None else line + GOOD.count("\n") + 1)
    assert problem.part == "file"
    assert cause in problem.cause.lower()
    assert problem.cause[0] == problem.cause[0].lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("links = 5\n", "config.toml line 1, links: links is not a table of tables: write [links.NAME]"),
        ("x = 1\n[[links]]\n", "config.toml line 1, x: no such setting|config.toml line 2, links: links is not a table"),
        ("[links]\n\njira = 5\n", "config.toml line 3, links.jira: not a table: write [links.jira]"),
        ('[links."my.link"]\nurl = 5\n', "config.toml line 1, links.my.link: url is not a text"),
        ('[links.a]\nurl = "https://x"\n', "config.toml line 1, links.a: consumer_key is missing"),
        ('[links."a b"]\n', "config.toml line 1, links.a b: a link's name is"),
        ('links.a.url = "ftp://x"\nlinks.a.consumer_key = "k"\n', "config.toml line 1, links.a: url: the URL is neither http"),
        ("[links.a]\nproxi = 1\n", "config.toml line 1, links.a: no such setting: proxi"),
        ("[store]\nbackend = 5\n", "config.toml line 2, store.backend: not a text"),
        ("store = 5\n", "config.toml line 1, store: not a table: write [store]"),
        ('[store]\nbackend = "memory"\nextra = 1\n', "config.toml line 3, store.extra: no such setting"),
        ("[stor]\n", "config.toml line 1, stor: no such setting"),
        ('"q uoted" = 1\n', "config.toml line 1, q uoted: no such setting"),
        ('"q\\u0075oted" = 1\n', "config.toml, quoted: no such setting"),
    ],
)
def test_each_wrong_setting_is_named_with_its_line(text: str, expected: str) -> None:
    """The parts that can be read are; each other part is told."""
    settings = parse_settings(text, SCHEME_SETTINGS)

    found = sorted(problems(settings))
    assert len(found) == len(expected.split("|"))
    for problem, words in zip(found, sorted(expected.split("|")), strict=True):
        assert problem.startswith(words)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[links.a]\nurl = "https://x"\nconsumer_key = "k"\n\nallow_insecure = true\n', 5),
        ('[links.a]\nallow_insecure = false\nurl = "https://x"\nconsumer_key = "k"\n', 2),
        ('[links]\na = { url = "https://x", consumer_key = "k", allow_insecure = true }\n', 2),
        ('[links.a]\nurl = "https://x"\nconsumer_key = "k"\n"allow_insecur\\u0065" = 1\n[links.b]\n# allow_insecure\n', 1),
        ('# allow_insecure\nlinks.a.url = "https://x"\nlinks.a.consumer_key = "k"\nlinks.a.allow_insecure = 5\n', 4),
    ],
)
def test_a_setting_of_earlier_times_costs_nothing(text: str, line: int) -> None:
    """It is named with its line and what to do. The twin: a link that is broken besides is left out, for that alone."""
    settings = parse_settings(text, SCHEME_SETTINGS)

    (problem, *others) = [each for each in settings.problems if each.part.startswith("links.a")]
    assert list(settings.links.by_name) == ["a"]
    assert settings.problem_of_link("a") is None
    assert (problem.line, problem.part, problem.is_harmless, others) == (line, "links.a.allow_insecure", True, [])
    assert "name a self-signed one in ca_bundle" in problem.cause
    broken = parse_settings("[links.a]\nallow_insecure = true\nproxi = 1\n", SCHEME_SETTINGS)
    assert problems(broken) == ["config.toml line 1, links.a: no such setting: proxi"]


def test_ten_thousand_wrong_tables_are_reported_in_one_reading() -> None:
    """Each with its line. A search of the whole text for each took 14 s, and 16 times as long for 4 times as many."""
    few, many = (wrong_tables(number) for number in (1250, 5000))
    parse_settings(few, SCHEME_SETTINGS)  # what is made once is made here

    ratio = reading_seconds(many) / reading_seconds(few)

    assert ratio < 8
    assert [problem.line for problem in parse_settings(many, SCHEME_SETTINGS).problems] == [*range(1, 20_001, 2)]


def wrong_tables(number: int) -> str:
    """Return a file with two wrong tables *number* times, each of two lines."""
    return "".join(f"[links.wrong{each}]\nurl = 5\n[links.other{each}]\nx = 1\n" for each in range(number))


def reading_seconds(text: str) -> float:
    """Return the least processor time of this thread for reading *text*, of three."""
    taken = []
    for _ in range(3):
        began_at = time.thread_time()
        parse_settings(text, SCHEME_SETTINGS)
        taken.append(time.thread_time() - began_at)
    return min(taken)


def test_an_empty_store_table_is_fine() -> None:
    """Nothing is set, so nothing is wrong."""
    assert parse_settings("[store]\n", SCHEME_SETTINGS).problems == ()
    assert parse_settings("[store]\n", SCHEME_SETTINGS).store_backend is None


@pytest.mark.parametrize(
    ("text", "idle_exit_s", "problem"),
    [
        ("", 1800.0, None),
        ("[daemon]\n", 1800.0, None),
        ("[daemon]\nidle_exit_minutes = 0\n", 0.0, None),
        ("[daemon]\nidle_exit_minutes = 1.5\n", 90.0, None),
        ("[daemon]\nidle_exit_minutes = -1\n", 1800.0, "config.toml line 2, daemon.idle_exit_minutes: not a number of minutes"),
        ("[daemon]\nidle_exit_minutes = true\n", 1800.0, "config.toml line 2, daemon.idle_exit_minutes: not a number of minutes"),
        ("[daemon]\nidle_exit_minutes = nan\n", 1800.0, "config.toml line 2, daemon.idle_exit_minutes: not a number of minutes"),
        ('[daemon]\nidle_exit_minutes = "5"\n', 1800.0, "config.toml line 2, daemon.idle_exit_minutes: not a number of minutes"),
        ("[daemon]\nidle = 5\n", 1800.0, "config.toml line 2, daemon.idle: no such setting"),
        ("daemon = 5\n", 1800.0, "config.toml line 1, daemon: not a table: write [daemon]"),
    ],
)
def test_the_idle_time_and_what_is_wrong_with_it(text: str, idle_exit_s: float, problem: str | None) -> None:
    """A number of minutes from 0 to a year; anything else is told, and the default holds."""
    settings = parse_settings(text, SCHEME_SETTINGS)

    assert settings.idle_exit_s == idle_exit_s
    assert [str(each)[: len(problem or "")] for each in settings.problems] == ([] if problem is None else [problem])
