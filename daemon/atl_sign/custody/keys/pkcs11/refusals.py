"""The words for what a token refuses."""

from shlex import quote

from pkcs11 import exceptions

from atl_sign.base.errors import (
    DaemonError,
    KeyLockedError,
    KeyMissingError,
    KeyUnavailableError,
    TooManyTriesError,
    WrongPassphraseError,
)
from atl_sign.custody.keys.pkcs11.uri import KeyUri

UNLOCK = "atl-sign unlock --key"
AGAIN = "--try-again"

_PIN_WRONG = (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange)
PIN_REFUSED = (*_PIN_WRONG, exceptions.PinLocked, exceptions.PinExpired, exceptions.UserPinNotInitialized)
CANNOT = (  # what a token answers that does not make, or take, such a key
    exceptions.AttributeReadOnly,
    exceptions.AttributeTypeInvalid,
    exceptions.AttributeValueInvalid,
    exceptions.FunctionNotSupported,
    exceptions.FunctionRejected,
    exceptions.KeySizeRange,
    exceptions.MechanismInvalid,
    exceptions.MechanismParamInvalid,
    exceptions.TemplateIncomplete,
    exceptions.TemplateInconsistent,
    exceptions.TokenWriteProtected,
)


class TokenAbsentError(KeyUnavailableError):
    """The token is not there, as far as its module has looked."""


def absent(uri: KeyUri) -> TokenAbsentError:
    """Return the error for a token that is not there."""
    return TokenAbsentError(
        f"{uri.token_words} is not there", f"connect it; {_tool(uri)} --list-token-slots shows those that are"
    )


def missing(uri: KeyUri) -> KeyMissingError:
    """Return the error for a key that its token does not have."""
    tool = f"{_tool(uri)} --login --list-objects --type privkey"
    return KeyMissingError(f"{uri.token_words} has no RSA {uri.key_words} that signs", f"{tool} lists its keys")


def failed(uri: KeyUri, exc: exceptions.PKCS11Error) -> KeyUnavailableError:
    """Return the error for a token, or a module, that fails twice in a row."""
    return KeyUnavailableError(
        f"{uri.token_words} failed: {type(exc).__name__}", f"try it by itself: {_tool(uri)} --list-token-slots"
    )


def locked(uri: KeyUri, *, is_in_use: bool) -> KeyLockedError:
    """Return the error for a token that wants its PIN; `is_in_use` tells whether the consumer's key is the one that was asked."""
    return KeyLockedError(f"{uri.token_words} wants its PIN", UNLOCK if is_in_use else f"{UNLOCK} {quote(str(uri))}")


def not_the_pin(uri: KeyUri, exc: exceptions.PKCS11Error, *, is_low: bool) -> DaemonError:
    """Return the error for a PIN that *exc* refused; *is_low*: the token counts it, and the next one may be the last."""
    if isinstance(exc, exceptions.PinLocked):
        return blocked(uri)
    if isinstance(exc, _PIN_WRONG):
        again = f"{UNLOCK} {AGAIN}" if is_low else UNLOCK
        words = "; after a few wrong ones it locks itself" if is_low else ""
        return WrongPassphraseError(f"{uri.token_words} did not take the PIN{words}", again)
    return KeyLockedError(f"{uri.token_words} wants another PIN to be set: {type(exc).__name__}", _new_pin(uri))


def blocked(uri: KeyUri) -> TooManyTriesError:
    """Return the error for a token that takes no PIN any more."""
    return TooManyTriesError(f"{uri.token_words} has had too many wrong PINs, and takes none", hint=_new_pin(uri))


def low_on_tries(uri: KeyUri, *, is_final: bool) -> TooManyTriesError:
    """Return the error for a token that has had a wrong PIN, where the caller did not ask for another try."""
    words = (
        "takes one more PIN, and locks itself if that is wrong"
        if is_final
        else "has had a wrong PIN, and locks itself after a few"
    )
    return TooManyTriesError(f"{uri.token_words} {words}", hint=f"if you are sure of it: {UNLOCK} {AGAIN}")


def _new_pin(uri: KeyUri) -> str:
    return f"set a new one with the PUK or SO PIN: {_tool(uri)} --login --login-type so --init-pin"


def _tool(uri: KeyUri) -> str:
    return "pkcs11-tool" if uri.module_path is None else f"pkcs11-tool --module {quote(str(uri.module_path))}"
