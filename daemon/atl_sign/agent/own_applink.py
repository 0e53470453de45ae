"""The application link that a product is asked for: by hand, by REST or by a script."""

import socket

from atl_sign.base.machine import short_host_name, user_name
from atl_sign.config.links import Link
from atl_sign.config.placeholders import plain_name
from atl_sign.custody.keys.public import PublicKey
from atl_sign.schemes.oauth1.applink import Applink, make_applink


def make_own_applink(link: Link, public: PublicKey) -> Applink:
    """Return the application link for *link* with the key *public*, named after this user and machine."""
    # User and machine in one word: a product refuses a second application link with the same name or address.
    owner = plain_name(f"{user_name()}-{short_host_name()}")
    return make_applink(link, public.pem, f"atl-sign of {user_name()} on {socket.gethostname()}", owner)
