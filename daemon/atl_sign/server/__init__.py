"""
The process: its sockets, its connections, its life and its end.

`serve` starts the daemon, `loop` is its event loop on the socket, `process` its process; `listening` is the socket, its folder
and its lock; `connections` one connection and its limits; `idle` says when the daemon may end by itself; `notify` talks to the
service manager; `refusal` answers when there is no daemon. Read `serve` first.
"""
