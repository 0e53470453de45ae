"""Confluence: who am I, spaces, pages and attachments."""

from typing import Any, cast
from urllib.parse import quote, urlencode

from atl_sign.sandbox.call import Call, Product, RefusalError, cut_page, make_routes, show_running, text_field
from atl_sign.sandbox.confluence_data import ConfluenceData, Page
from atl_sign.sandbox.multipart import Upload, read_uploads
from atl_sign.sandbox.oauth2.data_center import CONFLUENCE_OAUTH2
from atl_sign.sandbox.pats import make_pat_kind
from atl_sign.sandbox.wire import Answer, make_json


def show_current_user(call: Call) -> Answer:
    """Answer the user; nobody gets a 200 of type anonymous."""
    if call.user is None:
        return make_json(
            {
                "type": "anonymous",
                "displayName": "Anonymous",
                "profilePicture": {"path": "/images/icons/profilepics/anonymous.svg"},
            }
        )
    user = call.user
    return make_json(
        {
            "type": "known",
            "username": user.name,
            "userKey": f"{list(call.state.users).index(user.name) + 1:032x}",
            "displayName": user.full_name,
            "_links": {"base": call.site.base_url, "context": call.site.context_path},
        }
    )


def list_spaces(call: Call) -> Answer:
    """Answer the spaces that the caller sees."""
    start, limit = call.read_page("start", "limit")
    spaces = [{"key": key, "name": name, "type": "global"} for key, name in _data(call).spaces.items() if _is_visible(call, key)]
    return _page(call, spaces, start, limit)


def list_content(call: Call) -> Answer:
    """Answer pages, filtered by `spaceKey`, `title` and `type`."""
    start, limit = call.read_page("start", "limit")
    pages = [page for page in _data(call).pages if _is_visible(call, page.space)]
    space, title, kind = (call.request.parameter(name) for name in ("spaceKey", "title", "type"))
    if space is not None:
        if space not in _data(call).spaces or not _is_visible(call, space):
            raise RefusalError(404, f"No space with key : {space}")
        pages = [page for page in pages if page.space == space]
    if title is not None:
        pages = [page for page in pages if page.title == title]
    if kind not in (None, "page"):
        pages = []
    return _page(call, [_content(call, page) for page in pages], start, limit)


def show_content(call: Call) -> Answer:
    """Answer one page; `expand` brings body.storage, space and version."""
    return make_json(_content(call, _find_page(call)))


def create_content(call: Call) -> Answer:
    """Create a page from JSON."""
    call.require_user()
    fields = call.read_json()
    if text_field(fields, "type") != "page":
        raise RefusalError(400, "The sandbox creates only pages.")
    space, body = fields.get("space"), fields.get("body")
    key = text_field(space if isinstance(space, dict) else {}, "key")
    storage = body.get("storage") if isinstance(body, dict) else None
    title, data = text_field(fields, "title"), _data(call)
    if key not in data.spaces:
        raise RefusalError(404, f"No space with key : {key}")
    if any(page.space == key and page.title == title for page in data.pages):
        raise RefusalError(
            400,
            f"A page with this title already exists: A page already exists with the title {title} in the space with key {key}",
        )
    value = storage.get("value") if isinstance(storage, dict) else ""
    page = Page(str(int(data.pages[-1].id) + 1), key, title, str(value))
    data.pages.append(page)
    return make_json(_content(call, page))


def list_attachments(call: Call) -> Answer:
    """Answer a page's attachments."""
    page = _find_page(call)
    start, limit = call.read_page("start", "limit", 50)
    return _page(call, [_attachment(call, page, *attachment) for attachment in page.attachments], start, limit)


def attach(call: Call) -> Answer:
    """Attach files to a page; the XSRF filter wants `X-Atlassian-Token: no-check`."""
    call.require_user()
    page = _find_page(call)
    uploads = read_uploads(call)
    taken = {upload.name for _, upload in page.attachments}
    for upload in uploads:
        if upload.name in taken:
            raise RefusalError(400, f"Cannot add a new attachment with same file name as an existing attachment: {upload.name}")
    first = len(page.attachments) + 1
    added = [(f"att{page.id}{number}", upload) for number, upload in enumerate(uploads, first)]
    page.attachments += added
    return _page(call, [_attachment(call, page, *attachment) for attachment in added], 0, 50)


def download(call: Call) -> Answer:
    """Answer an attachment's bytes."""
    for _, upload in _find_page(call).attachments:
        if upload.name == call.groups["name"]:
            return Answer(200, upload.content, (("Content-Type", upload.media_type),))
    raise RefusalError(404, "No such attachment.")


def make_error(status: int, message: str) -> Answer:
    """Return a refusal in Confluence's shape."""
    return make_json({"statusCode": status, "message": message}, status)


def _data(call: Call) -> ConfluenceData:
    return cast(ConfluenceData, call.site.data)


def _is_visible(call: Call, space: str) -> bool:
    return call.user is not None or space in _data(call).public


def _find_page(call: Call) -> Page:
    for page in _data(call).pages:
        if page.id == call.groups["id"] and _is_visible(call, page.space):
            return page
    raise RefusalError(404, f"No content found with id: ContentId{{id={call.groups['id']}}}")


def _page(call: Call, items: list[Any], start: int, limit: int) -> Answer:
    """Answer *limit* of *items* from *start* on, with the address of what follows."""
    results = cut_page(items, start, limit)
    links = {"self": call.link_to(call.path), "base": call.site.base_url, "context": call.site.context_path}
    if limit and start + limit < len(items):
        query = [pair for pair in call.request.query if pair[0] not in ("start", "limit")]
        links["next"] = f"{call.path}?{urlencode([*query, ('limit', limit), ('start', start + limit)])}"
    return make_json({"results": results, "start": start, "limit": limit, "size": len(results), "_links": links})


def _content(call: Call, page: Page) -> dict[str, Any]:
    expand = (call.request.parameter("expand") or "").split(",")
    content: dict[str, Any] = {
        "id": page.id,
        "type": "page",
        "status": "current",
        "title": page.title,
        "_links": {"webui": f"/pages/viewpage.action?pageId={page.id}", "self": call.link_to(f"/rest/api/content/{page.id}")},
    }
    bodies = [name for name in ("storage", "view") if f"body.{name}" in expand]
    if bodies:
        content["body"] = {name: {"value": page.body, "representation": name} for name in bodies}
    if "space" in expand:
        content["space"] = {"key": page.space, "name": _data(call).spaces[page.space]}
    if "version" in expand:
        content["version"] = {"number": page.version}
    return content


def _attachment(call: Call, page: Page, attachment_id: str, upload: Upload) -> dict[str, Any]:
    return {
        "id": attachment_id,
        "type": "attachment",
        "status": "current",
        "title": upload.name,
        "extensions": {"mediaType": upload.media_type, "fileSize": len(upload.content)},
        "_links": {
            "download": f"/download/attachments/{page.id}/{quote(upload.name)}",
            "self": call.link_to(f"/rest/api/content/{attachment_id}"),
        },
    }


CONFLUENCE = Product(
    type_id="confluence",
    title="Confluence",
    version="8.5.19",
    build_number="9012",
    login_path="/login.action",
    routes=make_routes(
        ("GET", "/status", show_running),
        ("GET", "/rest/api/user/current", show_current_user),
        ("GET", "/rest/api/space", list_spaces),
        ("GET", "/rest/api/content", list_content),
        ("POST", "/rest/api/content", create_content),
        ("GET", "/rest/api/content/{id}", show_content),
        ("GET", "/rest/api/content/{id}/child/attachment", list_attachments),
        ("POST", "/rest/api/content/{id}/child/attachment", attach),
        ("GET", "/download/attachments/{id}/{name}", download),
    ),
    make_data=ConfluenceData,
    make_error=make_error,
    tokens=make_pat_kind((7, 9), "/plugins/personalaccesstokens/usertokens.action"),
    oauth2=CONFLUENCE_OAUTH2,
)
