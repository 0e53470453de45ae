"""
Keys in PKCS#11 tokens: smart cards, TPMs and HSMs (OASIS PKCS #11 2.40).

`uri` reads the references. `process` is the program that loads a token's module, so that its crash is not ours, and `thread` the
one thread that may call it. `connection` has the sessions, logins and objects while that program runs. `place` lets the rest of
the daemon use them, and `signer` is one key. `refusals` has the words for what a token refuses.
"""
