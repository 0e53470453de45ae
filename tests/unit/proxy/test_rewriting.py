"""Addresses in JSON: which are replaced, and that it makes no difference in which pieces the JSON comes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atl_sign.proxy.rewriting import Addresses, JsonRewriter, rewrite_json

BASE = "https://jira.example.com/jira"
OWN = "https://issues.example.com"
HERE = "http://127.0.0.1:8123/jira"
TO_HERE = Addresses([BASE, OWN], HERE)
TO_THERE = Addresses([HERE, "http://localhost:8123/jira"], BASE)


def in_pieces(text: bytes, sizes: list[int], addresses: Addresses) -> bytes:
    rewriter, out, start = JsonRewriter(addresses), [], 0
    for size in sizes:
        out.append(rewriter.feed(text[start : start + size]))
        start += size
    return b"".join([*out, rewriter.feed(text[start:]), rewriter.end()])


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        (f"{BASE}/rest/api/2/issue/1", f"{HERE}/rest/api/2/issue/1"),
        (BASE, HERE),
        (f"{BASE}?a=b", f"{HERE}?a=b"),
        (f"{BASE}#top", f"{HERE}#top"),
        (f"{BASE}//", f"{HERE}//"),
        (f"{OWN}/rest/x", f"{HERE}/rest/x"),  # what the product takes for its own address
    ],
)
@pytest.mark.parametrize("slash", ["/", "\\/"])
def test_a_string_that_begins_with_the_base_url_is_rewritten(text: str, rewritten: str, slash: str) -> None:
    """In both spellings of a slash (RFC 8259 section 7), as a value, in a list, as a key, and alone."""
    quoted = json.dumps(text).replace("/", slash)
    whole = f'{{"self" : {quoted},"all":[{quoted},\n{quoted}],{quoted}:1}}'

    found = json.loads(rewrite_json(whole.encode(), TO_HERE))

    assert found == {"self": rewritten, "all": [rewritten] * 2, rewritten: 1}
    assert json.loads(rewrite_json(quoted.encode(), TO_HERE)) == rewritten


@pytest.mark.parametrize(
    "text",
    [
        f"see {BASE}/browse/A-1",
        f" {BASE}/browse/A-1",
        f'"{BASE}/browse/A-1"',  # a quotation mark of the text's own
        f'\\"{BASE}/browse/A-1',
        f'href="{BASE}/browse/A-1"',
        f"{BASE}-test/browse/A-1",
        f"{BASE}.example.org/",
        "https://jira.example.com/",
        "https://jira.example.com/jir/a",
        "https://jira.example.com.evil.example/jira/x",
        "https://jira.example.com:8443/jira/x",
        "https://jira.example.com@evil.example/jira/x",
        "http://jira.example.com/jira/x",
        f"{OWN}.evil.example/",
        f"{OWN}:8443/",
        f"{OWN}\\/",  # a backslash of the text's own, which browsers take for a slash
        f"\\{BASE}/",
    ],
)
def test_other_strings_stay(text: str) -> None:
    """To the byte; so does what is no JSON."""
    whole = json.dumps({"a": text, "b": [text]}).encode()

    assert rewrite_json(whole, TO_HERE) == whole
    assert rewrite_json(f"{BASE}/x".encode(), TO_HERE) == f"{BASE}/x".encode()


def test_an_address_is_complete_before_it_counts() -> None:
    """The end of the text may be the middle of a longer name."""
    assert rewrite_json(f'"{BASE}'.encode(), TO_HERE) == f'"{BASE}'.encode()


def test_what_was_rewritten_comes_back() -> None:
    """No address of this machine is stored in an issue; whichever of its names the tool uses."""
    there = json.dumps({"links": [f"{BASE}/a", "http://localhost:8123/jira", "http://127.0.0.1:8124/jira", "x"]}).encode()

    back = json.loads(rewrite_json(rewrite_json(there, TO_HERE), TO_THERE))

    assert back == {"links": [f"{BASE}/a", BASE, "http://127.0.0.1:8124/jira", "x"]}


def test_the_longer_address_counts() -> None:
    addresses = Addresses(["https://h.example", "https://h.example/jira/"], HERE)

    assert rewrite_json(b'["https://h.example/jira/x","https://h.example/y"]', addresses) == (f'["{HERE}/x","{HERE}/y"]'.encode())


def test_nothing_is_replaced_without_an_address() -> None:
    assert rewrite_json(b'["","/x"]', Addresses([], HERE)) == b'["","/x"]'


@pytest.mark.parametrize(
    ("url", "replaced"),
    [
        (f"{BASE}/rest/1", f"{HERE}/rest/1"),
        (BASE, HERE),
        (f"{BASE}?x", f"{HERE}?x"),
        (f"{BASE}2/rest/1", f"{BASE}2/rest/1"),
        (f"/x?u={BASE}/", f"/x?u={BASE}/"),
        ("https://h/", "https://h/"),
    ],
)
def test_an_address_alone(url: str, replaced: str) -> None:
    assert TO_HERE.replace(url.encode()) == replaced.encode()


_STRINGS = st.lists(st.sampled_from([BASE, OWN, HERE, "/", "\\", '"', "x", "#", "?", "ä", "https://"]), max_size=5).map("".join)
_VALUES = st.recursive(_STRINGS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_STRINGS, inner, max_size=3))
_SLASHES = st.sampled_from(["/", "\\/"])


def rewrite_value(value: object) -> object:
    """The rules once more, on what JSON means rather than on its bytes."""
    if isinstance(value, list):
        return [rewrite_value(each) for each in value]
    if isinstance(value, dict):
        return {rewrite_value(key): rewrite_value(each) for key, each in value.items()}
    assert isinstance(value, str)
    for base in (BASE, OWN):
        if value.startswith(base) and value[len(base) : len(base) + 1] in ("", "/", "?", "#"):
            return HERE + value[len(base) :]
    return value


@given(value=_VALUES, slash=_SLASHES, is_ascii=st.booleans())
def test_exactly_the_strings_that_begin_so_are_rewritten(value: object, slash: str, is_ascii: bool) -> None:
    """Against a reading of the JSON by the standard library."""
    text = json.dumps(value, ensure_ascii=is_ascii).replace("/", slash).encode()

    assert json.loads(rewrite_json(text, TO_HERE)) == rewrite_value(value)


@given(value=_VALUES, slash=_SLASHES, sizes=st.lists(st.integers(0, 40), max_size=60))
def test_pieces_make_no_difference(value: object, slash: str, sizes: list[int]) -> None:
    """Also in the middle of an address or an escape, and of a character."""
    text = json.dumps(value, ensure_ascii=False).replace("/", slash).encode()

    assert in_pieces(text, sizes, TO_HERE) == rewrite_json(text, TO_HERE)


@given(text=st.binary(max_size=200), sizes=st.lists(st.integers(0, 20), max_size=30))
def test_any_bytes_pass(text: bytes, sizes: list[int]) -> None:
    """With an address in their middle, cut anywhere."""
    text += f'"{BASE}/"'.encode() + text

    assert in_pieces(text, sizes, TO_HERE) == rewrite_json(text, TO_HERE)


def test_each_single_cut_makes_no_difference() -> None:
    text = f'{{"a":"{BASE}/x","b":"https:\\/\\/issues.example.com\\/y","c":"\\"{BASE}/z\\\\","d":"{BASE}"}}'.encode()
    whole = rewrite_json(text, TO_HERE)

    assert all(in_pieces(text, [cut], TO_HERE) == whole for cut in range(len(text)))
    assert in_pieces(text, [1] * len(text), TO_HERE) == whole
    assert json.loads(whole) == {"a": f"{HERE}/x", "b": f"{HERE}/y", "c": f'"{BASE}/z\\', "d": HERE}


def test_little_is_held_back() -> None:
    """A tool that reads an endless answer gets what has come, but for the length of one address."""
    rewriter = JsonRewriter(TO_HERE)
    text = b'["' + b'a","b' * 10_000

    assert len(text) - len(rewriter.feed(text)) < 100
