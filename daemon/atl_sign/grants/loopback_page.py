"""The page that the user's browser ends a dance on: one document that loads nothing and sends the user back to the terminal."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class CallbackPage:
    """The words of the page: plain text, escaped when it is rendered."""

    title: str
    message: str  # a newline begins a new line
    is_good: bool  # the user got what they came for
    command: str = ""  # to run next in the terminal


def render_page(page: CallbackPage) -> bytes:
    """Return *page* as HTML in UTF-8, to be sent with PAGE_HEADERS."""
    html = _HTML.format(
        style=_STYLE,
        icon=_ICON,
        mark=_MARK,
        kind="good" if page.is_good else "bad",
        drawing=_TICK if page.is_good else _CROSS,
        title=escape(page.title),
        message=escape("\n".join(line for line in page.message.splitlines() if line != page.command)),
        next=_COMMAND.format(command=escape(page.command)) if page.command else _BACK,
    )
    return html.encode("utf-8", errors="replace")


# The product's mark: a signature on its line. The sandbox's pages draw the same one.
_MARK_DRAWING = "M5 12.5c3-6 6-8 6.5-6 .6 2.5-3.5 7-2.3 8 1.2.9 3-3.5 4.3-3.5 1.1 0 .2 3 1.4 3 1.2 0 2-1 4.1-2.5M5 18.5h14"
_MARK = (
    '<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><rect width="24" height="24" rx="6"/>'
    f'<path d="{_MARK_DRAWING}"/></svg>'
)
_ICON = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="6" fill="#5a45b8"/>'
    f'<path d="{_MARK_DRAWING}" fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>'
)
# The sign beside the title tells good from bad by its shape; drawn here, because fonts lack such signs or colour them.
_TICK = "M6.5 12.5l4 4 7-8.5"
_CROSS = "M8 8l8 8m0-8l-8 8"
_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f4f5f7; --sheet: #fff; --edge: #dcdfe4; --field: #7b8494; --text: #1d2125; --faint: #5c6573;
  --accent: #5a45b8; --on-accent: #fff; --good: #1b6e46; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #15171a; --sheet: #1f2226; --edge: #363b42; --field: #858d99; --text: #e4e6ea; --faint: #a3abb8;
    --accent: #b8a9f5; --on-accent: #1b1433; --good: #62c894; --bad: #ff9088;
  }
}
* { box-sizing: border-box; margin: 0; }
body {
  display: grid; place-items: center; min-height: 100vh; padding: 1rem;
  background: var(--ground); color: var(--text); font: 1rem/1.5 system-ui, sans-serif;
}
.sheet {
  width: 100%; max-width: 32rem; padding: clamp(1.25rem, 5vw, 2rem); overflow-wrap: anywhere;
  background: var(--sheet); border: 1px solid var(--edge); border-radius: .75rem;
}
header { display: flex; align-items: center; gap: .5rem; margin-bottom: 1.5rem; font-weight: 600; }
.title { display: flex; gap: .625rem; margin-bottom: .75rem; }
svg {
  flex: none; width: 1.75rem; height: 1.75rem;
  fill: none; stroke: currentcolor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round;
}
.mark { color: var(--on-accent); }
.mark rect { fill: var(--accent); stroke: none; }
.good .sign { color: var(--good); }
.bad .sign { color: var(--bad); }
h1 { font-size: 1.25rem; line-height: 1.75rem; font-weight: 600; }
p { white-space: pre-line; }
.next { margin-top: 1.5rem; font-weight: 600; }
textarea {
  display: block; width: 100%; margin: .5rem 0; padding: .5rem .75rem; resize: none; field-sizing: content;
  background: var(--ground); color: inherit; border: 1px solid var(--field); border-radius: .375rem;
  font: 1rem/1.5 ui-monospace, monospace;
}
textarea:focus { outline: 2px solid var(--accent); outline-offset: 1px; }
.close { color: var(--faint); }
"""
_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} &ndash; atl-sign</title>
<link rel="icon" href="{icon}">
<style>{style}</style>
</head>
<body>
<div class="sheet {kind}">
<header>{mark}atl-sign</header>
<main>
<div class="title">
<svg class="sign" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="11"/><path d="{drawing}"/></svg>
<h1>{title}</h1>
</div>
<p>{message}</p>
{next}
<p class="close">You can close this tab.</p>
</main>
</div>
</body>
</html>
"""
_BACK = '<p class="next">Go back to your terminal.</p>'
# A field that cannot be changed: it has the focus, so that Ctrl+A selects only the command, without a script.
_COMMAND = """<p class="next"><label for="command">Go back to your terminal and run:</label></p>
<textarea id="command" rows="1" readonly autofocus spellcheck="false">{command}</textarea>"""

_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode("ascii")
# Names and values, in the order they are sent.
PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        # "img-src data:" is for the icon, without which browsers ask for /favicon.ico.
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
