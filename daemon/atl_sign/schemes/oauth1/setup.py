"""The fields that an administrator enters for one application link, and where (facts sections 1.2 and 1.3)."""

from atl_sign.config.links import Link
from atl_sign.providers.products import LINKS_PAGE, Product
from atl_sign.schemes.setup import FormField, SetupForm


def make_form(link: Link, product: Product | None, public_key: str, consumer_name: str, owner: str) -> SetupForm:
    """
    Return what to enter for *link*.

    Args:
        link: whose base URL and consumer key are shown.
        product: what the manifest said; None when nobody knows, then the words cover all four.
        public_key: SubjectPublicKeyInfo PEM; the form takes it with its marker lines.
        consumer_name: what the consent page will call us.
        owner: user and machine in one word. A product refuses a second link with the same application URL or name.
    """
    any_url = f"https://atl-sign.invalid/{owner}/{link.name}"
    application_name = f"Application Name: atl-sign {link.name} {owner}; Application Type: Generic Application"
    last_form = "in the form of the incoming link enter the fields below, then press Continue"
    return SetupForm(
        who=f"An administrator of {product.name if product else 'the product'}",
        page=f"{link.url}{LINKS_PAGE}",
        menu=product.admin_menu if product else "Administration > Application links",
        old_steps=(
            f"type {any_url} into the box and press Create new link; nothing needs to answer there",
            "ignore the warning that there was no response: Continue",
            application_name,
            "the outgoing fields (service provider name, shared secret, the three URLs) are not used: put anything or nothing",
            "tick Create incoming link and press Continue",
            last_form,
        ),
        new_steps=(
            "press Create link",
            "choose Atlassian product (OAuth 1.0a). Not External application, and not the one via OAuth 2.0: both are OAuth 2.0",
            f"Application URL: {any_url}; press Continue and ignore the warning that there was no response",
            f"{application_name}; tick Create incoming link; Continue",
            last_form,
        ),
        fields=(
            FormField("Consumer Key", link.consumer_key),
            FormField("Consumer Name", consumer_name),
            FormField("Public Key", public_key),
        ),
        leave_alone=("Consumer Callback URL: leave it blank", "Allow 2-Legged OAuth and everything below it: leave it off"),
        then=(f"atl-sign dance {link.name}",),
        old_form_until=product.old_form_until if product else None,
    )
