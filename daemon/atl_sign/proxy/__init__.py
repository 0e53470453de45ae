"""
The proxy: requests of local programs, authorized on their way to the providers.

An **entry** is a socket or a port where programs come in: the owner's own, or a lease's. Each connection is a **channel**; its
first bytes decide how it is read. A request on it comes **inbound**, is taken to the link that it means by a **route**, and is
**relayed**: signed, sent **upstream** to the link's provider, and its answer streamed back. A **tunnel** carries bytes to an
address that is not a link's, and nobody looks at them. A **refusal** is an answer of ours, and then nothing was sent.
A tool with a base URL knows only the entry's address: a **translation** puts that and the product's in place of each other.

Read `front` first, then `routes`, `relay` and `upstream`; `heads` has the rules for what passes. Behind `upstream` are
`pool`, `connection` (one exchange), `network` (how a link sees it), `next_proxy` (a company's, before it) and `sockets`.
`certificates` is the authority by which TLS ends here. Loaded with the first connection to a proxy, or the first lease.
"""
