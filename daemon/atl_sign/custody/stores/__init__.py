"""
Where secrets can be at rest.

`base` is what every store can do, and `opening` the store of a name. `memory` ends with the process.
`desktop` is the desktop's keyring, `secret_service` one conversation with it, and `session_bus` where it is; `keyring` is a third
party's back end; `turns` keeps two daemons from changing a keyring at once.
`file` is the encrypted file, `sealing` its bytes, `guarded_file` how it is read and replaced, `key_file` what opens it
where nobody types, and `tries` how often a passphrase may be tried.
"""
