"""The sandbox's pages: plain HTML that loads nothing, reads at any width and in the dark."""

from collections.abc import Iterable, Mapping
from html import escape

from atl_sign.sandbox.wire import Answer, make_text

_STYLE = """
:root { color-scheme: light dark }
:root { --ink: #1b1f26; --paper: #fff; --line: #c9ced6; --accent: #0b57d0; --soft: #f3f5f8; --bad: #b3261e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ec; --paper: #15181e; --line: #454c57; --accent: #8ab4f8; --soft: #22262e; --bad: #f2b8b5 }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; background: var(--paper); color: var(--ink) }
body { font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; justify-content: space-between }
header, footer { background: var(--soft); padding: .75rem 1rem }
header a { color: inherit; font-weight: 600; text-decoration: none }
main { width: 100%; max-width: 42rem; margin: 0 auto; padding: 1rem; flex: 1 }
footer { font-size: .85rem }
h1 { font-size: 1.4rem; line-height: 1.25 }
h2 { font-size: 1.1rem; margin-top: 2rem }
a { color: var(--accent) }
label { display: block; margin: .75rem 0; font-weight: 600 }
small { display: block; font-weight: 400 }
input, textarea { display: block; width: 100%; margin-top: .25rem; padding: .5rem; font: inherit; font-weight: 400 }
input, textarea, .card, code.big, code.token { border: 1px solid var(--line); border-radius: 4px }
input, textarea, .card, code.big, code.token { background: var(--paper); color: inherit }
textarea, code { font-family: ui-monospace, monospace }
textarea { font-size: .85rem }
button { font: inherit; padding: .5rem 1.25rem; margin: .5rem .5rem .5rem 0; cursor: pointer }
button { border: 1px solid var(--accent); border-radius: 4px; background: none; color: var(--accent) }
button.main { background: var(--accent); color: var(--paper) }
code.big { display: inline-block; font-size: 2rem; letter-spacing: .15em; padding: .25rem .75rem }
code.token { display: inline-block; padding: .5rem .75rem; font-size: 1rem; user-select: all }
label.check { font-weight: 400; margin: .25rem 0 }
label.check input { display: inline; width: auto; margin: 0 .5rem 0 0 }
.bad { color: var(--bad); font-weight: 600 }
.card { padding: .5rem 1rem; margin: .75rem 0 }
.card p { margin: .25rem 0 }
"""
_HEADERS = (
    # No form-action: the redirect to the consumer's callback answers a form, and browsers hold it against that rule.
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class PageFrame:
    """The common parts of one product's pages."""

    def __init__(self, product_title: str, context_path: str) -> None:
        """Make pages of the product called *product_title* at *context_path*."""
        self._product_title = product_title
        self._context_path = context_path

    def make(self, title: str, content: str, *, user: str | None = None, status: int = 200) -> Answer:
        """
        Return a page.

        Args:
            title: plain text.
            content: HTML.
            user: the name of the user who is logged in, or None.
            status: the HTTP status.
        """
        who = f"logged in as {escape(user)}" if user is not None else "not logged in"
        html = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{escape(title)} - {self._product_title}</title>\n"
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
            f"<style>{_STYLE}</style>\n</head>\n<body>\n"
            f'<header><a href="{escape(self._context_path)}/">{self._product_title} (sandbox)</a><span>{who}</span></header>\n'
            f"<main>\n<h1>{escape(title)}</h1>\n{content}\n</main>\n"
            "<footer>A sandbox for trying atl-sign: everything here is made up and forgotten when it ends.</footer>\n"
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


def make_button(label: str, name: str = "", *, is_main: bool = False) -> str:
    """Return a submit button; with *name* it is sent as a field."""
    attributes = f' name="{name}" value="{escape(label)}"' if name else ""
    return f"<button{attributes}{' class=main' if is_main else ''}>{escape(label)}</button>"


def make_card(title: str, lines: Iterable[str], form: str = "") -> str:
    """Return a box; *title* and *lines* are plain text, *form* is HTML."""
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="card"><p><strong>{escape(title)}</strong></p>{paragraphs}{form}</div>'


def make_alert(text: str) -> str:
    """Return a line that says what went wrong; nothing for no text."""
    return f'<p class="bad" role="alert">{escape(text)}</p>' if text else ""
