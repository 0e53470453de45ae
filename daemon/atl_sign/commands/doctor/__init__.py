"""
`atl-sign doctor`: what is wrong here, and the command that fixes it.

`examine` runs all checks; `machine`, `socket`, `daemon`, `service`, `vault` and `link` hold those of one area each;
`report` writes the bundle for a bug report; `tls_probe` looks at a handshake.
"""
