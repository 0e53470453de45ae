"""TOML with a bound on its depth: every form of string and comment is passed over rightly, and nothing takes long."""

import contextlib
import resource
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.config.toml_load import DEPTH_MAX, TooDeepError, load_toml

DEEP = ".".join("a" * (DEPTH_MAX + 2))
DOTS = "." * (DEPTH_MAX + 1)
BRACKETS = "[{" * DEPTH_MAX


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    """What fails here must not take the machine with it: it once had 24 GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    "text",
    [
        f'a = "{DOTS}{BRACKETS}"\n',
        f"a = '{DOTS}{BRACKETS}\\'\n",
        f'a = "\\"{DOTS}\\\\" # {DOTS}{BRACKETS}\n',
        f'# {DOTS}{BRACKETS} """\na = 1\n',
        f'a = """{DOTS}\\"""\n{BRACKETS}\\\\"""\nb = 1\n',
        f"a = '''{DOTS}\n{BRACKETS}''\\'''\nb = 1\n",
        f'a = """"{DOTS}"""""\nb = """"""\nc = "{DOTS}"\n',
        f"a = ''''{DOTS}'''''\nb = ''''''\nc = '{DOTS}'\n",
        f'"{DOTS}" = 1\n[links."{DOTS}"]\n',
        "".join(f"[a{number}.b]\nc.d = [1.5, {{e = 1}}]\n" for number in range(99)),
        "a = " + "[" * DEPTH_MAX + "]" * DEPTH_MAX + "\n",
        "[" + ".".join("a" * DEPTH_MAX) + "]\n",
    ],
)
def test_what_is_not_deep_is_read_as_tomllib_reads_it(text: str) -> None:
    """Dots and brackets in texts and comments count for nothing, nor do those of one line for the next."""
    assert load_toml(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{DEEP} = 1\n", 1),
        (f"\n\n[{DEEP}]\n", 3),
        (f"a = 1\nb = {{ {DEEP} = 1 }}\n", 2),
        ("a = " + "[\n" * 99, DEPTH_MAX + 1),
        ("a = " + "{a=" * 99, 1),
        (f'a = """x"""""\n{DEEP} = 1\n', 2),
        (f"a = '\\'\n{DEEP} = 1\n", 2),
        (f'a = "\\\\"\n{DEEP} = 1\n', 2),
        (f'a = "\n{DEEP} = 1\n', 2),
        (f"# '''\n{DEEP} = 1\n", 2),
        (f"a = '''\n\\'''\n{DEEP} = 1\n", 3),
    ],
)
def test_what_is_deep_is_refused_with_its_line(text: str, line: int) -> None:
    """No text and no comment hides it."""
    with pytest.raises(TooDeepError, match="nested too deeply") as refused:
        load_toml(text)

    assert refused.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        ".".join(["a"] * 60_000) + " = 1",
        "a = " + "[" * 1_000_000,
        '"""' + '\\"""\n' * 200_000,
        '"' * 1_000_000,
        "'" * 1_000_000,
        '"\\' * 500_000,
        " " * 1_000_000,
        "]" * 1_000_000,
    ],
    ids=["dotted", "brackets", "escapes", "quotes", "apostrophes", "backslashes", "blanks", "closed"],
)
def test_no_text_takes_long(text: str) -> None:
    """A mebibyte in a second or so, whatever it is: the event loop waits for it."""
    tracing = sys.gettrace()
    sys.settrace(None)  # what measures coverage took nine tenths of the time
    try:
        began_at = time.process_time()
        with contextlib.suppress(ValueError):
            load_toml(text)
        took_s = time.process_time() - began_at
    finally:
        sys.settrace(tracing)

    assert took_s < 5
