"""
Another program's reader and writer of the store's file, after docs/store-file.md alone: nothing of it is ours.

Argon2id is that of argon2-cffi (the reference implementation), AES-GCM and scrypt are those of pycryptodome.
"""

import hashlib
import json
import struct

from argon2.low_level import Type, hash_secret_raw
from Crypto.Cipher import AES
from Crypto.Protocol.KDF import scrypt

ARGON2ID, SCRYPT = 1, 2


def _derive(passphrase: bytes, kdf: int, costs: tuple[int, int, int], salt: bytes) -> bytes:
    if kdf == ARGON2ID:
        memory_kib, passes, lanes = costs
        return bytes(hash_secret_raw(passphrase, salt, passes, memory_kib, lanes, 64, Type.ID, 0x13))
    n, r, p = costs
    key = scrypt(passphrase, salt, 64, n, r, p)
    assert isinstance(key, bytes)
    return key


def read_file(content: bytes, passphrase: bytes) -> dict[str, str]:
    """Return the items; fails where the file is not what the document says."""
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    assert content[:8] == b"atl-sign"
    version, kdf, zero, *costs = struct.unpack(">HBBIII", content[8:24])
    assert (version, zero) == (1, 0)
    derived = _derive(passphrase, kdf, (costs[0], costs[1], costs[2]), content[24:40])
    assert hashlib.sha256(derived[32:]).digest() == content[40:72]
    cipher = AES.new(derived[:32], AES.MODE_GCM, nonce=content[80:92], mac_len=16)
    cipher.update(content[:92])
    items: dict[str, str] = json.loads(cipher.decrypt_and_verify(content[92:-48], content[-48:-32]))
    return items


def write_file(
    items: dict[str, str] | bytes, passphrase: bytes, kdf: int, costs: tuple[int, int, int], *, salt: bytes, nonce: bytes
) -> bytes:
    """Return a file of the first generation."""
    derived = _derive(passphrase, kdf, costs, salt)
    check = hashlib.sha256(derived[32:]).digest()
    header = b"atl-sign" + struct.pack(">HBBIII", 1, kdf, 0, *costs) + salt + check + struct.pack(">Q", 1) + nonce
    cipher = AES.new(derived[:32], AES.MODE_GCM, nonce=nonce, mac_len=16)
    cipher.update(header)
    plain = items if isinstance(items, bytes) else json.dumps(items).encode()
    sealed, tag = cipher.encrypt_and_digest(plain)
    content = header + sealed + tag
    return content + hashlib.sha256(content).digest()
