"""The form to fill in at a provider before the first dance with it: the way there, and the fields."""

from dataclasses import dataclass

from atl_sign.config.links import Link
from atl_sign.providers.products import PRODUCTS, Product


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of the provider's form: what its label says, and what to put there."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class SetupForm:
    """The way through the provider's dialog, old or new, down to the fields that count."""

    who: str  # does this once
    page: str  # the address of the page that begins it
    menu: str  # the way there by the provider's menus
    new_steps: tuple[str, ...]
    old_steps: tuple[str, ...]  # of a product's older versions; empty where there is one dialog
    fields: tuple[FormField, ...]
    leave_alone: tuple[str, ...]  # what to leave blank or off, and what else to know
    then: tuple[str, ...]  # the commands that follow
    old_form_until: str | None = None  # the last version with the old dialog; None when the product is not known


def format_form(form: SetupForm, link: Link, product: Product | None) -> list[str]:
    """Return *form* as the lines that `atl-sign link setup` prints."""
    lines = [f"{form.who} enters this once, for link {link.name}.", "", f"Where: {form.page}", f"   or: {form.menu}", ""]
    if form.old_steps:
        lines.append("If the page says Create link (newer versions):")
    lines += [f"  {number}. {step}" for number, step in enumerate(form.new_steps, 1)]
    if form.old_steps:
        name = product.name if product else "the product"
        until = f"{name} {form.old_form_until} and older" if form.old_form_until else _all_old_versions()
        lines += ["", f"If the page begins with a box for an address ({until}):"]
        lines += [f"  {number}. {step}" for number, step in enumerate(form.old_steps, 1)]
    lines += ["", "The fields that count:"]
    for field in form.fields:
        if "\n" in field.value:
            lines += [f"  {field.label}:", *field.value.rstrip("\n").split("\n")]
        else:
            lines.append(f"  {field.label}:  {field.value}")
    lines += ["", *(f"  {text}" for text in form.leave_alone), *([""] if form.leave_alone else [])]
    return [*lines, *(f"Then: {command}" for command in form.then)]


def _all_old_versions() -> str:
    return ", ".join(f"{product.name} {product.old_form_until}" for product in PRODUCTS.values()) + " and older"
