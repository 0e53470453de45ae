"""The tools that `run --tool` knows: a row each, with the variables and files by which they find a lease's port."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PRODUCT_NAMES = {"jira": "Jira", "confluence": "Confluence", "bitbucket": "Bitbucket"}


@dataclass(frozen=True, slots=True)
class Tool:
    """
    One tool, and how it is pointed.

    In the texts `{url}` stands for the product's address at the port, `{secret}` for the lease's, `{folder}` for a folder that is
    there while the tool runs.
    """

    name: str  # as people install it
    variables: Mapping[str, Mapping[str, str]]  # by the product they are for
    removed: Sequence[str] = ()  # variables that would name another address or credentials, or lead around the port
    files: Mapping[str, str] = field(default_factory=dict)  # by their paths in the folder; for tools with one product


# Facts leases-proxy.md section 5.
TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "mcp-atlassian",
            {
                "jira": {"JIRA_URL": "{url}", "JIRA_PERSONAL_TOKEN": "{secret}"},
                "confluence": {"CONFLUENCE_URL": "{url}", "CONFLUENCE_PERSONAL_TOKEN": "{secret}"},
            },
            removed=[
                *("ATLASSIAN_OAUTH_ENABLE", "ATLASSIAN_EXTERNAL_AUTH_ENABLE"),
                *("JIRA_USERNAME", "JIRA_API_TOKEN", "JIRA_CUSTOM_HEADERS", "JIRA_CLIENT_CERT"),
                *("JIRA_HTTP_PROXY", "JIRA_HTTPS_PROXY", "JIRA_SOCKS_PROXY"),
                *("CONFLUENCE_USERNAME", "CONFLUENCE_API_TOKEN", "CONFLUENCE_CUSTOM_HEADERS", "CONFLUENCE_CLIENT_CERT"),
                *("CONFLUENCE_HTTP_PROXY", "CONFLUENCE_HTTPS_PROXY", "CONFLUENCE_SOCKS_PROXY"),
            ],
        ),
        Tool(
            "atlassian-dc-mcp",
            {
                product: {f"{product.upper()}_API_BASE_PATH": "{url}/rest", f"{product.upper()}_API_TOKEN": "{secret}"}
                for product in PRODUCT_NAMES
            },
            removed=["JIRA_HOST", "CONFLUENCE_HOST", "BITBUCKET_HOST", "ATLASSIAN_DC_MCP_CONFIG_FILE"],
        ),
        Tool(
            "jira-cli",
            # The variables count more than the file, which must be there all the same.
            {
                "jira": {
                    "JIRA_CONFIG_FILE": "{folder}/config.yml",
                    "JIRA_SERVER": "{url}",
                    "JIRA_LOGIN": "atl-sign",
                    "JIRA_INSTALLATION": "Local",
                    "JIRA_AUTH_TYPE": "bearer",
                    "JIRA_API_TOKEN": "{secret}",
                }
            },
            files={"config.yml": "installation: Local\nserver: {url}\nlogin: atl-sign\nauth_type: bearer\n"},
        ),
        Tool(
            "go-jira",
            # It looks for its file in the home folder, and below the current one, which counts more.
            {"jira": {"HOME": "{folder}", "JIRA_API_TOKEN": "{secret}"}},
            files={".jira.d/config.yml": "endpoint: {url}\nauthentication-method: bearer-token\nlogin: atl-sign\n"},
        ),
        Tool(
            "terraform-bitbucketserver",
            {
                "bitbucket": {
                    "BITBUCKET_SERVER": "{url}",
                    "BITBUCKET_USERNAME": "atl-sign",  # it wants one; Basic has the secret as its password
                    "BITBUCKET_PASSWORD": "{secret}",
                }
            },
        ),
        Tool(
            "terraform-jira",
            {"jira": {"JIRA_URL": "{url}", "JIRA_TOKEN": "{secret}"}},
            removed=["JIRA_USER", "JIRA_PASSWORD"],
        ),
    )
}
