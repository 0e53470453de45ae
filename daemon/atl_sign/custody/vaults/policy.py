"""
The policy that a vault's operators write for a machine: all that it needs, and no more.

Source: facts custody.md section 4.
"""

import json

_LOGIN = """\
# To renew the login, and to tell a login that has ended from a policy that is too narrow.
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
# For atl-sign doctor: what the policy lacks.
path "sys/capabilities-self" { capabilities = ["update"] }
"""
_SIGNER = """\
# To sign: the hash is in the path, and only digests are taken. key_version stays open, for the version is pinned by atl-sign.
path %s {
  capabilities        = ["update"]
  allowed_parameters  = { "input" = [], "prehashed" = [true], "signature_algorithm" = ["pkcs1v15"], "key_version" = [] }
  required_parameters = ["input", "prehashed", "signature_algorithm"]
}
# To show the public key.
path %s { capabilities = [%s] }
"""
_MAKER = """\
# To make the key above, or to bring it: for the person who does it, and not for machines.
path %s { capabilities = ["create", "update"] }
path %s { capabilities = ["read"] }
"""
_STORE = """\
# To keep tokens. Without delete: a deleted item would be counted from 1 again, and an old write could win.
path %s { capabilities = ["create", "read", "update"] }
"""


def format_policy(key: tuple[str, str] | None, store: tuple[str, str] | None, *, makes_key: bool = False) -> str:
    """
    Return the policy, in HCL.

    Args:
        key: mount and name of the key in the transit engine; None for no key.
        store: mount and prefix of the store in KV v2; None for no store.
        makes_key: whether the login may make that key, or bring it.
    """
    parts = [_LOGIN]
    if key is not None:
        mount, name = key
        capabilities = '"create", "read", "update"' if makes_key else '"read"'
        parts.append(_SIGNER % (*_quoted(f"{mount}/sign/{name}/sha1", f"{mount}/keys/{name}"), capabilities))
        if makes_key:
            parts.append(_MAKER % _quoted(f"{mount}/keys/{name}/import", f"{mount}/wrapping_key"))
    if store is not None:
        mount, prefix = store
        parts.append(_STORE % _quoted(f"{mount}/data/{prefix}/*"))
    return "\n".join(parts)


def list_needs(key: tuple[str, str] | None, store: tuple[str, str] | None) -> dict[str, tuple[str, ...]]:
    """Return the capabilities that a login needs at each path for signing and keeping tokens; arguments as above."""
    needs: dict[str, tuple[str, ...]] = {}
    if key is not None:
        mount, name = key
        needs |= {f"{mount}/sign/{name}/sha1": ("update",), f"{mount}/keys/{name}": ("read",)}
    if store is not None:
        mount, prefix = store
        needs[f"{mount}/data/{prefix}/probe"] = ("create", "read", "update")
    return needs


def _quoted(*paths: str) -> tuple[str, ...]:
    return tuple(json.dumps(path) for path in paths)
