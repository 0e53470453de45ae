"""A key that stays where it is: another process or another machine signs, and what comes back is checked."""

from abc import ABC, abstractmethod

from atl_sign.base.errors import KeyUnavailableError, StoreLockedError
from atl_sign.custody.keys.public import PublicKey


class KeyElsewhere(ABC):
    """The part of a `Signer` that is the same wherever the key is."""

    is_instant = False

    def __init__(self, reference: str, public: PublicKey) -> None:
        """Sign with the key at *reference*, as `Signer.reference` has it, whose public half is *public*."""
        self._reference = reference
        self._public = public
        self._is_forgotten = False

    @property
    def reference(self) -> str:
        """See `Signer.reference`."""
        return self._reference

    @property
    def public(self) -> PublicKey:
        """See `Signer.public`."""
        self._raise_if_forgotten()
        return self._public

    def sign_sha1(self, message: bytes) -> bytes:
        """See `Signer.sign_sha1`."""
        self._raise_if_forgotten()
        signature = self._ask_signature(message)
        if not self._public.has_signed(message, signature):
            raise self._other_key()
        return signature

    def forget(self) -> None:
        """See `Signer.forget`."""
        self._is_forgotten = True
        self._let_go()

    @abstractmethod
    def _ask_signature(self, message: bytes) -> bytes:
        """Return what is given for a signature with SHA-1 over *message*; raises as `Signer.sign_sha1`."""

    @abstractmethod
    def _other_key(self) -> KeyUnavailableError:
        """Return the error for a signature that another key has made."""

    @abstractmethod
    def _let_go(self) -> None:
        """Give up the PIN or the login."""

    def _raise_if_forgotten(self) -> None:
        if self._is_forgotten:
            raise StoreLockedError("the store was locked meanwhile", "atl-sign unlock")
