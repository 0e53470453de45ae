"""The tokens as the rest of the daemon uses them."""

import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from pkcs11 import Attribute, KeyType, MechanismFlag
from pkcs11._pkcs11 import lib as Library
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
from atl_sign.custody.keys.pkcs11.connection import Connection, TokenName, id_of, name_of, read_public, wants_pin
from atl_sign.custody.keys.pkcs11.process import ADDRESS_VARIABLE, ModuleProcess, find_client_library
from atl_sign.custody.keys.pkcs11.signer import Pkcs11Signer
from atl_sign.custody.keys.pkcs11.thread import OwnerThread
from atl_sign.custody.keys.pkcs11.uri import KeyUri, parse_uri
from atl_sign.custody.keys.public import PublicKey
from atl_sign.custody.keys.software import RsaPrivateKey

MAKING_S = 100.0  # a card takes half a minute for 2048 bits
_TRY = b"self-test"
_SIGNS = MechanismFlag.SIGN | MechanismFlag.VERIFY
_PRIVATE: dict[Attribute, object] = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}

_T = TypeVar("_T")


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
        self._address = address
        self._read_settings = read_settings
        self._pins: dict[TokenName, Passphrase] = {}
        self._pins_lock = threading.Lock()
        self._owner = OwnerThread(self._hang_up, self._disconnect)
        self._library: Library | None = None
        self._connection: Connection | None = None
        self._process: ModuleProcess | None = None

    def find(self, reference: str) -> Pkcs11Signer:
        """See `KeyPlace.find`."""
        uri = parse_uri(reference)
        return self._call(uri, lambda connection: self._find(connection, uri))

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
        return self._call(uri, lambda connection: self._add(connection, uri, make, words), MAKING_S, may_repeat=False)

    def take(self, reference: str, key: RsaPrivateKey) -> Pkcs11Signer:
        """See `KeyPlace.take`."""
        uri = parse_uri(reference)

        def take(session: Session, new: KeyUri) -> None:
            pem = key.private_pem().reveal().encode()
            der = load_pem_private_key(pem, None).private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
            fields = {**decode_rsa_private_key(der, _SIGNS), **_PRIVATE, Attribute.TOKEN: True, Attribute.PRIVATE: True}
            named = {Attribute.ID: new.id, Attribute.LABEL: new.object}
            session.create_object({**fields, **{name: value for name, value in named.items() if value is not None}})

        words = f"{uri.token_words} takes no key that was made elsewhere"
        return self._call(uri, lambda connection: self._add(connection, uri, take, words), MAKING_S, may_repeat=False)

    def unlock(self, reference: str, pin: Passphrase, *, may_be_last: bool) -> None:
        """See `DevicePlace.unlock`."""
        uri = parse_uri(reference)
        kept = Passphrase(pin.reveal())  # the caller overwrites its own, and may have left by then

        def log_in(connection: Connection) -> None:
            token = name_of(connection.find_token(uri))
            try:
                connection.log_in(uri, kept, may_be_last=may_be_last)
            except (WrongPassphraseError, KeyLockedError):
                self._replace_pin(token, None)  # the login before is over
                raise
            self._replace_pin(token, kept)

        try:
            # Once, and not again after a failure: the token may have counted it.
            self._call(uri, log_in, may_repeat=False)
        except BaseException:
            with self._pins_lock:
                self._pins = {token: each for token, each in self._pins.items() if each is not kept}
                kept.wipe()
            raise

    def sign(self, uri: KeyUri, message: bytes) -> bytes:
        """Return what the token gives for a signature with SHA-1 over *message*; raises as `Signer.sign_sha1`."""

        def sign(connection: Connection) -> bytes:
            key = connection.known_key(uri)
            if key is None:
                session = connection.open_session(uri, self._find_pin, is_in_use=True)
                key = connection.find_key(uri, session)
            return connection.sign(key, message)

        return self._call(uri, sign)

    def state(self, uri: KeyUri) -> KeyState:
        """See `Signer.state`."""
        try:
            self._call(uri, lambda connection: connection.open_session(uri, self._find_pin, is_in_use=True))
        except KeyLockedError:
            return "locked"
        except DaemonError:
            return "unavailable"
        return "ready"

    def holds_pin(self, uri: KeyUri) -> bool:
        """Tell whether the token that *uri* names was unlocked, and nobody has locked it since."""
        return any(uri.token in (None, label) and uri.serial in (None, serial) for label, serial in list(self._pins))

    def forget(self) -> None:
        """See `DevicePlace.forget`; waits for nothing."""
        with self._pins_lock:
            for pin in self._pins.values():
                pin.wipe()
            self._pins.clear()
        self._hang_up()

    def close(self) -> None:
        """See `DevicePlace.close`."""
        self.forget()
        process = self._process
        if process is not None:
            process.end()

    def _find(self, connection: Connection, uri: KeyUri) -> Pkcs11Signer:
        token = connection.find_token(uri)
        session = connection.open_session(uri, self._find_pin, is_in_use=False)
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
        session = connection.open_session(uri, self._find_pin, is_in_use=False)
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

    def _call(self, uri: KeyUri, work: Callable[[Connection], _T], timeout_s: float = 0.0, *, may_repeat: bool = True) -> _T:
        """Have the owner thread do *work*; once more, with the module loaded anew, when it fails and *may_repeat*."""
        settings = self._read_settings()

        def run() -> _T:
            connection = self._connect(uri.module_path)
            was_fresh, connection.is_fresh = connection.is_fresh, False
            try:
                return work(connection)
            except (refusals.TokenAbsentError, KeyMissingError):
                # A module may see only what was there when it was loaded.
                if was_fresh:
                    raise
            except PKCS11Error as exc:
                self._disconnect()
                if not may_repeat or self._owner.is_current_abandoned():
                    raise refusals.failed(uri, exc) from None
            self._disconnect()
            connection = self._connect(uri.module_path)
            try:
                return work(connection)
            except PKCS11Error as exc:
                self._disconnect()
                raise refusals.failed(uri, exc) from None

        return self._owner.run(run, max(timeout_s, settings.pkcs11_timeout_s), settings.pkcs11_idle_s)

    def _connect(self, module: Path | None) -> Connection:
        """Return the connection to *module*, made anew unless there is one; raises KeyUnavailableError."""
        connection = self._connection
        if connection is not None and connection.module == module and connection.process.is_running():
            return connection
        self._disconnect()
        name = find_client_library()
        process = self._process = ModuleProcess(self._address, module)
        if self._owner.is_current_abandoned():  # after that line: who abandons us hangs up what stands there
            raise KeyUnavailableError("nobody waits for this any more")
        try:
            # The library reads it once, as it is loaded, and there is one daemon in a process.
            os.environ[ADDRESS_VARIABLE] = f"unix:path={self._address}"
            if self._library is None:
                self._library = Library(name)
            else:
                self._library.initialize()
            is_loaded = process.is_running()
            library = self._library
        except PKCS11Error:
            is_loaded = False
        if not is_loaded:
            self._disconnect()
            raise KeyUnavailableError(
                f"the PKCS#11 module {module or 'of p11-kit'} cannot be loaded",
                f"pkcs11-tool --module {module} --list-slots" if module else "p11-kit list-modules",
            )
        self._connection = Connection(library, process, module)
        return self._connection

    def _disconnect(self) -> None:
        """End the module's program, and with it every session."""
        self._connection = None
        process, self._process = self._process, None
        if process is not None:
            process.end()  # first: the library waits for an answer to its farewell, and lets nobody else run meanwhile
        if self._library is not None and self._library.initialized:
            with suppress(PKCS11Error):
                self._library.finalize()

    def _hang_up(self) -> None:
        process = self._process
        if process is not None:
            process.hang_up()

    def _find_pin(self, token: TokenName) -> str | None:
        with self._pins_lock:  # never half of one that is being overwritten: the token would count it
            pin = self._pins.get(token)
            return None if pin is None else pin.reveal().decode()

    def _replace_pin(self, token: TokenName, pin: Passphrase | None) -> None:
        with self._pins_lock:
            before = self._pins.pop(token, None)
            if before is not None:
                before.wipe()
            if pin is not None and not self._owner.is_current_abandoned():
                self._pins[token] = pin
