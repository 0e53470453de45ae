"""Links of several schemes: each has the settings that its scheme gives it, and no others."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from atl_sign.api.schemas import make_link_answer, make_link_fields
from atl_sign.base.errors import BadFieldsError
from atl_sign.config.file import ConfigFile
from atl_sign.config.link_command import format_link_command
from atl_sign.config.link_fields import link_from_fields, link_settings, link_to_fields
from atl_sign.config.setting import Setting, Text
from atl_sign.config.settings import parse_settings
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.tools.write_docs import with_settings

USER = Setting("user", Text("[^:]{1,255}", "is not 1 to 255 characters without a colon"), is_needed=True, is_kept=True)
THREE = {**SCHEME_SETTINGS, "bearer": (), "basic": (USER,)}
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


@pytest.mark.parametrize("schemes", [SCHEME_SETTINGS, THREE])
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
        make_link_answer(link_settings({"oauth1": THREE["oauth1"]}).values())(name="jira", **link_to_fields(link))
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
    assert "scheme" not in link_settings(SCHEME_SETTINGS)
    assert list(link_settings(THREE))[:5] == ["url", "scheme", "consumer_key", "signing_url", "user"]
    assert link_settings(THREE)["scheme"].option == "--scheme oauth1|bearer|basic"
