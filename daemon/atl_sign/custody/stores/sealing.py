"""
The bytes of the store's file: a header, items under AES-256-GCM, a checksum; and the key that a passphrase gives.

Nothing here touches a file or a clock. docs/store-file.md describes the format for other programs.

Sources: RFC 9106 (Argon2id), RFC 7914 (scrypt), NIST SP 800-38D (GCM).
"""

import hmac
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from atl_sign.base.credentials import Passphrase, Secret

MAGIC = b"atl-sign"
VERSION = 1
ARGON2ID, SCRYPT = 1, 2
SALT_BYTES = 16
NONCE_BYTES = 12
SEALED_BYTES_MAX = 64 << 20  # 100,000 tokens; a larger file is not one of ours

_HEADER = struct.Struct(f">8sHBBIII{SALT_BYTES}s32sQ{NONCE_BYTES}s")
_CHECKSUM_BYTES = 32
_TAG_BYTES = 16
_KEY_BYTES = 32
_MEMORY_BYTES_MAX = 256 << 20
_ARGON2ID_WORK_MAX = 1 << 20  # KiB times passes: half a second
_SCRYPT_WORK_MAX = 1 << 22  # n times r times p: a second


class SealError(Exception):
    """The bytes are not a store's file that we can open; the text says why, and holds nothing of them."""


class OtherVersionError(SealError):
    """The file is whole, and of a version that another atl-sign wrote."""


@dataclass(frozen=True, slots=True)
class Cost:
    """How dear one guess of a passphrase is, as it stands in the header."""

    kdf: int  # ARGON2ID or SCRYPT
    first: int  # Argon2id: memory in KiB; scrypt: N
    second: int  # Argon2id: passes; scrypt: r
    third: int  # Argon2id: lanes; scrypt: p

    @property
    def is_bearable(self) -> bool:
        """Tell whether the numbers mean something and ask for neither much memory nor time: anyone may have written them."""
        if not 1 <= self.third <= 16:
            return False
        if self.kdf == ARGON2ID:
            memory_bytes, work = self.first << 10, self.first * self.second
            return (
                8 * self.third <= self.first
                and self.second >= 1
                and memory_bytes <= _MEMORY_BYTES_MAX
                and work <= _ARGON2ID_WORK_MAX
            )
        is_power = self.first > 1 and self.first & (self.first - 1) == 0
        memory_bytes, work = 128 * self.first * self.second, self.first * self.second * self.third
        return is_power and self.second >= 1 and memory_bytes <= _MEMORY_BYTES_MAX and work <= _SCRYPT_WORK_MAX


# 32 MiB and six passes take as long as RFC 9106's second choice (64 MiB, three), and leave the daemon under 96 MB meanwhile.
# One lane: OpenSSL computes lanes one after the other, so that more of them would help only a guesser.
ARGON2ID_COST = Cost(ARGON2ID, 32 << 10, 6, 1)
SCRYPT_COST = Cost(SCRYPT, 1 << 15, 8, 3)  # where OpenSSL is older than 3.2 and has no Argon2id


@dataclass(frozen=True, slots=True)
class Header:
    """The head before the sealed items; nothing in it is secret."""

    cost: Cost
    salt: bytes
    check: bytes  # tells a wrong passphrase from a damaged file
    generation: int  # one more with every write
    nonce: bytes


class StoreKey:
    """The key of one passphrase, salt and cost, in a buffer that can be overwritten."""

    __slots__ = ("_key", "check", "cost", "salt")

    def __init__(self, key: bytearray, cost: Cost, salt: bytes, check: bytes) -> None:
        """Take what `derive_key` computed."""
        self._key = key
        self.cost = cost
        self.salt = salt
        self.check = check

    def fits(self, header: Header) -> bool:
        """Tell whether a file with this *header* was sealed with this key."""
        return (self.cost, self.salt) == (header.cost, header.salt) and hmac.compare_digest(self.check, header.check)

    def cipher(self) -> AESGCM:
        """Return the cipher; keep it no longer than one use."""
        return AESGCM(self._key)

    def wipe(self) -> None:
        """Overwrite the key with zeros."""
        self._key[:] = bytes(len(self._key))

    def __repr__(self) -> str:
        return "<store key>"


def best_cost() -> Cost:
    """Return the cost for a new passphrase: Argon2id where OpenSSL has it, else scrypt."""
    try:
        _kdf(ARGON2ID_COST, bytes(SALT_BYTES))
    except UnsupportedAlgorithm:
        return SCRYPT_COST
    return ARGON2ID_COST


def derive_key(passphrase: Passphrase, cost: Cost, salt: bytes) -> StoreKey:
    """
    Compute the key; takes a tenth of a second and the memory that *cost* names, and lets other threads go on.

    Raises:
        SealError: this machine's OpenSSL lacks the function, or there is not enough memory.
    """
    try:
        derived = bytearray(_kdf(cost, salt).derive(bytes(passphrase.reveal())))
    except UnsupportedAlgorithm:
        raise SealError("it needs Argon2id, which this machine's OpenSSL lacks: install cryptography from PyPI") from None
    except MemoryError:
        raise SealError("there is not enough memory for its key derivation") from None
    check = sha256(derived[_KEY_BYTES:]).digest()
    key = derived[:_KEY_BYTES]
    derived[:] = bytes(len(derived))
    return StoreKey(key, cost, salt, check)


def parse_header(content: bytes) -> Header:
    """
    Read the header of *content*, a whole file; raises SealError when it is not one of ours, whole and undamaged.

    The checksum finds accidents. A change on purpose can correct it, and is found by the cipher's tag.
    """
    if not content.startswith(MAGIC):
        raise SealError("it is not a store of atl-sign")
    if len(content) < _HEADER.size + _TAG_BYTES + _CHECKSUM_BYTES:
        raise SealError("it is cut off")
    _, version, kdf, zero, first, second, third, salt, check, generation, nonce = _HEADER.unpack_from(content)
    if not hmac.compare_digest(sha256(content[:-_CHECKSUM_BYTES]).digest(), content[-_CHECKSUM_BYTES:]):
        raise SealError("it is damaged or cut off: its checksum is wrong")
    if version != VERSION or zero != 0 or kdf not in (ARGON2ID, SCRYPT):
        raise OtherVersionError(f"it is of version {version}.{kdf}.{zero}, which this atl-sign does not know")
    cost = Cost(kdf, first, second, third)
    if not cost.is_bearable:
        raise SealError("its key derivation asks for more memory or time than is allowed")
    return Header(cost, salt, check, generation, nonce)


def seal_items(items: Mapping[str, Secret], key: StoreKey, *, generation: int, nonce: bytes) -> bytes:
    """Return the whole file for *items*; *nonce* is random and new each time."""
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        key.cost.kdf,
        0,
        key.cost.first,
        key.cost.second,
        key.cost.third,
        key.salt,
        key.check,
        generation,
        nonce,
    )
    text = json.dumps({name: secret.reveal() for name, secret in items.items()}, separators=(",", ":"))
    content = header + key.cipher().encrypt(nonce, text.encode("ascii"), header)
    return content + sha256(content).digest()


def open_items(content: bytes, header: Header, key: StoreKey) -> dict[str, Secret]:
    """Return the items of *content*, whose *header* the *key* fits; raises SealError."""
    try:
        text = key.cipher().decrypt(header.nonce, content[_HEADER.size : -_CHECKSUM_BYTES], content[: _HEADER.size])
    except InvalidTag:
        raise SealError("it was changed: its seal is broken") from None
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, dict) or not all(isinstance(value, str) for value in items.values()):
        raise SealError("it holds something else than items")  # its writer knew the passphrase
    return {name: Secret(value) for name, value in items.items()}


def _kdf(cost: Cost, salt: bytes) -> Argon2id | Scrypt:
    if cost.kdf == ARGON2ID:
        return Argon2id(salt=salt, length=2 * _KEY_BYTES, iterations=cost.second, lanes=cost.third, memory_cost=cost.first)
    return Scrypt(salt=salt, length=2 * _KEY_BYTES, n=cost.first, r=cost.second, p=cost.third)
