"""References of keys in tokens (RFC 7512)."""

from pathlib import Path

import pytest

from atl_sign.base.errors import BadRequestError
from atl_sign.custody.keys.pkcs11.uri import KeyUri, parse_uri


def test_the_attributes_are_read() -> None:
    """Percent-encoded where they need it; `id` is bytes."""
    uri = parse_uri("pkcs11:token=My%20card;serial=0a%3B1;object=key%C3%BC;id=%00%ff;type=private?module-path=/usr/lib/x.so")

    assert uri == KeyUri("My card", "0a;1", object="keyü", id=b"\0\xff", module_path=Path("/usr/lib/x.so"))


def test_the_example_of_the_standard_is_read() -> None:
    """RFC 7512 §3, as far as it names a private key."""
    uri = parse_uri("pkcs11:token=Soft%20PKCS%2311;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate")

    assert (uri.token, uri.manufacturer, uri.model) == ("Soft PKCS#11", "Snake Oil, Inc.", "1.0")


@pytest.mark.parametrize(
    "uri",
    [
        KeyUri("a;b=c%d?e&f", object="ü /:"),
        KeyUri(serial="1", id=b"\0\x01\xfe", module_path=Path("/opt/a b&c;d/x.so")),
        KeyUri("t", "s", "m", "o", "k", b"id", Path("/x")),
    ],
)
def test_what_is_written_is_read_again(uri: KeyUri) -> None:
    """To the byte."""
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("vault:x/y/z", "this is not a pkcs11: URI"),
        ("pkcs11:", "malformed"),
        ("pkcs11:token", "malformed"),
        ("pkcs11:token=a;object=%zz", "malformed"),
        ("pkcs11:token=a;object=b c", "malformed"),
        ("pkcs11:token=a;token=b;object=c", "token twice"),
        ("pkcs11:token=a", "names no key"),
        ("pkcs11:token=a;id=", "names no key"),
        ("pkcs11:object=a", "names no token"),
        ("pkcs11:token=a;object=b;type=public", "not name a private key"),
        ("pkcs11:token=a;object=b;slot-id=3", "slot-id is not used"),
        ("pkcs11:token=a;object=b?module-name=softhsm2", "module-name is not used"),
        ("pkcs11:token=a;object=b?module-path=x.so", "not an absolute path"),
        ("pkcs11:token=%ff;object=b", "token in the pkcs11: URI is not UTF-8"),
        ("pkcs11:token=a%0a;object=b", "holds a control character"),
        ("pkcs11:token=a;object=" + "b" * 1024, "this is not a pkcs11: URI"),
        ("pkcs11:token=a;object=b?pin-value=canary", "pin-value has no place"),
        ("pkcs11:token=a;object=b?pin-source=canary", "pin-source has no place"),
        ("pkcs11:token=a;object=b;pin-value=canary", "pin-value has no place"),
        ("pkcs11:token=a;object=b?x-canary", "malformed"),
    ],
)
def test_what_is_wrong_is_refused_by_name(reference: str, words: str) -> None:
    """And no value is repeated."""
    with pytest.raises(BadRequestError, match=words) as refused:
        parse_uri(reference)

    assert "canary" not in f"{refused.value}{refused.value.hint}"
