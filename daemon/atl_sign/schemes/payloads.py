"""What each scheme keeps of a grant in the store, by the scheme's name."""

from types import MappingProxyType

from atl_sign.schemes.oauth1 import payload as oauth1

PAYLOADS = MappingProxyType({"oauth1": oauth1})
