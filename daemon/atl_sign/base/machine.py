"""The names of this machine and its user, for names that a person reads at a provider."""

import getpass
import socket


def user_name() -> str:
    """Return the user's name, or `user` where the uid has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        return "user"


def short_host_name() -> str:
    """Return the machine's name without its domain."""
    return socket.gethostname().partition(".")[0]
