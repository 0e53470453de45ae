"""
Remote servers: how they are reached, what they are, what they say to a signed request.

`exchange` is HTTP to a provider, bounded in size and time; `causes` has the sentences on why one cannot be reached, and
`refusals` finds out which of them is true; `products` is what sets the four products apart; `who_am_i` asks one who the user
is; `bitbucket_tokens` makes and removes Bitbucket's HTTP access tokens. Read `exchange` first.
"""
