"""Confluence of a Cloud site, below /wiki: who am I, spaces and pages, by the old REST calls and the new ones."""

from typing import Any, cast

from atl_sign.sandbox.call import Call, RefusalError, text_field
from atl_sign.sandbox.cloud.gate import account_id, make_scoped_routes, require_user
from atl_sign.sandbox.cloud.site_data import SiteData
from atl_sign.sandbox.confluence_data import ConfluenceData, Page
from atl_sign.sandbox.wire import Answer, make_json


def show_current_user(call: Call) -> Answer:
    """Answer the user; nobody gets a 200 of type anonymous, unless credentials were wrong."""
    if call.user is None and call.verdict != "anonymous":
        require_user(call)
    if call.user is None:
        return make_json({"type": "anonymous", "displayName": "Anonymous"})
    return make_json(
        {
            "type": "known",
            "accountId": account_id(call, call.user),
            "accountType": "atlassian",
            "email": call.user.email,
            "publicName": call.user.full_name,
            "displayName": call.user.full_name,
        }
    )


def list_spaces(call: Call) -> Answer:
    """Answer the spaces that the caller sees."""
    spaces = [{"key": key, "name": name} for key, name in _data(call).spaces.items() if _is_visible(call, key)]
    return make_json({"results": spaces, "_links": {"base": call.link_to("/wiki")}})


def list_pages(call: Call) -> Answer:
    """Answer the pages that the caller sees."""
    pages = [_page(call, page) for page in _data(call).pages if _is_visible(call, page.space)]
    return make_json({"results": pages, "_links": {"base": call.link_to("/wiki")}})


def show_page(call: Call) -> Answer:
    """Answer one page."""
    for page in _data(call).pages:
        if page.id == call.groups["id"] and _is_visible(call, page.space):
            return make_json({**_page(call, page), "body": {"storage": {"value": page.body, "representation": "storage"}}})
    raise RefusalError(404, f"No content found with id: {call.groups['id']}")


def create_content(call: Call) -> Answer:
    """Create a page from JSON, by the old call."""
    require_user(call)
    fields, data = call.read_json(), _data(call)
    space = fields.get("space")
    key, title = text_field(space if isinstance(space, dict) else {}, "key"), text_field(fields, "title")
    if key not in data.spaces:
        raise RefusalError(404, f"No space with key : {key}")
    page = Page(str(int(data.pages[-1].id) + 1), key, title, "")
    data.pages.append(page)
    return make_json(_page(call, page))


def _data(call: Call) -> ConfluenceData:
    return cast(SiteData, call.site.data).confluence


def _is_visible(call: Call, space: str) -> bool:
    return call.user is not None or space in _data(call).public


def _page(call: Call, page: Page) -> dict[str, Any]:
    links = {"webui": f"/spaces/{page.space}/pages/{page.id}", "self": call.link_to(f"/wiki/rest/api/content/{page.id}")}
    return {"id": page.id, "type": "page", "status": "current", "title": page.title, "_links": links}


CONTENT = ("read:confluence-content.all",)
CONFLUENCE_ROUTES = make_scoped_routes(
    ("GET", "/wiki/rest/api/user/current", show_current_user, ("read:confluence-user",)),
    ("GET", "/wiki/rest/api/space", list_spaces, ("read:confluence-space.summary",)),
    ("GET", "/wiki/rest/api/content", list_pages, CONTENT),
    ("POST", "/wiki/rest/api/content", create_content, ("write:confluence-content",)),
    ("GET", "/wiki/rest/api/content/{id}", show_page, CONTENT),
    ("GET", "/wiki/api/v2/spaces", list_spaces, ("read:space:confluence",)),
    ("GET", "/wiki/api/v2/pages", list_pages, ("read:page:confluence",)),
    ("GET", "/wiki/api/v2/pages/{id}", show_page, ("read:page:confluence",)),
)
