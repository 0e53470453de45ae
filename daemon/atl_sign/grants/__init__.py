"""
Getting a grant, and keeping it alive.

A dance gets the user's consent: `dance` has the three legs, `states` how far one is, `loopback` the listener on 127.0.0.1 to
which the browser returns, `loopback_page` the page that it shows. `renewal` renews an access token before it ends, once for
all callers. Read `dance` first.
"""
