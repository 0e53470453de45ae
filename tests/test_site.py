"""The documentation site: every page is in it, every link leads somewhere, and nothing is loaded from another host."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.lab import REPOSITORY
from tests.site_lab import build_site
from tests.tools.write_docs import DOCS

SECTIONS = ["Start", "Use it from …", "Set up a link", "Administer", "When it fails", "Reference", "Develop"]
# The attributes by which a page makes the browser load something; of <a> it loads nothing.
_LOADED = {"src", "srcset", "poster", "data", "background", "style"}
_CSS_URL = re.compile(r"(?:url\(|@import)\s*[\"']?([^\"')\s;]+)")
_FOREIGN = re.compile(r"(?:^|[\s,])((?:https?:|wss?:)?//[^\s,]+)", re.I)
_MARKDOWN = re.compile(r"\]\(|\*\*|```|^ *\|.*\|", re.M)


class Html(HTMLParser):
    """What stands in a page: ids, links, what the browser loads, the text outside code, and the navigation."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.navigation: list[str] = []
        self.text = self.css = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._open.append(tag)
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag == "a" and "md-nav__link" in given.get("class", "").split():
            self.navigation.append(given["href"])
        for name in given.keys() & (_LOADED if tag == "a" else _LOADED | {"href", "xlink:href"}):
            self.loaded += _CSS_URL.findall(given[name]) if name == "style" else [given[name]]

    def handle_endtag(self, tag: str) -> None:
        while tag in self._open and self._open.pop() != tag:  # <br> and its like have no end
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.css += data
        elif not {"code", "pre", "script"} & set(self._open):
            self.text += data


def read_pages(site: Path) -> dict[Path, Html]:
    return {path: Html(path.read_text()) for path in sorted(site.rglob("*.html"))}


def broken_links(site: Path) -> list[str]:
    """The links of *site* to no file of it, or to no element of a page."""
    pages = read_pages(site)
    broken = []
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            inside = target.is_file() and target.is_relative_to(site.resolve())
            if not inside or (anchor and unquote(anchor) not in pages[target].ids):
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


def foreign_loads(site: Path) -> list[str]:
    """The addresses on other hosts that a browser would load for a page, a style sheet or a picture of *site*."""
    loaded: list[tuple[Path, str]] = []
    for path, page in read_pages(site).items():
        loaded += [(path, url) for url in [*page.loaded, *_CSS_URL.findall(page.css)]]
    for path in site.rglob("*.css"):
        loaded += [(path, url) for url in _CSS_URL.findall(path.read_text())]
    for path in site.rglob("*.svg"):
        picture = Html(path.read_text())
        loaded += [(path, url) for url in [*picture.loaded, *_CSS_URL.findall(picture.css)]]
    return [f"{path.relative_to(site)}: {found}" for path, url in loaded for found in _FOREIGN.findall(url)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this repository."""
    folder = tmp_path_factory.mktemp("site") / "site"
    done = build_site(REPOSITORY, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of what the site is made of, to be changed."""
    copy = tmp_path / "repository"
    unused = shutil.ignore_patterns(".*", "node_modules", "build", "daemon", "tests", "__pycache__")
    shutil.copytree(REPOSITORY, copy, ignore=unused)
    shutil.copytree(REPOSITORY / "tests/tools/site", copy / "tests/tools/site", ignore=unused)
    return copy


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_every_page_is_in_the_navigation(site: Path) -> None:
    """Of docs/ and of the top, in the sections that docs/README.md has."""
    names = {str(path.relative_to(DOCS).with_suffix(".html")) for path in DOCS.rglob("*.md")} - {"README.html"}
    beside = {
        "index.html",
        "documentation.html",
        *(f"repository/{name}.html" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")),
    }
    overview = Html((site / "index.html").read_text())

    assert len(names) > 40
    assert sorted(link for link in overview.navigation if "#" not in link) == sorted(names | beside)
    assert re.findall(r"^## (.+)", (DOCS / "README.md").read_text(), re.M) == SECTIONS


def test_every_link_leads_somewhere(site: Path) -> None:
    """To a file of the site, and to an element of the page."""
    pages = read_pages(site)

    assert sum(len(page.links) for page in pages.values()) > 2000
    assert broken_links(site) == []


def test_a_broken_link_is_found(site: Path, tmp_path: Path) -> None:
    """The twin: to no file, to no element, to a folder, and out of the site."""
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    (tmp_path / "outside.html").touch()
    links = ["nothing.html", "api.html#nothing", "#nothing", "decisions/", "../outside.html"]

    append(copy / "git.html", "".join(f'<a href="{link}">x</a>' for link in [*links, "api.html#post-sign", "https://x.example/"]))

    assert broken_links(copy) == [f"git.html: {link}" for link in links]


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    """No font, script, style or picture; links that a person may follow are others."""
    pages = read_pages(site)

    assert any(link.startswith("https://") for page in pages.values() for link in page.links)
    assert sum(len(page.loaded) for page in pages.values()) > 200
    assert foreign_loads(site) == []


def test_a_load_from_another_host_is_found(site: Path, tmp_path: Path) -> None:
    """The twin: in a page, in its style, in a style sheet and in a picture."""
    copy = tmp_path / "site"
    shutil.copytree(site, copy)

    append(copy / "git.html", '<link rel="stylesheet" href="https://x.example/a"><script src="//x.example/b"></script>')
    append(copy / "git.html", '<img srcset="a.png 1x, https://x.example/c 2x"><p style="background: url(//x.example/d)">')
    append(copy / "node.html", '<style>@import "https://x.example/e";</style><a href="https://x.example/">a link</a>')
    append(copy / "assets/stylesheets/extra.css", "p { background: url('https://x.example/f'); }")
    append(copy / "how-it-works.svg", '<image href="http://x.example/g"/>')

    assert {found[-1] for found in foreign_loads(copy)} == set("abcdefg")


def test_no_markdown_is_left(site: Path) -> None:
    """GitHub and the site read some Markdown differently, such as a list or a table without a blank line before it."""
    left = {path.name: _MARKDOWN.findall(page.text) for path, page in read_pages(site).items()}

    assert {name: found for name, found in left.items() if found} == {}


def test_markdown_that_is_left_is_found() -> None:
    """The twin: a link, bold, a block and a table; in code it is an example."""
    for text in ("[a](b.md)", "**a**", "```", "text\n| a | b |"):
        assert _MARKDOWN.search(Html(f"<p>{text}</p>").text)
        assert not _MARKDOWN.search(Html(f"<pre><code>{text}</code></pre>").text)


def test_a_broken_page_stops_the_build(repository: Path, tmp_path: Path) -> None:
    """A link to no page, to no heading, and a page in no part of the navigation are each reported."""
    append(repository / "docs/git.md", "\n[a](nothing.md), [b](api.md#nothing), [c](../README.md#nothing)\n")
    (repository / "docs/orphan.md").write_text("# Orphan\n")

    done = build_site(repository, tmp_path / "site")

    assert done.returncode != 0
    for part in ("'nothing.md'", "'api.md#nothing'", "'../README.md#nothing'", "docs/orphan.md"):
        assert part in done.stderr


def test_a_new_page_comes_by_its_row_in_the_index(repository: Path, tmp_path: Path) -> None:
    """Its links to files outside docs/ lead to copies of these, which a browser shows as text or as a page."""
    index = repository / "docs/README.md"
    row = "| know something new | [new.md](new.md) |\n"
    index.write_text(index.read_text().replace("| see the whole demo |", f"{row}| see the whole demo |"))
    links = "[a](../systemd/atl-signd.socket), [b](../README.md#use-it), [c](../clients/node/README.md), [d](errors.md#codes)"
    (repository / "docs/new.md").write_text(f"# A new page\n\n{links}\n")

    done = build_site(repository, tmp_path / "site")

    assert done.returncode == 0, done.stderr
    page = Html((tmp_path / "site/new.html").read_text())
    beside = {"repository/systemd/atl-signd.socket.txt", "index.html#use-it", "repository/clients/node/README.html"}
    assert beside <= set(page.links)
    assert page.navigation.index("new.html") < page.navigation.index("demo.html")
    assert broken_links(tmp_path / "site") == []
