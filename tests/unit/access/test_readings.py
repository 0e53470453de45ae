"""Readings: what an address can mean, and the spellings that are refused."""

import pytest

from atl_sign.access.readings import PATH_BYTES_MAX, Reading, read_request, split_path
from atl_sign.base.errors import BadUrlError, PathAmbiguousError
from atl_sign.base.urls import Pairs, Url


def read(path: str, query: str | None = None, base_path: str = "", form: Pairs | None = None) -> tuple[Reading, ...]:
    return read_request(Url("https", "jira.example.com", 443, path, query), base_path, form)


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/", ("",)),
        ("/a", ("a",)),
        ("/a/b/", ("a", "b", "")),
        ("/a%20b+c", ("a b+c",)),
        ("/%C3%A4%c3%a4", ("ää",)),
        ("/~ann", ("~ann",)),
        ("/%7Eann/%7eann", ("~ann", "~ann")),
        ("/a%3Ab@c,d:e", ("a:b@c,d:e",)),
        ("/*/%2A", ("*", "*")),
        ("/...", ("...",)),
        ("/a..b/.c", ("a..b", ".c")),
        ("/" + "a" * (PATH_BYTES_MAX - 1), ("a" * (PATH_BYTES_MAX - 1),)),
    ],
)
def test_a_plain_path_is_split_and_decoded_once(path: str, segments: tuple[str, ...]) -> None:
    """File names, user names, personal projects: what people have in addresses."""
    assert split_path(path) == segments


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "does not begin with a slash"),
        ("a/b", "does not begin with a slash"),
        ("/" + "a" * PATH_BYTES_MAX, "longer than 8192 bytes"),
        ("/a b", "not printable ASCII"),
        ("/ä", "not printable ASCII"),
        ("/a\x00", "not printable ASCII"),
        ("/a\x7f", "not printable ASCII"),
        ("/a\\b", "a backslash"),
        ("/a;b", "a semicolon"),
        ("/a?b", "a question mark"),
        ("/a#b", "a number sign"),
        ("//a", "two slashes in a row"),
        ("/a//b", "two slashes in a row"),
        ("/a//", "two slashes in a row"),
        ("/./a", r"a \. or \.\. segment"),
        ("/a/..", r"a \. or \.\. segment"),
        ("/a%", "without two hex digits"),
        ("/a%2", "without two hex digits"),
        ("/a%zz", "without two hex digits"),
        ("/a%+1", "without two hex digits"),
        ("/a% 1", "not printable ASCII"),
        ("/%00", "an encoded control character"),
        ("/%1f", "an encoded control character"),
        ("/%7F", "an encoded control character"),
        ("/%C2%85", "an encoded control character"),
        ("/%2F", "/ as %2F"),
        ("/%2f", "/ as %2f"),
        ("/%5C", r"\\ as %5C"),
        ("/%25", "% as %25"),
        ("/%252F", "% as %25"),
        ("/%3B", "; as %3B"),
        ("/%3F", r"\? as %3F"),
        ("/%23", "# as %23"),
        ("/%2E%2e", r"\. as %2E"),
        ("/%61", "a as %61"),
        ("/%2D", "- as %2D"),
        ("/%5F", "_ as %5F"),
        ("/%30", "0 as %30"),
        ("/%FF", "not UTF-8"),
        ("/%C0%AF", "not UTF-8"),  # an overlong slash
        ("/%ED%A0%80", "not UTF-8"),  # half of a surrogate pair
        ("/%C3/%A4", "not UTF-8"),
    ],
)
def test_a_spelling_that_servers_read_differently_is_refused(path: str, message: str) -> None:
    """Nothing is repaired, and the hint says what to write."""
    with pytest.raises(PathAmbiguousError, match=f"the path .*{message}") as caught:
        split_path(path)

    assert caught.value.hint


@pytest.mark.parametrize(
    ("path", "readings"),
    [
        ("/rest/api/2/issue/A-1", ["/rest/api/2/issue/A-1"]),
        ("/rest/x/1/", ["/rest/x/1/", "/rest/x/1"]),
        ("/rest/x/1.json", ["/rest/x/1.json", "/rest/x/1"]),
        ("/rest/x/1.XML", ["/rest/x/1.XML", "/rest/x/1"]),
        ("/rest/x/1.html", ["/rest/x/1.html", "/rest/x/1"]),
        ("/rest/x/1.json/", ["/rest/x/1.json/", "/rest/x/1.json", "/rest/x/1"]),
        ("/rest/x/.atom", ["/rest/x/.atom", "/rest/x/", "/rest/x"]),
        ("/REST/x/1.txt", ["/REST/x/1.txt", "/REST/x/1"]),
        ("/rest/x/1.pdf", ["/rest/x/1.pdf"]),
        ("/rest/x/1.json/y", ["/rest/x/1.json/y"]),
        ("/download/1.json", ["/download/1.json"]),
        ("/download/", ["/download/", "/download"]),
        ("/", ["/"]),
        ("/s/x/_/rest/x/1", ["/s/x/_/rest/x/1", "/rest/x/1"]),
        ("/S/x/y/_/z/_/rest/1.json", ["/S/x/y/_/z/_/rest/1.json", "/rest/1.json", "/rest/1"]),
        ("/s/x/_/", ["/s/x/_/", "/", "/s/x/_"]),
        ("/s/x/_", ["/s/x/_"]),
        ("/s/x/rest", ["/s/x/rest"]),
        ("/a/s/_/rest", ["/a/s/_/rest"]),
        ("/a%20b/%7Eann/*/%C3%A4", ["/a%20b/~ann/%2A/%C3%A4"]),
    ],
)
def test_every_reading_of_a_path(path: str, readings: list[str]) -> None:
    """The first is the path as it is; a slash at the end, and below /rest/ an extension, may count or not."""
    assert list(map(str, read(path))) == readings


@pytest.mark.parametrize(
    ("path", "base_path", "reading"),
    [
        ("/jira/rest/x", "/jira", "/rest/x"),
        ("/jira", "/jira", "/"),
        ("/jira/", "/jira", "/"),
        ("/a/b/rest/x", "/a/b", "/rest/x"),
        ("/rest/x", "", "/rest/x"),
    ],
)
def test_the_link_s_base_path_is_taken_off(path: str, base_path: str, reading: str) -> None:
    """So that a rule is the same for every context path."""
    assert str(read(path, base_path=base_path)[0]) == reading


@pytest.mark.parametrize("path", ["/jira-admin/rest/x", "/rest/x", "/Jira/rest/x", "/"])
def test_a_path_beside_the_link_is_refused(path: str) -> None:
    """On the boundary of a segment."""
    with pytest.raises(PathAmbiguousError, match="not below the link's base URL"):
        read(path, base_path="/jira")


def test_parameters_come_from_query_and_form() -> None:
    """As a servlet's getParameter has them, repeated names included; "+" is a blank."""
    (reading,) = read("/a", "x=1&y=b+c&x", form=(("x", "2"), ("z", "%26")))

    assert reading.parameters == {"x": ["1", "", "2"], "y": ["b c"], "z": ["%26"]}


def test_a_semicolon_in_the_query_may_divide_parameters() -> None:
    """Some servers split there."""
    first, second = read("/a", "x=1;_method=PUT;=3")

    assert first.parameters == {"x": ["1;_method=PUT;=3"]}
    assert second.parameters == {"x": ["1"], "_method": ["PUT"]}


@pytest.mark.parametrize("query", ["x=ä", "x=\x00", "x= 1", "x=\x7f"])
def test_a_query_that_is_not_printable_ascii_is_refused(query: str) -> None:
    with pytest.raises(PathAmbiguousError, match="the query holds a character that is not printable ASCII"):
        read("/a", query)


@pytest.mark.parametrize("query", ["x=%", "x=%zz", "x=%FF", "=1"])
def test_a_query_that_cannot_be_signed_is_refused_as_by_sign(query: str) -> None:
    with pytest.raises(BadUrlError):
        read("/a", query)


def test_a_slash_in_the_query_may_be_encoded() -> None:
    """Bitbucket and Confluence have branches and titles there."""
    (reading,) = read("/a", "at=refs%2Fheads%2Fmain")

    assert reading.parameters == {"at": ["refs/heads/main"]}


def test_more_parameters_than_every_server_reads_are_refused() -> None:
    """Many read only the first 1,000: what comes behind may count or not. The form's count, too."""
    form = tuple(("a", str(number)) for number in range(500))

    assert len(read("/a", "&".join(["a"] * 500), form=form)[0].parameters["a"]) == 1_000
    with pytest.raises(PathAmbiguousError, match="more than 1000 parameters"):
        read("/a", "&".join(["a"] * 501), form=form)
    with pytest.raises(PathAmbiguousError, match="more than 1000 parameters"):
        read("/a", "a" + ";a" * 1_000)
