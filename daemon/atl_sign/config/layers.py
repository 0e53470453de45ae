"""The administrator's file beneath the user's: each link, each vault and each setting comes whole from one of the two."""

from dataclasses import replace

from atl_sign.config.links import Link
from atl_sign.config.setting import settings_of
from atl_sign.config.settings import Settings
from atl_sign.config.table import LinkTable
from atl_sign.config.vaults import VaultServer


def lay_over(user: Settings, administrator: Settings) -> Settings:
    """
    Return the settings that *user* names, and those of *administrator* for the rest; links by their names.

    A link or a setting that is wrong in the user's file is not replaced by the administrator's: it was meant to differ.
    """
    values = {field: getattr(user if field in user.named else administrator, field) for field in settings_of(Settings)}
    return replace(
        user,
        links=LinkTable([*user.links.links, *links_beneath(user, administrator)]),
        problems=(*user.problems, *administrator.problems),
        # Of a file that cannot be read nobody knows which store it names; that counts unless the user's file names one.
        problem_of_file=user.problem_of_file or (None if "store_backend" in user.named else administrator.problem_of_file),
        named=user.named | administrator.named,
        vaults={**_vaults_beneath(user, administrator), **user.vaults},
        templates={name: key for name, key in administrator.templates.items() if name not in user.links.by_name},
        **values,
    )


def _vaults_beneath(user: Settings, administrator: Settings) -> dict[str, VaultServer]:
    wrong = {problem.part for problem in user.problems}
    return {name: vault for name, vault in administrator.vaults.items() if f"vaults.{name}" not in wrong}


def links_beneath(user: Settings, administrator: Settings) -> list[Link]:
    """Return the links of *administrator* that the user's file has nothing in the place of."""
    return [
        link
        for link in administrator.links.links
        if link.name not in user.links.by_name and user.problem_of_link(link.name) is None
    ]
