"""
OAuth 1.0a (RFC 5849) with RSA-SHA1, as the products' application links speak it.

Client credentials are called the consumer, temporary credentials the request token, token credentials the access token.
`signature` is the signature and the base string; `legs` are the requests of the dance and signed ones; `problems` reads a
refusal (`oauth_problem`); `setup` is what an administrator enters in the product's form. Read `signature` first.
"""
