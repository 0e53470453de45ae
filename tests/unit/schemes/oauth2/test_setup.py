"""The form that somebody fills in at a provider: the fields' values must be the ones that are sent afterwards."""

import pytest

from atl_sign.base.credentials import App, Secret
from atl_sign.config.links import Link
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.products import PRODUCTS, Product
from atl_sign.schemes.oauth2.flavours import FLAVOURS
from atl_sign.schemes.oauth2.scheme import OAuth2
from atl_sign.schemes.oauth2.setup import make_form
from atl_sign.schemes.setup import SetupForm, format_form
from tests.oauth2_links import make_link
from tests.strange_server import sent_by

URLS = {
    "datacenter": "https://jira.example.com/jira",
    "atlassian-cloud": "https://example.atlassian.net",
    "bitbucket-cloud": "https://bitbucket.org",
    "github": "https://github.com",
    "github-enterprise": "https://git.example.com",
    "gitlab": "https://gitlab.com",
    "generic": "https://app.example.com",
}


def link_of(flavour: str, **settings: object) -> Link:
    own = (
        {}
        if flavour != "generic"
        else {"authorize_url": "https://login.example.com/a", "token_url": "https://login.example.com/t"}
    )
    return make_link(flavour, url=URLS[flavour], **{**own, **settings})


def fields_of(form: SetupForm) -> dict[str, str]:
    return {field.label: field.value for field in form.fields}


@pytest.mark.parametrize("flavour", URLS)
def test_the_redirect_address_is_the_one_that_is_sent(flavour: str) -> None:
    """To the character, where the provider compares it so; elsewhere the port may be another one."""
    link = link_of(flavour, scopes="a b")
    form = make_form(link, None, (link,))

    consent = OAuth2().begin(link, App("x", Secret("y")), "oob", Clocks())

    asked = sent_by(consent.authorize_url)
    assert asked["redirect_uri"] in fields_of(form).values()
    assert asked["redirect_uri"].startswith(("http://localhost:47813/callback/", "http://127.0.0.1:47813/callback/"))
    assert set(asked["scope"].split()) == set(fields_of(form)[form.fields[1].label].split())


@pytest.mark.parametrize("flavour", URLS)
def test_a_form_leads_all_the_way(flavour: str) -> None:
    """No placeholder is left, and the commands that follow are the ones that there are."""
    link = link_of(flavour)
    assert URLS.keys() == {*FLAVOURS, "generic"}

    form = make_form(link, PRODUCTS["jira"] if flavour == "datacenter" else None, (link,))

    lines = "\n".join(format_form(form, link, None))
    assert "{" not in lines
    assert form.page.startswith("https://")
    first, *rest = form.then
    assert first.startswith(f"atl-sign link add app {link.url} ")
    assert first.endswith(" --replace --client-id ID")
    assert rest == ["atl-sign link secret app", "atl-sign dance app"]
    known = link_of(flavour, client_id="x")
    assert make_form(known, None, (known,)).then == form.then[1:]


@pytest.mark.parametrize(
    ("flavour", "labels"),
    [
        # The words of the providers' own pages (facts oauth2.md: Register, sections 2, 3, 4, 8.1 and 9).
        ("datacenter", ["Redirect URL", "Application permissions"]),
        ("atlassian-cloud", ["Callback URL", "Scopes"]),
        ("bitbucket-cloud", ["Callback URL", "Permissions"]),
        ("github", ["Authorization callback URL", "Scopes"]),
        ("github-enterprise", ["Authorization callback URL", "Scopes"]),
        ("gitlab", ["Redirect URI", "Scopes"]),
        ("generic", ["Redirect URI", "Scopes"]),
    ],
)
def test_fields_have_the_names_of_the_providers_page(flavour: str, labels: list[str]) -> None:
    link = link_of(flavour)

    assert list(fields_of(make_form(link, None, (link,)))) == labels


@pytest.mark.parametrize(
    ("product", "scope", "menu"),
    [
        ("jira", "WRITE", "Administration > Applications > Application links"),
        ("bitbucket", "REPO_WRITE", "cog > Application Links"),
        ("bamboo", "USER", "cog > Overview > Application links"),
        (None, "WRITE", "Administration > Application links"),
    ],
)
def test_each_product_has_its_own_permission_and_menu(product: str | None, scope: str, menu: str) -> None:
    """Facts oauth2.md section 2, Register and Scopes."""
    link = link_of("datacenter")
    known: Product | None = None if product is None else PRODUCTS[product]

    form = make_form(link, known, (link,))

    assert fields_of(form)["Application permissions"] == scope
    assert form.menu == menu


def test_links_that_share_an_app_need_the_scopes_of_all() -> None:
    jira, wiki = link_of("atlassian-cloud"), make_link("atlassian-cloud", "wiki", url="https://example.atlassian.net/wiki")

    scopes = fields_of(make_form(jira, None, (jira, wiki)))["Scopes"].split()

    assert {"read:jira-work", "read:confluence-user", "read:me", "offline_access"} <= set(scopes)


def test_scopes_and_port_of_the_link_count() -> None:
    link = link_of("datacenter", scopes="READ", redirect_port=5_000)

    values = fields_of(make_form(link, None, (link,)))

    assert values["Application permissions"] == "READ"
    assert values["Redirect URL"] == "http://localhost:5000/callback/jira.example.com"
    assert fields_of(make_form(link_of("generic"), None, ()))["Scopes"] == "as you need them"


@pytest.mark.parametrize("flavour", URLS)
def test_a_form_has_no_secret(flavour: str) -> None:
    """It is read by colleagues, and pasted into tickets."""
    link = link_of(flavour, client_id="the-app")

    assert "the-app" not in "\n".join(format_form(make_form(link, None, (link,)), link, None))
