"""The tokens as the rest of the daemon uses them."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pkcs11 import Attribute, KeyType, MechanismFlag
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import MechanismInvalid, PKCS11Error, UserNotLoggedIn
from pkcs11.types import Session
from pkcs11.util.rsa import decode_rsa_private_key

from atl_sign.base.credentials import Passphrase
from atl_sign.base.errors import (
    BadRequestError,
    DaemonError,
    KeyExistsError,
    KeyLockedError,
    KeyMissingError,
    KeyUnavailableError,
    WrongPassphraseError,
)
from atl_sign.config.settings import Settings
from atl_sign.custody.keys.base import KeyState
from atl_sign.custody.keys.pkcs11 import refusals
from atl_sign.custody.keys.pkcs11.connection import Connection, id_of, name_of, read_public, wants_pin
from atl_sign.custody.keys.pkcs11.module import Module
from atl_sign.custody.keys.pkcs11.pins import Pins
from atl_sign.custody.keys.pkcs11.signer import Pkcs11Signer
from atl_sign.custody.keys.pkcs11.uri import KeyUri, parse_uri
from atl_sign.custody.keys.public import PublicKey
from atl_sign.custody.keys.software import RsaPrivateKey

MAKING_S = 100.0  # a card takes half a minute for 2048 bits
_TRY = b"self-test"
_SIGNS = MechanismFlag.SIGN | MechanismFlag.VERIFY
_PRIVATE: dict[Attribute, object] = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


class Pkcs11Place:
    """
    The keys in PKCS#11 tokens; see `KeyPlace` and `DevicePlace`.

    A PIN that the token took is kept until `forget`, in a buffer that is overwritten then: a token that was let go of when it was
    idle wants it again, and so does one whose module has crashed. It is never shown to a token that has had a wrong one since.
    """

    def __init__(self, address: Path, read_settings: Callable[[], Settings]) -> None:
        """
        Load nothing yet.

        Args:
            address: a path for the socket between library and module, in a folder for nothing else.
            read_settings: says how long to wait, and when to let go of the tokens.
        """
        self._module = Module(address, read_settings)
        self._pins = Pins()

    def find(self, reference: str) -> Pkcs11Signer:
        """See `KeyPlace.find`."""
        uri = parse_uri(reference)
        return self._module.call_once(uri, lambda connection: self._find(connection, uri))

    def open(self, reference: str, public: PublicKey) -> Pkcs11Signer:
        """See `KeyPlace.open`."""
        return Pkcs11Signer(self, parse_uri(reference), public)

    def make(self, reference: str, bits: int) -> Pkcs11Signer:
        """See `KeyPlace.make`."""
        uri = parse_uri(reference)

        def make(session: Session, new: KeyUri) -> None:
            session.generate_keypair(
                KeyType.RSA,
                bits,
                id=new.id,
                label=new.object,
                store=True,
                capabilities=_SIGNS,
                public_template={Attribute.ENCRYPT: DEFAULT, Attribute.WRAP: DEFAULT},
                private_template=_PRIVATE | {Attribute.DECRYPT: DEFAULT, Attribute.UNWRAP: DEFAULT},  # tpm2-pkcs11 needs them
            )

        words = f"{uri.token_words} makes no RSA key of {bits} bits"
        return self._module.call_once(uri, lambda connection: self._add(connection, uri, make, words), MAKING_S)

    def take(self, reference: str, key: RsaPrivateKey) -> Pkcs11Signer:
        """See `KeyPlace.take`."""
        uri = parse_uri(reference)

        def take(session: Session, new: KeyUri) -> None:
            numbers = decode_rsa_private_key(key.pkcs1_der(), _SIGNS)
            fields = {**numbers, **_PRIVATE, Attribute.TOKEN: True, Attribute.PRIVATE: True}
            named = {Attribute.ID: new.id, Attribute.LABEL: new.object}
            session.create_object({**fields, **{name: value for name, value in named.items() if value is not None}})

        words = f"{uri.token_words} takes no key that was made elsewhere"
        return self._module.call_once(uri, lambda connection: self._add(connection, uri, take, words), MAKING_S)

    def unlock(self, reference: str, pin: Passphrase, *, may_be_last: bool) -> None:
        """See `DevicePlace.unlock`."""
        uri = parse_uri(reference)
        kept = Passphrase(pin.reveal())  # the caller overwrites its own, and may have left by then

        def log_in(connection: Connection) -> None:
            token = name_of(connection.find_token(uri))
            try:
                connection.log_in(uri, kept, may_be_last=may_be_last)
            except (WrongPassphraseError, KeyLockedError):
                self._pins.forget(token)  # a wrong PIN also ends the login before
                raise
            if not self._module.is_abandoned():
                self._pins.keep(token, kept)

        try:
            # Once, and not again after a failure: the token may have counted it.
            self._module.call_once(uri, log_in)
        except BaseException:
            self._pins.drop(kept)
            raise

    def sign(self, uri: KeyUri, message: bytes) -> bytes:
        """Return what the token gives for a signature with SHA-1 over *message*; raises as `Signer.sign_sha1`."""

        def sign(connection: Connection) -> bytes:
            key = connection.known_key(uri)
            if key is None:
                session = connection.open_session(uri, self._pins.find, is_in_use=True)
                key = connection.find_key(uri, session)
            return connection.sign(key, message)

        return self._module.call(uri, sign)

    def state(self, uri: KeyUri) -> KeyState:
        """See `Signer.state`."""
        try:
            self._module.call(uri, lambda connection: connection.open_session(uri, self._pins.find, is_in_use=True))
        except KeyLockedError:
            return "locked"
        except DaemonError:
            return "unavailable"
        return "ready"

    def holds_pin(self, uri: KeyUri) -> bool:
        """Tell whether the token that *uri* names was unlocked, and nobody has locked it since."""
        return self._pins.has(uri.token, uri.serial)

    def forget(self) -> None:
        """See `DevicePlace.forget`."""
        self._pins.forget_all()
        self._module.hang_up()

    def close(self) -> None:
        """See `DevicePlace.close`."""
        self._pins.forget_all()
        self._module.close()

    def _find(self, connection: Connection, uri: KeyUri) -> Pkcs11Signer:
        token = connection.find_token(uri)
        session = connection.open_session(uri, self._pins.find, is_in_use=False)
        key = connection.find_key(uri, session)
        if wants_pin(key):
            hint = "use a key that does not, such as the one in slot 9a of a YubiKey, or make one with the PIN policy once"
            raise BadRequestError(f"the {uri.key_words} wants the PIN for each signature, and nobody is asked for it then", hint)
        public = read_public(session, key)
        if public is None:
            raise KeyMissingError(
                f"{uri.token_words} does not show the public half of the {uri.key_words}", "bring its certificate there"
            )
        identity, label = id_of(key)
        name, serial = name_of(token)
        exact = KeyUri(token=name or None, serial=serial or None, object=label, id=identity, module_path=uri.module_path)
        try:
            signature = connection.sign(key, _TRY)
        except MechanismInvalid:
            raise BadRequestError(
                f"the {uri.key_words} does not sign with SHA-1", "products take no other signature of OAuth 1.0a"
            ) from None
        except UserNotLoggedIn:
            raise BadRequestError(f"the {uri.key_words} wants the PIN for each signature", "use a key that does not") from None
        if not public.has_signed(_TRY, signature):
            raise KeyUnavailableError(
                f"the {uri.key_words} makes signatures that do not fit its public half", "name the key by its id"
            )
        return Pkcs11Signer(self, exact, public)

    def _add(self, connection: Connection, uri: KeyUri, add: Callable[[Session, KeyUri], None], words: str) -> Pkcs11Signer:
        session = connection.open_session(uri, self._pins.find, is_in_use=False)
        if connection.has_key(uri, session):
            raise KeyExistsError(
                f"{uri.token_words} has a {uri.key_words} already", "use that one, or name another: atl-sign help key"
            )
        new = uri if uri.id is not None else replace(uri, id=secrets.token_bytes(8))
        try:
            writable = connection.find_token(uri).open(rw=True)
            try:
                add(writable, new)
            finally:
                with suppress(PKCS11Error):
                    writable.close()
        except refusals.CANNOT as exc:
            raise BadRequestError(
                f"{words}: {type(exc).__name__}", "make a key with the token's own tool, then: atl-sign key use"
            ) from None
        return self._find(connection, new)
