"""The Node client's tests, file by file: `node --test` against a real daemon and sandbox (lab.py)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import REPOSITORY

pytestmark = pytest.mark.slow  # make check does not install Node packages

HERE = Path(__file__).parent
FILES = sorted(path.name for path in HERE.glob("*.test.js"))


@pytest.fixture(scope="module")
def node() -> str:
    """Where Node is; `NODE=/path/to/node` takes another one."""
    if not (HERE / "node_modules").is_dir():
        pytest.fail("the packages are not there: make tests/clients/node/node_modules/.installed", pytrace=False)
    found = os.environ.get("NODE") or shutil.which("node")
    assert found is not None, "Node is needed: apt-get install nodejs"
    return found


def run(node: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Node, or a program on it, in the folder of the tests."""
    environment = {
        **os.environ,
        "ATL_SIGN_AUTOSTART": "0",
        "PYTHON": sys.executable,
        "PYTHONPATH": str(REPOSITORY),
        "NO_COLOR": "1",
    }
    return subprocess.run([node, *arguments], cwd=HERE, env=environment, capture_output=True, text=True, timeout=110)


def test_there_are_tests() -> None:
    """So that a moved folder is no success."""
    assert {"sign.test.js", "fetch.test.js", "axios.test.js", "undici.test.js"} <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_node(node: str, file: str) -> None:
    """Every test of *file* passes, and there is one at least."""
    done = run(node, "--test", "--test-reporter=tap", file)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n# pass 0\n" not in done.stdout


def test_a_failing_test_fails_here(node: str, tmp_path: Path) -> None:
    """The twin of all of them."""
    (tmp_path / "bad.test.js").write_text("import {test} from 'node:test'; test('bad', () => { throw new Error('bad'); });")

    assert run(node, "--test", str(tmp_path / "bad.test.js")).returncode != 0


def test_the_types_hold(node: str) -> None:
    """`tsc --strict`: what may be written may be, and each `@ts-expect-error` is one."""
    done = run(node, "node_modules/typescript/bin/tsc", "-p", "tsconfig.json")

    assert done.returncode == 0, done.stdout


def test_a_wrong_type_is_found(node: str) -> None:
    """The twin: a file with three mistakes has three errors."""
    done = run(node, "node_modules/typescript/bin/tsc", "-p", "tsconfig.wrong.json")

    assert done.returncode != 0
    assert [line.partition("error ")[2][:6] for line in done.stdout.splitlines() if "error " in line] == [
        "TS2345",
        "TS2322",
        "TS2345",
    ]


def test_the_package_holds_what_it_needs(node: str, tmp_path: Path) -> None:
    """Packed and unpacked elsewhere, every export can be imported, and nothing else came along."""
    package = REPOSITORY / "clients/node"
    packed = subprocess.run(
        ["npm", "pack", "--silent", "--offline", "--pack-destination", str(tmp_path), str(package)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    into = tmp_path / "node_modules/atl-sign"
    into.mkdir(parents=True)
    subprocess.run(
        ["tar", "-xzf", str(tmp_path / packed.stdout.split()[-1]), "--strip-components=1", "-C", str(into)], check=True
    )
    names = {path.name for path in into.iterdir()}
    code = "for (const name of ['', '/axios', '/undici']) console.log(Object.keys(await import('atl-sign' + name)).join())"
    done = subprocess.run(
        [node, "--input-type=module", "-e", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )

    assert names == {path.name for path in package.iterdir()}
    assert done.stdout.split() == ["AtlSign,AtlSignError,sign,signedFetch", "signAxios", "signUndici"]
