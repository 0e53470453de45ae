"""Wheels of this checkout, for the tests of what is in them."""

import subprocess
import sys
from pathlib import Path

PIP = (sys.executable, "-m", "pip")
QUIETLY = ("--quiet", "--disable-pip-version-check", "--no-deps")
PIP_TIMEOUT_S = 110


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the package at *source* in *folder*, and return the wheel; its build backend comes from the package index."""
    command = [*PIP, "wheel", *QUIETLY, "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path
