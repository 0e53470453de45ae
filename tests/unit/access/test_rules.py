"""Rules: what a line stands for, and what is refused with the reason."""

import pytest

from atl_sign.access.readings import Reading, gather
from atl_sign.access.rules import METHODS, fits, parse_rule
from atl_sign.base.errors import BadRuleError


def reading(path: str, *parameters: tuple[str, str]) -> Reading:
    return Reading(tuple(path[1:].split("/")), gather(parameters))


@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("a*", "a", True),
        ("a*", "abc", True),
        ("a*", "ba", False),
        ("*a", "ba", True),
        ("*a", "ab", False),
        ("a*a", "a", False),  # the two may not overlap
        ("a*a", "aa", True),
        ("a*b*c", "axbxc", True),
        ("a*b*c", "axc", False),
        ("a*bb*b", "abb", False),
        ("a*bb*b", "abbb", True),
        ("*", "", True),
        ("*-*", "PRJ-PLAN", True),
        ("*-*", "deployment", False),
        ("a.c", "abc", False),  # not a regular expression
        ("[ab]", "a", False),
        ("?", "a", False),
    ],
)
def test_a_glob_fits(glob: str, text: str, expected: bool) -> None:
    assert fits(tuple(glob.split("*")), text) is expected


@pytest.mark.parametrize(
    ("rule", "method", "path", "expected"),
    [
        ("GET /rest/api/2/issue", "GET", "/rest/api/2/issue", True),
        ("GET /rest/api/2/issue", "HEAD", "/rest/api/2/issue", True),
        ("GET /rest/api/2/issue", "get", "/rest/api/2/issue", False),
        ("GET /rest/api/2/issue", "POST", "/rest/api/2/issue", False),
        ("HEAD /a", "GET", "/a", False),
        ("POST,PUT /a", "PUT", "/a", True),
        ("POST,PUT /a", "HEAD", "/a", False),
        ("* /a", "OPTIONS", "/a", True),
        ("* /a", "TRACE", "/a", False),
        ("GET /rest/api/2/issue", "GET", "/rest/api/2/Issue", False),
        ("GET /rest/api/2/issue", "GET", "/rest/api/2/issue/A-1", False),
        ("GET /rest/api/2/issue", "GET", "/rest/api/2", False),
        ("GET /rest/api/2/issue", "GET", "/rest/api/2/issue/", False),
        ("GET /rest/*/2", "GET", "/rest/api/2", True),
        ("GET /rest/*/2", "GET", "/rest/a/b/2", False),
        ("GET /rest/*", "GET", "/rest/", False),  # a star stands for something
        ("GET /rest/*", "GET", "/rest", False),
        ("GET /rest/**", "GET", "/rest", True),
        ("GET /rest/**", "GET", "/rest/", True),
        ("GET /rest/**", "GET", "/rest/a/b/c", True),
        ("GET /rest/**", "GET", "/restful/a", False),
        ("GET /**", "GET", "/", True),
        ("GET /", "GET", "/", True),
        ("GET /", "GET", "/a", False),
        ("GET /a%20b/%C3%A4", "GET", "/a b/ä", True),
        ("GET /%7Eann", "GET", "/~ann", True),
        ("GET /a%2Ab", "GET", "/a*b", True),
        ("GET /a%2Ab", "GET", "/axb", False),  # not a wildcard
        ("GET /*.zip", "GET", "/a.zip", True),
        ("GET /a*.", "GET", "/ab.", True),
    ],
)
def test_a_rule_covers_methods_and_paths(rule: str, method: str, path: str, expected: bool) -> None:
    """The method as it is sent, the path by whole segments, letters in their case."""
    assert parse_rule(rule).covers(method, reading(path)) is expected


@pytest.mark.parametrize(
    ("parameters", "covers", "hits"),
    [
        ((), False, False),
        ((("stage", "test"),), True, True),
        ((("stage", "test"), ("other", "x")), True, True),
        ((("stage", "deploy"),), False, False),
        ((("stage", "test"), ("stage", "deploy")), False, True),  # the server may take either
        ((("Stage", "test"),), False, True),
        ((("other", "test"),), False, False),
    ],
)
def test_a_parameter_is_demanded_of_each_value_and_denied_by_one(
    parameters: tuple[tuple[str, str], ...], covers: bool, hits: bool
) -> None:
    """So that no repeated name widens a rule."""
    rule = parse_rule("POST /queue ?stage=test")
    given = reading("/queue", *parameters)

    assert rule.covers("POST", given) is covers
    assert rule.hits("POST", given.folded()) is hits


@pytest.mark.parametrize(
    ("word", "name", "value", "expected"),
    [
        ("?a=*", "a", "", True),
        ("?a=", "a", "", True),
        ("?a=", "a", "x", False),
        ("?a=b+c", "a", "b c", True),
        ("?a=b%20c", "a", "b c", True),
        ("?a=x%26y%3Bz", "a", "x&y;z", True),
        ("?a=%2A", "a", "*", True),
        ("?a=%2A", "a", "x", False),
        ("?a=x=y", "a", "x=y", True),
        ("?%61=1", "a", "1", True),
    ],
)
def test_a_parameter_is_written_as_in_an_address(word: str, name: str, value: str, expected: bool) -> None:
    assert parse_rule(f"GET /x {word}").covers("GET", reading("/x", (name, value))) is expected


def test_a_denial_does_not_look_at_the_case_of_letters() -> None:
    """A server or a front proxy may not, either; the method is compared as it is."""
    rule = parse_rule("POST /Rest/Secret")

    assert rule.hits("POST", reading("/rESt/SECRET").folded())
    assert not rule.hits("post", reading("/rest/secret").folded())
    assert not rule.hits("POST", reading("/rest/secrets").folded())


def test_a_rule_keeps_its_text_with_one_blank_between_words() -> None:
    rule = parse_rule("  GET,POST \t /a/*   ?b=c ")

    assert rule.text == "GET,POST /a/* ?b=c"
    assert rule.methods == {"GET", "HEAD", "POST"}
    assert parse_rule("* /**").methods == METHODS


@pytest.mark.parametrize(("path", "expected"), [("/a/b", True), ("/a%2Ab", True), ("/a/*", False), ("/a/**", False)])
def test_a_literal_path_has_no_wildcard(path: str, expected: bool) -> None:
    assert parse_rule(f"GET {path}").pattern.is_literal is expected


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("", "a rule has two or three words", "write a rule such as: GET /rest/api/*/issue/**"),
        ("jira:coment", "there is no such preset, and a rule has a path", "atl-sign lease presets"),
        ("confirm", "the word confirm is reserved", "leave it out: what no rule allows is refused"),
        ("confirm POST /a", "the word confirm is reserved", "leave it out: what no rule allows is refused"),
        ("/rest/api", "a rule has two or three words", "write a rule such as: GET /rest/api/*/issue/**"),
        ("GET /a ?b=c d", "a rule has two or three words", "write a rule such as: GET /rest/api/*/issue/**"),
        ("get /a", "a rule has no method 'get'", "write GET"),
        ("GET,post /a", "a rule has no method 'post'", "write POST"),
        ("GET, /a", "a rule has no method ''", "write one or more of DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT, or *"),
        ("TRACE /a", "a rule has no method 'TRACE'", "write one or more of DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT, or *"),
        ("** **", "a rule has no method '**'", "write one or more of DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT, or *"),
        ("GET **", "the path does not begin with a slash", "begin it with /"),
        ("GET rest", "the path does not begin with a slash", "begin it with /"),
        ("GET https://h/rest", "its path is a URL", "leave out the link's base URL: begin with the / behind it"),
        ("GET /a?b=c", "its path holds a question mark", "put a blank before the ?"),
        ("GET /a/../b", "the path holds a . or .. segment", "write the path that it leads to"),
        ("GET /a;b", "the path holds a semicolon", "take it out: servers differ in how they read it"),
        ("GET /%61", "the path holds a as %61", "write a"),
        ("GET /ä", "the path holds a character that is not printable ASCII", "write it as a percent escape"),
        ("GET /%C3*%A4", "the path holds percent escapes that are not UTF-8", "encode the text as UTF-8 first"),
        ("GET /%2*", "the path holds a percent sign without two hex digits", "take it out"),
        ("GET /**/a", "** is only for the end of a path, as /**", "write * for one segment"),
        ("GET /a**", "** is only for the end of a path, as /**", "write * for one segment"),
        ("GET /***", "** is only for the end of a path, as /**", "write * for one segment"),
        ("GET /a b=c", "its last word is not ?name=value", "write ?name=* for any value"),
        ("GET /a ?b", "its last word is not ?name=value", "write ?name=* for any value"),
        ("GET /a ?=b", "its last word is not ?name=value", "write ?name=* for any value"),
        ("GET /a ?b*=c", "the name of its parameter has a *", "write the whole name"),
        ("GET /a ?b=c&d=e", "its last word is not one parameter", "write & as %26, ; as %3B, letters beyond ASCII escaped"),
        ("GET /a ?b=ä", "its last word is not one parameter", "write & as %26, ; as %3B, letters beyond ASCII escaped"),
        ("GET /a ?b=%FF", "the rule holds percent escapes that are not UTF-8", "encode the text as UTF-8 first"),
        ("GET /a ?b=%C3*%A4", "the rule holds percent escapes that are not UTF-8", "encode the text as UTF-8 first"),
        ("GET /a ?b=%", "the rule holds a percent sign without two hex digits", "write a percent sign itself as %25"),
    ],
)
def test_a_bad_rule_is_refused_by_name(line: str, message: str, hint: str) -> None:
    """With what is wrong, and what to write instead."""
    with pytest.raises(BadRuleError) as caught:
        parse_rule(line)

    assert caught.value.message == f"the rule {' '.join(line.split())}: {message}"
    assert caught.value.hint == hint


def test_a_rule_s_length_is_limited() -> None:
    """Each is compared with each request."""
    assert parse_rule(f"GET /{'a' * 995}")
    with pytest.raises(BadRuleError, match="it is longer than 1000 characters"):
        parse_rule(f"GET /{'a' * 996}")


def test_a_bad_rule_is_shown_cut_and_printable() -> None:
    """It may come from elsewhere."""
    with pytest.raises(BadRuleError) as caught:
        parse_rule("\x1b[2J" + "x" * 200)

    assert caught.value.message.startswith(r"the rule \u001b[2Jxxx")
    assert len(caught.value.message) < 160
