"""
Remote servers: how they are reached, what they are, what they say to a signed request.

`exchange` is HTTP to a provider, bounded in size and time; `refusals` says why one cannot be reached; `products` is what sets
the four products apart; `who_am_i` asks one who the user is; `bitbucket_tokens` makes and removes Bitbucket's HTTP access
tokens. Read `exchange` first.
"""
