"""How a page looks: its colours, its width, and what has the focus, as the browser computes them."""

import re
from pathlib import Path

from selenium.webdriver import Chrome

from tests.browser.conftest import show

WIDTHS = (320, 390, 1440)  # CSS pixels: the narrowest of WCAG 2.2 (1.4.10), a telephone, a desk

# Whatever is written or drawn, with its colour, the colour behind it, and the contrast that it needs. What is behind is the
# nearest ancestor that is not transparent. Texts: WCAG 2.2, 1.4.3; drawings and the edges of fields: 1.4.11.
_COLOURS = """
const ground = element => {
    while (getComputedStyle(element).backgroundColor === 'rgba(0, 0, 0, 0)') element = element.parentElement;
    return getComputedStyle(element).backgroundColor;
};
const found = [];
for (const element of document.querySelectorAll('body, body *')) {
    const style = getComputedStyle(element), name = element.tagName.toLowerCase();
    if (element.closest('svg')) {
        if (name !== 'svg') continue;
        const plate = element.querySelector('rect');
        if (plate) found.push([name, getComputedStyle(plate).fill, ground(element), 3]);
        found.push([name, getComputedStyle(element.querySelector('path')).stroke,
                    plate ? getComputedStyle(plate).fill : ground(element), 3]);
        continue;
    }
    const isField = name === 'textarea' || (name === 'input' && ['text', 'password'].includes(element.type));
    if (isField) found.push([name, style.borderTopColor, ground(element.parentElement), 3]);
    if (isField || [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()))
        found.push([name, style.color, ground(element), 4.5]);
}
return found;
"""


def assert_readable(browser: Chrome, where: str, folder: Path) -> None:
    """The page in *browser* has enough contrast, light and dark, and fits each of WIDTHS; pictures of it go into *folder*."""
    grounds = {}
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            show(browser, scheme=scheme, width=width)
            assert browser.execute_script("return innerWidth") == width
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, f"{where}, {scheme}, {width}"
            assert browser.save_screenshot(str(folder / f"{where}-{scheme}-{width}.png"))
        colours = browser.execute_script(_COLOURS)
        assert {"h1", "svg"} <= {name for name, *_ in colours}
        for name, colour, ground, least in colours:
            assert contrast(colour, ground) >= least, f"{where}, {scheme}: {name} {colour} on {ground}"
        grounds[scheme] = luminance(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert grounds["dark"] < 0.05
    assert grounds["light"] > 0.8


def assert_for_everybody(browser: Chrome) -> None:
    """The page names its language, fits itself to the screen, has one heading and one main part, and no drawing is read out."""
    count = "return document.querySelectorAll(arguments[0]).length"
    assert browser.execute_script("return document.documentElement.lang") == "en"
    assert browser.execute_script("return document.compatMode") == "CSS1Compat"
    assert browser.execute_script("return document.querySelector('meta[name=viewport]').content").startswith("width=device-width")
    assert browser.execute_script(count, "h1") == browser.execute_script(count, "main h1") == 1
    assert browser.execute_script(count, "script") == 0
    assert browser.execute_script(count, "svg:not([aria-hidden=true])") == 0
    unnamed = "return [...document.querySelectorAll('input:not([type=hidden]), textarea')].filter(field => !field.labels.length)"
    assert browser.execute_script(unnamed) == []


def read_focus(browser: Chrome) -> str:
    """Return what has the focus: a field's id or name, the words of a button or a link, or "" when nothing has it."""
    script = (
        "const one = document.activeElement; if (one === document.body) return '';"
        "return one.matches('input, textarea') ? one.id || one.name : one.innerText"
    )
    return str(browser.execute_script(script))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio (WCAG 2.2, "contrast ratio") of two CSS colours without transparency."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.2, "relative luminance") of "rgb(r, g, b)"."""
    matched = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour)
    assert matched is not None, colour
    parts = [int(part) / 255 for part in matched.groups()]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
