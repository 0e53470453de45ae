"""One key in a token."""

from typing import Protocol

from atl_sign.base.errors import KeyUnavailableError
from atl_sign.custody.keys.base import KeyState
from atl_sign.custody.keys.elsewhere import KeyElsewhere
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


class Pkcs11Signer(KeyElsewhere):
    """A key in a token; see `Signer`."""

    def __init__(self, tokens: Tokens, uri: KeyUri, public: PublicKey) -> None:
        """Sign with the key at *uri* in one of *tokens*, whose public half is *public*."""
        super().__init__(str(uri), public)
        self._tokens = tokens
        self._uri = uri

    def state(self) -> KeyState:
        """See `Signer.state`."""
        return "locked" if self._is_forgotten else self._tokens.state(self._uri)

    def survives_restart(self) -> bool:
        """See `Signer.survives_restart`: the next process would have to ask for the PIN."""
        return not self._tokens.holds_pin(self._uri)

    def _ask_signature(self, message: bytes) -> bytes:
        return self._tokens.sign(self._uri, message)

    def _other_key(self) -> KeyUnavailableError:
        words = f"{self._uri.token_words} has another {self._uri.key_words} than the one that providers know"
        return KeyUnavailableError(words, "bring the first one back; to use this one: atl-sign help key")

    def _let_go(self) -> None:
        self._tokens.forget()
