"""A little of each product's REST, as alice and as nobody."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from tests.sandbox.consumer import FORM, JSON, NO_CHECK, Clock, Consumer, Reply, send
from tests.sandbox.test_applinks import basic

Make = Callable[[str], Consumer]
MULTIPART = {"Content-Type": "multipart/form-data; boundary=cut"}


def anonymous(consumer: Consumer, path: str) -> Reply:
    return send("GET", consumer.base + path)


def post_json(consumer: Consumer, path: str, fields: Mapping[str, Any], method: str = "POST") -> Reply:
    return consumer.call(method, path, json.dumps(fields), JSON)


def upload(*files: tuple[str, str, bytes]) -> bytes:
    """Return a multipart body of (part name, file name, content)."""
    parts = b""
    for name, file_name, content in files:
        disposition = f'form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name else "")
        parts += f"--cut\r\nContent-Disposition: {disposition}\r\nContent-Type: image/png\r\n\r\n".encode() + content + b"\r\n"
    return parts + b"--cut--\r\n"


@pytest.mark.parametrize(
    ("product", "path"),
    [
        ("jira", "/status"),
        ("confluence", "/status"),
        ("bitbucket", "/status"),
        ("bamboo", "/rest/api/latest/status"),
        ("bamboo", "/rest/api/latest/server"),
        ("bamboo", "/rest/api/latest/info.json"),
    ],
)
def test_product_says_that_it_runs(registered: Make, product: str, path: str) -> None:
    """To anybody."""
    assert anonymous(registered(product), path).json["state"] == "RUNNING"


# Jira


def test_jira_who_am_i(danced: Make) -> None:
    """401 to nobody."""
    jira = danced("jira")

    assert jira.call("GET", "/rest/api/2/myself").json["displayName"] == "Alice Adams"
    assert anonymous(jira, "/rest/api/2/myself").status == 401


def test_jira_server_info(registered: Make) -> None:
    """Version, configured base URL and its own time, to anybody."""
    jira = registered("jira")

    info = anonymous(jira, "/rest/api/2/serverInfo").json

    assert (info["baseUrl"], info["versionNumbers"]) == (jira.base, [9, 12, 15])
    assert info["serverTime"] == "2023-11-14T22:13:20.000+0000"


def test_jira_search(danced: Make) -> None:
    """By query and by JSON, in pages; nobody finds nothing, and no project exists for nobody."""
    jira = danced("jira")
    path = "/rest/api/2/search?jql=project%20%3D%20WEB%20ORDER%20BY%20key%20DESC&maxResults=2&startAt=1"

    by_query = jira.call("GET", path).json
    by_json = post_json(
        jira, "/rest/api/2/search", {"jql": "project = WEB ORDER BY key DESC", "maxResults": 2, "startAt": 1}
    ).json

    assert by_query == by_json
    assert by_query["total"] == 4
    assert [issue["key"] for issue in by_query["issues"]] == ["WEB-3", "WEB-2"]
    assert by_query["issues"][0]["fields"]["summary"] == "Search finds nothing for “café”"
    assert anonymous(jira, "/rest/api/2/search").json["total"] == 0
    assert anonymous(jira, path).status == 400
    assert [project["key"] for project in jira.call("GET", "/rest/api/2/project").json] == ["WEB", "OPS"]
    assert anonymous(jira, "/rest/api/2/project").json == []


def test_jira_one_project_by_key_or_id(danced: Make) -> None:
    """An issue can be created with the id; another id, and any to nobody, is not there."""
    jira = danced("jira")

    project = jira.call("GET", "/rest/api/2/project/OPS").json
    fields = {"project": {"id": project["id"]}, "summary": "by id", "issuetype": {"name": "Task"}}
    created = post_json(jira, "/rest/api/2/issue", {"fields": fields})
    refused = post_json(jira, "/rest/api/2/issue", {"fields": {**fields, "project": {"id": "10999"}}})

    assert jira.call("GET", f"/rest/api/2/project/{project['id']}").json == project
    assert created.json["key"].startswith("OPS-")
    assert refused.json["errors"] == {"project": "valid project is required"}
    assert jira.call("GET", "/rest/api/2/project/NONE").status == 404
    assert anonymous(jira, "/rest/api/2/project/OPS").status == 404


def test_jira_fields_are_those_of_its_issues(danced: Make) -> None:
    """Each field that an issue has, under the names that a search takes; a field that no issue has is not named."""
    jira = danced("jira")

    fields = {field["id"]: field for field in anonymous(jira, "/rest/api/2/field").json}

    assert fields.keys() == jira.call("GET", "/rest/api/2/issue/WEB-1").json["fields"].keys()
    assert fields["issuetype"]["clauseNames"] == ["issuetype", "type"]
    assert "customfield_10000" not in fields


@pytest.mark.parametrize("query", ["maxResults=x", "startAt=-1", "maxResults=99999999999", "jql=nonsense", "jql=project%3DNONE"])
def test_jira_bad_search_is_refused(danced: Make, query: str) -> None:
    """400 with words."""
    reply = danced("jira").call("GET", f"/rest/api/2/search?{query}")

    assert reply.status == 400
    assert reply.json["errorMessages"]


@pytest.mark.parametrize("fields", [{"jql": 5}, {"startAt": "0"}, {"maxResults": -1}, {"startAt": True}])
def test_jira_bad_search_by_json_is_refused(danced: Make, fields: dict[str, Any]) -> None:
    """400 too."""
    assert post_json(danced("jira"), "/rest/api/2/search", fields).status == 400


def test_jira_create_issue(danced: Make) -> None:
    """By JSON; it is there afterwards, by key and by id. Nobody creates nothing."""
    jira = danced("jira")
    fields = {
        "project": {"key": "OPS"},
        "issuetype": {"name": "Bug"},
        "summary": "Grüße",
        "priority": {"name": "High"},
        "labels": ["x"],
    }

    created = post_json(jira, "/rest/api/2/issue", {"fields": fields})
    refused = send("POST", jira.base + "/rest/api/2/issue", json.dumps({"fields": fields}), JSON)

    assert (created.status, created.json["key"], refused.status) == (201, "OPS-3", 401)
    for name in ("OPS-3", "ops-3", created.json["id"]):
        issue = jira.call("GET", f"/rest/api/2/issue/{name}").json["fields"]
        assert (issue["summary"], issue["reporter"]["name"], issue["labels"]) == ("Grüße", "alice", ["x"])
    assert anonymous(jira, "/rest/api/2/issue/OPS-3").status == 404


def test_jira_bad_issue_is_refused_field_by_field(danced: Make) -> None:
    """Each field that is wrong is named."""
    jira = danced("jira")
    fields = {"project": "OPS", "issuetype": {"name": 5}, "priority": {"name": "Urgent"}, "summary": " ", "colour": "red"}

    reply = post_json(jira, "/rest/api/2/issue", {"fields": fields})

    assert reply.status == 400
    assert set(reply.json["errors"]) == {"project", "issuetype", "priority", "summary", "colour"}
    assert post_json(jira, "/rest/api/2/issue", {"fields": []}).status == 400


def test_jira_comments(danced: Make) -> None:
    """Added and listed; not empty, not without a login, not at an issue that does not exist."""
    jira = danced("jira")
    path = "/rest/api/2/issue/WEB-1/comment"

    created = post_json(jira, path, {"body": "Grüße"})

    assert (created.status, created.json["body"], created.json["author"]["name"]) == (201, "Grüße", "alice")
    assert jira.call("GET", path).json["comments"][-1] == created.json
    assert post_json(jira, path, {"body": " "}).status == 400
    assert post_json(jira, "/rest/api/2/issue/WEB-999/comment", {"body": "x"}).status == 404
    assert send("POST", jira.base + path, json.dumps({"body": "x"}), JSON).status == 401


def test_jira_attachment(danced: Make) -> None:
    """Multipart with a part called file."""
    jira = danced("jira")

    reply = jira.call(
        "POST", "/rest/api/2/issue/WEB-1/attachments", upload(("file", "a.png", b"\x89PNG\r\n\x00")), {**MULTIPART, **NO_CHECK}
    )

    assert [(found["filename"], found["size"]) for found in reply.json] == [("a.png", 7)]
    issue = jira.call("GET", "/rest/api/2/issue/WEB-1").json["fields"]
    assert issue["attachment"] == reply.json
    assert issue["updated"] == "2023-11-14T22:13:20.000+0000"  # the clock's time


NAMES = ("Grüße.png", "файл.png", "日本.png", "\U0001f600 x.png", "a;b=c.png")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("product", ["jira", "confluence"])
@pytest.mark.parametrize(
    "spell",
    [
        lambda name: f'filename="{name}"',
        lambda name: f"filename*=UTF-8''{quote(name, safe='')}",
        lambda name: f"filename=\"fallback.png\"; filename*=utf-8''{quote(name, safe='')}",
        lambda name: f'filename="=?UTF-8?B?{b64encode(name.encode()).decode()}?="',
    ],
    ids=["RFC 7578", "RFC 8187", "both", "RFC 2047"],
)
def test_a_file_name_beyond_ascii_comes_back(danced: Make, product: str, spell: Callable[[str], str], name: str) -> None:
    """As UTF-8 in quotes, as filename*, or as an encoded word: browsers, curl, requests and form-data differ."""
    consumer = danced(product)
    body = f'--cut\r\nContent-Disposition: form-data; name="file"; {spell(name)}\r\n\r\nx\r\n--cut--\r\n'.encode()
    path = {"jira": "/rest/api/2/issue/WEB-1/attachments", "confluence": "/rest/api/content/65538/child/attachment"}[product]

    reply = consumer.call("POST", path, body, {**MULTIPART, **NO_CHECK})

    if product == "jira":
        assert [found["filename"] for found in reply.json] == [name]
    else:
        (found,) = reply.json["results"]
        assert found["title"] == name
        assert consumer.call("GET", found["_links"]["download"]).body == b"x"


@pytest.mark.parametrize("name", ['say "hi".png', "back\\slash.png"])
def test_a_file_name_with_quotes_comes_back(danced: Make, name: str) -> None:
    """Escaped by a backslash, as curl before 7.81 and Python's libraries do it."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')

    reply = danced("jira").call(
        "POST", "/rest/api/2/issue/WEB-1/attachments", upload(("file", escaped, b"x")), {**MULTIPART, **NO_CHECK}
    )

    assert [found["filename"] for found in reply.json] == [name]


# Confluence


def test_confluence_who_am_i(danced: Make) -> None:
    """The trap: nobody gets 200 and type anonymous."""
    confluence = danced("confluence")
    path = "/rest/api/user/current"

    known, nobody = confluence.call("GET", path), anonymous(confluence, path)

    assert (known.json["type"], known.json["username"]) == ("known", "alice")
    assert (nobody.status, nobody.json["type"]) == (200, "anonymous")
    assert "username" not in nobody.json


def test_confluence_pages(danced: Make) -> None:
    """Filtered, in pages, expanded; nobody sees the public space alone."""
    confluence = danced("confluence")
    path = "/rest/api/content?spaceKey=TEAM&limit=2&start=1&expand=body.storage,space,version"

    pages = confluence.call("GET", path).json
    titled = confluence.call("GET", "/rest/api/content?title=Caf%C3%A9%20%26%20kitchen%20rules&type=page").json

    assert [page["title"] for page in pages["results"]] == ["Who is on call?", "Café & kitchen rules"]
    assert pages["results"][0]["version"] == {"number": 3}
    assert pages["results"][0]["space"]["key"] == "TEAM"
    assert "Bob" in pages["results"][0]["body"]["storage"]["value"]
    assert [page["id"] for page in titled["results"]] == ["65540"]
    assert confluence.call("GET", "/rest/api/content?type=blogpost").json["size"] == 0
    assert [page["title"] for page in anonymous(confluence, "/rest/api/content").json["results"]] == ["Welcome"]
    assert anonymous(confluence, path).status == 404
    assert confluence.call("GET", "/rest/api/content?spaceKey=NONE").status == 404
    assert [space["key"] for space in confluence.call("GET", "/rest/api/space").json["results"]] == ["PUB", "TEAM"]
    assert [space["key"] for space in anonymous(confluence, "/rest/api/space").json["results"]] == ["PUB"]


def test_confluence_pages_follow_each_other(danced: Make) -> None:
    """By `_links.next`, which keeps the filter, as clients go on with it; the last one has none. Bodies come by expand."""
    confluence = danced("confluence")
    path: str | None = "/rest/api/content?spaceKey=TEAM&limit=2&expand=body.view,body.storage"
    titles = []
    for _ in range(2):
        assert path is not None
        found = confluence.call("GET", path).json
        titles.append([page["title"] for page in found["results"]])
        assert all(set(page["body"]) == {"view", "storage"} for page in found["results"])
        path = found["_links"].get("next")

    assert [len(each) for each in titles] == [2, 1]
    assert titles[1] == ["Café & kitchen rules"]
    assert path is None
    assert "body" not in confluence.call("GET", "/rest/api/content/65538?expand=version").json


def test_confluence_create_page(danced: Make) -> None:
    """By JSON; the same title again is refused, and nobody creates nothing."""
    confluence = danced("confluence")
    fields = {
        "type": "page",
        "title": "New",
        "space": {"key": "TEAM"},
        "body": {"storage": {"value": "<p/>", "representation": "storage"}},
    }

    created, again = (post_json(confluence, "/rest/api/content", fields) for _ in range(2))

    assert (created.json["id"], again.status) == ("65541", 400)
    assert confluence.call("GET", "/rest/api/content/65541?expand=body.storage").json["body"]["storage"]["value"] == "<p/>"
    assert send("POST", confluence.base + "/rest/api/content", json.dumps(fields), JSON).status == 401


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"type": "blogpost"}, 400),
        ({"title": ""}, 400),
        ({"space": "TEAM"}, 400),
        ({"space": {"key": "NONE"}}, 404),
        ({"body": "text"}, 200),
    ],
)
def test_confluence_bad_page_is_refused(danced: Make, changes: dict[str, Any], status: int) -> None:
    """400 or 404; a body may be missing."""
    fields = {"type": "page", "title": "New", "space": {"key": "TEAM"}, "body": {"storage": []}, **changes}

    assert post_json(danced("confluence"), "/rest/api/content", fields).status == status


def test_confluence_attachment(danced: Make) -> None:
    """Multipart, a part called file, the header: then the bytes come back as they went."""
    confluence = danced("confluence")
    path, content = "/rest/api/content/65538/child/attachment", bytes(range(256)) + b"\r\n"
    body = upload(("comment", "", b"a note"), ("file", "plan b.png", content))

    without = confluence.call("POST", path, body, MULTIPART)
    reply = confluence.call("POST", path, body, {**MULTIPART, **NO_CHECK})
    again = confluence.call("POST", path, body, {**MULTIPART, **NO_CHECK})

    assert (without.status, without.text) == (403, "XSRF check failed")
    assert [(found["title"], found["extensions"]["fileSize"]) for found in reply.json["results"]] == [("plan b.png", 258)]
    assert again.status == 400
    assert confluence.call("GET", path).json["results"] == reply.json["results"]
    download = confluence.call("GET", "/download/attachments/65538/plan%20b.png")
    assert (download.body, download.headers["Content-Type"]) == (content, "image/png")
    assert confluence.call("GET", "/download/attachments/65538/other.png").status == 404
    assert anonymous(confluence, "/download/attachments/65538/plan%20b.png").status == 404


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (upload(("attachment", "a.png", b"x")), MULTIPART, 400),
        (upload(("file", "", b"x")), MULTIPART, 400),
        (b"rubbish", MULTIPART, 400),
        (upload(("file", "a.png", b"x")), {"Content-Type": "multipart/form-data"}, 400),
        (b"{}", JSON, 415),
    ],
)
def test_confluence_bad_attachment_is_refused(danced: Make, body: bytes, headers: dict[str, str], status: int) -> None:
    """Another name, no file name, no multipart."""
    reply = danced("confluence").call("POST", "/rest/api/content/65538/child/attachment", body, {**headers, **NO_CHECK})

    assert reply.status == status
    assert reply.json["message"]


# Bamboo


def test_bamboo_who_am_i(danced: Make) -> None:
    """401 to nobody."""
    bamboo = danced("bamboo")

    assert bamboo.call("GET", "/rest/api/latest/currentUser").json["name"] == "alice"
    assert anonymous(bamboo, "/rest/api/latest/currentUser").status == 401


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_bamboo_plans(danced: Make, suffix: str) -> None:
    """In short with and without expand=plans, in full with plans.plan; nobody sees the public one alone."""
    bamboo = danced("bamboo")
    path = f"/rest/api/latest/plan{suffix}"

    short = bamboo.call("GET", path).json["plans"]
    plans = bamboo.call("GET", f"{path}?expand=plans&max-results=2&start-index=1").json["plans"]
    full = bamboo.call("GET", f"{path}?expand=plans.plan&max-result=1").json["plans"]

    assert (short["size"], [plan["shortKey"] for plan in short["plan"]]) == (4, ["BUILD", "DEPLOY", "CERTS", "DOCS"])
    assert "stages" not in short["plan"][0]
    assert [plan["key"] for plan in plans["plan"]] == ["WEB-DEPLOY", "OPS-CERTS"]
    assert "stages" not in plans["plan"][0]
    assert full["plan"][0]["stages"]["size"] == 2
    assert [plan["key"] for plan in anonymous(bamboo, f"{path}?expand=plans").json["plans"]["plan"]] == ["PUB-DOCS"]


def test_bamboo_one_plan(danced: Make) -> None:
    """404 for what is not there, and for nobody."""
    bamboo = danced("bamboo")

    assert bamboo.call("GET", "/rest/api/latest/plan/WEB-BUILD").json["shortName"] == "Build"
    assert bamboo.call("GET", "/rest/api/latest/plan/WEB-BUILD.json").json["projectKey"] == "WEB"
    assert bamboo.call("GET", "/rest/api/latest/plan/NO-SUCH").status == 404
    assert anonymous(bamboo, "/rest/api/latest/plan/WEB-BUILD").status == 404


def test_bamboo_queue_a_build(danced: Make) -> None:
    """By form; it waits then. Nobody queues nothing."""
    bamboo = danced("bamboo")
    path, body = "/rest/api/latest/queue/WEB-BUILD", "stage=Test&executeAllStages=true&bamboo.variable.who=caf%C3%A9+b"

    queued = bamboo.call("POST", path, body, {**FORM, **NO_CHECK})
    refused = send("POST", bamboo.base + path, body, {**FORM, **NO_CHECK})
    without = bamboo.call("POST", path, body, FORM)

    assert (queued.status, queued.json["buildResultKey"]) == (200, "WEB-BUILD-42")
    assert (refused.status, without.status) == (401, 403)
    waiting = bamboo.call("GET", "/rest/api/latest/queue.json").json["queuedBuilds"]
    assert [build["buildNumber"] for build in waiting["queuedBuild"]] == [42]
    result = bamboo.call("GET", "/rest/api/latest/result/WEB-BUILD-42").json
    assert (result["lifeCycleState"], result["variables"]["variable"]) == ("Queued", [{"name": "who", "value": "café b"}])
    assert bamboo.call("GET", "/rest/api/latest/plan/WEB-BUILD").json["isBuilding"] is True
    assert anonymous(bamboo, "/rest/api/latest/queue").json["queuedBuilds"]["size"] == 0


@pytest.mark.parametrize(
    ("plan", "body", "status"), [("OPS-CERTS", "", 400), ("WEB-BUILD", "stage=None", 400), ("NO-SUCH", "", 404)]
)
def test_bamboo_bad_build_is_refused(danced: Make, plan: str, body: str, status: int) -> None:
    """A disabled plan, an unknown stage, no plan."""
    assert danced("bamboo").call("POST", f"/rest/api/latest/queue/{plan}", body, {**FORM, **NO_CHECK}).status == status


def test_bamboo_first_build_of_a_plan(danced: Make) -> None:
    """By JSON's content type the filter lets it pass; the stages are all then."""
    bamboo = danced("bamboo")
    bamboo.provider.state.sites["bamboo"].data.plans[2].is_enabled = True

    assert post_json(bamboo, "/rest/api/latest/queue/OPS-CERTS", {}).json["buildNumber"] == 1


def test_bamboo_results(danced: Make) -> None:
    """Finished builds, in pages."""
    bamboo = danced("bamboo")

    results = bamboo.call("GET", "/rest/api/latest/result/WEB-DEPLOY?max-results=5").json["results"]

    assert [(result["buildNumber"], result["buildState"]) for result in results["result"]] == [(17, "Failed")]
    assert bamboo.call("GET", "/rest/api/latest/result/WEB-DEPLOY-99").status == 404


def test_bamboo_labels(danced: Make) -> None:
    """Added by a JSON POST, 204; twice is once; nobody adds nothing."""
    bamboo = danced("bamboo")
    path = "/rest/api/latest/plan/WEB-BUILD/label"

    added = [post_json(bamboo, path, {"name": "release"}).status for _ in range(2)]
    refused = send("POST", bamboo.base + path, '{"name": "x"}', JSON)

    assert added == [204, 204]
    assert refused.status == 401
    assert [label["name"] for label in bamboo.call("GET", path).json["labels"]["label"]] == ["nightly", "release"]


# Bitbucket


def test_bitbucket_projects_and_repositories(danced: Make) -> None:
    """In pages; nobody sees the public project alone, and 401 for the others."""
    bitbucket = danced("bitbucket")
    api = "/rest/api/latest"

    first = bitbucket.call("GET", f"{api}/projects?limit=1").json
    second = bitbucket.call("GET", f"{api}/projects?limit=1&start=1").json

    assert ([project["key"] for project in first["values"]], first["isLastPage"], first["nextPageStart"]) == (["WEB"], False, 1)
    assert ([project["key"] for project in second["values"]], second["isLastPage"]) == (["PUB"], True)
    assert "nextPageStart" not in second
    assert [project["key"] for project in anonymous(bitbucket, f"{api}/projects").json["values"]] == ["PUB"]
    assert bitbucket.call("GET", f"{api}/projects/web").json["name"] == "Web shop"
    assert bitbucket.call("GET", f"{api}/projects/~alice").json["type"] == "PERSONAL"
    assert [repository["slug"] for repository in bitbucket.call("GET", f"{api}/projects/WEB/repos").json["values"]] == [
        "shop",
        "design",
    ]
    assert bitbucket.call("GET", f"{api}/projects/WEB/repos/shop").json["links"]["clone"][0]["href"].endswith("/scm/web/shop.git")
    assert len(bitbucket.call("GET", f"{api}/projects/WEB/repos/shop/branches").json["values"]) == 2
    assert anonymous(bitbucket, f"{api}/projects/PUB/repos/docs").status == 200
    assert anonymous(bitbucket, f"{api}/projects/WEB").status == 401
    assert bitbucket.call("GET", f"{api}/projects/NONE").status == 404
    assert bitbucket.call("GET", f"{api}/projects/WEB/repos/none").status == 404


def test_bitbucket_files(danced: Make) -> None:
    """Folders, lines and raw text, at a branch."""
    bitbucket = danced("bitbucket")
    shop = "/rest/api/1.0/projects/WEB/repos/shop"

    root = bitbucket.call("GET", f"{shop}/browse").json["children"]["values"]
    folder = bitbucket.call("GET", f"{shop}/browse/src/").json["children"]["values"]
    lines = bitbucket.call("GET", f"{shop}/browse/src/main.py?at=refs%2Fheads%2Ffeature%2F1").json["lines"]

    assert {child["path"]["name"]: child["type"] for child in root} == {
        "README.md": "FILE",
        "src": "DIRECTORY",
        "docs": "DIRECTORY",
    }
    assert [child["path"]["name"] for child in folder] == ["main.py"]
    assert lines[1]["text"] == "    print('Hello')"
    assert bitbucket.call("GET", f"{shop}/raw/docs/50%25%20off.md").text == "Half price.\n"
    assert bitbucket.call("GET", f"{shop}/raw/none").status == 404
    assert bitbucket.call("GET", f"{shop}/browse/none").status == 404
    assert bitbucket.call("GET", f"{shop}/browse?at=none").status == 404


def test_bitbucket_users_and_properties(danced: Make) -> None:
    """Users for users, the version for anybody."""
    bitbucket = danced("bitbucket")

    assert bitbucket.call("GET", "/rest/api/1.0/users/BOB").json["displayName"] == "Bob Brown"
    assert bitbucket.call("GET", "/rest/api/1.0/users/none").status == 404
    assert anonymous(bitbucket, "/rest/api/1.0/users/bob").status == 401
    assert anonymous(bitbucket, "/rest/api/1.0/application-properties").json["version"] == "8.19.9"


@pytest.mark.parametrize("version", ["1.0", "latest"])
def test_bitbucket_access_token(danced: Make, clock: Clock, version: str) -> None:
    """Made by a signed PUT, good as a bearer and as the user's password until its days are over."""
    bitbucket = danced("bitbucket")
    path, who = f"/rest/access-tokens/{version}/users/alice", "/plugins/servlet/applinks/whoami"

    made = post_json(bitbucket, path, {"name": "ci", "permissions": ["REPO_READ"], "expiryDays": 90}, "PUT")
    bearer, password = {"Authorization": f"Bearer {made.json['token']}"}, basic("alice", made.json["token"])

    assert made.status == 200
    assert made.json["expiryDate"] - made.json["createdDate"] == 90 * 86_400_000
    assert [send("GET", bitbucket.base + who, headers=headers).text for headers in (bearer, password)] == ["alice", "alice"]
    assert send("GET", bitbucket.base + who, headers=basic("bob", made.json["token"])).status == 401
    clock.now += 90 * 86_400
    assert [send("GET", bitbucket.base + who, headers=headers).status for headers in (bearer, password)] == [401, 401]


def test_bitbucket_access_token_is_listed_changed_and_deleted(danced: Make) -> None:
    """Its secret is never shown again; the XSRF filter does not mind the JSON POST."""
    bitbucket = danced("bitbucket")
    path = "/rest/access-tokens/1.0/users/alice"
    other, made = (
        post_json(bitbucket, path, {"name": name, "permissions": ["REPO_READ"]}, "PUT").json for name in ("other", "ci")
    )
    one = f"{path}/{made['id']}"

    changed = post_json(bitbucket, one, {"name": "cd", "permissions": ["REPO_WRITE", "PROJECT_READ"]}).json
    listed = bitbucket.call("GET", path).json

    assert (changed["name"], changed["permissions"], "expiryDate" in changed) == ("cd", ["REPO_WRITE", "PROJECT_READ"], False)
    assert [token["id"] for token in listed["values"]] == [other["id"], made["id"]]
    assert listed["values"][1:] == [changed] == [bitbucket.call("GET", one).json]
    assert "token" not in changed
    assert [bitbucket.call("DELETE", one).status for _ in range(2)] == [204, 404]
    assert send("GET", bitbucket.base + path, headers={"Authorization": f"Bearer {made['token']}"}).status == 401


def test_bitbucket_access_tokens_are_ones_own(danced: Make) -> None:
    """401 to nobody, 403 for another user's, and a token makes no tokens."""
    bitbucket = danced("bitbucket")
    path, fields = "/rest/access-tokens/1.0/users/alice", {"name": "ci", "permissions": ["REPO_READ"]}
    token = post_json(bitbucket, path, fields, "PUT").json["token"]
    bearer = {"Authorization": f"Bearer {token}"}

    assert send("PUT", bitbucket.base + path, json.dumps(fields), JSON).status == 401
    assert post_json(bitbucket, path.replace("alice", "bob"), fields, "PUT").status == 403
    assert send("PUT", bitbucket.base + path, json.dumps(fields), {**JSON, **bearer}).status == 403
    assert send("GET", bitbucket.base + path, headers=bearer).status == 200


@pytest.mark.parametrize(
    "changes",
    [{"name": ""}, {"permissions": []}, {"permissions": ["ALL"]}, {"permissions": "REPO_READ"}, {"permissions": [5]}]
    + [{"expiryDays": days} for days in (0, 366, "90", 1.5, True)],
)
def test_bitbucket_bad_access_token_is_refused(danced: Make, changes: dict[str, Any]) -> None:
    """400, and none is made."""
    bitbucket = danced("bitbucket")
    path = "/rest/access-tokens/1.0/users/alice"

    reply = post_json(bitbucket, path, {"name": "ci", "permissions": ["REPO_READ"], **changes}, "PUT")

    assert reply.status == 400
    assert reply.json["errors"][0]["message"]
    assert bitbucket.call("GET", path).json["size"] == 0
