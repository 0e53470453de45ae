"""A link out of its settings and back: each has those of every link and those of its scheme, and no others."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from atl_sign.api.schemas import make_link_answer, make_link_fields
from atl_sign.base.errors import BadFieldsError, BadUrlError, DaemonError
from atl_sign.config.file import ConfigFile
from atl_sign.config.link_command import format_link_command
from atl_sign.config.link_fields import link_from_fields, link_settings, link_to_fields
from atl_sign.config.setting import Setting, Text
from atl_sign.config.settings import parse_settings
from atl_sign.schemes.oauth1.settings import SETTINGS
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.tools.write_docs import with_settings

USER = Setting("user", Text("[^:]{1,255}", "is not 1 to 255 characters without a colon"), is_needed=True, is_kept=True)
ONE = {"oauth1": SETTINGS}
THREE = {**ONE, "bearer": (), "basic": (USER,)}
URL = "https://jira.example.com"

# As version 0.9 wrote it: no link named a scheme.
OLD = """\
# Ours.
[links.jira]
url = "https://jira.example.com"
consumer_key = "atl-sign-ann-desk"
signing_url = "http://inner:8080"  # the proxy
timeout_s = 60
git = "read"
default = true
"""


@pytest.mark.parametrize("schemes", [ONE, THREE, SCHEME_SETTINGS])
def test_a_link_that_names_no_scheme_is_oauth1(schemes: dict[str, tuple[Setting, ...]]) -> None:
    """Files that were written before there were others mean what they meant."""
    settings = parse_settings(OLD, schemes)

    link = settings.links.get("jira")
    assert settings.problems == ()
    assert (link.scheme, link.consumer_key, str(link.signing_url)) == ("oauth1", "atl-sign-ann-desk", "http://inner:8080")
    assert (link.timeout_s, link.git, link.default) == (60.0, "read", True)


@pytest.mark.parametrize("fields", [{}, {"scheme": "oauth1"}, {"scheme": None}])
def test_the_default_scheme_is_not_written(tmp_path: Path, fields: dict[str, object]) -> None:
    """A link of OAuth 1.0a is written to the byte as before there were others."""
    file = ConfigFile(tmp_path / "config.toml", THREE)
    file.path.write_text(OLD)
    before = file.settings().links.get("jira")

    file.put_link(before)
    assert file.path.read_text() == OLD
    file.put_link(link_from_fields("new", {"url": URL, "consumer_key": "k", **fields}, THREE))

    assert file.path.read_text() == OLD + f'\n[links.new]\nurl = "{URL}"\nconsumer_key = "k"\n'


@pytest.mark.parametrize(
    ("fields", "own"), [({"scheme": "bearer"}, {}), ({"scheme": "basic", "user": "ann@example.com"}, {"user": "ann@example.com"})]
)
def test_another_scheme_goes_into_the_file_and_back(tmp_path: Path, fields: dict[str, object], own: dict[str, object]) -> None:
    """With the settings of its own, and without those of OAuth 1.0a."""
    file = ConfigFile(tmp_path / "config.toml", THREE)
    link = link_from_fields("jira", {"url": URL, **fields}, THREE)

    file.put_link(link)

    lines = "".join(f'{name} = "{value}"\n' for name, value in fields.items())
    assert file.path.read_text() == f'[links.jira]\nurl = "{URL}"\n{lines}'
    assert file.settings().links.get("jira") == link
    assert {name: value for name, value in link_to_fields(link).items() if name in ("consumer_key", "signing_url", "user")} == own
    assert (link.consumer_key, link.signing_url) == ("", None)


@pytest.mark.parametrize("scheme", ["oauth2", "OAuth1", "", 5, True, ["bearer"]])
def test_an_unknown_scheme_costs_its_link(scheme: object) -> None:
    """The others work, and the problem names those that there are."""
    text = OLD + f'[links.other]\nurl = "{URL}"\nscheme = {str(scheme).lower() if scheme is True else repr(scheme)}\n'

    settings = parse_settings(text, THREE)

    assert list(settings.links.by_name) == ["jira"]
    assert [str(problem) for problem in settings.problems] == [
        "config.toml line 9, links.other: scheme is not one of oauth1, bearer, basic"
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scheme": "bearer", "consumer_key": "k"}, "a link with scheme bearer has no consumer_key"),
        ({"scheme": "bearer", "user": "u", "signing_url": URL}, "a link with scheme bearer has no signing_url, user"),
        ({"consumer_key": "k", "user": "u"}, "a link with scheme oauth1 has no user"),
        ({"scheme": "basic"}, "user is missing"),
        ({"scheme": "basic", "user": "a:b"}, "user is not 1 to 255 characters without a colon"),
        ({"scheme": "bearer", "usr": "u", "consumer_key": "k"}, "no such setting: usr"),
    ],
)
def test_a_setting_of_another_scheme_is_refused_by_name(fields: dict[str, object], words: str) -> None:
    """Rather than to be dropped: somebody meant something."""
    with pytest.raises(BadFieldsError, match=f"^{words}$"):
        link_from_fields("jira", {"url": URL, **fields}, THREE)


def test_a_setting_of_another_scheme_that_is_not_set_is_none() -> None:
    """A request's fields come with all that there are."""
    fields = dict.fromkeys(link_settings(THREE))

    assert link_from_fields("jira", {**fields, "url": URL, "scheme": "bearer"}, THREE).scheme == "bearer"


def test_what_is_kept_stays_with_its_scheme() -> None:
    """Scheme, consumer key and user stay when they are left out; another scheme takes nothing over."""
    ann = link_from_fields("jira", {"url": URL, "scheme": "basic", "user": "ann", "timeout_s": 5}, THREE)

    again = link_from_fields("jira", {"url": URL}, THREE, ann)

    assert (again.scheme, again.own.get("user"), again.timeout_s) == ("basic", "ann", 30.0)
    with pytest.raises(BadFieldsError, match=r"^consumer_key is missing$"):
        link_from_fields("jira", {"url": URL, "scheme": "oauth1"}, THREE, ann)
    assert (
        format_link_command(ann, proxy="http://p:1") == f"atl-sign link add jira {URL} --proxy http://p:1 --timeout 5 --replace"
    )


def test_an_answer_has_only_the_settings_of_its_scheme() -> None:
    """What another scheme has is null; the twin: with one scheme its key is always there."""
    link = link_from_fields("jira", {"url": URL, "scheme": "bearer"}, THREE)

    answer = make_link_answer(link_settings(THREE).values())(name="jira", **link_to_fields(link)).model_dump()

    assert (answer["scheme"], answer["consumer_key"], answer["user"]) == ("bearer", None, None)
    with pytest.raises(ValidationError):
        make_link_answer(link_settings(ONE).values())(name="jira", **link_to_fields(link))
    assert make_link_fields(link_settings(THREE).values()).model_validate({"url": URL, "scheme": "bearer"})


def test_the_documentation_says_which_scheme_needs_a_setting() -> None:
    """One that every link has needs no such words."""
    rows = link_settings({**THREE, "basic": (replace(USER, docs="who you are", option="--user USER"),)}).values()

    table = with_settings("| setting | option | needed | what it is |\n\n", rows)

    assert "| `consumer_key` | `--consumer-key` | in the file, with `oauth1`, yes | 1 to" in table
    assert "| `user` | `--user` | in the file, with `basic`, yes | who you are |" in table
    assert "| `url` | `URL` | yes |" in table


def test_a_choice_of_one_scheme_is_not_offered() -> None:
    """With several it stands behind the URL, before what it decides about."""
    assert "scheme" not in link_settings(ONE)
    assert list(link_settings(THREE))[:5] == ["url", "scheme", "consumer_key", "signing_url", "user"]
    assert link_settings(THREE)["scheme"].option == "--scheme oauth1|bearer|basic"


def test_fields_and_links_are_two_views_of_one_thing() -> None:
    """All settings, there and back."""
    fields = {
        "url": "https://h:8443/jira",
        "scheme": "oauth1",
        "consumer_key": "ann",
        "signing_url": "http://inner:8080",
        "ca_bundle": "/etc/ca.pem",
        "client_cert": "/etc/me.pem",
        "proxy": "http://proxy:3128",
        "timeout_s": 12.5,
        "git": "read",
        "git_days": 30,
        "default": True,
    }

    link = link_from_fields("jira", fields, SCHEME_SETTINGS)

    assert link_to_fields(link) == fields
    assert link_from_fields("jira", link_to_fields(link), SCHEME_SETTINGS) == link
    minimal = link_from_fields("jira", {"url": "https://h/", "consumer_key": "ann"}, SCHEME_SETTINGS)
    defaults = {"scheme": "oauth1", "timeout_s": 30.0, "default": False}
    assert link_to_fields(minimal) == {**dict.fromkeys(fields), "url": "https://h", "consumer_key": "ann"} | defaults
    assert link_from_fields("jira", link_to_fields(minimal), SCHEME_SETTINGS) == minimal


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"url": None}, BadFieldsError, "url is missing"),
        ({"consumer_key": None}, BadFieldsError, "consumer_key is missing"),
        ({"url": 5}, BadFieldsError, "url is not a text"),
        ({"url": "https://u:p@h"}, BadUrlError, "url: the URL carries a user name"),
        ({"signing_url": "https://h?x"}, BadUrlError, "signing_url: a base URL has no query"),
        ({"consumer_key": "a b"}, BadFieldsError, "consumer_key is not 1 to 255"),
        ({"consumer_key": ""}, BadFieldsError, "consumer_key is not 1 to 255"),
        ({"extra": 1, "another": 2}, BadFieldsError, "no such setting: another, extra"),
        ({"ca_bundle": "ca.pem"}, BadFieldsError, "ca_bundle is not an absolute path"),
        ({"client_cert": "/a\0b"}, BadFieldsError, "client_cert holds a control character"),
        ({"ca_bundle": ["/a"]}, BadFieldsError, "ca_bundle is not a text"),
        ({"proxy": "proxy:3128"}, BadFieldsError, "proxy is not of the form"),
        ({"proxy": "http://user:secret@proxy"}, BadFieldsError, "proxy is not of the form"),
        ({"proxy": "http://p\n"}, BadFieldsError, "proxy holds a control character"),
        ({"proxy": "http://\0"}, BadFieldsError, "proxy holds a control character"),
        ({"ca_bundle": "/\x1b[2J"}, BadFieldsError, "ca_bundle holds a control character"),
        ({"ca_bundle": "/\ud800"}, BadFieldsError, "ca_bundle holds a control character"),
        ({"url": "https://h/\x7f"}, BadFieldsError, "url holds a control character"),
        ({"signing_url": "https://h\n"}, BadFieldsError, "signing_url holds a control character"),
        ({"consumer_key": "a\x85"}, BadFieldsError, "consumer_key holds a control character"),
        ({"timeout_s": 0}, BadFieldsError, "timeout_s is not a number of seconds from 1 to 300"),
        ({"timeout_s": 301}, BadFieldsError, "timeout_s"),
        ({"timeout_s": True}, BadFieldsError, "timeout_s"),
        ({"timeout_s": "30"}, BadFieldsError, "timeout_s"),
        ({"timeout_s": float("nan")}, BadFieldsError, "timeout_s"),
        ({"default": 1}, BadFieldsError, "default is neither true nor false"),
        ({"default": "no"}, BadFieldsError, "default is neither true nor false"),
        ({"allow_insecure": True}, BadFieldsError, "no such setting: allow_insecure"),
        ({"git": "all"}, BadFieldsError, "git is neither read nor write"),
        ({"git": ["read"]}, BadFieldsError, "git is neither read nor write"),
        ({"git_days": 0}, BadFieldsError, "git_days is not a whole number from 1 to 90"),
        ({"git_days": 91}, BadFieldsError, "git_days"),
        ({"git_days": 7.0}, BadFieldsError, "git_days"),
        ({"git_days": True}, BadFieldsError, "git_days"),
        ({"git_days": "7"}, BadFieldsError, "git_days"),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not(changes: dict[str, object], error: type[DaemonError], words: str) -> None:
    """The message says which setting, and what it should be."""
    with pytest.raises(error, match=words) as refused:
        link_from_fields("jira", {"url": "https://h", "consumer_key": "ann", **changes}, SCHEME_SETTINGS)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "x" * 65, "ä"])
def test_a_name_is_a_word(name: str) -> None:
    """It stands in addresses, file tables and commands."""
    with pytest.raises(BadFieldsError, match="a link's name is"):
        link_from_fields(name, {"url": "https://h", "consumer_key": "ann"}, SCHEME_SETTINGS)
