"""The calls of links: list, add, change, show, remove, log out."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from atl_sign.agent.build import Agent
from atl_sign.agent.lookup import LinkReport
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented, wants_text
from atl_sign.api.fields import caller_of, fields_of
from atl_sign.api.status import describe_token
from atl_sign.base.credentials import Secret
from atl_sign.base.text import format_table
from atl_sign.config.link_fields import link_to_fields


def add_links(app: FastAPI, agent: Agent) -> None:
    """Serve links on *app*."""

    @app.get("/links", **documented(app, "List all links", schemas.LinksAnswer))
    def list_links(request: Request) -> Response:
        reports, broken = agent.links.list_all(caller_of(request))
        problems = [schemas.ProblemAnswer(file=each.file, line=each.line, part=each.part, cause=each.cause) for each in broken]
        answer = schemas.LinksAnswer(links=[_describe_link(each) for each in reports], problems=problems)
        lines = None
        if wants_text(request):
            lines = [*_list_links(reports), *(f"warning: {problem}" for problem in broken)]
        return answer_with(request, answer, lines)

    @app.get("/links/{name}", **documented(app, "Show one link", schemas.LinkAnswer | schemas.LinkOfProductAnswer))
    def show_link(request: Request, name: str, product: bool = False) -> Response:
        answer = _describe_link(agent.links.show(caller_of(request), name))
        if product:
            found = agent.links.show_product(caller_of(request), name)
            kind, has_git = (None, None) if found is None else (found.type_id, found.has_git)
            answer = schemas.LinkOfProductAnswer(**answer.model_dump(), product=kind, has_git=has_git)
        return answer_with(request, answer)

    @app.put(
        "/links/{name}",
        **documented(app, "Add or change a link", schemas.ProbedLinkAnswer, body=schemas.LinkFields, creates=True),
    )
    def put_link(
        request: Request, name: str, fields: Annotated[schemas.LinkFields, Depends(fields_of(schemas.LinkFields))]
    ) -> Response:
        is_only_new = request.headers.get("If-None-Match") == "*"
        probed = agent.links.put(caller_of(request), name, fields.model_dump(), only_new=is_only_new)
        manifest = probed.manifest
        answer = schemas.ProbedLinkAnswer(
            **_describe_link(probed.report).model_dump(),
            product=manifest.type_id if manifest else None,
            version=manifest.version if manifest else None,
            base_url=manifest.url if manifest else None,
            warnings=list(probed.warnings),
            found=probed.found,
            hint=probed.hint,
        )
        return answer_with(request, answer, status=201 if probed.is_new else 200)

    @app.delete("/links/{name}", **documented(app, "Remove a link and forget its token", schemas.RemovedAnswer))
    def remove_link(request: Request, name: str) -> Response:
        report = agent.links.remove(caller_of(request), name)
        beneath = None if report.beneath is None else str(report.beneath)
        words = [f"removed link {name}", *_tell_git_left(report.git_left)]
        words += [f"the link {name} of {beneath} applies from now on"] if beneath else []
        answer = schemas.RemovedAnswer(removed=name, git_left=list(report.git_left), beneath=beneath)
        return answer_with(request, answer, words)

    @app.put(
        "/links/{name}/secret",
        **documented(app, "Keep the secret of a link's app", schemas.KeptAnswer, body=schemas.SecretFields),
    )
    def put_secret(
        request: Request, name: str, fields: Annotated[schemas.SecretFields, Depends(fields_of(schemas.SecretFields))]
    ) -> Response:
        agent.links.put_secret(caller_of(request), name, Secret(fields.secret.get_secret_value().strip()))
        return answer_with(request, schemas.KeptAnswer(link=name), [f"kept the secret of the app of link {name}"])

    @app.get("/links/{name}/setup", **documented(app, "Get the fields that an administrator enters", schemas.SetupAnswer))
    def show_setup(request: Request, name: str) -> Response:
        from atl_sign.schemes.setup import format_form

        link, product, form = agent.links.show_setup(caller_of(request), name)
        answer = schemas.SetupAnswer(
            link=name,
            product=product.type_id if product else None,
            page=form.page,
            menu=form.menu,
            new_steps=list(form.new_steps),
            old_steps=list(form.old_steps),
            old_form_until=form.old_form_until,
            fields=[schemas.SetupField(label=field.label, value=field.value) for field in form.fields],
            leave_alone=list(form.leave_alone),
            then=list(form.then),
        )
        return answer_with(request, answer, format_form(form, link, product))

    @app.post("/links/{name}/default", **documented(app, "Make a link the default at its address", schemas.LinkAnswer))
    def make_default(request: Request, name: str) -> Response:
        report = agent.links.make_default(caller_of(request), name)
        lines = [f"{name} is the default of {report.link.url}"]
        return answer_with(request, _describe_link(report), lines)

    @app.delete("/links/{name}/token", **documented(app, "Log out", schemas.LogoutAnswer))
    def log_out(request: Request, name: str, keep_git_token: bool = False, keep_grant: bool = False) -> Response:
        report = agent.links.log_out(caller_of(request), name, keep_git_token=keep_git_token, keep_grant=keep_grant)
        forgot = f"forgot the token of link {name}"
        if report.is_revoked:
            lines = [f"{forgot}, and revoked it at the provider"]
        else:
            lines = [forgot, f"to revoke it at the provider too: {report.revoke_url}"]
        lines += [f"link {other} shared it, and is logged out too" for other in report.others]
        if report.git_fate == "revoked":
            lines.append("revoked the token for git at the provider")
        elif report.git_fate == "kept":
            lines.append("kept the token for git, which stays good until it ends")
        answer = schemas.LogoutAnswer(
            link=name,
            revoke_url=report.revoke_url,
            is_revoked=report.is_revoked,
            others=list(report.others),
            git_token=report.git_fate,
            git_left=list(report.git_left),
        )
        return answer_with(request, answer, [*lines, *_tell_git_left(report.git_left)])


def _describe_link(report: LinkReport) -> schemas.LinkAnswer:
    return schemas.LinkAnswer(
        name=report.link.name,
        **link_to_fields(report.link),
        file=str(report.file),
        token=describe_token(report),
    )


def _list_links(reports: Sequence[LinkReport]) -> list[str]:
    """Return the lines of the list; with the files if there is another one than the user's."""
    rows = [("NAME", "URL", "TOKEN", "FILE")] if reports else []
    rows += [(each.link.name, str(each.link.url), each.token_state, str(each.file)) for each in reports]
    if all(each.is_own for each in reports):
        return format_table([row[:-1] for row in rows])
    return format_table(rows)


def _tell_git_left(names: Sequence[str]) -> list[str]:
    """Return a line for each of git's tokens that is at the provider still; people find them by their names."""
    return [f"still good at the provider, revoke it there under HTTP access tokens: {name}" for name in names]
