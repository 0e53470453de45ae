"""The QR code of an address, read by a program that nobody here wrote."""

import pytest
import zxingcpp

from atl_sign.commands.qr import run_qr

SCALE = 4  # pixels for a module


def read(shown: str) -> list[str]:
    """Return what a camera would read from the terminal, where a full block is light."""
    rows = []
    for line in shown.splitlines():
        rows += [[255 if char in light else 0 for char in line] for light in ("█▀", "█▄")]
    pixels = bytes(value for row in rows for _ in range(SCALE) for value in row for _ in range(SCALE))
    image = memoryview(pixels).cast("B", [len(rows) * SCALE, len(rows[0]) * SCALE])
    return [found.text for found in zxingcpp.read_barcodes(image)]


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/login/device",
        "https://example.com/device?user_code=WDJB-MJHT",  # RFC 8628 §3.2
        "https://gitlab.example.com/gitlab/oauth/device?user_code=0A44L90H&a=" + "x" * 150,
    ],
)
def test_a_camera_reads_the_address(address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, on a terminal of the usual width."""
    monkeypatch.setenv("COLUMNS", "80")

    assert run_qr(address) == 0

    shown = capsys.readouterr().out
    assert read(shown) == [address]
    assert read(shown.replace("█", " ")) != [address]  # the twin: it is the blocks that are read


def test_a_narrow_terminal_gets_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken lines could not be read."""
    monkeypatch.setenv("COLUMNS", "30")

    assert run_qr("https://example.com/device?user_code=WDJB-MJHT") == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("atl-signd: the terminal has no 33 columns for the QR code\n")
