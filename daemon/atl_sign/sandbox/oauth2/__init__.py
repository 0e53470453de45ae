"""
OAuth 2.0 servers to try against: one engine, and a row of data for each flavour of server.

Its words: a **flavour** is what one provider does differently. An **app** is a registered client. A **grant** is one user's
consent to one app, and the family of tokens that comes of it. A **fault** is a misbehaviour that a test switches on.

Read `flavour` first, then `records` and `server`, which is the memory; `authorize`, `pages`, `tokens` and `device` are its
endpoints, `routes` puts them at the addresses of a flavour, and `metadata` describes them to clients.
"""
