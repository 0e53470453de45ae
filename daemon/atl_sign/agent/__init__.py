"""
The daemon's verbs: where link, policy, credentials, signature and record meet.

`agent` signs, and is the way in for every other call; `links` and `store` are links and store as the user manages them; `git`
keeps git's tokens; `diagnosis` finds out how a provider takes consumer, signature and token. Read `agent` first: its `sign`
is the whole way of a request.
"""
