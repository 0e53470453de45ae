"""The page that the user's browser ends a dance on: one document that loads nothing, from a title and a message."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from html import escape


@dataclass(frozen=True, slots=True)
class CallbackPage:
    """The words of the page: plain text, escaped when it is rendered."""

    title: str
    message: str  # a newline begins a new line
    is_good: bool  # the user got what they came for


def render_page(page: CallbackPage) -> bytes:
    """Return *page* as HTML in UTF-8, to be sent with PAGE_HEADERS."""
    html = _HTML.format(
        style=_STYLE,
        kind="good" if page.is_good else "bad",
        drawing=_TICK if page.is_good else _CROSS,
        title=escape(page.title),
        message=escape(page.message),
    )
    return html.encode("utf-8", errors="replace")


# The sign beside the title tells good from bad by its shape; drawn here, because fonts lack such signs or colour them.
_TICK = "M6.5 12.5l4 4 7-8.5"
_CROSS = "M8 8l8 8m0-8l-8 8"
_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f4f5f7; --sheet: #fff; --edge: #dcdfe4; --text: #1d2125; --faint: #5c6573; --good: #1b6e46; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #15171a; --sheet: #1f2226; --edge: #363b42; --text: #e4e6ea; --faint: #a3abb8; --good: #62c894; --bad: #ff9088;
  }
}
* { box-sizing: border-box; margin: 0; }
body {
  display: grid; place-items: center; min-height: 100vh; padding: 1rem;
  background: var(--ground); color: var(--text); font: 1rem/1.5 system-ui, sans-serif;
}
main {
  width: 100%; max-width: 32rem; padding: clamp(1.25rem, 5vw, 2rem); overflow-wrap: anywhere;
  background: var(--sheet); border: 1px solid var(--edge); border-radius: .75rem;
}
header { display: flex; align-items: center; gap: .625rem; margin-bottom: .75rem; }
svg {
  flex: none; width: 1.75rem; height: 1.75rem;
  fill: none; stroke: currentcolor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round;
}
.good svg { color: var(--good); }
.bad svg { color: var(--bad); }
h1 { font-size: 1.25rem; line-height: 1.25; font-weight: 600; }
p { white-space: pre-line; }
p + p { margin-top: .75rem; }
footer { margin-top: 1.5rem; font-size: .875rem; color: var(--faint); }
"""
_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - atl-sign</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main class="{kind}">
<header>
<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="11"/><path d="{drawing}"/></svg>
<h1>{title}</h1>
</header>
<p>{message}</p>
<p>You can close this tab and go back to your terminal.</p>
<footer>atl-sign</footer>
</main>
</body>
</html>
"""

_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode("ascii")
# Names and values, in the order they are sent.
PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        # "img-src data:" is for the empty icon, without which browsers ask for /favicon.ico.
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
