"""Every scheme there is, by the name that a link has it under."""

from types import MappingProxyType

from atl_sign.config.link_fields import link_settings
from atl_sign.config.links import Schemes
from atl_sign.schemes.oauth1 import settings as oauth1

# The first one is that of a link that names none.
SCHEMES: Schemes = MappingProxyType({"oauth1": oauth1.SETTINGS})
# Every setting that a link can have, by its name, in the order in which they are shown.
LINK_SETTINGS = MappingProxyType(link_settings(SCHEMES))
