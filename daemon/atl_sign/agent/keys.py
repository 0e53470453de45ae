"""The consumer's key."""

import threading
from dataclasses import dataclass

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.base.credentials import Passphrase
from atl_sign.base.errors import BadRequestError, KeyExistsError, KeyUnavailableError
from atl_sign.custody.keys.base import KeyState, Signer
from atl_sign.custody.keys.places import KeyPlaces
from atl_sign.custody.keys.software import RsaPrivateKey, make_private_key
from atl_sign.custody.safe import Safe


@dataclass(frozen=True, slots=True)
class KeyReport:
    """Where a key is that the store does not hold, and how it is."""

    reference: str
    state: KeyState


def report_key(key: Signer | None) -> KeyReport | None:
    """Return where *key* is and how, None when the store holds it, or there is none; asks that place."""
    return None if key is None or key.reference is None else KeyReport(key.reference, key.state())


class Keys:
    """Shows the consumer's key, makes one, and takes one that is elsewhere into use."""

    def __init__(self, safe: Safe, places: KeyPlaces, records: Records) -> None:
        """Keep the key in *safe*, or its reference when it is at one of *places*."""
        self._safe = safe
        self._places = places
        self._records = records
        self._making = threading.Lock()

    def show(self, caller: Caller) -> Signer:
        """Return the consumer's key; raises KeyMissingError. Asks nothing but the store, wherever the key is."""
        del caller
        return self._safe.need_key()

    def make(self, caller: Caller, bits: int, *, replace: bool, reference: str | None = None) -> Signer:
        """
        Make a consumer key.

        Args:
            caller: who wants it.
            bits: 2048, 3072 or 4096.
            replace: whether it may take the place of one.
            reference: where to make it; None for one that the store holds.

        Raises:
            KeyExistsError: there is a key, and it is not to be replaced, or one of that name at the place.
            BadRequestError, and the others of `KeyPlace.make`.
        """
        with self._records.entry("key", caller), self._making:  # of two at once one makes the key, and the other is refused
            if not replace:
                self._refuse_another(None)
            key = make_private_key(bits) if reference is None else self._places.place_of(reference).make(reference, bits)
            self._safe.put_key(key)
        return key

    def use(self, caller: Caller, reference: str, *, replace: bool) -> Signer:
        """
        Let the key that *reference* names sign from now on.

        Raises:
            KeyExistsError: there is another key, and it is not to be replaced.
            BadRequestError, and the others of `KeyPlace.find`.
        """
        with self._records.entry("key", caller), self._making:
            key = self._places.place_of(reference).find(reference)
            if not replace:
                self._refuse_another(key)
            self._safe.put_key(key)
        return key

    def import_to(self, caller: Caller, reference: str) -> Signer:
        """
        Carry the key from the store to the place in *reference*, where it signs from now on; providers see the same key.

        Raises:
            BadRequestError: the key is not in the store, or is not taken there.
            KeyMissingError: there is none.
            KeyUnavailableError: the place has taken it, and shows another one.
            KeyExistsError, and the others of `KeyPlace.take`: the key stays in the store.
        """
        with self._records.entry("key", caller), self._making:
            key = self._safe.need_key()
            if not isinstance(key, RsaPrivateKey):
                raise BadRequestError(f"the key is not in the store, but at {key.reference}", "a key leaves no such place")
            moved = self._places.place_of(reference).take(reference, key)
            if moved.public != key.public:
                raise KeyUnavailableError(f"{moved.reference} is another key than the one that was brought there")
            self._safe.put_key(moved)
        return moved

    def unlock(self, caller: Caller, pin: Passphrase, reference: str | None, *, may_be_last: bool) -> KeyReport:
        """
        Open the token with the consumer's key, or the one that *reference* leads to; returns which, and how it is then.

        Raises:
            BadRequestError: the key is in the store.
            KeyMissingError: there is none.
            WrongPassphraseError, TooManyTriesError, and the others of `DevicePlace.unlock`.
        """
        with self._records.entry("unlock", caller):
            if reference is None:
                reference = self._safe.need_key().reference
                if reference is None:
                    raise BadRequestError("the key is in the store, and has no PIN", "atl-sign unlock")
            self._places.unlock(reference, pin, may_be_last=may_be_last)
        return KeyReport(reference, "ready")

    def check(self, caller: Caller) -> KeyReport | None:
        """
        Have the consumer's key make a signature that nobody gets, if it is elsewhere; returns where, None for the store.

        Raises KeyMissingError, KeyLockedError, KeyUnavailableError, which say why it does not sign.
        """
        with self._records.entry("key", caller):
            key = self._safe.need_key()
            if key.reference is None:
                return None
            key.sign_sha1(b"self-test")
        return KeyReport(key.reference, "ready")

    def _refuse_another(self, key: Signer | None) -> None:
        """Raise KeyExistsError when the safe has a key that is not *key*."""
        known = self._safe.key()
        if known is not None and (key is None or known.public != key.public):
            hint = "atl-sign key prints it; with --replace every link needs the new one at its provider"
            raise KeyExistsError("there is a consumer key already", hint)
