"""One key in a token."""

from typing import Protocol

from atl_sign.base.errors import KeyUnavailableError, StoreLockedError
from atl_sign.custody.keys.base import KeyState
from atl_sign.custody.keys.pkcs11.uri import KeyUri
from atl_sign.custody.keys.public import PublicKey


class Tokens(Protocol):
    """The part of `Pkcs11Place` that a key needs."""

    def sign(self, uri: KeyUri, message: bytes) -> bytes:
        """Return what the token gives for a signature."""

    def state(self, uri: KeyUri) -> KeyState:
        """Tell whether the key would sign."""

    def holds_pin(self, uri: KeyUri) -> bool:
        """Tell whether the token is unlocked."""

    def forget(self) -> None:
        """Lock every token."""


class Pkcs11Signer:
    """A key in a token; see `Signer`."""

    __slots__ = ("_is_forgotten", "_public", "_tokens", "_uri")
    is_instant = False

    def __init__(self, tokens: Tokens, uri: KeyUri, public: PublicKey) -> None:
        """Sign with the key at *uri* in one of *tokens*, whose public half is *public*."""
        self._tokens = tokens
        self._uri = uri
        self._public = public
        self._is_forgotten = False

    def __repr__(self) -> str:
        return f"<{self._uri}>"

    @property
    def reference(self) -> str:
        """See `Signer.reference`."""
        return str(self._uri)

    @property
    def public(self) -> PublicKey:
        """See `Signer.public`."""
        self._raise_if_forgotten()
        return self._public

    def sign_sha1(self, message: bytes) -> bytes:
        """See `Signer.sign_sha1`."""
        self._raise_if_forgotten()
        signature = self._tokens.sign(self._uri, message)
        if not self._public.has_signed(message, signature):
            words = f"{self._uri.token_words} has another {self._uri.key_words} than the one that providers know"
            raise KeyUnavailableError(words, "bring the first one back; to use this one: atl-sign help key")
        return signature

    def state(self) -> KeyState:
        """See `Signer.state`."""
        return "locked" if self._is_forgotten else self._tokens.state(self._uri)

    def survives_restart(self) -> bool:
        """See `Signer.survives_restart`: the next process would have to ask for the PIN."""
        return not self._tokens.holds_pin(self._uri)

    def forget(self) -> None:
        """See `Signer.forget`."""
        self._is_forgotten = True
        self._tokens.forget()

    def _raise_if_forgotten(self) -> None:
        if self._is_forgotten:
            raise StoreLockedError("the store was locked meanwhile", "atl-sign unlock")
