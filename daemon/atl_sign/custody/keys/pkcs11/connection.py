"""The tokens as one run of the module shows them: sessions, logins and keys. Only the owner thread uses any of it."""

from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, TokenFlag
from pkcs11 import exceptions as failures
from pkcs11._pkcs11 import lib as Library
from pkcs11.types import Object, PrivateKey, Session, SignMixin, Token

from atl_sign.base.credentials import Passphrase
from atl_sign.base.errors import BadRequestError
from atl_sign.custody.keys.pkcs11 import refusals
from atl_sign.custody.keys.pkcs11.pins import TokenName
from atl_sign.custody.keys.pkcs11.process import ModuleProcess
from atl_sign.custody.keys.pkcs11.uri import KeyUri
from atl_sign.custody.keys.public import PublicKey

FindPin = Callable[[TokenName], str | None]

_SHA1_DIGEST_INFO = bytes.fromhex("3021300906052b0e03021a05000414")  # RFC 8017 §9.2, note 1
_LOW = TokenFlag.USER_PIN_COUNT_LOW | TokenFlag.USER_PIN_FINAL_TRY


class Connection:
    """One run of a module, and what was opened in it."""

    def __init__(self, library: Library, process: ModuleProcess, module: Path | None) -> None:
        """Use *library*, which is connected to *process* with *module*."""
        self.process = process
        self.module = module
        self._library = library
        self._sessions: dict[TokenName, Session] = {}
        self._keys: dict[KeyUri, PrivateKey] = {}

    def find_token(self, uri: KeyUri) -> Token:
        """Return the one token that *uri* names; raises TokenAbsentError, BadRequestError when there are several."""
        found = []
        for slot in self._library.get_slots(token_present=True):
            try:
                token = slot.get_token()
            except (failures.TokenNotPresent, failures.TokenNotRecognised):
                continue
            if TokenFlag.TOKEN_INITIALIZED in token.flags and _is_named(token, uri):
                found.append(token)
        if not found:
            raise refusals.absent(uri)
        if len(found) > 1:
            serials = ", ".join(name_of(token)[1] for token in found)
            raise BadRequestError(
                f"{len(found)} tokens are named like that", f"add the serial number of one to the URI: {serials}"
            )
        return found[0]

    def open_session(self, uri: KeyUri, find_pin: FindPin, *, is_in_use: bool) -> Session:
        """
        Return a session with the token that *uri* names, logged in where it wants that.

        Args:
            uri: names the token.
            find_pin: gives the PIN with which it was unlocked once.
            is_in_use: for the hint.

        Raises:
            KeyLockedError: it wants a PIN, and there is none that it took before.
            TokenAbsentError, BadRequestError: as `find_token`.
        """
        token = self.find_token(uri)
        name = name_of(token)
        session = self._sessions.get(name)
        if session is None:
            if TokenFlag.LOGIN_REQUIRED not in token.flags:
                session = token.open()
            else:
                pin = find_pin(name)
                # Somebody has used up tries since: ours may be wrong by now, and is not worth one.
                if pin is None or token.flags & (_LOW | TokenFlag.USER_PIN_LOCKED):
                    raise refusals.locked(uri, is_in_use=is_in_use)
                try:
                    session = token.open(user_pin=pin)
                except refusals.PIN_REFUSED:
                    raise refusals.locked(uri, is_in_use=is_in_use) from None
            self._sessions[name] = session
        return session

    def log_in(self, uri: KeyUri, pin: Passphrase, *, may_be_last: bool) -> None:
        """
        Open the token that *uri* names, in which nothing is open yet, with *pin*, which is tried once.

        Raises:
            WrongPassphraseError, KeyLockedError: the token does not take it.
            TooManyTriesError: it takes none, or has had a wrong one and *may_be_last* is false.
            BadRequestError: it wants none.
            TokenAbsentError, BadRequestError: as `find_token`.
        """
        token = self.find_token(uri)
        name = name_of(token)
        if TokenFlag.LOGIN_REQUIRED not in token.flags:
            raise BadRequestError(f"{uri.token_words} wants no PIN")
        if TokenFlag.USER_PIN_LOCKED in token.flags:
            raise refusals.blocked(uri)
        if token.flags & _LOW and not may_be_last:
            raise refusals.low_on_tries(uri, is_final=TokenFlag.USER_PIN_FINAL_TRY in token.flags)
        try:
            self._sessions[name] = token.open(user_pin=pin.reveal().decode())
        except refusals.PIN_REFUSED as exc:
            flags = self.find_token(uri).flags
            raise refusals.not_the_pin(uri, exc, is_low=bool(flags & _LOW)) from None

    def known_key(self, uri: KeyUri) -> PrivateKey | None:
        """Return the private key that *uri* names if `find_key` found it in this connection."""
        return self._keys.get(uri)

    def find_key(self, uri: KeyUri, session: Session) -> PrivateKey:
        """Return the one private key that *uri* names; raises KeyMissingError, BadRequestError when there are several."""
        objects = session.get_objects(_template(uri, ObjectClass.PRIVATE_KEY))
        found = [each for each in objects if isinstance(each, PrivateKey) and isinstance(each, SignMixin)]
        if not found:
            raise refusals.missing(uri)
        if len(found) > 1:
            ids = ", ".join("id=" + "".join(f"%{byte:02x}" for byte in id_of(key)[0] or b"") for key in found)
            raise BadRequestError(
                f"{len(found)} keys of {uri.token_words} are named like that", f"add the id of one to the URI: {ids}"
            )
        key = found[0]
        self._keys[uri] = key
        return key

    def sign(self, key: PrivateKey, message: bytes) -> bytes:
        """Return the signature with SHA-1 over *message*; whether it is one, the caller looks."""
        assert isinstance(key, SignMixin)  # noqa: S101 - for mypy: `find_key` looked
        try:
            # Most tokens support it, tpm2-pkcs11 1.9 supports nothing else, and the bytes are the same (facts section 8).
            return bytes(key.sign(_SHA1_DIGEST_INFO + sha1(message).digest(), mechanism=Mechanism.RSA_PKCS))  # noqa: S324
        except failures.MechanismInvalid:
            return bytes(key.sign(message, mechanism=Mechanism.SHA1_RSA_PKCS))

    def has_key(self, uri: KeyUri, session: Session) -> bool:
        """Tell whether a private key of any kind has the name in *uri*."""
        template = _template(uri, ObjectClass.PRIVATE_KEY)
        del template[Attribute.KEY_TYPE]
        return any(True for _ in session.get_objects(template))


def name_of(token: Token) -> TokenName:
    """Return label and serial number of *token*."""
    return str(token.label), token.serial.decode("utf-8", "replace").strip("\0 ")


def wants_pin(key: PrivateKey) -> bool:
    """Tell whether *key* wants the PIN for each signature."""
    return bool(_read(key, Attribute.ALWAYS_AUTHENTICATE))


def id_of(key: Object) -> tuple[bytes | None, str | None]:
    """Return id and label of *key*, as far as it has them."""
    return _read(key, Attribute.ID) or None, _read(key, Attribute.LABEL) or None


def read_public(session: Session, key: PrivateKey) -> PublicKey | None:
    """Return the public half of *key*: from itself, its public object, or its certificate; None when none of them has it."""
    identity = _read(key, Attribute.ID)
    others = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: identity}
    for each in (key, *(session.get_objects(others) if identity else ())):
        modulus, exponent = _read(each, Attribute.MODULUS), _read(each, Attribute.PUBLIC_EXPONENT)
        if modulus and exponent:
            return PublicKey(rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key())
    certificates = {Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.ID: identity}
    for each in session.get_objects(certificates) if identity else ():
        from cryptography import x509

        public = x509.load_der_x509_certificate(_read(each, Attribute.VALUE) or b"").public_key()
        if isinstance(public, rsa.RSAPublicKey):
            return PublicKey(public)
    return None


def _is_named(token: Token, uri: KeyUri) -> bool:
    label, serial = name_of(token)
    has = {"token": label, "serial": serial, "manufacturer": token.manufacturer_id, "model": token.model}
    return all(getattr(uri, name) in (None, value) for name, value in has.items())


def _template(uri: KeyUri, kind: ObjectClass) -> dict[Attribute, object]:
    template: dict[Attribute, object] = {Attribute.CLASS: kind, Attribute.KEY_TYPE: KeyType.RSA}
    if uri.object is not None:
        template[Attribute.LABEL] = uri.object
    if uri.id is not None:
        template[Attribute.ID] = uri.id
    return template


def _read(each: Object, attribute: Attribute) -> Any:
    """Return what *each* says of *attribute*; None when it does not."""
    try:
        return each[attribute]
    except (failures.AttributeTypeInvalid, failures.AttributeSensitive, failures.FunctionFailed):
        return None
