"""The pages name everything there is, lead somewhere, and show what the program answers."""

import ast
import difflib
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from starlette.routing import Route

import atl_sign.proxy.refusals  # noqa: F401 - has errors of its own
from atl_sign.base.errors import DaemonError
from atl_sign.base.findings import LINK_CHECKS, MACHINE_CHECKS, VAULT_CHECKS, VERDICTS
from atl_sign.commands.table.calls import CALLS
from atl_sign.config.setting import settings_of
from atl_sign.config.settings import Settings, parse_settings
from atl_sign.grants.states import DanceWord
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.oauth1 import problems
from atl_sign.schemes.registry import LINK_SETTINGS, SCHEME_SETTINGS
from tests import test_imports
from tests.lab import REPOSITORY
from tests.tools.write_docs import (
    DOCS,
    OPENAPI,
    format_openapi,
    make_documented_app,
    pages_with_examples,
    rewrite,
    strike_varying,
    with_settings,
)

PAGES = sorted([*DOCS.rglob("*.md"), *REPOSITORY.glob("*.md")])
_FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_VARIABLE = re.compile(r"\bATL_SIGN_[A-Z]\w*")
# A path that only one machine has; `/etc` and `/run/user` are everybody's.
_MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/(?:work|root|home|Users|mnt|tmp)/\w[^\s`\"')]*|(?<![\w.~$}/-])/root\b")

_TOOL = r"(?:pipx?3?|uv|npm|pnpm|yarn|bun)(?: pip| tool| global)? (?:install|i|add|run|exec|dlx)|uvx|npx|bunx"
_INDEX_INSTALL = re.compile(rf"\b(?:{_TOOL})\b(?: -[\w=-]+)* [\"']?atl[-_]sign(?:[-_]client)?\b(?![-\w./]*/).*")


def read(name: str) -> str:
    return (DOCS / name).read_text()


def titled(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of *text*."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of *text*, as it stands in *page*, that lead nowhere."""
    broken = []
    for match in _LINK.finditer(_FENCED.sub("", text)):
        target, _, anchor = match["target"].partition("#")
        if ":" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors_of(text if path == page else path.read_text())):
            broken.append(match["target"])
    return broken


def errors_of(base: type[DaemonError]) -> set[tuple[str, int]]:
    """Code and status of every class below *base*."""
    below = base.__subclasses__()
    return {(each.code, each.status) for each in below}.union(*(errors_of(each) for each in below))


def test_every_route_has_its_part(tmp_path: Path) -> None:
    """A heading with its method and path in api.md, and an example."""
    routes = {
        f"{method} {route.path}"
        for route in make_documented_app(tmp_path).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    parts = dict(re.findall(r"^### ([A-Z]+ /\S*)\n(.*?)(?=^##)", read("api.md"), re.M | re.S))

    assert "POST /sign" in routes
    assert routes == parts.keys()
    assert {name for name, text in parts.items() if "```console\n$ curl " not in text} == set()


def test_every_error_has_its_row() -> None:
    """Code and status, in errors.md and nowhere else invented."""
    rows = {(code, int(status)) for code, status in re.findall(r"^\| `(\w+)` \| (\d{3}) \|", read("errors.md"), re.M)}

    assert ("internal", 500) in errors_of(DaemonError)
    assert errors_of(DaemonError) == rows


def test_every_oauth_problem_has_its_row() -> None:
    """Those that the daemon has words for, and signature_invalid, which it looks into."""
    table = read("errors.md").partition("| oauth_problem |")[2].partition("\n\n")[0]
    rows = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.M))))

    assert rows == problems._WORDS.keys() | {"signature_invalid"}


def test_every_check_has_its_row() -> None:
    """In doctor.md, in the order in which the doctor shows them, with every result."""
    rows = re.findall(r"^\| `([\w.-]+)` \| ", read("doctor.md"), re.M)

    assert rows == [*VERDICTS, *MACHINE_CHECKS, *VAULT_CHECKS, *LINK_CHECKS]


def test_every_state_of_a_dance_has_its_row() -> None:
    """In errors.md and in the decision."""
    for page in ("errors.md", "decisions/0007-states-of-a-dance.md"):
        states = set(re.findall(r"^\| `(\w+)` \| ", read(page).rpartition("| state |")[2], re.M))

        assert states == set(get_args(DanceWord)), page


def places_of_settings() -> Iterator[str]:
    """What the page calls each setting that is not a link's."""
    for row in settings_of(Settings).values():
        table, _, name = row.name.rpartition(".")
        yield f"`[{table}] {name}`" if table else f"`{name}`"


def test_every_setting_has_its_row() -> None:
    """Of a link, and of the store."""
    configuration = read("configuration.md")
    settings = configuration.partition("### Settings of a link")[2].partition("### settings of a vault")[0]
    rows = re.findall(r"^\| `(\w+)` \| `", settings, re.M)

    assert rows == list(LINK_SETTINGS)
    assert configuration == with_settings(configuration, LINK_SETTINGS.values()), "python -m tests.tools.write_docs"
    assert [place for place in places_of_settings() if place not in configuration] == []


def test_every_variable_is_named() -> None:
    """Each ATL_SIGN_ variable that daemon or clients read."""
    files = [path for folder in ("daemon", "clients") for path in (REPOSITORY / folder).rglob("*") if path.is_file()]
    used = {
        name for path in files if "__pycache__" not in path.parts for name in _VARIABLE.findall(path.read_text(errors="replace"))
    }
    rows = set(re.findall(r"^\| `(\w+)`", read("configuration.md").partition("## Environment variables")[2], re.M))

    assert {"ATL_SIGN_SOCK", "ATL_SIGN_STORE"} <= used
    assert used - rows == set()


def hints_in_python() -> Iterator[tuple[str, str]]:
    """Place and text of each hint in the source of daemon and Python client; what is filled in stands as `{}`."""
    folders = (REPOSITORY / "daemon/atl_sign", REPOSITORY / "clients/python/src/atl_sign_client")
    for path in [
        path for folder in folders for path in folder.rglob("*.py") if "sandbox" not in path.relative_to(REPOSITORY).parts
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            found: list[ast.expr] = []
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rpartition(".")[2]
                places = {"Finding": 3, "complain": 2, "AtlSignError": 2}
                place = places.get(name, 1 if name.endswith("Error") else 99)
                found = [*node.args[place : place + 1], *(word.value for word in node.keywords if word.arg == "hint")]
            elif isinstance(node, ast.Assign) and any("hint" in ast.unparse(target) for target in node.targets):
                found = [node.value]
            for text in found:
                parts = text.values if isinstance(text, ast.JoinedStr) else [text]
                shown = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
                if shown.strip("{}") and shown != "None":
                    yield f"{path.name}:{text.lineno}", shown


def hints_in_bash() -> Iterator[tuple[str, str]]:
    """The same of the bash command and git's helper: the last text of a line that ends with a message and its hint."""
    for path in [*(REPOSITORY / "clients/bash").glob("*"), *(REPOSITORY / "clients/git").glob("*")]:
        text = path.read_text().replace("\\\n", " ")
        for line in text.splitlines():
            found = re.search(r"(?:\bdie \S+|refuse_curl|no_daemon|give_up) (?:\".*?[^\\]\" +)?\"(.*)\"", line.split(" #")[0])
            if found is not None:
                yield path.name, found[1]


def is_pasteable(hint: str) -> bool:
    """Tell whether *hint* has no ellipsis, no placeholder where a name belongs, and is more than a bare address."""
    return not re.search(r"…|\.\.\.|\bNAME\b|^\S+://\S+$", hint)


def test_hints_work_when_they_are_pasted() -> None:
    """No ellipsis, no NAME, no bare address; the rows of problems.py have NAME, which is filled in where they are used."""
    hints = [*hints_in_python(), *hints_in_bash()]

    assert len(hints) > 150
    assert any(place.startswith("links.py") for place, _ in hints)
    assert [(place, hint) for place, hint in hints if not is_pasteable(hint)] == []
    for hint in ("atl-sign link add NAME {}", "atl-sign link add jira {}/…", "https://h/jira", "add ... --replace"):
        assert not is_pasteable(hint)


def test_every_option_of_link_add_is_documented() -> None:
    """Those of the table of commands, of which help, manual page and completions are made, stand in commands.md, too."""
    form = next(form for command in CALLS for form in command.forms if form.verb == "add")
    section = read("commands.md").partition("## link:")[2].partition("\n## ")[0]

    assert {"--replace", "--git-days"} <= {option.name for option in form.options}
    assert [option.name for option in form.options] == re.findall(r"^\| `(--[a-z-]+)", section, re.M)


# Texts that the list below would find, and that are right: each is a part of a line.
RIGHT_USES = frozenset(
    {
        "leave it alone",  # the idiom
        "sign_alone.py",  # a file's name
        "`alone`",  # pytest's mark and a method
        "GuardedFile.alone",
        "What was signed for whom",  # headings that other pages link to
        "What a header with a token means",
    }
)

# Rules 1 to 4 of the project's English: name the actor; report instead of tell; not, only, fix instead of older words.
_CLUMSY = {
    "is told": re.compile(r"\b(?:is|are|was|were|be|been|being) told\b", re.I),
    "is none": re.compile(r"(?<!\bthere )\b(?:is|are|was|were) none\b"),
    "is no": re.compile(r"(?<!\bthere )\b(?:is|are|was|were) no\b(?! longer| more| less)", re.I),
    ", alone": re.compile(r"\balone\b", re.I),
    "mend": re.compile(r"\bmend(?:s|ed|ing)?\b", re.I),
    "whoever": re.compile(r"\bwhom?ever\b", re.I),
    "Who or What": re.compile(r"(?:^|(?<=[.!?:(] )|(?<=[#*>\"'-] ))(?:Who|What)\b(?!\?)(?:(?![.!?](?:[\s\"')]|$)).)*(?:[.!]|$)"),
}


def clumsy(text: str) -> list[str]:
    """The words of the list that stand in *text*, without what is quoted as code."""
    for each in RIGHT_USES:
        text = text.replace(each, "")
    return [word for word, pattern in _CLUMSY.items() if pattern.search(re.sub(r"`[^`]*`", "``", text))]


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of what a person reads in *path*: of Python strings and comments, of other files each line."""
    if path.suffix != ".py":
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield number, line.lstrip("#/* \t")
        return
    fstring_part = getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)  # from Python 3.12 on
    with path.open() as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type in {tokenize.STRING, tokenize.COMMENT, fstring_part}:
                for number, line in enumerate(token.string.splitlines(), token.start[0]):
                    # The braces of an f-string hold code, not text.
                    yield number, re.sub(r"\{[^{}]*\}", "{}", line).strip().lstrip("rbf#\"' ")


def readable_files() -> list[Path]:
    """The sources of daemon and clients, their pages, and the manual pages."""
    kinds = {
        "": "clients/bash clients/git docs/man",
        ".py": "daemon clients/python",
        ".js .ts .md": "clients/node clients/python",
    }
    found = {
        path
        for suffixes, folders in kinds.items()
        for folder in folders.split()
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and "node_modules" not in path.parts and (not suffixes or path.suffix in suffixes.split())
    }
    return sorted(found | set(PAGES))


def test_the_english_is_plain() -> None:
    """No word of the list in messages, hints, help, docstrings and comments."""
    files = readable_files()
    found = [
        f"{titled(path)}:{number}: {word}: {text.strip()}"
        for path in files
        for number, text in texts_of(path)
        for word in clumsy(text)
    ]

    assert len(files) > 200
    assert found == []


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("is told", "each problem is told with its line"),
        ("is none", "the URL is none"),
        ("is no", "the body is no JSON object"),
        (", alone", "forms of POST alone"),
        ("mend", "install git, or mend PATH"),
        ("whoever", "told by whoever opens it"),
        ("Who or What", "Who comes late is served first."),
        ("Who or What", "It ends. What is left is removed"),
    ],
)
def test_each_clumsy_word_is_found(word: str, text: str) -> None:
    """Also inside a sentence of other words."""
    assert word in clumsy(text)


@pytest.mark.parametrize(
    "text",
    [
        "None when there is none",
        "there is no daemon",
        "the token is no longer valid",
        "leave it alone",
        "tests marked `alone`",
        "What is wrong? The doctor finds it.",
        "recommended",
    ],
)
def test_right_words_pass(text: str) -> None:
    """Idioms, code and questions."""
    assert clumsy(text) == []


def test_every_room_and_target_is_named() -> None:
    """In development.md: the rooms in their order, and targets of the Makefile."""
    development = read("development.md")
    rooms = re.findall(r"^\| `(\w+)/` \| ", development, re.M)
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.M)) - {"help"}

    assert set(rooms) == {path.parent.name for path in (REPOSITORY / "daemon/atl_sign").glob("*/__init__.py")}
    assert [room for room in rooms if room in test_imports.RANK] == sorted(
        (room for room in rooms if room in test_imports.RANK), key=lambda room: test_imports.RANK[room]
    )
    assert {name for name in targets if f"`make {name}`" not in development} == set()


def test_the_index_names_every_page() -> None:
    """A page that nothing leads to is not read."""
    index = read("README.md")
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}

    assert {page for page in pages if f"({page})" not in index} == set()


@pytest.mark.parametrize("page", PAGES, ids=titled)
def test_links_between_pages_resolve(page: Path) -> None:
    """To the file, and to the heading in it."""
    assert broken_links(page, page.read_text()) == []


def test_a_broken_link_is_found() -> None:
    """The twin: to no file, to no heading, and not inside an example."""
    text = (
        "# Title\n[a](nothing.md) [b](api.md#nothing) [c](#nothing) [d](#title) [e](https://x.example/)\n```\n[f](no.md)\n```\n"
    )

    assert broken_links(DOCS / "README.md", text) == ["nothing.md", "api.md#nothing", "#nothing"]


@pytest.mark.parametrize("page", PAGES, ids=titled)
def test_no_page_names_a_path_of_one_machine(page: Path) -> None:
    """What was pasted from a run must hold for the reader's machine."""
    assert _MACHINE_PATH.findall(page.read_text()) == []


def test_a_path_of_one_machine_is_found() -> None:
    """The twin; a folder that every machine has, an address and a variable are none."""
    text = "at /home/ann/x, `/mnt/data`, /tmp/atls-1 and /root; not /etc/ssl/x.pem, https://h/home/x, $HOME/home/x or ~/tmp/x"

    assert _MACHINE_PATH.findall(text) == ["/home/ann/x,", "/mnt/data", "/tmp/atls-1", "/root"]


def test_nothing_is_installed_by_a_name_of_ours() -> None:
    """Neither package is on an index, so that anybody could register the name; pages, hints and metadata name a folder."""
    files = [path for folder in ("daemon", "clients", "docs", "systemd") for path in (REPOSITORY / folder).rglob("*")]
    texts = {path: path.read_text(errors="replace") for path in [*files, *PAGES, REPOSITORY / "Makefile"] if path.is_file()}

    found = {titled(path): _INDEX_INSTALL.findall(text) for path, text in texts.items() if "node_modules" not in path.parts}

    assert {title: lines for title, lines in found.items() if lines} == {}


def test_an_installation_by_name_is_found() -> None:
    """The twin: by whatever tool, with options, extras and versions; a folder is none, nor an environment that is there."""
    by_name = [
        "pipx install atl-sign",
        "pip install --upgrade 'atl-sign-client[httpx]'",
        "python3 -m pip install -q atl_sign",
        "uv tool install atl-sign==0.1.0",
        "uvx atl-sign",
        "pipx run atl-sign",
        "npm install --save atl-sign",
        "npm i atl-sign",
        "npx atl-sign",
        "yarn add atl-sign",
    ]
    by_folder = [
        "pipx install .",
        "pip install './clients/python[httpx]'",
        "npm install ../atl-sign/clients/node",
        "pipx inject atl-sign PySocks",
    ]

    assert [line for line in by_name if not _INDEX_INSTALL.search(line)] == []
    assert [line for line in by_folder if _INDEX_INSTALL.search(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=titled)
def test_configuration_examples_are_taken(page: Path) -> None:
    """Every block marked toml is a file without problems."""
    for text in re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.M | re.S):
        settings = parse_settings(text, SCHEME_SETTINGS)

        assert settings.problems == ()
        assert settings.links.by_name.keys() == tomllib.loads(text).get("links", {}).keys()


def test_there_is_a_configuration_example_of_every_setting() -> None:
    """So that a reader sees each in its place."""
    tables = [tomllib.loads(each) for each in re.findall(r"^```toml\n(.*?)^```$", read("configuration.md"), re.M | re.S)]
    used = {setting for table in tables for link in table.get("links", {}).values() for setting in link}

    assert used == set(LINK_SETTINGS)
    assert {f"{name}.{setting}" for table in tables for name in table.keys() - {"links"} for setting in table[name]} == {
        row.name for row in settings_of(Settings).values() if "." in row.name
    }


def test_openapi_is_as_served(tmp_path: Path) -> None:
    """`python -m tests.tools.write_docs` writes it anew."""
    assert format_openapi(make_documented_app(tmp_path)) == OPENAPI.read_text()


@pytest.mark.parametrize("page", pages_with_examples(), ids=titled)
def test_examples_answer_as_shown(page: Path, sandbox: Sandbox) -> None:
    """Each command of a `console` block is run; `python -m tests.tools.write_docs` writes the answers anew."""
    shown = strike_varying(page.read_text()).splitlines()
    answered = strike_varying(rewrite(page, sandbox)).splitlines()

    assert list(difflib.unified_diff(shown, answered, "shown", "answered", lineterm="", n=0)) == []


def test_only_what_varies_is_struck_out() -> None:
    """The twin: another state, user or link is a difference, another nonce is none."""
    shown = 'Authorization: OAuth oauth_nonce="aa", oauth_timestamp="1", oauth_signature="x%3D"\n"pid": 7, "user": "alice"\n'

    assert strike_varying(shown) == strike_varying(shown.replace("aa", "bb").replace('"1"', '"2"').replace(" 7", " 8"))
    assert strike_varying(shown) != strike_varying(shown.replace("alice", "bob"))
    assert strike_varying(shown) != strike_varying(shown.replace("oauth_timestamp", "oauth_verifier"))
