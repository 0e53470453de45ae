"""What command lines are made of: options, their values, and URLs, from what people type to what they hardly would."""

from dataclasses import dataclass

from hypothesis import strategies as st

# Files that lie in the folder where every line is run.
FILES: dict[str, bytes] = {
    "form.txt": b"f=1&g=x+y&f=0",
    "crlf.txt": b"line=1\r\nline&two=2\n",
    "nul.bin": b"a=\0b\r\n\0c",
    "bytes.bin": bytes(range(256)),
    "empty": b"",
    "json.json": b'{"a": [1, "\xc3\xa4"]}\r\n',
    "with space.txt": b"s=p",
    "h#sh?.txt": b"h=1",
    "\u00e4.txt": b"u=\xc3\xa4",
    "latin.txt": b"a=\xe4",
    "a=b.txt": b"e=q",
    "a;b,c.txt": b"semicolon=1",
    "headers.txt": b"X-From: file\r\nX-Two: 2\n",
    "type.txt": b"content-type: application/json\n",
    "form-type.txt": b"X-A: 1\nCONTENT-TYPE: application/x-www-form-urlencoded\n",
    "-": b"not standard input",
}
INPUT_FOLDER = "up"
OUTPUT_FOLDER = "out"
COOKIES = ("a=b", "a=b; c=d")  # of `-b NAME=VALUE`


@dataclass(frozen=True, slots=True)
class Option:
    """One option, by its long name, however it is spelled."""

    name: str
    value: str | None = None  # None: a flag
    forbidden: bool = False  # to be refused whatever else there is


def _some(*parts: str, most: int = 4) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(parts), max_size=most).map("".join)


# --- values ---


TAME_WORD = st.sampled_from(["a", "b", "WEB-1", "x.y", "1", "~me", "plan", "0"])
NAMES = st.sampled_from(["a", "b", "jql", "expand", "A", "os_user", "a.b", "a-b"])
TAME_VALUES = st.sampled_from(
    ["1", "0", "", "x", "plans.plan", "a+b", "%20", "%2B%2b", "%C3%A4", "%c3%a4", "a%3Db", "*~'()!", "a/b?c"]
)
HOSTILE_TEXT = _some(
    *"aZ0-._~!$'()*+,:;@/?[]{}|^\"<>`\\&=#% \t\n\r\u00e4\u6f22\U0001f600",
    *("%2B", "%20", "%26", "%3D", "%zz", "%", "%C3%A4", "%e4", "%00", "&&", "="),
    *("oauth_token=", "oauth_nonce", "\udce4", "$(id)", "--"),
    most=6,
)  # fmt: skip
PAIRS = st.builds("{}={}".format, NAMES, TAME_VALUES) | NAMES
TAME_FORM = st.lists(PAIRS, min_size=1, max_size=3).map("&".join)
FORM = st.one_of(TAME_FORM, TAME_FORM, TAME_FORM, TAME_FORM, HOSTILE_TEXT, st.sampled_from(["", "a=1&", "&a=1", "a=1&&b=2"]))
READ = st.sampled_from(["form.txt", "crlf.txt", "empty", "\u00e4.txt", "with space.txt", "a=b.txt"])
READ_HARD = st.one_of(
    READ, READ, READ, st.sampled_from(["nul.bin", "bytes.bin", "latin.txt", "./-", "h#sh?.txt", "missing", INPUT_FOLDER, "-"])
)
ENCODED = st.one_of(
    HOSTILE_TEXT.filter(lambda text: "=" not in text and "@" not in text),
    st.builds("={}".format, HOSTILE_TEXT),
    st.builds("{}={}".format, NAMES, HOSTILE_TEXT),
    st.builds("{}={}".format, NAMES, st.sampled_from(["x y", 'project = "A B"', "a@b", "@form.txt", "a&b=c", "1"])),
    st.builds("@{}".format, READ_HARD),
    st.builds("{}@{}".format, NAMES, READ_HARD),
)


def _maybe_file(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(value, value, value, st.builds("@{}".format, READ_HARD), st.just("@-"))


DATA = st.one_of(
    st.builds(Option, st.just("data"), _maybe_file(FORM)),
    st.builds(Option, st.just("data"), _maybe_file(TAME_FORM)),
    st.builds(Option, st.just("data-ascii"), _maybe_file(FORM)),
    st.builds(Option, st.just("data-raw"), st.one_of(FORM, st.just("@form.txt"))),
    st.builds(Option, st.just("data-binary"), _maybe_file(FORM)),
    st.builds(Option, st.just("data-urlencode"), ENCODED),
    st.builds(Option, st.just("data-urlencode"), ENCODED),
)
URL_QUERY = st.builds(
    Option,
    st.just("url-query"),
    st.one_of(ENCODED, PAIRS, st.builds("+{}".format, TAME_FORM), st.builds("+{}".format, HOSTILE_TEXT)),
)
JSON_TEXT = st.sampled_from(['{"a": 1}', '{"a": "x&y=z"}', "[]", "", "not json", '{"u": "\u00e4"}'])
OPAQUE = st.builds(
    Option,
    st.sampled_from(["data", "data-ascii", "data-raw", "data-binary"]),
    st.one_of(
        JSON_TEXT, JSON_TEXT, st.sampled_from(["@json.json", "@nul.bin", "@bytes.bin", "@-", "@-", "@crlf.txt", "@missing"])
    ),
)
JSON = st.builds(Option, st.just("json"), st.one_of(JSON_TEXT, st.sampled_from(["@json.json", "@-", "@-", "@crlf.txt"])))
OPAQUE_TYPE = st.builds(
    "{}{}{}".format,
    st.sampled_from(["Content-Type", "content-type", "CONTENT-TYPE", "cOnTeNt-TyPe"]),
    st.sampled_from([": ", ":", ":  "]),
    st.sampled_from(
        [
            "application/json",
            "application/octet-stream",
            "text/xml; charset=UTF-8",
            "application/json;charset=utf-8",
            "text/plain",
        ]
    ),
)
FORM_TYPE = st.builds(
    "{}: {}".format,
    st.sampled_from(["Content-Type", "content-type", "CONTENT-TYPE"]),
    st.sampled_from(
        [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "application/x-www-form-urlencoded;charset=ISO-8859-1",
            "application/x-www-form-urlencodedx",
        ]
    ),
)
FORM_PART = st.one_of(
    st.builds("{}={}".format, NAMES, st.sampled_from(["1", "", "x y", "\u00e4", "a;type=text/plain", '"q;u"', "a\nb"])),
    st.builds("{}=@{}".format, NAMES, READ_HARD),
    st.builds("{}=<{}".format, NAMES, READ_HARD),
    st.builds(
        "{}=@form.txt;{}".format, NAMES, st.sampled_from(["type=text/x", "filename=n", 'filename="a;b"', "headers=X-P: 1"])
    ),
    st.builds("{}=@form.txt,crlf.txt".format, NAMES),
    st.sampled_from(["f=@-", "f=<-", "=(;type=multipart/alternative", "nothing", "f=@-;filename=x", "=1", '{"a": "b"}']),
)
MULTIPART = st.lists(
    st.one_of(
        st.builds(Option, st.just("form"), FORM_PART),
        st.builds(Option, st.just("form"), FORM_PART),
        st.builds(Option, st.just("form-string"), st.builds("{}={}".format, NAMES, st.sampled_from(["@x", "<y", "a;b", ""]))),
    ),
    min_size=1,
    max_size=3,
)
UPLOAD = st.builds(
    Option,
    st.just("upload-file"),
    st.sampled_from(
        [
            "form.txt",
            "nul.bin",
            "empty",
            "with space.txt",
            "h#sh?.txt",
            "\u00e4.txt",
            "up/down.txt",
            "./form.txt",
            "-",
            "-",
            ".",
            "missing",
            "",
            "{form.txt,empty}",
            "a;b,c.txt",
            "a=b.txt",
            INPUT_FOLDER,
        ]
    ),
)

# --- URLs ---

SEGMENT = st.one_of(
    TAME_WORD,
    TAME_WORD,
    TAME_WORD,
    st.sampled_from(["%41", "%7E", "%2e", "a%20b", "%C3%A9", "%c3%a9", "a;v=1", "a:b", "a@b", "a,b", "a=b&c", "*~'()!$+", "a+b"]),
)
HARD_SEGMENT = st.sampled_from(
    [".", "..", "%2e%2e", ".%2E", "%2E", "...", "", "\u00e4", "a b", "a\\b", '"', "<a>", "|", "^", "`",
     "%2F", "%zz", "%", "a\tb", "..;x"]
)  # fmt: skip
GLOB = st.sampled_from(
    ["{a,b}", "{a,b,c}", "[1-3]", "[01-03]", "[a-c]", "[1-9:4]", "{x}", "{a,b}[1-2]", "[a-c:2]", "{,a}", "a{b}c", "\\{a\\}",
     "[1-1]", "[9-1]", "[", "{", "}", "]", "{}", "[]", "[1-", "{a,b", "{a,{b}}", "[a-9]", "[1-3:0]", "\\[1\\]", "[x]"]
)  # fmt: skip
ORIGIN = st.sampled_from(
    ["http://SERVER"] * 8 + ["SERVER", "SERVER", "HTTP://SERVER", "hTtP://SERVER", "http:/SERVER", "http:///SERVER", "//SERVER"]
)  # fmt: skip
ODD_ORIGIN = st.sampled_from(
    [
        "http://user:pw@SERVER", "http://user@SERVER", "http://@SERVER", "http://ELSEWHERE", "ftp://127.0.0.1:1", "https://127.0.0.1:1",
        "http://SERVER@ELSEWHERE", "http://SERVER#@ELSEWHERE", "http://ELSEWHERE\\@SERVER", "http://SERVER\\@ELSEWHERE",
        "file://SERVER", "http://SERVER?", "dict://127.0.0.1:1", " http://SERVER", "http://SERVER ", "http://0x7f.1", "httpx://SERVER",
    ]
)  # fmt: skip
QUERY = st.one_of(
    st.just(""),
    st.just(""),
    st.builds("?{}".format, TAME_FORM),
    st.builds("?{}".format, TAME_FORM),
    st.builds(
        "?{}".format,
        st.sampled_from(["", "a=[1]", "a={b}", "a=\u00e4", 'a|b=^"<>`', "a=b?c", "a=/../b", "a&&b", "=x", "a=%zz", "a=\\"]),
    ),
    st.builds("?{}".format, HOSTILE_TEXT),
)
FRAGMENT = st.sampled_from(["", "", "", "", "", "#", "#top", "#a?b=c", "#a#b"])


# --- what stands around it ---

WRITE_OUT = st.sampled_from(
    [
        "%{http_code}\\n",
        "%{url_effective} %{method}\\n",
        "done",
        "%{urlnum}\\n",
        "%{filename_effective}",
        "%{num_redirects} %header{x}",
    ]
)
HEADER = st.sampled_from(
    ["X-One: 1", "X-One: 1", "X-Empty;", "Accept:", "Accept: application/json", "accept:text/x", "X-Two:2", "none",
     "@headers.txt", "X-Atlassian-Token: no-check", "X-U: \u00e4", "User-Agent: mine", "X-Q: \"a'b\\"]
)  # fmt: skip
HARD_HEADER = st.sampled_from(
    ["Expect:", "Expect: 100-continue", "Connection: close", "@type.txt", "@form-type.txt", "@-",
     "Host: SERVER", "X-A: 1\r\n", "Range: bytes=0-1", "Content-Type:", "content-type;", " X-Fold: 1",
     "Cookie: a=b"]
)  # fmt: skip

# With these a body has to follow.
BODY_HEADER = st.sampled_from(["Transfer-Encoding: chunked", "transfer-encoding:chunked", "Content-Length: 2"])

EVERYDAY_EXTRA = st.one_of(
    st.sampled_from([Option("silent"), Option("show-error"), Option("fail"), Option("globoff"), Option("verbose")]),
    st.builds(Option, st.just("output"), st.sampled_from(["out.1", "out/put", "/dev/null", "-", "no/folder"])),
    st.builds(Option, st.just("header"), HEADER),
)
EXTRA = st.one_of(
    EVERYDAY_EXTRA,
    EVERYDAY_EXTRA,
    st.sampled_from(
        [Option(name) for name in (
            "http1.0", "http1.1", "http2", "include", "no-buffer", "compressed", "no-compressed", "path-as-is", "no-path-as-is",
            "ipv4", "tcp-nodelay", "no-keepalive", "no-sessionid", "no-progress-meter", "fail-with-body", "raw", "remote-name",
            "remote-name-all", "create-dirs", "remote-time", "tr-encoding", "fail-early", "progress-bar", "styled-output",
            "no-styled-output", "no-clobber", "no-silent", "no-fail", "no-globoff", "no-get", "no-head", "no-location",
            "disallow-username-in-url", "remote-header-name", "http0.9", "no-alpn", "parallel", "no-verbose", "no-include",
            "ignore-content-length", "tcp-fastopen", "suppress-connect-headers", "location",
        )]
    ),
    st.builds(Option, st.just("user-agent"), st.sampled_from(["mine/1", "", "a b"])),
    st.builds(Option, st.just("referer"), st.sampled_from(["http://r.example/", ";auto", "http://r.example/;auto"])),
    st.builds(Option, st.just("cookie"), st.sampled_from([*COOKIES, "no-such-jar"])),
    st.builds(Option, st.just("cookie-jar"), st.sampled_from(["out.jar", "-"])),
    st.builds(Option, st.just("write-out"), WRITE_OUT),
    st.builds(Option, st.just("output"), st.sampled_from(["out.#1", "out.#2#1", "out.1"])),
    st.builds(Option, st.just("output-dir"), st.sampled_from(["out", "out/new"])),
    st.builds(Option, st.just("dump-header"), st.sampled_from(["-", "out.head"])),
    st.builds(Option, st.just("max-time"), st.sampled_from(["20", "9.5"])),
    st.builds(Option, st.just("connect-timeout"), st.just("9")),
    st.builds(Option, st.just("range"), st.sampled_from(["0-3", "-5", "1-2,4-"])),
    st.builds(Option, st.just("max-redirs"), st.sampled_from(["0", "1", "3", "-1"])),
    st.builds(Option, st.just("noproxy"), st.just("*")),
    st.builds(Option, st.just("proto"), st.sampled_from(["=http", "http,https", "-all,http"])),
    st.builds(Option, st.just("proto-default"), st.sampled_from(["http", "https"])),
    st.builds(Option, st.just("stderr"), st.sampled_from(["-", "out.err"])),
    st.builds(Option, st.just("limit-rate"), st.just("50M")),
    st.builds(Option, st.just("expect100-timeout"), st.just("0.5")),
    st.builds(Option, st.just("time-cond"), st.just("2020-01-01")),
    st.builds(Option, st.just("header"), HARD_HEADER),
    URL_QUERY,
    URL_QUERY,
)  # fmt: skip
FORBIDDEN = st.sampled_from(
    [
        Option("user", "eve:secret", True),
        Option("user", "eve", True),
        Option("netrc", None, True),
        Option("netrc-optional", None, True),
        Option("netrc-file", "form.txt", True),
        Option("oauth2-bearer", "secret", True),
        Option("aws-sigv4", "a:b", True),
        Option("anyauth", None, True),
        Option("digest", None, True),
        Option("negotiate", None, True),
        Option("ntlm", None, True),
        Option("delegation", "none", True),
        Option("location-trusted", None, True),
        Option("libcurl", "out.c", True),
        Option("trace", "out.trace", True),
        Option("trace-ascii", "-", False),
        Option("insecure", None, True),
        Option("header", "Authorization: Basic eve", True),
        Option("header", "authorization:", True),
        Option("header", "AUTHORIZATION;", True),
        Option("header", "Authorization : x", True),
        Option("header", "Host: elsewhere.example", True),
        Option("header", "host: ELSEWHERE", True),
        Option("request-target", "/jira/elsewhere", False),
        Option("connect-to", "::ELSEWHERE", False),
        Option("resolve", "elsewhere.example:80:127.0.0.1", False),
        Option("proxy", "http://ELSEWHERE", False),
        Option("preproxy", "http://ELSEWHERE", False),
        Option("unix-socket", "/nowhere", False),
        Option("haproxy-protocol", None, False),
        Option("next", None, False),
        Option("no-such-option", None, False),
    ]
)
METHOD = st.sampled_from(
    ["GET", "POST", "PUT", "DELETE", "PATCH", "get", "PropFind", "HEAD", "OPTIONS", "post", "", "A B", "X-\u00e4"]
)
