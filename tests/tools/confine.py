"""
Runs a command as the service unit confines it, as far as that works without a user manager: `confine UNIT COMMAND…`.

What is taken from the unit: SystemCallFilter= and SystemCallErrorNumber=, RestrictAddressFamilies=, RestrictNamespaces=,
RestrictSUIDSGID=, LockPersonality=, MemoryDenyWriteExecute=, NoNewPrivileges=, UMask=, LimitCORE=. The filters are libseccomp's,
as systemd's own are; the sets are those that systemd-analyze names.
"""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # seccomp.h: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(x)
_EPERM, _EAFNOSUPPORT = 1, 97
_NE, _EQ, _MASKED_EQ = 1, 4, 7  # scmp_compare
_PR_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1  # prctl(2)
_PR_SET_NO_NEW_PRIVS = 38
_NAMESPACES = 0x7E020080  # every CLONE_NEW* of namespaces(7)
_SETUID, _SETGID = 0o4000, 0o2000
_MODE_ARGUMENT = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "mkdir": 1, "mkdirat": 2, "mknod": 1, "mknodat": 2}

_libc = ctypes.CDLL(None, use_errno=True)


class _Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def read_unit(path: Path) -> dict[str, list[str]]:
    """Return every value of every key in the unit's [Service], in order."""
    found: dict[str, list[str]] = {}
    in_service = False
    for line in path.read_text().splitlines():
        if line.startswith("["):
            in_service = line == "[Service]"
        elif in_service and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def allowed_calls(filters: list[str]) -> set[str]:
    """Return the system calls that `SystemCallFilter=` lines allow (systemd.exec(5)): the first line is a list to allow."""
    allowed: set[str] = set()
    for line in filters:
        names = set(_expand(line.lstrip("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed | set(_expand(["@default"]))


def _expand(words: list[str]) -> Iterator[str]:
    for word in words:
        if not word.startswith("@"):
            yield word
            continue
        said = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True).stdout
        lines = [line.strip() for line in said.splitlines()[1:]]
        yield from _expand([line for line in lines if line and not line.startswith("#")])


def confine(unit: dict[str, list[str]]) -> None:
    """Confine this process and its children, as the unit says."""
    for name in ("NoNewPrivileges", "MemoryDenyWriteExecute", "RestrictNamespaces", "RestrictSUIDSGID", "LockPersonality"):
        assert unit[name] == ["yes"], name
    assert unit["LimitCORE"] == ["0"]
    calls = allowed_calls(unit["SystemCallFilter"])
    os.umask(int(unit["UMask"][0], 8))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    _check(_libc.prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0), "PR_SET_MDWE")
    _filter(calls, unit["RestrictAddressFamilies"][0].split())


def _filter(calls: set[str], families: list[str]) -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    numbers = {name: library.seccomp_syscall_resolve_name(name.encode()) for name in _all_calls()}
    for name, number in numbers.items():
        if name not in calls and number >= 0:
            _add(library, context, _EPERM, number)
    values = {getattr(__import__("socket"), name) for name in families}
    for family in set(range(64)) - {int(value) for value in values}:
        _add(library, context, _EAFNOSUPPORT, numbers["socket"], _Compare(0, _EQ, family, 0))
    for flag in (1 << bit for bit in range(32) if _NAMESPACES & 1 << bit):
        for name in ("unshare", "clone"):
            _add(library, context, _EPERM, numbers[name], _Compare(0, _MASKED_EQ, flag, flag))
    for name, argument in _MODE_ARGUMENT.items():
        for bit in (_SETUID, _SETGID) if name in calls else ():
            _add(library, context, _EPERM, numbers[name], _Compare(argument, _MASKED_EQ, bit, bit))
    _add(library, context, _EPERM, numbers["personality"], _Compare(0, _NE, 0, 0))
    _check(library.seccomp_load(context), "seccomp_load")


def _add(library: ctypes.CDLL, context: ctypes.c_void_p, error: int, number: int, *compare: _Compare) -> None:
    array = (_Compare * max(1, len(compare)))(*compare)
    action = ctypes.c_uint32(_ERRNO | error)
    _check(library.seccomp_rule_add_array(context, action, number, len(compare), array), f"rule for {number}")


def _all_calls() -> set[str]:
    """Return every system call that systemd knows."""
    said = subprocess.run(["systemd-analyze", "syscall-filter", "@known"], capture_output=True, text=True, check=True).stdout
    return {line.strip() for line in said.splitlines()[1:] if line.strip() and not line.strip().startswith("#")}


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno() or -result, f"{what}: {os.strerror(ctypes.get_errno() or -result)}")


if __name__ == "__main__":
    confine(read_unit(Path(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])
