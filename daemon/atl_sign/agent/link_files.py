"""Links for other machines: written as a file, and taken from one, all of them or none."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.agent.forgetting import Forgetting
from atl_sign.agent.lookup import Lookup
from atl_sign.base.errors import BadLinkFileError, LinkExistsError
from atl_sign.config.file import ConfigFile
from atl_sign.config.link_fields import link_to_fields
from atl_sign.config.links import Link
from atl_sign.config.placeholders import own_names
from atl_sign.config.settings import ConfigProblem
from atl_sign.grants.live import Grants

SHOWN_AS = "link file"


@dataclass(frozen=True, slots=True)
class LinkFileReport:
    """Links as a file."""

    text: str  # TOML
    problems: tuple[ConfigProblem, ...]  # of the configuration: what is missing in *text* because of them
    left: tuple[str, ...]  # the names of links that no such file can hold


@dataclass(frozen=True, slots=True)
class ImportedLink:
    """One link of an imported file."""

    link: Link
    is_new: bool
    changes: tuple[str, ...]  # the names of the settings that differ from before; () for a new link


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The outcome of an import, or of a trial of one."""

    links: tuple[ImportedLink, ...]
    warnings: tuple[str, ...]


class LinkFiles:
    """Writes and reads files of links."""

    def __init__(self, config: ConfigFile, lookup: Lookup, grants: Grants, forgetting: Forgetting, records: Records) -> None:
        """Keep links in *config*; what a changed one may not keep is left to *forgetting*."""
        self._config = config
        self._lookup = lookup
        self._grants = grants
        self._forgetting = forgetting
        self._records = records

    def show(self, caller: Caller, names: Sequence[str]) -> LinkFileReport:
        """Return the links called *names*, or every link, as a file; raises as `Lookup.get`."""
        from atl_sign.config.link_file import write_link_file

        del caller
        settings = self._config.settings()
        links = [self._lookup.get(name) for name in dict.fromkeys(names)] if names else settings.links.links
        text, left = write_link_file(links, own_names(), settings.templates)
        problems = () if names else tuple(each for each in settings.problems if not each.is_harmless)
        return LinkFileReport(text, problems, left)

    def take(self, caller: Caller, text: str, *, may_replace: bool, is_trial: bool) -> ImportReport:
        """
        Add every link of *text*, a file of links, or none.

        Args:
            caller: who wants it.
            text: TOML.
            may_replace: replace links that exist; without this they are refused.
            is_trial: change nothing, and report what would change.

        Raises:
            BadLinkFileError: something in it cannot be used.
            LinkExistsError: links exist, and may not be replaced.
            ConfigBrokenError, ConfigUnwritableError: as `ConfigFile.put_links`.
        """
        from atl_sign.config.link_file import read_link_file

        with self._records.entry("link", caller, is_kept=False):
            file = read_link_file(text, self._config.schemes, own_names())
            settings = self._config.settings()
            present = settings.links.by_name
            problems = list(file.problems)
            existing = [link.name for link in file.links if link.name in present]
            if not may_replace:
                # One that is broken in the user's file may be worth more than what is put in its place.
                existing += [each.name for each in file.links if each.name not in present and settings.problem_of_link(each.name)]
                parts = [f"links.{name}" for name in existing]
                problems += [ConfigProblem(file.find_line(part), part, "a link of this name exists already") for part in parts]
            if problems:
                raise _refuse(problems, is_only_existing=not file.problems)
            imported = [_compare(present.get(link.name), link) for link in file.links]
            changed = [each for each in imported if each.is_new or each.changes]
            warnings = self._write(caller, [each.link for each in changed]) if changed and not is_trial else []
            return ImportReport(tuple(imported), tuple(warnings))

    def _write(self, caller: Caller, links: Sequence[Link]) -> list[str]:
        """Write *links*, each with its line in the audit log, and return what to warn of."""
        before = self._config.settings().links.by_name
        warnings: list[str] = []
        with ExitStack() as entries:
            for link in reversed(links):  # they end in the other order
                entries.enter_context(self._records.entry("link", caller, link.name))
            self._config.put_links(links)
            for link in links:
                if link.name in before:
                    warnings += (f"link {link.name}: {words}" for words in self._forgetting.forget_other(before[link.name], link))
        self._grants.renewals.forget_ended()
        return warnings


def _compare(before: Link | None, link: Link) -> ImportedLink:
    if before is None:
        return ImportedLink(link, is_new=True, changes=())
    old, new = link_to_fields(before), link_to_fields(link)
    return ImportedLink(link, is_new=False, changes=tuple(name for name in {**old, **new} if old.get(name) != new.get(name)))


def _refuse(problems: Sequence[ConfigProblem], *, is_only_existing: bool) -> BadLinkFileError | LinkExistsError:
    shown = sorted(problems, key=lambda each: each.line or 0)
    words = "; ".join(str(replace(each, file=SHOWN_AS)) for each in shown)
    if is_only_existing:
        hint = "to see what would change: --replace --dry-run; to do it: --replace"
        return LinkExistsError(f"nothing was changed: {words}", hint)
    return BadLinkFileError(f"nothing was changed: {words}", "fix the file, then import it again")
