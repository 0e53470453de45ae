"""
The client `jira` from PyPI, signed: who am I, and the issues of a project.

    python jira_client.py https://jira.example.com WEB
"""

import sys

from jira import JIRA

from atl_sign_client import AtlSignAuth

if len(sys.argv) != 3:
    sys.exit("usage: python jira_client.py BASE-URL PROJECT")
server, project = sys.argv[1:]
client = JIRA(server, get_server_info=False)  # with it, a first request would go out unsigned
client._session.auth = AtlSignAuth()

print(f"user: {client.myself()['name']}")
for issue in client.search_issues(f"project = {project} ORDER BY key", maxResults=3):
    print(f"{issue.key}: {issue.fields.summary}")
