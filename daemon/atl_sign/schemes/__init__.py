"""
How requests are authorized (RFC 9110 §11). A scheme writes the Authorization header and gets the grant that it needs.

`oauth1` is OAuth 1.0a with RSA-SHA1 (RFC 5849), over application links.
"""
