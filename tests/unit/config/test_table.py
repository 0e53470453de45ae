"""The table of links: the right one is chosen, and no path gets out of its context path however a server reads it."""

import contextlib
import re
import time
from dataclasses import replace

import pytest

from atl_sign.base.errors import AmbiguousLinkError, BadUrlError, UnknownLinkError
from atl_sign.base.urls import URL_BYTES_MAX, parse_url
from atl_sign.config.links import Link, parse_base_url
from atl_sign.config.table import LinkTable


def _link(name: str, url: str, *, default: bool = False) -> Link:
    return Link(name, parse_base_url(url), default=default)


ROOT = _link("root", "https://example.com")
JIRA = _link("jira", "https://example.com/jira")
JIRA_TEST = _link("jira-test", "https://example.com/jira-test/")
NESTED = _link("nested", "https://example.com/jira/a/b")
PORT = _link("port", "https://example.com:8443/jira")
PLAIN = _link("plain", "http://example.com/jira")
TABLE = LinkTable([ROOT, JIRA, JIRA_TEST, NESTED, PORT, PLAIN])
WITHOUT_ROOT = LinkTable([JIRA, JIRA_TEST, PORT])


def _choose(path: str, table: LinkTable = WITHOUT_ROOT, name: str | None = None) -> Link:
    return table.choose(parse_url(f"https://example.com{path}"), name)


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://example.com/jira", JIRA),
        ("https://example.com/jira/", JIRA),
        ("https://example.com/jira?a=1", JIRA),
        ("https://example.com/jira#a", JIRA),
        ("https://example.com/jira//x", JIRA),
        ("https://EXAMPLE.com:443/jira/rest/api/2/search?jql=x", JIRA),
        ("https://example.com/jira-test", JIRA_TEST),
        ("https://example.com/jira-test/rest", JIRA_TEST),
        ("https://example.com/jira/a", JIRA),
        ("https://example.com/jira/a/b", NESTED),
        ("https://example.com/jira/a/b/c", NESTED),
        ("https://example.com/jira/a/bc", JIRA),
        ("https://example.com/jira/A/b", JIRA),
        ("https://example.com/jir", ROOT),
        ("https://example.com/JIRA/rest", ROOT),
        ("https://example.com/jira%2Frest", ROOT),
        ("https://example.com/jira;x/rest", ROOT),
        ("https://example.com//jira/rest", ROOT),
        ("https://example.com", ROOT),
        ("https://example.com/?a=/jira/", ROOT),
        ("https://example.com:8443/jira/x", PORT),
        ("http://example.com/jira/x", PLAIN),
        ("http://example.com:80/jira/x", PLAIN),
    ],
)
def test_the_longest_base_url_on_segment_boundaries_is_chosen(url: str, link: Link) -> None:
    """Scheme, host and port must be equal; "/jira" is no prefix of "/jira-test"."""
    assert TABLE.choose(parse_url(url)) is link


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://example.com/jir",
        "https://example.com/jirax",
        "https://example.com/JIRA/",
        "https://example.com/jira%2Fx",
        "https://example.com//jira/x",
        "https://example.com/x/jira",
        "http://example.com/jira",
        "https://example.com:444/jira",
        "https://example.com:8443/",
        "https://example.com.evil.example/jira",
        "https://example.com./jira",
        "https://evil.example/?https://example.com/jira/",
        "https://evil.example/jira",
    ],
)
def test_a_url_that_no_link_covers_is_unknown(url: str) -> None:
    """The hint is how to add one, for this address and no other."""
    with pytest.raises(UnknownLinkError, match="no application link covers this URL") as caught:
        WITHOUT_ROOT.choose(parse_url(url))

    parsed = parse_url(url)
    assert re.fullmatch(f"atl-sign link add [a-z0-9-]+ {re.escape(parsed.origin)}(/jira)?", caught.value.hint or "")


def test_without_links_nothing_is_covered() -> None:
    """An empty table."""
    with pytest.raises(UnknownLinkError):
        LinkTable([]).choose(parse_url("https://example.com/"))


def test_two_links_with_one_base_url_are_ambiguous_until_one_is_named() -> None:
    """Two users, or two consumers, on one server: the error names both."""
    twin = _link("twin", "https://EXAMPLE.com:443/jira/")
    table = LinkTable([JIRA, twin, ROOT])

    with pytest.raises(AmbiguousLinkError, match="several links have this base URL: jira, twin") as caught:
        _choose("/jira/rest", table)

    assert caught.value.hint == "atl-sign link default jira"
    assert _choose("/jira/rest", table, "twin") is twin
    assert _choose("/jira/rest", table, "jira") is JIRA
    assert _choose("/other", table) is ROOT


def test_a_default_is_taken_among_links_with_one_base_url() -> None:
    """A name still wins, another address does not feel it, and two defaults are none."""
    one, two = _link("one", "https://example.com/jira", default=True), _link("two", "https://example.com/jira")
    table = LinkTable([two, one, ROOT])

    assert _choose("/jira/rest", table) is one
    assert _choose("/jira/rest", table, "two") is two
    assert _choose("/other", table) is ROOT
    with pytest.raises(AmbiguousLinkError):
        _choose("/jira/rest", LinkTable([replace(two, default=True), one]))


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("https://jira.example.com/rest/api/2/myself", "atl-sign link add jira https://jira.example.com"),
        ("https://wiki.example.com/conf/display/X", "atl-sign link add wiki https://wiki.example.com/conf"),
        ("https://192.0.2.1/x/y", "atl-sign link add product https://192.0.2.1"),
        ("https://taken.example.com/", "atl-sign link add taken-2 https://taken.example.com"),
    ],
)
def test_the_hint_for_an_address_without_a_link_can_be_pasted(url: str, command: str) -> None:
    """With a name that no link has, and without the path of the product's own page."""
    with pytest.raises(UnknownLinkError) as caught:
        LinkTable([_link("taken", "https://other.example")]).choose(parse_url(url))

    assert caught.value.hint == command


@pytest.mark.parametrize(
    ("path", "name"), [("/jira/a/b/c", "jira"), ("/jira/a/b/c", "root"), ("/jira", "root"), ("/jira/a/b", "nested")]
)
def test_a_named_link_is_taken_when_it_covers_the_url(path: str, name: str) -> None:
    """Also where another one is longer."""
    assert _choose(path, TABLE, name).name == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/jira-test/x", "jira"),
        ("https://example.com/", "jira"),
        ("https://example.com/jira/a", "nested"),
        ("https://example.com/jira/x", "port"),
        ("https://example.com/jira/x", "plain"),
        ("https://evil.example/jira/x", "jira"),
    ],
)
def test_a_named_link_that_does_not_cover_the_url_is_refused(url: str, name: str) -> None:
    """Naming a link is no way around its base URL, which the hint tells."""
    with pytest.raises(UnknownLinkError, match=f"link {name} does not cover this URL") as caught:
        TABLE.choose(parse_url(url), name)

    assert caught.value.hint == f"its base URL is {TABLE.get(name).url}"


def test_a_name_that_no_link_has_is_unknown() -> None:
    """Alike when it is asked for, and when a URL comes with it."""
    assert TABLE.get("jira") is JIRA
    with pytest.raises(UnknownLinkError, match="no application link is called jirA"):
        TABLE.get("jirA")
    with pytest.raises(UnknownLinkError, match="no application link is called jirA"):
        _choose("/jira/x", TABLE, "jirA")


@pytest.mark.parametrize(
    "path",
    [
        "/jira/..",
        "/jira/../",
        "/jira/../x",
        "/jira/./../x",
        "/jira//../x",
        "/jira/a/../../x",
        "/jira/a/../../jira/x",
        "/jira/a/../..",
        "/jira/%2e%2e/x",
        "/jira/%2E%2E/x",
        "/jira/.%2e/x",
        "/jira/%2e./x",
        "/jira/%2e%2e",
        "/jira/..%2Fx",
        "/jira/%2F../x",
        "/jira/%2F..%2Fx",
        "/jira/%2f%2e%2e%2fx",
        "/jira/a%2F..%2F..%2Fx",
        "/jira/..%5Cx",
        "/jira/%5C..%5Cx",
        "/jira/%5c%2e%2e%5cx",
        "/jira/..;/x",
        "/jira/..;x=1/x",
        "/jira/..;",
        "/jira/%2e%2e;/x",
        "/jira/..%3B/x",
        "/jira/..%3bx/x",
        "/jira/;x/../x",
        "/jira/;/../x",
        "/jira/a;b/../../x",
        "/jira/.;/../x",
        "/jira/%252e%252e/x",
        "/jira/%252E%252e%252Fx",
        "/jira/..%252Fx",
        "/jira/%25252e%25252e/x",
        "/jira/%2525252e%2525252e/x",
        "/jira/%25%32%65%25%32%65/x",
    ],
)
def test_a_path_that_climbs_out_is_refused(path: str) -> None:
    """Dots plain, encoded once or more, behind encoded slashes and backslashes, with ";x" that servlet containers cut off."""
    with pytest.raises(BadUrlError, match="climbs out of the link's context path"):
        _choose(path)


@pytest.mark.parametrize(
    "path",
    [
        "/jira/a%2Fb/../..",
        "/jira/a%2fb/%2e%2e/%2e%2e/x",
        "/jira/a%5Cb/../../x",
        "/jira/a%252Fb/../../x",
        "/jira/a/..;%2Fb/../x",
        "/jira/a/b%2F../..",
    ],
)
def test_dots_beside_an_encoded_slash_are_refused(path: str) -> None:
    """Whether %2F ends a segment decides how far ".." climbs, and servers differ (Tomcat's encodedSolidusHandling)."""
    with pytest.raises(BadUrlError, match="climbs out of the link's context path"):
        _choose(path)


@pytest.mark.parametrize("levels", [4, 5, 6, 1000])
def test_a_path_encoded_many_times_over_is_refused(levels: int) -> None:
    """Nobody decodes it to the end, we neither."""
    with pytest.raises(BadUrlError, match="or may"):
        _choose(f"/jira/%{'25' * levels}41")


@pytest.mark.parametrize(
    "path",
    [
        "/jira/a/..",
        "/jira/a/../b",
        "/jira/a/b/../../c",
        "/jira/a/%2e%2e/b",
        "/jira/./a/.",
        "/jira/...",
        "/jira/..a/b..",
        "/jira/.a/.b",
        "/jira/%2e%2e%2e/x",
        "/jira/.well-known",
        "/jira/a;b/c;d=..",
        "/jira/a%3B/..",
        "/jira/a%2Fb",
        "/jira/a%2Fb%5Cc",
        "/jira/%252F",
        "/jira/100%25",
        "/jira/%25252541",
        "/jira/%FF%C3",
        "/jira/x?a=/../..&b=%2e%2e%2f",
        "/jira/x#/../..",
        "/jira/%C0%AE%C0%AE/x",
    ],
)
def test_a_path_that_stays_inside_is_taken(path: str) -> None:
    """The twin: dots that lead nowhere outside, three dots, dots in the query, encoded slashes without dots."""
    assert _choose(path) is JIRA


def test_climbing_above_the_root_is_refused_and_within_it_is_not() -> None:
    """A link without a context path has an outside too: what an odd server makes of "/.."."""
    assert _choose("/a/../b", TABLE) is ROOT
    for path in ("/..", "/a/../..", "/%2e%2e/etc/passwd"):
        with pytest.raises(BadUrlError, match="climbs out"):
            _choose(path, TABLE)


def test_climbing_out_of_a_named_link_is_refused() -> None:
    """Though a shorter one would hold it."""
    assert _choose("/jira/a/b/../c", TABLE, "jira") is JIRA
    for name in ("nested", None):
        with pytest.raises(BadUrlError, match="climbs out"):
            _choose("/jira/a/b/../c", TABLE, name)


@pytest.mark.parametrize("filler", ["/", "/a", "/.", "/a/..", "%25", "/%2e"])
def test_no_path_takes_long(filler: str) -> None:
    """64 KiB of the worst that we know: the parents of each slash once took a third of a second."""
    url = parse_url("https://example.com/jira/x%25" + "25" * 10 + filler * ((URL_BYTES_MAX - 100) // len(filler)))

    begin = time.thread_time()
    with contextlib.suppress(BadUrlError):
        TABLE.choose(url)

    assert time.thread_time() - begin < 0.25  # five times what it takes, for a busy machine


def test_a_thousand_links_are_one_table() -> None:
    """Every one is found, by URL and by name, none stands for another."""
    links = [_link(f"n{number}", f"https://example.com/context/{number}") for number in range(1000)]
    table = LinkTable(links)

    assert list(table.by_name.values()) == links
    for number in (0, 7, 999):
        assert _choose(f"/context/{number}/rest", table) is links[number] is table.get(f"n{number}")
    with pytest.raises(UnknownLinkError):
        _choose("/context/1000", table)


def test_of_two_links_with_one_name_the_later_counts() -> None:
    """The earlier one is gone, by URL too."""
    later = _link("jira", "https://example.com/other")
    table = LinkTable([JIRA, later])

    assert table.get("jira") is later
    with pytest.raises(UnknownLinkError):
        _choose("/jira", table)
