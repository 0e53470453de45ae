"""The passphrase of the store's file as another file holds it, for machines where nobody types one."""

from pathlib import Path

from atl_sign.base.credentials import Passphrase
from atl_sign.base.errors import BadFieldsError, StoreUnavailableError

PASSPHRASE_BYTES_MAX = 1024


def read_key(source: Path | int) -> Passphrase:
    """
    Return what a key file, or a descriptor, holds up to its end, less one newline there; a descriptor is closed.

    Raises:
        StoreUnavailableError: it cannot be read.
        BadFieldsError: it is empty or too long.
    """
    try:
        with open(source, "rb", buffering=0) as file:  # noqa: PTH123 - it may be a descriptor
            content = bytearray()
            while len(content) <= PASSPHRASE_BYTES_MAX + 1 and (part := file.read(PASSPHRASE_BYTES_MAX + 2)):
                content += part
    except OSError as exc:
        raise StoreUnavailableError(
            f"the store's key cannot be read: {exc.strerror}", "look at LoadCredential= or --key-fd"
        ) from exc
    if content.endswith(b"\n"):
        del content[-1:]
    if not 1 <= len(content) <= PASSPHRASE_BYTES_MAX:
        raise BadFieldsError(f"the store's key is not 1 to {PASSPHRASE_BYTES_MAX} bytes long")
    passphrase = Passphrase(content)
    content[:] = bytes(len(content))
    return passphrase
