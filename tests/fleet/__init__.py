"""
Machines that share a key and a grant in a vault, while they die, sleep, lose the network and the vault.

`relay` is one machine's way to the vault, `lab` the machines with the vault and a provider, `faults` what happens to them, and
`python -m tests.fleet` does it for half an hour and writes the figures.
"""
