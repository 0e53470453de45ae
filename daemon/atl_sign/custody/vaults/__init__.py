"""
Calls of a vault: a server of OpenBao or HashiCorp Vault.

`problems` is what can go wrong, `connections` one exchange, `login` how a token is got and kept, and `client` puts them together:
it is what stores and keys use. `registry` has the client of each vault in the configuration. Nothing here is loaded before a
vault is named.
"""
