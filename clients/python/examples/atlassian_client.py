"""
The client `atlassian-python-api` from PyPI, signed: one session for four products.

    python atlassian_client.py JIRA-URL CONFLUENCE-URL BITBUCKET-URL BAMBOO-URL
"""

import sys

import requests
from atlassian import Bamboo, Bitbucket, Confluence, Jira

from atl_sign_client import AtlSignAuth

if len(sys.argv) != 5:
    sys.exit("usage: python atlassian_client.py JIRA-URL CONFLUENCE-URL BITBUCKET-URL BAMBOO-URL")
jira_url, confluence_url, bitbucket_url, bamboo_url = sys.argv[1:]
session = requests.Session()
session.auth = AtlSignAuth()

print(f"Jira user: {Jira(jira_url, session=session).myself()['name']}")
for space in Confluence(confluence_url, session=session).get_all_spaces()["results"]:
    print(f"Confluence space: {space['key']}")
for project in Bitbucket(bitbucket_url, session=session).project_list():
    print(f"Bitbucket project: {project['key']}")
for plan in Bamboo(bamboo_url, session=session).plans(expand="plans.plan"):
    print(f"Bamboo plan: {plan['key']}")
