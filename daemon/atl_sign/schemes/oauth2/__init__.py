"""
OAuth 2.0 (RFC 6749): what a provider says of itself and of tokens, read with care.

`metadata` is what a server says of itself (RFC 8414); `token_answer` is what its token endpoint says. Neither sends anything.
"""
