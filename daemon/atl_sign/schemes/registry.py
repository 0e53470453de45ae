"""Every scheme there is, by the name that a link has it under."""

from collections.abc import Mapping
from types import MappingProxyType

from atl_sign.config.link_fields import link_settings
from atl_sign.config.links import Schemes
from atl_sign.schemes.base import Scheme
from atl_sign.schemes.basic import Basic
from atl_sign.schemes.oauth1.scheme import OAuth1
from atl_sign.schemes.oauth2.scheme import OAuth2
from atl_sign.schemes.static import Bearer

# The first one is that of a link that names none.
SCHEMES: Mapping[str, Scheme] = MappingProxyType({scheme.name: scheme for scheme in (OAuth1(), OAuth2(), Bearer(), Basic())})
SCHEME_SETTINGS: Schemes = MappingProxyType({name: scheme.settings for name, scheme in SCHEMES.items()})
# Every setting that a link can have, by its name, in the order in which they are shown.
LINK_SETTINGS = MappingProxyType(link_settings(SCHEME_SETTINGS))
