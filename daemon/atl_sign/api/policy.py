"""`POST /policy/check`: whether rules would allow a request."""

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from atl_sign.agent.build import Agent
from atl_sign.agent.sign import Asked
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of
from atl_sign.api.sign import read_form

Lines = str | list[str]


class PolicyFields(schemas.RequestFields):
    """A request that a program might send, and the rules to compare it with."""

    allow: Lines = Field(
        ["read"],
        description="rules and names of presets that allow; a text has one on each line",
        examples=[["read", "jira:comment"]],
    )
    deny: Lines = Field([], description="rules and names of presets that deny, in the same form")


class PolicyAnswer(BaseModel):
    """Whether the rules would allow the request, and what decided that."""

    decision: Literal["allow", "deny"]
    by: Literal["allow", "deny", "built_in", "none"] = Field(
        description="whose rule decided: one that allows, one that denies, a built-in denial; none: no rule allows the request"
    )
    reason: str = Field(description="a sentence for people; its words may change")
    rule: str | None = Field(description="the rule that decided; null if no single rule did")
    preset: str | None = Field(description="the name of the preset that the rule is from; null for a rule of its own")
    reading: str = Field(description="the path below the link's base URL, as it was read when the decision fell")
    link: str


def add_policy(app: FastAPI, agent: Agent) -> None:
    """Serve checks of rules on *app*."""

    @app.post("/policy/check", **documented(app, "Check whether rules allow a request", PolicyAnswer, body=PolicyFields))
    def check_policy(request: Request, fields: Annotated[PolicyFields, Depends(fields_of(PolicyFields))]) -> Response:
        asked = Asked(fields.method, fields.url, read_form(fields.form), fields.link)
        allow, deny = lines_of(fields.allow), lines_of(fields.deny)
        link, ruling = agent.policy.show_decision(caller_of(request), asked, allow, deny)
        answer = PolicyAnswer(
            decision="allow" if ruling.is_allowed else "deny",
            by=ruling.by,
            reason=ruling.reason,
            rule=None if ruling.rule is None else ruling.rule.text,
            preset=None if ruling.rule is None else ruling.rule.preset,
            reading=str(ruling.reading),
            link=link.name,
        )
        return answer_with(request, answer)


def lines_of(rules: Lines) -> list[str]:
    """Return the lines of a field that takes a text with lines, or a list."""
    return rules.split("\n") if isinstance(rules, str) else rules
