"""The initial data of the sandbox's Bamboo."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Build:
    """One build of a plan."""

    number: int
    state: str  # Successful, Failed, or Unknown while it waits
    reason: str
    stage: str | None = None
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def is_queued(self) -> bool:
        """Whether it waits for an agent; here that is for ever."""
        return self.state == "Unknown"


@dataclass(slots=True)
class Plan:
    """One plan."""

    key: str
    project_name: str
    name: str
    stages: tuple[str, ...]
    is_enabled: bool = True
    is_public: bool = False
    builds: list[Build] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


@dataclass(slots=True)
class BambooData:
    """Plans. Anonymous users see only the public one."""

    plans: list[Plan] = field(
        default_factory=lambda: [
            Plan(
                "WEB-BUILD",
                "Web shop",
                "Build",
                ("Compile", "Test"),
                builds=[Build(41, "Successful", "Changes by bob")],
                labels=["nightly"],
            ),
            Plan(
                "WEB-DEPLOY",
                "Web shop",
                "Deploy to staging",
                ("Package", "Deploy"),
                builds=[Build(17, "Failed", "Manual run by alice")],
            ),
            Plan("OPS-CERTS", "Operations", "Check certificates", ("Check",), is_enabled=False),
            Plan("PUB-DOCS", "Public", "Documentation", ("Build",), is_public=True, builds=[Build(5, "Successful", "Scheduled")]),
        ]
    )
