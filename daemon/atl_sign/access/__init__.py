"""
The rules for what may be signed, and the record of every decision.

`peer` is the process at the other end of the socket, as the kernel names it; `policy` says what may be signed at all; `audit`
records each decision.
"""
