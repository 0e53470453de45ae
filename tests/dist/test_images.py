"""The Containerfile: both images built from the .deb, on a base that needs no registry."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dist.conftest import Made

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(900)]
BASE = "localhost/debian"


class Builder:
    """buildah with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self._options = ("--root", str(folder / "images"), "--runroot", str(folder / "state"), "--storage-driver", "vfs")

    def __call__(self, *arguments: str | Path) -> str:
        """Run a command of buildah; returns its output, and fails when it does."""
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        done = subprocess.run(["buildah", *self._options, *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def build(root_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """With the clean root as the image that stands for Debian's."""
    folder = tmp_path_factory.mktemp("images")
    builder = Builder(folder)
    container = builder("from", "scratch")
    builder("add", container, root_archive, "/")
    builder("commit", "--quiet", container, BASE)
    yield builder
    builder("rm", "--all")
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("target", "entry"),
    [("sandbox", ["atl-signd", "sandbox", "--port", "8700"]), ("daemon", ["atl-signd", "serve"])],
)
def test_the_image_runs_as_an_ordinary_user(build: Builder, made: Made, target: str, entry: list[str]) -> None:
    """Its command is the target's, and the whole demo runs in it."""
    file = made.file("Containerfile")
    build("build", "--quiet", "--network=host", "--build-arg", f"BASE={BASE}", "--target", target, "--tag", target, "-f", file, made.folder)
    container = build("from", "--pull-never", f"localhost/{target}")

    about = json.loads(build("inspect", "--type=image", f"localhost/{target}"))["OCIv1"]["config"]
    assert (about["Entrypoint"], about["User"]) == (entry, "atl-sign")
    assert build("run", container, "--", "id", "-u") == "1000"
    assert made.stamp in build("run", container, "--", "atl-sign", "--version")
    assert "\nDone; " in build("run", container, "--", "atl-sign", "demo")
