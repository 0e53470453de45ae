"""The user namespace that the daemon runs in, whose owner can read the memory of every process in it."""

import fcntl
import os
import struct
from functools import cache

from atl_sign.base.ownership import is_in_first_namespace

OPEN_MEMORY = (
    "other programs of yours can read the daemon's memory: it runs in a user namespace that you own, "
    "as in a rootless container or under a unit with PrivateUsers="
)
_NS_GET_OWNER_UID = 0xB704  # ioctl_ns(2)
_UID = struct.Struct("I")


@cache
def is_owned_by_us() -> bool:
    """
    Tell whether our own user made the user namespace that we run in.

    Outside of it that user then has every capability over us, also CAP_SYS_PTRACE, against which PR_SET_DUMPABLE does nothing
    (user_namespaces(7), ptrace(2)). In the first one of the machine, which is root's, it is False.
    """
    if is_in_first_namespace():
        return False
    try:
        descriptor = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # another system, or no /proc
        return False
    try:
        answer = fcntl.ioctl(descriptor, _NS_GET_OWNER_UID, bytes(_UID.size))
    except OSError:  # a kernel older than 4.11
        return False
    finally:
        os.close(descriptor)
    return bool(_UID.unpack(answer)[0] == os.geteuid())
