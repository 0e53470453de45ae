"""Bamboo: who am I, plans, labels, results, and queueing a build."""

from typing import Any, cast

from atl_sign.sandbox.bamboo_data import BambooData, Build, Plan
from atl_sign.sandbox.bamboo_tokens import BAMBOO_TOKENS
from atl_sign.sandbox.call import Call, Product, RefusalError, cut_page, make_routes, show_running, text_field
from atl_sign.sandbox.oauth2.data_center import BAMBOO_OAUTH2
from atl_sign.sandbox.wire import Answer, make_json


def show_current_user(call: Call) -> Answer:
    """Answer the user; 401 to nobody (what a real Bamboo says there is not known)."""
    user = call.require_user()
    return make_json({"name": user.name, "fullName": user.full_name, "email": user.email})


def show_info(call: Call) -> Answer:
    """Answer the version to anybody."""
    product = call.site.product
    return make_json({"version": product.version, "edition": "", "buildNumber": product.build_number, "state": "RUNNING"})


def list_plans(call: Call) -> Answer:
    """Answer the plans that the caller sees, in short; with `expand=plans.plan` in full."""
    start, limit = _read_page(call)
    visible = [plan for plan in _data(call).plans if _is_visible(call, plan)]
    plans: dict[str, Any] = {"size": len(visible), "expand": "plan", "start-index": start, "max-result": limit}
    plans["plan"] = [_plan(call, plan, is_full="plans.plan" in _expand(call)) for plan in cut_page(visible, start, limit)]
    return make_json({"expand": "plans", "link": _link(call, "/plan"), "plans": plans})


def show_plan(call: Call) -> Answer:
    """Answer one plan."""
    return make_json(_plan(call, _find_plan(call), is_full=True))


def list_labels(call: Call) -> Answer:
    """Answer a plan's labels."""
    labels = _find_plan(call).labels
    return make_json({"expand": "labels", "labels": {"size": len(labels), "label": [{"name": label} for label in labels]}})


def add_label(call: Call) -> Answer:
    """Add a label to a plan from JSON."""
    call.require_user()
    call.require_permission("USER")
    plan = _find_plan(call)
    name = text_field(call.read_json(), "name")
    if name not in plan.labels:
        plan.labels.append(name)
    return Answer(204)


def show_results(call: Call) -> Answer:
    """Answer a plan's finished builds, the newest first; for PLAN-NUMBER that one build."""
    key, _, number = call.groups["key"].removesuffix(".json").rpartition("-")
    return _show_result(call, _find_plan(call, key), number) if number.isdigit() else _list_results(call, _find_plan(call))


def show_queue(call: Call) -> Answer:
    """Answer the builds that wait."""
    queued = [
        _queued(call, plan, build)
        for plan in _data(call).plans
        if _is_visible(call, plan)
        for build in plan.builds
        if build.is_queued
    ]
    return make_json(
        {"expand": "queuedBuilds", "link": _link(call, "/queue"), "queuedBuilds": {"size": len(queued), "queuedBuild": queued}}
    )


def queue_build(call: Call) -> Answer:
    """Queue a build; `stage`, `executeAllStages` and `bamboo.variable.…` come in the query or in a form."""
    user = call.require_user()
    call.require_permission("TRIGGER", "USER")
    plan = _find_plan(call)
    if not plan.is_enabled:
        raise RefusalError(400, f"Plan {plan.key} is disabled.")
    stage = call.request.parameter("stage") or None
    if stage is not None and stage not in plan.stages:
        raise RefusalError(400, f"Plan {plan.key} has no stage {stage}.")
    prefix = "bamboo.variable."
    variables = {
        name.removeprefix(prefix): value for name, value in call.request.query + call.request.form if name.startswith(prefix)
    }
    number = plan.builds[-1].number + 1 if plan.builds else 1
    build = Build(number, "Unknown", f"Manual run by {user.name}", stage, variables)
    plan.builds.append(build)
    return make_json(_queued(call, plan, build))


def make_error(status: int, message: str) -> Answer:
    """Return a refusal in Bamboo's shape."""
    return make_json({"message": message, "status-code": status}, status)


def _data(call: Call) -> BambooData:
    return cast(BambooData, call.site.data)


def _is_visible(call: Call, plan: Plan) -> bool:
    return call.user is not None or plan.is_public


def _list_results(call: Call, plan: Plan) -> Answer:
    start, limit = _read_page(call)
    builds = [build for build in reversed(plan.builds) if not build.is_queued]
    results = {"size": len(builds), "expand": "result", "start-index": start, "max-result": limit}
    return make_json(
        {
            "expand": "results",
            "link": _link(call, f"/result/{plan.key}"),
            "results": {**results, "result": [_result(call, plan, build) for build in cut_page(builds, start, limit)]},
        }
    )


def _show_result(call: Call, plan: Plan, number: str) -> Answer:
    for build in plan.builds:
        if str(build.number) == number:
            return make_json(_result(call, plan, build))
    raise RefusalError(404, f"No result {plan.key}-{number} found.")


def _find_plan(call: Call, key: str | None = None) -> Plan:
    key = call.groups["key"].removesuffix(".json") if key is None else key
    for plan in _data(call).plans:
        if plan.key == key and _is_visible(call, plan):
            return plan
    raise RefusalError(404, f"Plan {key} not found.")


def _read_page(call: Call) -> tuple[int, int]:
    # Bamboo's answers say max-result, its documentation asks for max-results.
    name = "max-results" if call.request.parameter("max-results") is not None else "max-result"
    return call.read_page("start-index", name)


def _expand(call: Call) -> set[str]:
    return set((call.request.parameter("expand") or "").split(","))


def _link(call: Call, path: str) -> dict[str, str]:
    return {"href": call.link_to(f"/rest/api/latest{path}"), "rel": "self"}


def _plan(call: Call, plan: Plan, *, is_full: bool) -> dict[str, Any]:
    short = {
        "shortName": plan.name,
        "shortKey": plan.key.partition("-")[2],
        "type": "chain",
        "enabled": plan.is_enabled,
        "link": _link(call, f"/plan/{plan.key}"),
        "key": plan.key,
        "name": f"{plan.project_name} - {plan.name}",
        "planKey": {"key": plan.key},
    }
    if not is_full:
        return short
    stages = [{"name": stage, "manual": False} for stage in plan.stages]
    return {
        **short,
        "projectKey": plan.key.partition("-")[0],
        "projectName": plan.project_name,
        "isBuilding": any(build.is_queued for build in plan.builds),
        "stages": {"size": len(stages), "stage": stages},
    }


def _result(call: Call, plan: Plan, build: Build) -> dict[str, Any]:
    key = f"{plan.key}-{build.number}"
    return {
        "link": _link(call, f"/result/{key}"),
        "plan": _plan(call, plan, is_full=False),
        "buildResultKey": key,
        "buildNumber": build.number,
        "buildState": build.state,
        "lifeCycleState": "Queued" if build.is_queued else "Finished",
        "buildReason": build.reason,
        "variables": {"variable": [{"name": name, "value": value} for name, value in build.variables.items()]},
    }


def _queued(call: Call, plan: Plan, build: Build) -> dict[str, Any]:
    key = f"{plan.key}-{build.number}"
    return {
        "planKey": plan.key,
        "buildNumber": build.number,
        "buildResultKey": key,
        "triggerReason": "Manual build",
        "link": _link(call, f"/result/{key}"),
    }


BAMBOO = Product(
    type_id="bamboo",
    title="Bamboo",
    version="9.6.10",
    build_number="90610",
    login_path="/userlogin.action",
    routes=make_routes(
        *(
            (method, f"/rest/api/{{version}}/{path}{suffix}", handler)
            for suffix in ("", ".json")
            for method, path, handler in (
                ("GET", "currentUser", show_current_user),
                ("GET", "info", show_info),
                ("GET", "status", show_running),
                ("GET", "server", show_running),
                ("GET", "plan", list_plans),
                ("GET", "queue", show_queue),
            )
        ),
        ("GET", "/rest/api/{version}/plan/{key}", show_plan),
        ("GET", "/rest/api/{version}/plan/{key}/label", list_labels),
        ("POST", "/rest/api/{version}/plan/{key}/label", add_label),
        ("POST", "/rest/api/{version}/queue/{key}", queue_build),
        ("GET", "/rest/api/{version}/result/{key}", show_results),
    ),
    make_data=BambooData,
    make_error=make_error,
    tokens=BAMBOO_TOKENS,
    oauth2=BAMBOO_OAUTH2,
)
