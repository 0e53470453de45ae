"""How each tool is pointed at a lease: variables and files, without starting it."""

from pathlib import Path

import pytest

from atl_sign.commands.calling import CommandError
from atl_sign.commands.table.tools import TOOLS
from atl_sign.commands.tools import LinkOfLease, choose_links, find_tool, make_files, make_variables, pointed

PORT, SECRET = "http://127.0.0.1:8123", "atls_canary-tool-secret"
JIRA, WIKI = LinkOfLease("issues", "jira"), LinkOfLease("wiki", "confluence")
CODE, CLOUD = LinkOfLease("code", "bitbucket"), LinkOfLease("site", "jira-cloud")
BAMBOO = LinkOfLease("builds", "bamboo")


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        (
            "mcp-atlassian",
            {
                "JIRA_URL": f"{PORT}/issues",
                "JIRA_PERSONAL_TOKEN": SECRET,
                "CONFLUENCE_URL": f"{PORT}/wiki",
                "CONFLUENCE_PERSONAL_TOKEN": SECRET,
            },
        ),
        (
            "atlassian-dc-mcp",
            {
                "JIRA_API_BASE_PATH": f"{PORT}/issues/rest",
                "JIRA_API_TOKEN": SECRET,
                "CONFLUENCE_API_BASE_PATH": f"{PORT}/wiki/rest",
                "CONFLUENCE_API_TOKEN": SECRET,
                "BITBUCKET_API_BASE_PATH": f"{PORT}/code/rest",
                "BITBUCKET_API_TOKEN": SECRET,
            },
        ),
        (
            "jira-cli",
            {
                "JIRA_CONFIG_FILE": "/f/config.yml",
                "JIRA_SERVER": f"{PORT}/issues",
                "JIRA_LOGIN": "atl-sign",
                "JIRA_INSTALLATION": "Local",
                "JIRA_AUTH_TYPE": "bearer",
                "JIRA_API_TOKEN": SECRET,
            },
        ),
        ("go-jira", {"HOME": "/f", "JIRA_API_TOKEN": SECRET}),
        (
            "terraform-bitbucketserver",
            {"BITBUCKET_SERVER": f"{PORT}/code", "BITBUCKET_USERNAME": "atl-sign", "BITBUCKET_PASSWORD": SECRET},
        ),
        ("terraform-jira", {"JIRA_URL": f"{PORT}/issues", "JIRA_TOKEN": SECRET}),
    ],
)
def test_each_tool_has_its_own_variables(name: str, variables: dict[str, str]) -> None:
    """Facts leases-proxy.md section 5. Links of products that it does not speak to are left out."""
    tool = find_tool(name)
    chosen = choose_links(tool, [BAMBOO, JIRA, WIKI, CODE])

    assert make_variables(tool, PORT, SECRET, chosen, "/f") == variables
    assert not set(variables) & set(tool.removed)


def test_every_tool_is_tested() -> None:
    """By the rows above."""
    rows = test_each_tool_has_its_own_variables.pytestmark[0].args[1]  # type: ignore[attr-defined]

    assert [name for name, _ in rows] == list(TOOLS)


def test_a_tool_takes_what_the_lease_has() -> None:
    """One product of several; Atlassian's own site counts as its product."""
    tool = find_tool("mcp-atlassian")

    assert choose_links(tool, [WIKI]) == {"confluence": "wiki"}
    assert choose_links(tool, [CLOUD, BAMBOO]) == {"jira": "site"}
    assert make_variables(tool, PORT, SECRET, {"jira": "site"}, "") == {
        "JIRA_URL": f"{PORT}/site",
        "JIRA_PERSONAL_TOKEN": SECRET,
    }


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ([], "mcp-atlassian speaks to Jira or Confluence, and the lease has no such link"),
        ([CODE, BAMBOO], "mcp-atlassian speaks to Jira or Confluence, and the lease has no such link"),
        ([JIRA, WIKI, CLOUD], "mcp-atlassian takes one Jira, and the lease has several: issues, site"),
    ],
)
def test_a_lease_that_does_not_fit_is_refused(links: list[LinkOfLease], message: str) -> None:
    with pytest.raises(CommandError) as refused:
        choose_links(find_tool("mcp-atlassian"), links)

    assert refused.value.message == message


def test_an_unknown_tool_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(CommandError) as refused:
        find_tool("jira")

    assert refused.value.message == "no tool called jira is known"
    assert all(name in str(refused.value.hint) for name in TOOLS)


@pytest.mark.parametrize("name", [name for name, tool in TOOLS.items() if tool.files])
def test_files_are_there_while_the_tool_runs(name: str) -> None:
    """Readable for nobody else, without the secret, in a folder that goes away."""
    with pointed(find_tool(name), PORT, SECRET, [JIRA]) as start:
        place = Path(next(text for text in start.variables.values() if text.startswith("/")))
        folder = place if place.is_dir() else place.parent
        files = [path for path in folder.rglob("*") if path.is_file()]

        assert [str(path.relative_to(folder)) for path in files] == list(find_tool(name).files)
        assert all(f"{PORT}/issues" in path.read_text() for path in files)
        assert all(SECRET not in path.read_text() for path in files)
        assert (folder.stat().st_mode & 0o777, {path.stat().st_mode & 0o777 for path in files}) == (0o700, {0o600})

    assert not folder.exists()


def test_most_tools_need_no_file() -> None:
    tool = find_tool("terraform-jira")

    assert make_files(tool, PORT, {"jira": "issues"}) == {}
    with pointed(tool, PORT, SECRET, [JIRA]) as start:
        assert start.removed == ["JIRA_USER", "JIRA_PASSWORD"]


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is half written is removed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "write_text", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with (
        pytest.raises(CommandError, match="file for go-jira cannot be written: No space left"),
        pointed(TOOLS["go-jira"], PORT, SECRET, [JIRA]),
    ):
        pass

    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(CommandError, match="No such file"), pointed(TOOLS["go-jira"], PORT, SECRET, [JIRA]):
        pass
