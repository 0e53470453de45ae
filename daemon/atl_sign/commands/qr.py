"""`atl-signd qr`: an address as a QR code on a terminal, to be read with a telephone's camera."""

import shutil
from io import StringIO

from atl_sign.base.terminal import complain, say

_MARGIN = 2  # of four modules in the standard; two are enough on a screen, and leave room


def run_qr(text: str) -> int:
    """Print *text* as a QR code; returns the exit status: 0, or 1 when the terminal is too narrow for it, or cannot show it."""
    import segno

    code = segno.make(text, error="l", micro=False)
    width = code.symbol_size(border=_MARGIN)[0]
    if width > shutil.get_terminal_size().columns:
        complain("atl-signd", f"the terminal has no {width} columns for the QR code", "open the address instead")
        return 1
    lines = StringIO()
    code.terminal(out=lines, border=_MARGIN, compact=True)
    try:
        say(*lines.getvalue().splitlines(), flush=True)
    except UnicodeEncodeError:
        complain("atl-signd", "this terminal's encoding has no blocks for a QR code", "open the address instead")
        return 1
    return 0
