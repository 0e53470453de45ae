"""The fields that an administrator enters for one application link, and where (facts sections 1.2 and 1.3)."""

from dataclasses import dataclass

from atl_sign.config.links import Link
from atl_sign.providers.products import LINKS_PAGE, PRODUCTS, Product


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of the product's form: what its label says, and what to put there."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class ApplinkForm:
    """The way through the product's dialog, old or new, down to the three fields that count."""

    page: str  # the address of the page that begins it
    menu: str  # the way there by the product's menus
    old_steps: tuple[str, ...]
    new_steps: tuple[str, ...]
    fields: tuple[FormField, ...]
    leave_alone: tuple[str, ...]  # what to leave blank or off
    old_form_until: str | None  # the last version with the old dialog; None when the product is not known


def make_form(link: Link, product: Product | None, public_key: str, consumer_name: str, owner: str) -> ApplinkForm:
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
    return ApplinkForm(
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
        old_form_until=product.old_form_until if product else None,
    )


def format_form(form: ApplinkForm, link: Link, product: Product | None) -> list[str]:
    """Return *form* as the lines that `atl-sign link setup` prints."""
    name = product.name if product else "the product"
    until = f"{name} {form.old_form_until} and older" if form.old_form_until else _all_old_versions()
    lines = [
        f"An administrator of {name} enters this once, for link {link.name}.",
        "",
        f"Where: {form.page}",
        f"   or: {form.menu}",
        "",
        "If the page says Create link (newer versions):",
        *(f"  {number}. {step}" for number, step in enumerate(form.new_steps, 1)),
        "",
        f"If the page begins with a box for an address ({until}):",
        *(f"  {number}. {step}" for number, step in enumerate(form.old_steps, 1)),
        "",
        "The fields that count:",
    ]
    for field in form.fields:
        if "\n" in field.value:
            lines += [f"  {field.label}:", *field.value.rstrip("\n").split("\n")]
        else:
            lines.append(f"  {field.label}:  {field.value}")
    return [*lines, "", *(f"  {text}" for text in form.leave_alone), "", f"Then: atl-sign dance {link.name}"]


def _all_old_versions() -> str:
    return ", ".join(f"{product.name} {product.old_form_until}" for product in PRODUCTS.values()) + " and older"
