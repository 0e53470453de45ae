"""
The rules for what may be signed, and the record of every decision.

`caller` is the program that asks; `policy` says what may be signed at all; `audit` and `recording` keep each decision.

Rules can limit a program to a part of the user's right: `readings` has the ways in which a server may read a request, `rules` one
rule, `presets` the rules that have a name, and `decision` compares them. They load with the first request that has rules.
"""
