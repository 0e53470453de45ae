"""The places, besides the store, where keys may be: by their references, each kind loaded when it is first named."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from atl_sign.base.credentials import Passphrase
from atl_sign.base.errors import BadRequestError
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.public import PublicKey
from atl_sign.custody.keys.software import RsaPrivateKey

KINDS = {"vault": "vault:ci/transit/atl-sign", "pkcs11": "pkcs11:token=signer;object=atl-sign"}  # and how to name one


class KeyPlace(Protocol):
    """
    One kind of place, besides the store, where keys may be: a vault, or a PKCS#11 token.

    The first three ask that place, and raise as `Signer.sign_sha1`, and BadRequestError for a reference that names no key there.
    Each key that they return has made a signature, so that one which cannot sign with SHA-1 is refused before it is used.
    """

    def find(self, reference: str) -> Signer:
        """Return the key that *reference* names; its own reference says exactly which one, the version included."""

    def make(self, reference: str, bits: int) -> Signer:
        """Make a key of *bits* under the name in *reference*; raises KeyExistsError when there is one."""

    def take(self, reference: str, key: RsaPrivateKey) -> Signer:
        """Copy *key* there under the name in *reference*; raises KeyExistsError, BadRequestError when keys cannot be brought."""

    def open(self, reference: str, public: PublicKey) -> Signer:
        """Return the key that was found at *reference* once, and is *public*; asks nobody."""


@runtime_checkable
class DevicePlace(Protocol):
    """A place whose keys are in devices that want a PIN, and that runs a program for them."""

    def unlock(self, reference: str, pin: Passphrase, *, may_be_last: bool) -> None:
        """
        Open the token that *reference* leads to with *pin*, which is tried once.

        Args:
            reference: of a key.
            pin: a copy is kept until `forget`.
            may_be_last: try it also on a token that has had a wrong one, and locks itself after a few.

        Raises:
            BadRequestError: the token has no PIN, or *reference* leads to no single one.
            WrongPassphraseError: the token did not take it.
            TooManyTriesError: the token takes no more PINs, or has had a wrong one and *may_be_last* is false.
            KeyUnavailableError: there is no such token, or it does not answer.
        """

    def forget(self) -> None:
        """Give up every PIN and login; waits for nothing."""

    def close(self) -> None:
        """End the program; takes some seconds at most."""


class KeyPlaces:
    """Every kind of place where a key may be."""

    def __init__(self, makers: Mapping[str, Callable[[], KeyPlace]]) -> None:
        """Know the kinds in *makers*, by what stands before the colon of a reference."""
        self._makers = makers
        self._places: dict[str, KeyPlace] = {}

    def place_of(self, reference: str) -> KeyPlace:
        """Return the place that *reference* leads to; raises BadRequestError when no kind of reference begins like that."""
        kind = reference.partition(":")[0]
        if kind not in self._makers:
            known = " or ".join(KINDS.values())
            raise BadRequestError("this is not the reference of a key", f"name one like {known}")
        if kind not in self._places:
            self._places[kind] = self._makers[kind]()
        return self._places[kind]

    def unlock(self, reference: str, pin: Passphrase, *, may_be_last: bool) -> None:
        """See `DevicePlace.unlock`."""
        place = self.place_of(reference)
        if not isinstance(place, DevicePlace):
            raise BadRequestError("a key at this place has no PIN", "atl-sign status")
        place.unlock(reference, pin, may_be_last=may_be_last)

    def forget(self) -> None:
        """Give up every PIN and login of a device."""
        for place in list(self._places.values()):
            if isinstance(place, DevicePlace):
                place.forget()

    def close(self) -> None:
        """End what was started for a device."""
        for place in list(self._places.values()):
            if isinstance(place, DevicePlace):
                place.close()


NO_PLACES = KeyPlaces({})
