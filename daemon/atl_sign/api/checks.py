"""The calls that ask a link's provider: who am I, what is wrong, what does its refusal mean."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from atl_sign.agent.build import Agent
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of
from atl_sign.base.findings import Verdict
from atl_sign.base.text import format_error, format_table


class ProblemFields(schemas.Fields):
    """A provider's refusal, as it came."""

    www_authenticate: str = Field(max_length=65_536, description="the value of the answer's WWW-Authenticate header")


class RefusalAnswer(BaseModel):
    """A provider's refusal in words; all null if the header has no `oauth_problem`."""

    problem: str | None
    message: str | None
    hint: str | None


class CheckAnswer(BaseModel):
    """The user at the provider."""

    link: str
    user: str
    product: str
    version: str
    base_url: str
    clock_offset_s: float | None = Field(description="the provider's clock minus this machine's, in seconds")
    warnings: list[str]


class FindingAnswer(BaseModel):
    """The finding of one check."""

    check: str = Field(description="the check's stable id")
    result: Verdict
    cause: str
    hint: str | None = Field(description="what to do; null where nothing is to be done")


class DiagnosisAnswer(BaseModel):
    """Whether a link's provider accepts consumer, signature and token."""

    link: str
    findings: list[FindingAnswer]


def add_checks(app: FastAPI, agent: Agent) -> None:
    """Serve checks on *app*."""

    @app.post("/links/{name}/check", **documented(app, "Check who you are at a link's provider", CheckAnswer))
    def check_link(request: Request, name: str) -> Response:
        result = agent.checks.check(caller_of(request), name)
        offset = None if result.clock_offset_s is None else round(result.clock_offset_s, 1)
        answer = CheckAnswer(
            link=name,
            user=result.user,
            product=result.product,
            version=result.version,
            base_url=result.base_url,
            clock_offset_s=offset,
            warnings=list(result.warnings),
        )
        return answer_with(request, answer)

    @app.post("/links/{name}/diagnosis", **documented(app, "Diagnose a link", DiagnosisAnswer))
    def diagnose_link(request: Request, name: str) -> Response:
        found = agent.checks.diagnose(caller_of(request), name)
        findings = [FindingAnswer(check=each.check, result=each.result, cause=each.cause, hint=each.hint) for each in found]
        answer = DiagnosisAnswer(link=name, findings=findings)
        rows = [(each.result, each.check, each.cause) for each in findings]
        return answer_with(request, answer, format_table(rows))

    add_problem(app, agent)


def add_problem(app: FastAPI, agent: Agent) -> None:
    """Serve the words for a provider's refusal on *app*."""

    @app.post("/links/{name}/problem", **documented(app, "Explain a provider's refusal", RefusalAnswer, body=ProblemFields))
    def explain_problem(
        request: Request, name: str, fields: Annotated[ProblemFields, Depends(fields_of(ProblemFields))]
    ) -> Response:
        explained = agent.checks.explain_problem(caller_of(request), name, fields.www_authenticate, is_hearsay=True)
        problem, message, hint = explained or (None, None, None)
        answer = RefusalAnswer(problem=problem, message=message, hint=hint)
        return answer_with(request, answer, format_error(message, hint) if message else [])
