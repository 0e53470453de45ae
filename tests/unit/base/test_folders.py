"""Where the user's files are: XDG Base Directory Specification 0.8, "Environment variables"."""

from pathlib import Path

import pytest

from atl_sign.access.audit import audit_path
from atl_sign.base.folders import log_path, state_folder
from atl_sign.config.file import config_path


@pytest.mark.parametrize("variables", [{}, {"XDG_STATE_HOME": "", "XDG_CONFIG_HOME": ""}])
def test_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """When the variables are not set, or empty."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert state_folder(variables) == tmp_path / ".local/state/atl-sign"
    assert config_path(variables) == tmp_path / ".config/atl-sign/config.toml"


def test_where_the_variables_lead() -> None:
    """All that is state lies in one folder."""
    variables = {"XDG_STATE_HOME": "/state", "XDG_CONFIG_HOME": "/config"}

    assert config_path(variables) == Path("/config/atl-sign/config.toml")
    assert audit_path(variables) == Path("/state/atl-sign/audit.jsonl")
    assert log_path(variables) == Path("/state/atl-sign/atl-signd.log")
