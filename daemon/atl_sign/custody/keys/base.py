"""The private key as the daemon uses it, wherever it is."""

from typing import ClassVar, Protocol

from atl_sign.base.credentials import PrivateKey


class Signer(PrivateKey, Protocol):
    """
    The consumer's private key: it signs, and shows its public half.

    Every method may be called from any thread, and raises StoreLockedError after `forget`.
    """

    is_instant: ClassVar[bool]  # whether `sign_sha1` waits for nothing but the processor, so that the event loop may call it

    @property
    def bits(self) -> int:
        """The length of the modulus."""

    def public_pem(self) -> str:
        """Return the public key as SubjectPublicKeyInfo PEM, the form that an application link's page takes."""

    def fingerprint(self) -> str:
        """Return `SHA256:` and the unpadded base64 of the SubjectPublicKeyInfo's SHA-256, as ssh-keygen prints fingerprints."""

    def forget(self) -> None:
        """Give the key up, for everything that still holds this object."""
