"""What an administrator enters (facts sections 1.2 and 1.3)."""

import pytest

from atl_sign.base.text import to_text
from atl_sign.providers.products import PRODUCTS, Product
from atl_sign.schemes.oauth1.setup import make_form
from atl_sign.schemes.setup import format_form
from tests.unit.provider_lab import make_link, private_key

URL = "https://example.com/jira"


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_the_text_says_where_and_what_for_each_product(product: Product) -> None:
    """The page below the context path, the product's own menu, both dialogs, and the three fields."""
    link = make_link(URL, "tools", consumer_key="ann-desk")
    form = make_form(link, product, private_key().public.pem, "atl-sign of ann", "ann-desk")

    text = to_text(format_form(form, link, product))

    assert f"An administrator of {product.name} enters this once, for link tools." in text
    assert "Where: https://example.com/jira/plugins/servlet/applinks/listApplicationLinks\n" in text
    assert f"   or: {product.admin_menu}\n" in text
    assert f"If the page begins with a box for an address ({product.name} {product.old_form_until} and older):" in text
    assert "  Consumer Key:  ann-desk\n" in text
    assert "  Consumer Name:  atl-sign of ann\n" in text
    assert "Consumer Callback URL: leave it blank" in text
    assert text.endswith("Then: atl-sign dance tools\n")


def test_a_product_that_nobody_knows_gets_words_for_all_four() -> None:
    """The manifest did not answer: no product is guessed."""
    link = make_link(URL, "tools")
    form = make_form(link, None, private_key().public.pem, "atl-sign", "ann-desk")

    text = to_text(format_form(form, link, None))

    assert form.old_form_until is None
    assert "An administrator of the product enters this once" in text
    assert "(Bamboo 9.0, Jira 8.21, Confluence 7.16, Bitbucket 7.19 and older)" in text
    assert "   or: Administration > Application links\n" in text


@pytest.mark.parametrize("product", [None, PRODUCTS["jira"]], ids=["unknown", "jira"])
def test_the_public_key_stays_whole_and_can_be_pasted(product: Product | None) -> None:
    """Its lines come as they are, with the marker lines, each at the beginning of a line."""
    link = make_link(URL)
    pem = private_key().public.pem

    text = to_text(format_form(make_form(link, product, pem, "atl-sign", "ann-desk"), link, product))

    assert f"\n  Public Key:\n{pem}\n" in text
    assert pem.startswith("-----BEGIN PUBLIC KEY-----\n")


def test_the_new_dialog_leads_away_from_oauth_2() -> None:
    """The choice "External application" would make an OAuth 2.0 link, which takes no signature of ours."""
    link = make_link(URL)

    form = make_form(link, PRODUCTS["jira"], "PEM", "atl-sign", "ann-desk")

    assert any("Not External application" in step for step in form.new_steps)
    assert any("tick Create incoming link" in step for step in form.new_steps)
    assert any("tick Create incoming link" in step for step in form.old_steps)
    assert [field.label for field in form.fields] == ["Consumer Key", "Consumer Name", "Public Key"]


def test_application_address_and_name_are_nobody_elses() -> None:
    """A product refuses a second link of the same address or name: they differ by link, user and machine, in both forms."""
    forms = {
        (name, owner): make_form(make_link(URL, name), None, "PEM", "atl-sign", owner)
        for name in ("one", "two")
        for owner in ("ann-desk", "bob-desk", "ann-lap")
    }

    for number in (0, 2):
        assert len({form.old_steps[number] for form in forms.values()}) == len(forms)
    for number in (2, 3):
        assert len({form.new_steps[number] for form in forms.values()}) == len(forms)
    steps = forms["one", "ann-desk"].old_steps
    assert "https://atl-sign.invalid/ann-desk/one" in steps[0]
    assert steps[2].startswith("Application Name: atl-sign one ann-desk;")
