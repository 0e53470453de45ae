"""The documentation site, for the tests that read it and the one that opens it in a browser."""

import os
import subprocess
import sys
from pathlib import Path


def build_site(repository: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of *repository* into *folder*, as `make site` does; a warning is a failure."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    return subprocess.run(
        [*command, "--config-file", str(repository / "tests/tools/site/mkdocs.yml")],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
