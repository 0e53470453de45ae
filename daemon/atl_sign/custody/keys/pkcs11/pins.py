"""The PINs that tokens have accepted, in buffers that are overwritten."""

import threading

from atl_sign.base.credentials import Passphrase

TokenName = tuple[str, str]  # label and serial number


class Pins:
    """A PIN for each token that was unlocked and not locked since; any thread may call it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._pins: dict[TokenName, Passphrase] = {}
        self._lock = threading.Lock()

    def find(self, token: TokenName) -> str | None:
        """Return the PIN of *token*; never half of one that is being overwritten, which the token would count as wrong."""
        with self._lock:
            pin = self._pins.get(token)
            return None if pin is None else pin.reveal().decode()

    def keep(self, token: TokenName, pin: Passphrase) -> None:
        """Keep *pin* itself, not a copy, in place of the one before."""
        with self._lock:
            before, self._pins[token] = self._pins.get(token), pin
            if before is not None:
                before.wipe()

    def forget(self, token: TokenName) -> None:
        """Overwrite the PIN of *token*, if there is one."""
        with self._lock:
            pin = self._pins.pop(token, None)
            if pin is not None:
                pin.wipe()

    def drop(self, pin: Passphrase) -> None:
        """Overwrite *pin*, whether it is kept here or not."""
        with self._lock:
            self._pins = {token: each for token, each in self._pins.items() if each is not pin}
            pin.wipe()

    def forget_all(self) -> None:
        """Overwrite every PIN."""
        with self._lock:
            for pin in self._pins.values():
                pin.wipe()
            self._pins.clear()

    def has(self, label: str | None, serial: str | None) -> bool:
        """Tell whether there is one for a token of this label and serial number, as far as they are given."""
        return any(label in (None, token[0]) and serial in (None, token[1]) for token in list(self._pins))
