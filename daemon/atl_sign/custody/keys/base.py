"""The private key as the daemon uses it, wherever it is."""

from typing import Literal, Protocol

from atl_sign.base.credentials import PrivateKey
from atl_sign.custody.keys.public import PublicKey

KeyState = Literal["ready", "locked", "unavailable"]


class Signer(PrivateKey, Protocol):
    """
    The consumer's private key: it signs, and shows its public half.

    Every method may be called from any thread. `sign_sha1` and `public` raise StoreLockedError after `forget`.
    A key that is not instant also has `sign_sha1` raise, within its own deadline, KeyLockedError when the key wants a PIN or a
    login, KeyMissingError when it is no longer there, and KeyUnavailableError when nothing answers, or when the answer is not a
    signature of this key.
    """

    @property
    def reference(self) -> str | None:
        """Where the key is: `vault:NAME/MOUNT/KEY@VERSION` or a `pkcs11:` URI without a PIN. None: the store holds it."""

    @property
    def public(self) -> PublicKey:
        """The public half, from memory: no device and no other machine is asked."""

    def state(self) -> KeyState:
        """Tell whether it would sign now; makes no signature, asks nobody for a PIN, and takes as long as one call at most."""

    def survives_restart(self) -> bool:
        """Tell whether another process of ours could sign with it now without asking anybody."""

    def forget(self) -> None:
        """Give the key up, for everything that still holds this object: its numbers, a PIN, a login."""
