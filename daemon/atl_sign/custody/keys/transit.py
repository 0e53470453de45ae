"""
Keys in a vault's transit engine: a vault signs, and gives nobody the key.

Only the digest goes there, for what is signed holds the token. Every signature is checked with the public half before it is used.

Source: facts custody.md sections 2 and 6.
"""

import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha1
from typing import Any
from urllib.parse import quote

from atl_sign.base.errors import BadRequestError, DaemonError, KeyExistsError, KeyLockedError, KeyUnavailableError
from atl_sign.custody.keys.base import KeyState
from atl_sign.custody.keys.elsewhere import KeyElsewhere
from atl_sign.custody.keys.public import PublicKey, load_public_key
from atl_sign.custody.keys.software import RsaPrivateKey
from atl_sign.custody.vaults.client import VaultClient
from atl_sign.custody.vaults.problems import VaultError
from atl_sign.custody.vaults.registry import SEGMENT, Vaults

SIGNATURE_S = 3.0  # as a store's read
MAKING_S = 20.0  # a key of 4096 bits
_REFERENCE = re.compile(rf"vault:({SEGMENT})/({SEGMENT}(?:/{SEGMENT})*)/({SEGMENT})(?:@([1-9][0-9]{{0,8}}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TransitReference:
    """`vault:NAME/MOUNT/KEY@VERSION`."""

    vault: str
    mount: str
    key: str
    version: int | None  # None: the latest

    def __str__(self) -> str:
        pinned = "" if self.version is None else f"@{self.version}"
        return f"vault:{self.vault}/{self.mount}/{self.key}{pinned}"

    def path(self, verb: str, *more: str) -> str:
        """Return the path of a call for this key."""
        return "/".join((quote(self.mount), verb, quote(self.key, safe=""), *more))


def parse_reference(reference: str) -> TransitReference:
    """Return what *reference* names; raises BadRequestError for what is not the reference of a key in a vault."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise BadRequestError("this is not a key in a vault", "name one such as vault:ci/transit/atl-sign")
    vault, mount, key, version = found.groups()
    return TransitReference(vault, mount, key, None if version is None else int(version))


class TransitPlace:
    """See `KeyPlace`."""

    def __init__(self, vaults: Vaults) -> None:
        """Find the keys of *vaults*."""
        self._vaults = vaults

    def find(self, reference: str) -> "TransitKey":
        """See `KeyPlace.find`."""
        named = parse_reference(reference)
        data = _call(self._vaults.client(named.vault), "GET", named.path("keys"))
        versions = data.get("keys")
        version = named.version or data.get("latest_version")
        entry = versions.get(str(version)) if isinstance(versions, dict) else None
        if entry is None:
            raise BadRequestError(f"the key {named} has no version {version}", "name one that it has, or none for the latest")
        try:
            public = load_public_key(str(entry["public_key"]))
        except (ValueError, KeyError, TypeError):
            raise BadRequestError(
                f"the key {named} is of the type {data.get('type')}",
                "only RSA keys sign: name another, or make one",
            ) from None
        key = TransitKey(self._vaults, replace(named, version=int(str(version))), public)
        key.sign_sha1(b"self-test")
        return key

    def make(self, reference: str, bits: int) -> "TransitKey":
        """See `KeyPlace.make`."""
        named = self._free(reference)
        _call(self._vaults.client(named.vault), "POST", named.path("keys"), {"type": f"rsa-{bits}"}, MAKING_S)
        return self.find(str(named))

    def take(self, reference: str, key: RsaPrivateKey) -> "TransitKey":
        """See `KeyPlace.take`; the key is wrapped for the vault, so that nothing on the way can read it."""
        named = self._free(reference)
        client = self._vaults.client(named.vault)
        wrapping = _call(client, "GET", f"{quote(named.mount)}/wrapping_key", timeout_s=MAKING_S)
        body = {
            "ciphertext": _wrap(key, str(wrapping.get("public_key"))),
            "type": f"rsa-{key.public.bits}",
            "hash_function": "SHA256",  # of the wrapping; signatures choose their own
        }
        _call(client, "POST", named.path("keys", "import"), body, MAKING_S)
        return self.find(str(named))

    def open(self, reference: str, public: PublicKey) -> "TransitKey":
        """See `KeyPlace.open`."""
        return TransitKey(self._vaults, parse_reference(reference), public)

    def _free(self, reference: str) -> TransitReference:
        """Return what *reference* means, for a key that is to be made; raises KeyExistsError when there is one."""
        named = parse_reference(reference)
        if named.version is not None:
            raise BadRequestError("a key that is made has no version yet", f"name it {replace(named, version=None)}")
        try:
            self._vaults.client(named.vault).call("GET", named.path("keys"), timeout_s=SIGNATURE_S)
        except VaultError as exc:
            if exc.kind == "absent":
                return named
            raise exc.for_key() from None
        raise KeyExistsError(f"there is a key {named} already", f"atl-sign key use {named}")


class TransitKey(KeyElsewhere):
    """One version of a key in a vault; see `Signer`."""

    def __init__(self, vaults: Vaults, reference: TransitReference, public: PublicKey) -> None:
        """Sign with the key *reference*, which has a version, and is *public*."""
        super().__init__(str(reference), public)
        self._vaults = vaults
        self._named = reference

    def _ask_signature(self, message: bytes) -> bytes:
        body = {
            "input": b64encode(sha1(message).digest()).decode("ascii"),  # noqa: S324 - the protocol's choice, not ours
            "prehashed": True,
            "signature_algorithm": "pkcs1v15",
            "key_version": self._named.version,  # another one is unknown to the providers
        }
        data = self._call("POST", self._named.path("sign", "sha1"), body)
        try:
            return b64decode(str(data["signature"]).rpartition(":")[2], validate=True)
        except (KeyError, ValueError):
            raise KeyUnavailableError(f"the vault {self._named.vault} gave no signature", "atl-sign doctor") from None

    def _other_key(self) -> KeyUnavailableError:
        return KeyUnavailableError(
            f"the vault {self._named.vault} has signed with another key than {self._named} was",
            "somebody has made that key anew: ask the vault's operators; atl-sign key use takes the new one",
        )

    def state(self) -> KeyState:
        """See `Signer.state`."""
        try:
            self._call("GET", self._named.path("keys"))
        except KeyLockedError:
            return "locked"
        except DaemonError:
            return "unavailable"
        return "ready"

    def survives_restart(self) -> bool:
        """See `Signer.survives_restart`: the login's secrets are in files."""
        return True

    def _let_go(self) -> None:
        self._vaults.forget()

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        try:
            client = self._vaults.client(self._named.vault)
        except BadRequestError as exc:  # it was taken out of the configuration
            raise KeyUnavailableError(f"the consumer's key is in a vault, and {exc.message}", exc.hint) from None
        return _call(client, method, path, body)


def _call(
    client: VaultClient, method: str, path: str, body: Mapping[str, Any] | None = None, timeout_s: float = SIGNATURE_S
) -> Mapping[str, Any]:
    """Return the data of the vault's answer; raises the errors of a key."""
    try:
        return client.call(method, path, body, timeout_s=timeout_s).data
    except VaultError as exc:
        raise exc.for_key() from None


def _wrap(key: RsaPrivateKey, wrapping_pem: str) -> str:
    """Return *key* for a vault's import: a fresh AES key under RSA-OAEP, and the PKCS#8 under that (RFC 5649), in base64."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

    try:
        wrapping = serialization.load_pem_public_key(wrapping_pem.encode())
    except ValueError:
        wrapping = None
    if not isinstance(wrapping, rsa.RSAPublicKey):
        raise KeyUnavailableError("the vault gave no key to wrap ours with", "atl-sign doctor")
    once = secrets.token_bytes(32)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    return b64encode(wrapping.encrypt(once, oaep) + aes_key_wrap_with_padding(once, key.pkcs8_der())).decode("ascii")
