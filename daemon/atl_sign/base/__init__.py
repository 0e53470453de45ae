"""
The vocabulary of all other rooms; imports nothing of ours.

`errors` is every failure that leaves the socket, with its code; `credentials` are keys and tokens, as types that hide
themselves; `urls` takes a URL apart once and changes it nowhere. Then the small ones: `clock`, `text`, `striking`,
`findings`, `folders`. Read `errors` and `credentials` first.
"""
