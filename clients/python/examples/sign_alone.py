"""
One signed request with only the standard library.

    python sign_alone.py https://jira.example.com/rest/api/2/myself
"""

import sys
import urllib.request

from atl_sign_client import sign

if len(sys.argv) != 2:
    sys.exit("usage: python sign_alone.py URL")
url = sys.argv[1]
request = urllib.request.Request(url, headers={"Authorization": sign("GET", url)})  # noqa: S310  # the daemon signs only for http(s)
with urllib.request.urlopen(request) as response:  # noqa: S310
    print(response.read().decode())
