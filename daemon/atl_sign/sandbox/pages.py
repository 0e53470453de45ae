"""The sandbox's pages: plain HTML that loads nothing, reads at any width and in the dark, and has the focus on its one action."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from urllib.parse import quote

from atl_sign.sandbox.wire import Answer, make_text

# The product's mark: a signature on its line. The callback page of the daemon draws the same one.
_MARK_DRAWING = "M5 12.5c3-6 6-8 6.5-6 .6 2.5-3.5 7-2.3 8 1.2.9 3-3.5 4.3-3.5 1.1 0 .2 3 1.4 3 1.2 0 2-1 4.1-2.5M5 18.5h14"
_MARK = f'<svg viewBox="0 0 24 24" aria-hidden="true"><rect width="24" height="24" rx="6"/><path d="{_MARK_DRAWING}"/></svg>'
_ICON = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="6" fill="#5a45b8"/>'
    f'<path d="{_MARK_DRAWING}" fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>'
)
_CODE_LENGTH = 8  # what is so short may be typed by hand on another machine, so it is shown large
_COPY_COLUMNS = 32  # characters of a value to copy in one line, on a telephone
_STYLE = """
:root { color-scheme: light dark }
:root {
  --ground: #f4f5f7; --sheet: #fff; --edge: #dcdfe4; --field: #7b8494; --text: #1d2125; --faint: #5c6573;
  --accent: #5a45b8; --on-accent: #fff; --good: #1b6e46; --bad: #b3261e
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #15171a; --sheet: #1f2226; --edge: #363b42; --field: #858d99; --text: #e4e6ea; --faint: #a3abb8;
    --accent: #b8a9f5; --on-accent: #1b1433; --good: #62c894; --bad: #ff9088
  }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; background: var(--ground); color: var(--text) }
body { font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1rem; justify-content: space-between }
header { background: var(--sheet); border-bottom: 1px solid var(--edge); padding: .75rem 1rem }
header a { display: flex; align-items: center; gap: .5rem; color: inherit; font-weight: 600; text-decoration: none }
header span, footer, small { color: var(--faint) }
svg { flex: none; width: 1.75rem; height: 1.75rem; fill: none; stroke: var(--on-accent); stroke-width: 2; stroke-linecap: round }
svg rect { fill: var(--accent); stroke: none }
main { width: 100%; max-width: 36rem; margin: 1rem auto; padding: 0 1rem; flex: 1 }
section { background: var(--sheet); border: 1px solid var(--edge); border-radius: .75rem }
section { padding: clamp(1rem, 5vw, 2rem); margin-bottom: 1rem }
section > :first-child { margin-top: 0 }
section > :last-child, form { margin-bottom: 0 }
footer { padding: .75rem 1rem; font-size: .875rem; text-align: center }
h1 { font-size: 1.4rem; line-height: 1.25 }
h2 { font-size: 1.1rem }
a { color: var(--accent) }
label, fieldset { display: block; margin: .75rem 0; font-weight: 600 }
fieldset { border: 0; padding: 0 }
legend { padding: 0 }
small { display: block; font-size: .875rem; font-weight: 400 }
input, textarea { display: block; width: 100%; margin-top: .25rem; padding: .5rem .75rem; font: inherit; font-weight: 400 }
input, textarea { background: var(--sheet); color: inherit; border: 1px solid var(--field); border-radius: .375rem }
textarea, code { font-family: ui-monospace, monospace }
textarea { font-size: .875rem }
textarea[readonly] { font-size: 1rem; resize: none; field-sizing: content; background: var(--ground) }
textarea.big { font-size: 1.75rem; letter-spacing: .15em }
button, a.main { font: inherit; padding: .5rem 1.25rem; margin: .5rem .5rem 0 0; cursor: pointer; display: inline-block }
button, a.main { border: 1px solid var(--accent); border-radius: .375rem; background: none; color: var(--accent) }
button.main, a.main { background: var(--accent); color: var(--on-accent); text-decoration: none; font-weight: 600 }
:focus { outline: 2px solid var(--accent); outline-offset: 2px }
label.check { font-weight: 400; margin: .25rem 0 }
label.check input { display: inline; width: auto; margin: 0 .5rem 0 0; accent-color: var(--accent) }
.bad, .good { color: var(--bad); font-weight: 600 }
.good { color: var(--good) }
.card { border-top: 1px solid var(--edge); padding: .75rem 0; margin: .75rem 0 0 }
.card p { margin: .25rem 0 }
"""
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode("ascii")
_HEADERS = (
    (
        "Content-Security-Policy",
        # "img-src data:" is for the icon, without which browsers ask for /favicon.ico. No form-action: the redirect to the
        # consumer's callback answers a form, and browsers hold it against that rule.
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


# Tomcat answers with it before any product sees the request.
BAD_PATH_PAGE = make_text(
    '<!doctype html>\n<html lang="en"><title>HTTP Status 400 &ndash; Bad Request</title>'
    "<h1>HTTP Status 400 &ndash; Bad Request</h1></html>\n",
    400,
    "text/html",
)


class PageFrame:
    """The common parts of one product's pages."""

    def __init__(self, product_title: str, context_path: str) -> None:
        """Make pages of the product called *product_title* at *context_path*."""
        self._product_title = product_title
        self._context_path = context_path

    def make(self, title: str, *contents: str, user: str | None = None, status: int = 200) -> Answer:
        """
        Return a page.

        Args:
            title: plain text.
            contents: HTML, a section each; the first one is below the title.
            user: the name of the user who is logged in, or None.
            status: the HTTP status.
        """
        who = f"logged in as {escape(user)}" if user is not None else "not logged in"
        product = escape(self._product_title)
        first, *others = contents
        sections = "".join(f"<section>\n{content}\n</section>\n" for content in (f"<h1>{escape(title)}</h1>\n{first}", *others))
        html = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{escape(title)} &ndash; {product} &ndash; atl-sign sandbox</title>\n"
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="{_ICON}">\n'
            f"<style>{_STYLE}</style>\n</head>\n<body>\n"
            f'<header><a href="{escape(self._context_path)}/">{_MARK}atl-sign sandbox: {product}</a><span>{who}</span></header>\n'
            f"<main>\n{sections}</main>\n"
            f"<footer>Not a real product: all data here is made up and is lost when the sandbox stops.</footer>\n"
            "</body>\n</html>\n"
        )
        return make_text(html, status, "text/html").with_headers(*_HEADERS)


def make_form(action: str, fields: str, buttons: str, hidden: Mapping[str, str]) -> str:
    """Return a POST form; *fields* and *buttons* are HTML, *hidden* plain text."""
    inputs = "".join(f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in hidden.items())
    return f'<form method="post" action="{escape(action)}">{inputs}{fields}<div>{buttons}</div></form>'


def make_field(label: str, name: str, *, value: str = "", kind: str = "text", note: str = "", extra: str = "") -> str:
    """Return one labelled input; *extra* is HTML attributes."""
    explained = f"<small>{escape(note)}</small>" if note else ""
    return f'<label>{escape(label)}{explained}<input type="{kind}" name="{name}" value="{escape(value)}" {extra}></label>'


def make_button(label: str, name: str = "", *, is_main: bool = False, has_focus: bool = False) -> str:
    """Return a submit button; with *name* it is sent as a field."""
    attributes = f' name="{name}" value="{escape(label)}"' if name else ""
    return f"<button{attributes}{' class=main' if is_main else ''}{' autofocus' if has_focus else ''}>{escape(label)}</button>"


def make_link(path: str, label: str, *, is_main: bool = False) -> str:
    """Return a link; the page's main one looks like a button and has the focus."""
    return f'<a href="{escape(path)}"{" class=main autofocus" if is_main else ""}>{escape(label)}</a>'


def make_copy(label: str, name: str, value: str) -> str:
    """Return *value* in a field that cannot be changed and has the focus: Ctrl+A selects only that, without a script."""
    rows, size = len(value) // _COPY_COLUMNS + 1, " class=big" if len(value) <= _CODE_LENGTH else ""
    return (
        f'<label for="{name}">{escape(label)}</label>'
        f'<textarea id="{name}"{size} rows="{rows}" readonly autofocus spellcheck="false">{escape(value)}</textarea>'
    )


def make_card(title: str, lines: Iterable[str], form: str = "") -> str:
    """Return an entry of a list; *title* and *lines* are plain text, *form* is HTML."""
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="card"><p><strong>{escape(title)}</strong></p>{paragraphs}{form}</div>'


def make_alert(text: str) -> str:
    """Return a line that says what went wrong; nothing for no text."""
    return f'<p class="bad" role="alert">{escape(text)}</p>' if text else ""


def make_status(text: str) -> str:
    """Return a line that says what was done; nothing for no text."""
    return f'<p class="good" role="status">{escape(text)}</p>' if text else ""
