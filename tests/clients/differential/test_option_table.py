"""The table of options that `atl-sign curl` reads lines by, held against the installed curl."""

import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.clients.differential.lab import CURL, REFUSED, SCRIPT, Lab, installed_version
from tests.clients.differential.lines import Line

TABLE = SCRIPT.parent / "atl-sign-curl.bash"
# These end curl at once, whatever else there is.
ENDING = {"help", "manual", "version", "dump-ca-embed"}

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table."""

    kind: str  # "v": takes a value; "b": a flag that --no- switches off; "n": one that has no --no-
    since: int  # 1000 * major + minor; 0 for those that curl 7.76 has


@dataclass(frozen=True, slots=True)
class Helped:
    """One line of `curl --help all`."""

    letter: str | None
    name: str
    takes_value: bool


@pytest.fixture(scope="module")
def table() -> Mapping[str, Entry]:
    """Long names to entries."""
    text = _table("CURL_OPTIONS")
    found = re.findall(r"(?<!\S)([a-z0-9.-]+)=([vbn]):([0-9]+):[a-z]+(?!\S)", text)
    assert len(found) == len(text.split()), "an entry is written in another way"
    return {name: Entry(kind, int(since)) for name, kind, since in found}


@pytest.fixture(scope="module")
def letters() -> Mapping[str, str]:
    """Letters to long names."""
    text = _table("CURL_LETTERS")
    found = re.findall(r"(?<!\S)(.)=([a-z0-9.-]+)(?!\S)", text)
    assert len(found) == len(text.split()), "an entry is written in another way"
    return dict(found)


@pytest.fixture(scope="module")
def helped() -> list[Helped]:
    """All that the installed curl tells of."""
    text = subprocess.run([CURL, "-q", "--help", "all"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ {1,2}(?:-(\S), )? *--(\S+)( [<\[])?", text, re.M)
    assert len(found) > 200
    return [Helped(letter or None, name, value != "") for letter, name, value in found if name not in ENDING]


@pytest.fixture(scope="module")
def version() -> int:
    """The installed curl's, as the table has them."""
    return installed_version()


def _table(name: str) -> str:
    found = re.search(rf"^{name}='\n(.*?)^'", TABLE.read_text(), re.M | re.S)
    assert found, f"{TABLE.name} has no {name}"
    return found[1]


def _plain_name(name: str, table: Mapping[str, Entry]) -> str:
    """Return the name without the "no-" that curl's help tells some flags by."""
    return name.removeprefix("no-") if name not in table else name


def test_nothing_that_curl_tells_of_is_missing(table: Mapping[str, Entry], helped: list[Helped]) -> None:
    """Each option of `curl --help all` is in the table."""
    missing = [each.name for each in helped if _plain_name(each.name, table) not in table]

    assert missing == []


def test_values_are_values_and_flags_are_flags(table: Mapping[str, Entry], helped: list[Helped]) -> None:
    """What takes an argument in curl's help takes one in the table, and nothing else does."""
    other = [each.name for each in helped if (table[_plain_name(each.name, table)].kind == "v") != each.takes_value]

    # The help of 7.76 leaves out some values that curl asks for all the same.
    wrong = [name for name in other if ("requires parameter" in _complaint(f"--{name}")) != (table[name].kind == "v")]
    assert wrong == []
    assert len(other) < 6, other


def test_letters_are_curl_s(letters: Mapping[str, str], table: Mapping[str, Entry], helped: list[Helped]) -> None:
    """Each short option stands for the same long one."""
    told = {each.letter: _plain_name(each.name, table) for each in helped if each.letter is not None}
    # One option by two names, the second of which is the first in curl's help from 8.10 on.
    if told["i"] == "show-headers":
        told["i"] = "include"

    assert {letter: letters.get(letter) for letter in told} == told
    assert set(letters.values()) <= set(table)


def test_what_curl_has_besides_its_help_is_read_as_curl_reads_it(table: Mapping[str, Entry], version: int) -> None:
    """curl itself, asked with each name alone, wants a value exactly where the table says so."""
    names = sorted(name for name, entry in table.items() if entry.since <= version and name not in ENDING)
    with ThreadPoolExecutor(4) as pool:
        words = dict(zip(names, pool.map(lambda name: _complaint(f"--{name}"), names), strict=True))

    unknown = [name for name, said in words.items() if "is unknown" in said]
    wrong = [
        name
        for name, said in words.items()
        if name not in unknown and ("requires parameter" in said) != (table[name].kind == "v")
    ]
    assert wrong == []
    # Options of other builds or versions: read like curl's own until curl refuses them. Not the mass of them.
    assert len(unknown) < 12, unknown


def test_what_can_be_switched_off_is_what_curl_switches_off(table: Mapping[str, Entry], version: int) -> None:
    """`--no-NAME` is taken where curl takes it, and nowhere else."""
    names = sorted(name for name, entry in table.items() if entry.since <= version and name not in ENDING)
    with ThreadPoolExecutor(4) as pool:
        words = dict(zip(names, pool.map(lambda name: _complaint(f"--no-{name}"), names), strict=True))
    known = {name for name in names if "is unknown" not in _complaint(f"--{name}")}
    limits = {
        name: (int(since), int(until)) for name, since, until in re.findall(r"(\S+)=(\d+):(\d+)", _table("CURL_REVERSIBLE"))
    }
    can = {
        name
        for name, entry in table.items()
        if entry.kind == "b" and limits.get(name, (0, version))[0] <= version <= limits.get(name, (0, version))[1]
    }

    # metalink does nothing any more and takes either form without a word.
    wrong = [
        name
        for name, said in words.items()
        if name in known - {"metalink"}
        # A build may lack NTLM; ntlm-wb has no function any more, and says so.
        and "support this" not in said
        and ("no URL specified" in said or "requires parameter" in said or "has no function" in said) != (name in can)
    ]
    assert wrong == []


def test_newer_options_are_not_older_than_they_say(table: Mapping[str, Entry], version: int) -> None:
    """The twin: the installed curl knows none of those that a later one brought."""
    later = sorted(name for name, entry in table.items() if entry.since > version)

    # Debian gives some of them to older versions.
    assert [name for name in later if "is unknown" not in _complaint(f"--{name}")] == []


def test_every_option_is_taken_or_refused_by_name(lab: Lab, table: Mapping[str, Entry], version: int) -> None:
    """No option makes the script stumble: curl's status or 125 with a reason, and 125 sends nothing."""
    for name, entry in sorted(table.items()):
        if name in ENDING:
            continue
        value = ("1",) if entry.kind == "v" else ()
        signed = lab.signed(Line(("-s", "-m", "2", f"--{name}", *value, "http://SERVER/jira/x")))
        if signed.status == REFUSED:
            assert not signed.sent, name
            assert signed.stderr.startswith(b"atl-sign: nothing was sent: "), (name, signed.stderr)
        else:
            # HTTP/2 without a word before is not spoken here.
            assert all(sent.verdict == "signed" or sent.method == "PRI" for sent in signed.sent), name
            assert b"atl-sign: line " not in signed.stderr, name
            assert b"unbound variable" not in signed.stderr, name
        if entry.since > version:
            assert signed.status == REFUSED, name


def _complaint(word: str) -> str:
    """Return what curl says of this option alone; nothing is sent, for there is no URL."""
    done = subprocess.run(
        [CURL, "-q", word], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=20
    )
    return done.stderr
