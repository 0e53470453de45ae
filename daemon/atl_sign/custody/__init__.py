"""
Secrets at rest and in memory.

A store keeps items, one for each secret, with a version that tells whether somebody has changed it.
`items` names them and gives them their text, `shelf` reads each once and keeps it, and `safe` is what the other rooms use.
`renewed` sees to it that a renewed token replaces the one that was renewed, and nothing else; `moving` carries items to another
store; `neighbours` are the user's other daemons with the same store, and `claims` keep the renewals of other machines apart.
`keys` are the consumer's key, wherever it is, and `vaults` the calls of a server that keeps keys and items.
Read `items`, `shelf` and `safe` first, then `stores` and `keys`.
"""
