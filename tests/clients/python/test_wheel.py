"""What is installed: the typed package alone, without requirements, under the daemon's licence and version."""

import zipfile
from pathlib import Path

import pytest

from atl_sign import __version__
from tests.lab import REPOSITORY
from tests.wheel_lab import build_wheel

pytestmark = pytest.mark.slow
SOURCE = REPOSITORY / "clients/python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(SOURCE, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    """Each file of it to the byte, the type marker too."""
    files = {path.name: path.read_bytes() for path in (SOURCE / "src/atl_sign_client").iterdir() if path.is_file()}

    with zipfile.ZipFile(wheel) as content:
        packed = {name: content.read(name) for name in content.namelist() if ".dist-info/" not in name}

    assert packed == {f"atl_sign_client/{name}": data for name, data in files.items()}
    assert "atl_sign_client/py.typed" in packed


def test_the_wheel_requires_nothing(wheel: Path) -> None:
    """But the libraries that were asked for by an extra; it says what it runs on."""
    with zipfile.ZipFile(wheel) as content:
        about = content.read(f"atl_sign_client-{__version__}.dist-info/METADATA").decode()
        licence = content.read(f"atl_sign_client-{__version__}.dist-info/licenses/LICENSE")

    required = [line.partition(": ")[2] for line in about.splitlines() if line.startswith("Requires-Dist: ")]
    assert sorted(required) == ["httpx>=0.27; extra == 'httpx'", "requests>=2.31; extra == 'requests'"]
    assert "\nRequires-Python: >=3.9\n" in about
    assert licence == (REPOSITORY / "LICENSE").read_bytes()
