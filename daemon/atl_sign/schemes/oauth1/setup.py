"""The fields that an administrator enters for one application link, and where (facts sections 1.2 and 1.3)."""

from atl_sign.config.links import Link
from atl_sign.providers.products import LINKS_PAGE, Product
from atl_sign.schemes.oauth1.applink import Applink
from atl_sign.schemes.setup import FormField, SetupForm


def make_form(link: Link, product: Product | None, applink: Applink) -> SetupForm:
    """
    Return what to enter for *link*.

    Args:
        link: whose base URL and consumer key are shown.
        product: what the manifest said; None when nobody knows, then the words cover all four.
        applink: what is entered.
    """
    application_name = f"Application Name: {applink.name}; Application Type: Generic Application"
    last_form = "in the form of the incoming link enter the fields below, then press Continue"
    return SetupForm(
        who=f"An administrator of {product.name if product else 'the product'}",
        page=f"{link.url}{LINKS_PAGE}",
        menu=product.admin_menu if product else "Administration > Application links",
        old_steps=(
            f"type {applink.url} into the box and press Create new link; nothing needs to answer there",
            "ignore the warning that there was no response: Continue",
            application_name,
            "the outgoing fields (service provider name, shared secret, the three URLs) are not used: put anything or nothing",
            "tick Create incoming link and press Continue",
            last_form,
        ),
        new_steps=(
            "press Create link",
            "choose Atlassian product (OAuth 1.0a). Not External application, and not the one via OAuth 2.0: both are OAuth 2.0",
            f"Application URL: {applink.url}; press Continue and ignore the warning that there was no response",
            f"{application_name}; tick Create incoming link; Continue",
            last_form,
        ),
        fields=(
            FormField("Consumer Key", applink.consumer_key),
            FormField("Consumer Name", applink.consumer_name),
            FormField("Public Key", applink.public_key),
        ),
        leave_alone=("Consumer Callback URL: leave it blank", "Allow 2-Legged OAuth and everything below it: leave it off"),
        then=(f"atl-sign dance {link.name}",),
        old_form_until=product.old_form_until if product else None,
    )
