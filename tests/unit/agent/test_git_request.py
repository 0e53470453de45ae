"""Git's protocol for credential helpers, line by line, and which links a request can mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atl_sign.agent.git_request import GitRequest, parse_git_request
from atl_sign.base.errors import BadRequestError
from atl_sign.config.table import LinkTable
from tests.unit.provider_lab import make_link

HOST = b"protocol=https\nhost=git.example.com\n"


def test_what_git_2_46_writes() -> None:
    """git-credential(1): capabilities first, then the description; lists have `[]` at the end of their names."""
    body = (
        b"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example.com:8443\npath=bitbucket/scm/web/shop.git\n"
        b'username=alice\nwwwauth[]=Basic realm="Atlassian Bitbucket"\n\n'
    )

    asked = parse_git_request(body, "bitbucket")

    assert str(asked.url) == "https://git.example.com:8443/bitbucket/scm/web/shop.git"
    assert (asked.has_path, asked.user, asked.link, asked.can_authtype, asked.credential) == (
        True,
        "alice",
        "bitbucket",
        True,
        None,
    )


def test_what_an_older_git_writes() -> None:
    """No capability, and no path unless `credential.useHttpPath` is set."""
    asked = parse_git_request(HOST)

    assert str(asked.url) == "https://git.example.com/"
    assert (asked.has_path, asked.user, asked.can_authtype) == (False, None, False)


@pytest.mark.parametrize(
    ("lines", "credential"),
    [
        (b"username=alice\npassword=old\n", "old"),
        (b"authtype=Bearer\ncredential=new\n", "new"),
        (b"credential=new\npassword=old\n", "new"),
        (b"", None),
    ],
)
def test_what_was_tried(lines: bytes, credential: str | None) -> None:
    """In `erase` it comes back as it was given."""
    assert parse_git_request(HOST + lines).credential == credential


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", None),
        (b"\n" + HOST, None),
        (b"protocol=ssh\nhost=git.example.com\n", None),
        (b"protocol=https\n", None),
        (b"host=git.example.com\n", None),
        (b"protocol=https\nhost=a b\n", None),
        (b"protocol=https\nhost=user@git.example.com\n", None),
        (b"protocol=https\nhost=git.example.com/evil\n", "https://git.example.com/evil/"),
        (HOST + b"host=other.example.com\n", "https://other.example.com/"),
        (HOST + b"\nhost=other.example.com\n", "https://git.example.com/"),
        (HOST + b"unknown=1\nstate[]=other:1\nwwwauth[]=x\n", "https://git.example.com/"),
        (HOST + "path=scm/web/größe & co.git\n".encode(), "https://git.example.com/scm/web/gr%C3%B6%C3%9Fe%20%26%20co.git"),
        (HOST + b"path=a=b=c\n", "https://git.example.com/a%3Db%3Dc"),
        (HOST + b'wwwauth[]=Basic realm="B\xfccher"\n', "https://git.example.com/"),
        (HOST + b"\xff=\xfe\0\r" + b"x" * 70_000 + b"\n", "https://git.example.com/"),
        (HOST + b"path=scm/B\xfccher.git\n", "https://git.example.com/scm/B%FCcher.git"),
        (b"protocol=https\nhost=B\xfccher.example\n", None),
        (b"protocol=\xff\nhost=git.example.com\n", None),
    ],
)
def test_odd_but_in_order(body: bytes, expected: str | None) -> None:
    """The last of several counts, an empty line ends it, what is unknown is ignored; what no link could cover has no URL."""
    url = parse_git_request(body).url

    assert (None if url is None else str(url)) == expected


def test_a_capability_can_be_taken_back() -> None:
    """git-credential(1): an empty value clears the list."""
    assert not parse_git_request(b"capability[]=authtype\ncapability[]=\n" + HOST).can_authtype
    assert parse_git_request(b"capability[]=\ncapability[]=authtype\n" + HOST).can_authtype


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"host=a\rb", "NUL or CR"),
        (b"host=a\r", "NUL or CR"),
        (b"host=a\0b", "NUL or CR"),
        (b"nonsense", "name=value"),
        (b"=value", "name=value"),
        (b"path=" + b"x" * 65_535, "longer than 65535"),
        (b"username=" + b"x" * 65_535, "longer than 65535"),
        (b"password=a\rb", "NUL or CR"),
    ],
)
def test_broken_lines_are_refused(line: bytes, words: str) -> None:
    """And what stands in them is in no message."""
    with pytest.raises(BadRequestError, match=words) as refused:
        parse_git_request(HOST + line + b"\n")

    assert "host" not in refused.value.message


def test_a_line_may_be_as_long_as_gits() -> None:
    """65,535 bytes (git-credential(1))."""
    assert parse_git_request(HOST + b"password=" + b"y" * 65_526 + b"\n").credential == "y" * 65_526


def test_bytes_that_are_not_utf_8_stay_what_they_were() -> None:
    """A user or a secret of such bytes is the same ones again, and no other's."""
    asked = parse_git_request(HOST + b"username=Andr\xe9\npassword=\xff\xfe\n")

    assert (asked.user, asked.credential) == ("Andr\udce9", "\udcff\udcfe")
    assert asked.user is not None
    assert asked.user.encode("utf-8", "surrogateescape") == b"Andr\xe9"


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    """No other failure."""
    try:
        asked = parse_git_request(body)
    except BadRequestError:
        return
    assert isinstance(asked, GitRequest)


ROOT, SUB = make_link("https://git.example.com", "root"), make_link("https://git.example.com/bitbucket", "sub")
ELSEWHERE = make_link("https://git.example.com:8443", "elsewhere")


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (b"", ["root", "sub"]),
        (b"path=scm/web/shop.git\n", ["root"]),
        (b"path=bitbucket/scm/web/shop.git\n", ["sub"]),
        (b"path=bitbucket-test/scm/web/shop.git\n", ["root"]),
        (b"path=bitbucket/../scm/web/shop.git\n", []),
    ],
)
def test_which_links_it_can_mean(lines: bytes, names: list[str]) -> None:
    """The longest base URL when there is a path, every one on the host when there is none; another port is another host."""
    links = LinkTable([ROOT, SUB, ELSEWHERE])

    assert [link.name for link in parse_git_request(HOST + lines).choose(links)] == names


def test_a_named_link_must_cover_it() -> None:
    """The name is from the user's settings, and says nothing about another host."""
    assert parse_git_request(HOST, "sub").is_below(SUB)
    assert parse_git_request(HOST + b"path=bitbucket/x\n", "sub").is_below(SUB)
    assert not parse_git_request(HOST + b"path=scm/x\n", "sub").is_below(SUB)
    assert not parse_git_request(HOST, "elsewhere").is_below(ELSEWHERE)
    assert not parse_git_request(b"", "sub").is_below(SUB)
    assert parse_git_request(b"").choose(LinkTable([ROOT])) == []
