"""What comes from outside as text: addresses, the configuration file, a provider's answers. Whatever it is, an error in words."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from atl_sign.base.credentials import Grant, Secret
from atl_sign.base.errors import BadUrlError, DaemonError
from atl_sign.base.urls import parse_url
from atl_sign.config.file import ConfigFile
from atl_sign.config.settings import BrokenFileError, parse_settings
from atl_sign.providers.manifest import _parse_manifest
from atl_sign.providers.products import PRODUCTS, is_user_name
from atl_sign.schemes.oauth1.problems import explain_problem, parse_clock_offset, parse_problem
from atl_sign.schemes.oauth1.tokens import RequestToken
from atl_sign.schemes.registry import LINK_SETTINGS, SCHEME_SETTINGS
from tests.unit.provider_lab import make_link, make_provider, make_token, token_of
from tests.unit.raw_server import RawServer, reply

FUZZ = settings(max_examples=400, deadline=None, derandomize=True, database=None)
URLISH = st.lists(
    st.sampled_from(
        [
            "http",
            "https",
            "://",
            ":",
            "/",
            "//",
            "..",
            ".",
            "%2e",
            "%2F",
            "%25",
            "%",
            "%zz",
            "?",
            "#",
            "@",
            "[",
            "]",
            "::1",
            "a",
            "ä",
            "xn--",
            "xn--80ak6aa92e",
            "\x00",
            "\n",
            " ",
            "\\",
            ";",
            "&",
            "=",
            "+",
            "443",
            "99999",
            "٣",
            "�",
            "İ",
            "a.example",
        ]
    ),
    max_size=14,
).map("".join)
TOMLISH = st.lists(
    st.sampled_from(
        [
            "[links.a]",
            "[links]",
            "[store]",
            "links.a.url",
            *LINK_SETTINGS,
            "backend",
            "audit",
            " = ",
            "=",
            '"https://a.example"',
            '"',
            "'",
            '"""',
            "1",
            "1e999",
            "nan",
            "-1",
            "0x" + "f" * 99,
            "true",
            "[",
            "]",
            "{",
            "}",
            "\n",
            "\r\n",
            "#",
            ".",
            ",",
            "\x00",
            "é",
            "\ud7ff",
            "1979-05-27",
            "[[links]]",
            '"a.b"',
            "[" * 60,
        ]
    ),
    max_size=25,
).map("".join)


@given(st.one_of(URLISH, st.text()))
@FUZZ
@example("https://a.example:" + "9" * 5_000)
@example("https://[v1.x]/")
def test_an_address_is_taken_or_refused(text: str) -> None:
    """And what is taken is taken again as what it became."""
    try:
        url = parse_url(text)
    except BadUrlError:
        return
    assert parse_url(str(url)) == url


@given(st.one_of(TOMLISH, st.text()))
@FUZZ
def test_a_configuration_is_read_as_far_as_it_goes(text: str) -> None:
    """Its problems have a cause; the links that are left have an address and a name."""
    try:
        tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        with pytest.raises(BrokenFileError, match=r"config\.toml( line \d+)?, file: ."):
            parse_settings(text, SCHEME_SETTINGS)
        return

    found = parse_settings(text, SCHEME_SETTINGS)

    assert all(problem.cause for problem in found.problems)
    assert all(link.name == name and str(link.url).startswith("http") for name, link in found.links.by_name.items())


@given(st.binary(max_size=300))
@FUZZ
def test_a_configuration_of_any_bytes_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """From the file itself; and changing it either works or is refused, with the file as it was."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"  # one file, for a folder each would be hundreds
    path.write_bytes(content)
    config = ConfigFile(path, SCHEME_SETTINGS)
    config.settings()
    try:
        config.remove_link("a")
    except DaemonError:
        assert path.read_bytes() == content


@given(st.text(max_size=400), st.text(max_size=200))
@FUZZ
@example('OAuth oauth_problem="timestamp_refused", oauth_acceptable_timestamps="1-"', "")
@example('OAuth oauth_problem="timestamp_refused", oauth_acceptable_timestamps="' + "9" * 5_000 + '-1"', "")
@example("OAuth " + ",".join(f'a{n}="' for n in range(2_000)), "oauth_problem=x&" * 2_000)
def test_a_challenge_is_explained_or_none(header: str, text: str) -> None:
    """Whatever stands in WWW-Authenticate or in the body."""
    for challenge in (header, f'OAuth oauth_problem="timestamp_refused", oauth_acceptable_timestamps="{header}"'):
        fields = parse_problem(challenge, text)
        if fields:
            message, hint = explain_problem(fields["oauth_problem"], fields, make_link("https://h/jira"))
            assert message
            assert hint
            parse_clock_offset(fields, 1_700_000_000.0)


XMLISH = st.lists(
    st.sampled_from(
        [
            "<manifest>",
            "</manifest>",
            "<typeId>",
            "</typeId>",
            "jira",
            "<version>",
            "</version>",
            "<a:url xmlns:a='u'>",
            "</a:url>",
            "<?xml version='1.0' encoding='utf-16'?>",
            "<!DOCTYPE a>",
            "&#0;",
            "&amp;",
            "&x;",
            "<",
            ">",
            "\x00",
            "\ud7ff",
            "]]>",
            "<!--",
        ]
    ),
    max_size=20,
).map("".join)


@given(st.one_of(XMLISH, st.text()))
@FUZZ
@example("<a>" * 100_000)
@example("<?xml version='1.0' encoding='no-such'?><manifest><typeId>jira</typeId></manifest>")
def test_a_manifest_is_read_or_none(text: str) -> None:
    """The product's own XML, or anything else."""
    manifest = _parse_manifest(text)

    assert manifest is None or manifest.type_id


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "key", "displayName", "slug", "x"]), inner),
    max_leaves=10,
)


@given(st.one_of(JSON.map(json.dumps), st.text()))
@FUZZ
@example("[" * 100_000)
@example('{"name": ' + "9" * 10_000 + "}")
def test_a_who_am_i_names_a_user_or_none(text: str) -> None:
    """For each product; what it names is a user's name or is not taken."""
    for product in PRODUCTS.values():
        user = product.parse_user(text)
        assert user is None or is_user_name(user)


FORMISH = st.lists(
    st.sampled_from(
        [
            "oauth_token=",
            "oauth_token_secret=",
            "oauth_callback_confirmed=true",
            "oauth_expires_in=",
            "oauth_session_handle=",
            "oauth_problem=",
            "oauth_authorization_expires_in=",
            "&",
            "=",
            "%",
            "%zz",
            "%00",
            "+",
            "a",
            "9" * 400,
            "-1",
            "\x00",
            "ÿ",
        ]
    ),
    max_size=16,
).map(lambda parts: "".join(parts).encode("latin-1"))


@pytest.mark.slow
@given(st.one_of(FORMISH, st.binary(max_size=200)), st.sampled_from([200, 204, 302, 400, 401, 500]), st.text(max_size=40))
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_a_token_answer_is_a_token_or_an_error(body: bytes, status: int, challenge: str) -> None:
    """Of a dance's legs and of a renewal, over HTTP; the error's words are one line and never end in a traceback."""
    headers = {"WWW-Authenticate": "OAuth " + "".join(char for char in challenge if " " <= char <= "~")}
    with RawServer(reply(body, status, headers)) as server:
        provider = make_provider(make_link(server.url))
        token = replace(make_token(), session_handle=Secret("handle"))
        for call in (
            lambda: provider.fetch_request_token("oob"),
            lambda: provider.fetch_access_token(RequestToken(Secret("a"), Secret("b")), Secret("verifier")),
            lambda: provider.renew_access_token(token),
        ):
            outcome = outcome_of(call)
            if isinstance(outcome, DaemonError):
                assert "\n" not in outcome.message
                assert outcome.code in ("provider_refused", "provider_unreachable")
            else:
                assert isinstance(outcome, RequestToken | Grant)
                assert outcome.key.reveal() if isinstance(outcome, RequestToken) else token_of(outcome).key.reveal()


def outcome_of(call: Callable[[], object]) -> object:
    try:
        return call()
    except DaemonError as exc:
        return exc
