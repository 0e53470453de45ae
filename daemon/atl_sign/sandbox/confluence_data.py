"""The initial data of the sandbox's Confluence."""

from dataclasses import dataclass, field

from atl_sign.sandbox.multipart import Upload


@dataclass(slots=True)
class Page:
    """One page."""

    id: str
    space: str
    title: str
    body: str
    version: int = 1
    attachments: list[tuple[str, Upload]] = field(default_factory=list)


@dataclass(slots=True)
class ConfluenceData:
    """Spaces and pages. Anonymous users see only the public space."""

    spaces: dict[str, str] = field(default_factory=lambda: {"PUB": "Public", "TEAM": "Team"})
    public: frozenset[str] = frozenset({"PUB"})
    pages: list[Page] = field(
        default_factory=lambda: [
            Page("65537", "PUB", "Welcome", "<p>Everybody may read this.</p>"),
            Page("65538", "TEAM", "Release checklist", "<ol><li>Freeze</li><li>Build</li><li>Ship</li></ol>", 7),
            Page("65539", "TEAM", "Who is on call?", "<p>Alice until Friday, then Bob.</p>", 3),
            Page("65540", "TEAM", "Café & kitchen rules", "<p>Wash your cup.</p>"),
        ]
    )
