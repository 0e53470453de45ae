"""
OAuth 2.0 (RFC 6749): the parts of a dance and of a refresh, none of which sends anything or knows a link's settings.

`flavours` is how the providers differ, `metadata` how a server tells it itself (RFC 8414). In the order of a dance: `consent`
makes the address to open, `redirect` reads the redirect, `token_request` asks for tokens, and `token_answer` reads the answer.
"""
