"""
Where secrets can be at rest.

`base` is what every store can do, and `opening` the store of a name. `memory` ends with the process; `desktop` is the desktop's
keyring, `secret_service` one conversation with it, `session_bus` where it is; `file` is the encrypted file, `sealing` its bytes,
and `tries` how often a passphrase may be tried; `keyring` is a third party's back end; `turns` keeps daemons from changing a
keyring at once.
"""
