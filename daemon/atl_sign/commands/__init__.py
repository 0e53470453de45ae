"""
Everything else that `atl-signd` does; `cli` is its command line.

`autostart` starts a daemon for a client that found none; `daemon_call` calls it; `log` shows what was recorded; `demo` plays
the main job in a throw-away folder; `doctor` and `service` are folders of their own.
"""
