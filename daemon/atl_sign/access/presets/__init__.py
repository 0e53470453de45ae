"""
The presets: names that stand for several rules, each a file in this folder, which `loading` reads.

`#` begins a comment there, and the first line is the summary. A file named `product/word.rules` is the preset `product:word`.
"""

NAMES = (
    "read",
    "download",
    "jira:comment",
    "jira:edit",
    "jira:transition",
    "bitbucket:review",
    "bitbucket:merge",
    "bitbucket:build-status",
    "confluence:edit",
    "bamboo:build",
)
