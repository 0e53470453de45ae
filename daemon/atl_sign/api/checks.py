"""The calls that ask a link's provider: who am I, what is wrong, what does its refusal mean."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from atl_sign.agent.build import Agent
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of
from atl_sign.base.text import format_error, format_table


def add_checks(app: FastAPI, agent: Agent) -> None:
    """Serve checks on *app*."""

    @app.post("/links/{name}/check", **documented("Who am I there", schemas.CheckAnswer))
    def check_link(request: Request, name: str) -> Response:
        result = agent.checks.check(caller_of(request), name)
        offset = None if result.clock_offset_s is None else round(result.clock_offset_s, 1)
        answer = schemas.CheckAnswer(
            link=name,
            user=result.user,
            product=result.product,
            version=result.version,
            base_url=result.base_url,
            clock_offset_s=offset,
            warnings=list(result.warnings),
        )
        return answer_with(request, answer)

    @app.post("/links/{name}/diagnosis", **documented("Why a link does not work", schemas.DiagnosisAnswer))
    def diagnose_link(request: Request, name: str) -> Response:
        found = agent.checks.diagnose(caller_of(request), name)
        findings = [
            schemas.FindingAnswer(check=each.check, result=each.result, cause=each.cause, hint=each.hint) for each in found
        ]
        answer = schemas.DiagnosisAnswer(link=name, findings=findings)
        rows = [(each.result, each.check, each.cause) for each in findings]
        return answer_with(request, answer, format_table(rows))

    @app.post("/links/{name}/problem", **documented("A refusal in words", schemas.RefusalAnswer, body=schemas.ProblemFields))
    def explain_problem(
        request: Request, name: str, fields: Annotated[schemas.ProblemFields, Depends(fields_of(schemas.ProblemFields))]
    ) -> Response:
        explained = agent.checks.explain_problem(caller_of(request), name, fields.www_authenticate)
        problem, message, hint = explained or (None, None, None)
        answer = schemas.RefusalAnswer(problem=problem, message=message, hint=hint)
        return answer_with(request, answer, format_error(message, hint) if message else [])
