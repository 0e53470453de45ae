"""The initial data of the sandbox's Cloud site: the same issues and pages as the products."""

from dataclasses import dataclass, field

from atl_sign.sandbox.confluence_data import ConfluenceData
from atl_sign.sandbox.jira_data import JiraData


@dataclass(slots=True)
class SiteData:
    """Jira's and Confluence's things."""

    jira: JiraData = field(default_factory=JiraData)
    confluence: ConfluenceData = field(default_factory=ConfluenceData)
