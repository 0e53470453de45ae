"""The consumer's key."""

import threading

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.base.errors import KeyExistsError
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.software import make_private_key
from atl_sign.custody.safe import Safe


class Keys:
    """Shows and makes the consumer's key."""

    def __init__(self, safe: Safe, records: Records) -> None:
        """Keep the key in *safe*."""
        self._safe = safe
        self._records = records
        self._making = threading.Lock()

    def show(self, caller: Caller) -> Signer:
        """Return the consumer's key; raises KeyMissingError."""
        del caller
        return self._safe.need_key()

    def make(self, caller: Caller, bits: int, *, replace: bool) -> Signer:
        """Make a consumer key of *bits* (2048, 3072 or 4096); raises KeyExistsError unless *replace*."""
        with self._records.entry("key", caller), self._making:  # of two at once one makes the key, and the other is refused
            if not replace and self._safe.key() is not None:
                hint = "atl-sign key prints it; with --replace every link needs the new one at its provider"
                raise KeyExistsError("there is a consumer key already", hint)
            key = make_private_key(bits)
            self._safe.put_key(key)
        return key
