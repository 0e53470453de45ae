"""
Forges and a generic provider to try against: GitHub, GitHub Enterprise, GitLab, and a server that follows the RFCs.

Each kind is a module: a flavour of `sandbox.oauth2`, the few API calls that a client needs, and how git is let in.
Read `kind` for what a kind consists of, then `server`.
"""
