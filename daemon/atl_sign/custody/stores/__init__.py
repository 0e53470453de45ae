"""
Where secrets can be at rest.

`base` is what every store can do, and the store of a name; `secret_service` is the desktop's keyring; `file` is the encrypted
file, `sealing` its bytes, and `tries` how often a passphrase may be tried; `keyring` is a third party's back end.
"""
