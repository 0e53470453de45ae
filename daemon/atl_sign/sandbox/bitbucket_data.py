"""The initial data of the sandbox's Bitbucket."""

from dataclasses import dataclass, field

_README = "# Web shop\n\nBuild it with `make`.\n"
_MAIN = "def main() -> None:\n    print('Grüße')\n"


@dataclass(slots=True)
class Repository:
    """One repository: branches, each with its files by path."""

    id: int
    slug: str
    branches: dict[str, dict[str, str]]
    is_public: bool = False


@dataclass(slots=True)
class Project:
    """One project; a user's own begins with a tilde."""

    key: str
    id: int
    name: str
    repositories: list[Repository]
    is_public: bool = False


@dataclass(slots=True)
class BitbucketData:
    """Projects. Anonymous users see only the public project."""

    projects: list[Project] = field(
        default_factory=lambda: [
            Project(
                "WEB",
                1,
                "Web shop",
                [
                    Repository(
                        1,
                        "shop",
                        {
                            "main": {"README.md": _README, "src/main.py": _MAIN, "docs/50% off.md": "Half price.\n"},
                            "feature/1": {"README.md": _README, "src/main.py": _MAIN.replace("Grüße", "Hello")},
                        },
                    ),
                    Repository(2, "design", {"main": {"logo.svg": "<svg/>\n"}}),
                ],
            ),
            Project(
                "PUB", 2, "Public", [Repository(3, "docs", {"main": {"index.md": "Welcome.\n"}}, is_public=True)], is_public=True
            ),
            Project("~ALICE", 3, "Alice Adams", [Repository(4, "notes", {"main": {"todo.txt": "buy milk\n"}})]),
        ]
    )
