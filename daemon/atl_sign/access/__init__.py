"""
Who may have what.

`peer` is the process at the other end of the socket, as the kernel names it; `policy` says what may be signed at all; `audit`
records each decision.
"""
