"""
`atl-signd service`: the daemon, started at log-in.

`run` is the command; `systemd` the service under systemd; `files` the links to the units.
"""
