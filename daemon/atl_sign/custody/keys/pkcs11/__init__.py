"""
Keys in PKCS#11 tokens: smart cards, TPMs and HSMs (OASIS PKCS #11 2.40).

`uri` reads the references. `process` is the program that loads a token's module, so that its crash is not ours, `thread` the one
thread that may call it, and `module` both of them as they start, fail and end. `connection` has the sessions, logins and keys
while that program runs, and `pins` the PINs for the next run. `place` lets the rest of the daemon use them, and `signer` is one
key. `refusals` has the words for what a token refuses.
"""
