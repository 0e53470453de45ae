"""
Atlassian Cloud to try against: a site with Jira and Confluence, its gateway, and Bitbucket Cloud.

Its words: the **site** is SITE.atlassian.net, the **gateway** is api.atlassian.com, where scoped tokens work, and the **account**
is the pages of id.atlassian.com, where users make API tokens. Read `server`, then `gate`, which identifies every caller.
"""
