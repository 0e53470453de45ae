"""`atl-sign vault policy`: what the operators of a vault enter for the machines that use it."""

from atl_sign.base.errors import BadRequestError
from atl_sign.base.terminal import complain, say


def run_vault_policy(key: str | None, store: str | None, *, makes_key: bool) -> int:
    """
    Print the policy for a key and a store; needs no daemon. Returns the exit status.

    Args:
        key: the reference of a key, `vault:NAME/MOUNT/KEY`.
        store: that of a store, `vault:NAME/MOUNT/PREFIX`.
        makes_key: whether it is for the one who makes the key, or brings it.
    """
    from atl_sign.custody.keys.transit import parse_reference
    from atl_sign.custody.stores.kv import split_backend
    from atl_sign.custody.vaults.policy import format_policy

    try:
        named = None if key is None else parse_reference(key)
        kept = None if store is None else split_backend(store)
    except BadRequestError as exc:
        complain("atl-sign", exc.message, exc.hint)
        return 1
    of_key = None if named is None else (named.mount, named.key)
    say(*format_policy(of_key, None if kept is None else kept[1:], makes_key=makes_key).rstrip("\n").split("\n"))
    return 0
