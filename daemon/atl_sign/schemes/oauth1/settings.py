"""The settings of a link of OAuth 1.0a beside its URL and its network."""

from atl_sign.config.links import BaseUrl
from atl_sign.config.setting import Setting, Text

SETTINGS = (
    Setting(
        "consumer_key",
        Text(r"[\x21-\x7e]{1,255}", "is not 1 to 255 printable ASCII characters without a blank"),
        is_needed=True,
        is_kept=True,
        option="--consumer-key KEY",
        help="the name that the product knows you by (default: the daemon's)",
        asked="left out: an existing link keeps its own, a new one is named after user and machine",
        docs="1 to 255 printable ASCII characters without spaces; must be unique at that provider. If you give none, a new link "
        "gets `atl-sign-USER-MACHINE`",
    ),
    Setting(
        "signing_url",
        BaseUrl(),
        option="--signing-url URL",
        help="the base URL that the product behind its proxy believes it has",
        asked="the base URL as the provider behind its proxy sees it, when that differs",
        docs="the base URL that the provider believes it has, if it differs from `url`; see [below](#signing_url)",
    ),
)
