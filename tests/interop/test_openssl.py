"""The signature is the one that `openssl dgst -sha1 -sign` makes over the base string."""

import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from atl_sign.schemes.oauth1.signature import sign, signature_base_string
from tests.vectors import Vector, private_pem, vector, vectors

pytestmark = pytest.mark.slow  # it needs a program that `make test` installs


def _openssl(base_string: str, folder: Path) -> str:
    key = folder / "published-test-key.pem"
    key.write_text(private_pem())
    command = ["openssl", "dgst", "-sha1", "-sign", str(key), "-binary"]
    return b64encode(subprocess.run(command, input=base_string.encode(), capture_output=True, check=True).stdout).decode()


@pytest.mark.parametrize(
    "known", [known for known in vectors() if known.signature_method == "RSA-SHA1"], ids=lambda known: known.name
)
def test_openssl_makes_the_same_signature(known: Vector, tmp_path: Path) -> None:
    """Of our base string, openssl's signature is the known one, and it is in our header."""
    arguments = known.request(), known.consumer(), known.access_token()

    base_string = signature_base_string(*arguments, nonce=known.nonce, timestamp=known.timestamp)
    header = sign(*arguments, nonce=known.nonce, timestamp=known.timestamp)

    assert _openssl(base_string, tmp_path) == known.signature
    assert header.endswith(f'oauth_signature="{known.signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")}"')


def test_openssl_makes_another_signature_of_another_text(tmp_path: Path) -> None:
    """The twin: one byte of the published base string changed."""
    known = vector("atlassian-C")
    assert known.base_string is not None

    assert _openssl(known.base_string, tmp_path) == known.signature
    assert _openssl(known.base_string.replace("hello", "hallo"), tmp_path) != known.signature
