"""
Private keys that sign.

`base` is what the rest of the daemon asks of one, `public` its public half. `software` is a key in this process's memory, which
the store holds. Every other key stays `elsewhere`: the store holds its reference, and `places` knows the kinds of those.
"""
