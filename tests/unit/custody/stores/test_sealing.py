"""The bytes of the store's file against whatever can stand in a file."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from atl_sign.base.credentials import Passphrase, Secret
from atl_sign.custody.stores.sealing import ARGON2ID, MAGIC, Cost, SealError, derive_key, open_items, parse_header, seal_items
from tests.store.readers import read_file

KEY = derive_key(Passphrase(b"word"), Cost(ARGON2ID, 64, 1, 1), b"s" * 16)


@given(st.binary(max_size=400), st.booleans(), st.booleans())
def test_any_bytes_are_a_header_or_refused(rest: bytes, is_ours: bool, is_mended: bool) -> None:
    """With our first bytes and a checksum that fits, too: SealError and nothing else, and a cost that can be borne."""
    content = (MAGIC if is_ours else b"") + rest
    if is_mended:
        content += hashlib.sha256(content).digest()
    try:
        header = parse_header(content)
    except SealError:
        return

    assert header.cost.is_bearable
    assert not KEY.fits(header)


@settings(deadline=None)  # the first example loads what the others find
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=5), st.integers(0, 2**64 - 1))
def test_what_is_sealed_is_opened_by_us_and_by_others(items: dict[str, str], generation: int) -> None:
    """Any names and texts; the header tells the generation."""
    content = seal_items({name: Secret(text) for name, text in items.items()}, KEY, generation=generation, nonce=b"n" * 12)

    header = parse_header(content)

    assert header.generation == generation
    assert KEY.fits(header)
    assert {name: secret.reveal() for name, secret in open_items(content, header, KEY).items()} == items
    assert read_file(content, b"word") == items
