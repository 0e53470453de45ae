"""The calls of link files: links for other machines, and links from them."""

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response

from atl_sign.agent.build import Agent
from atl_sign.agent.link_files import ImportedLink
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented, wants_text
from atl_sign.api.fields import caller_of, fields_of


def add_link_files(app: FastAPI, agent: Agent) -> None:
    """Serve files of links on *app*."""

    @app.get("/link-file", **documented(app, "Get links as a file for other machines", schemas.LinkFileAnswer))
    def show_file(request: Request, link: Annotated[list[str] | None, Query()] = None) -> Response:
        report = agent.link_files.show(caller_of(request), link or [])
        warnings = [f"not in this file: {problem}" for problem in report.problems]
        warnings += [f"not in this file: link {name}, whose consumer key has a brace" for name in report.left]
        lines = [*(f"# warning: {each}" for each in warnings), *report.text.splitlines()] if wants_text(request) else None
        return answer_with(request, schemas.LinkFileAnswer(content=report.text, warnings=warnings), lines)

    @app.post(
        "/link-file", **documented(app, "Add the links of a file, all or none", schemas.ImportAnswer, body=schemas.LinkFileFields)
    )
    def take_file(
        request: Request, fields: Annotated[schemas.LinkFileFields, Depends(fields_of(schemas.LinkFileFields))]
    ) -> Response:
        is_trial = fields.dry_run
        report = agent.link_files.take(caller_of(request), fields.content, may_replace=fields.replace, is_trial=is_trial)
        links = [
            schemas.ImportedLink(name=each.link.name, url=str(each.link.url), is_new=each.is_new, changes=list(each.changes))
            for each in report.links
        ]
        answer = schemas.ImportAnswer(links=links, warnings=list(report.warnings), dry_run=is_trial)
        lines = [_tell(each, is_trial=is_trial) for each in report.links]
        lines += ["nothing was changed"] if is_trial else []
        return answer_with(request, answer, [*lines, *(f"warning: {each}" for each in report.warnings)])


def _tell(imported: ImportedLink, *, is_trial: bool) -> str:
    name = imported.link.name
    if imported.is_new:
        return f"{'would add' if is_trial else 'added'} link {name}: {imported.link.url}"
    if not imported.changes:
        return f"link {name} is the same"
    return f"{'would change' if is_trial else 'changed'} link {name}: {', '.join(imported.changes)}"
