"""
Private keys that sign.

`base` is what the rest of the daemon asks of one; `software` is a key in this process's memory.
"""
