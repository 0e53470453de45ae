"""
Requests that are hard to sign, for Perl's Net::OAuth 0.28 and npm's oauth-1.0a 2.2.6.

Where Net::OAuth is known to go wrong, the row says how, and is compared with oauth-1.0a alone. `test_hard_urls.py` holds that
these rows do come out differently there, so that no excuse outlives its reason.
"""

from dataclasses import dataclass

from atl_sign.base.urls import Pairs

REPEATED = "keeps parameters in a hash: of a repeated name the last value alone is signed"
PREFIX = 'sorts "name=value" as one text, so that "a-b=" and "a1=" come before "a="'
METHOD_CASE = "leaves the method as it is, where RFC 5849 section 3.4.1.1 has it in upper case"


@dataclass(frozen=True, slots=True)
class Row:
    """One request, and why Net::OAuth cannot be asked about it, where it cannot."""

    name: str
    url: str
    method: str = "GET"
    form: str | None = None
    oauth: Pairs = ()  # protocol parameters of the dance
    token: str | None = "tok123"
    consumer_key: str = "example-consumer"
    not_perl: str = ""  # why Net::OAuth differs


H = "https://jira.example.com/jira/rest/api/2/search"
P = "http://bamboo.example.com:8085/rest/api/latest/queue/PRJ-PLAN"

ROWS = (
    # the query's characters
    Row("raw brackets", H + "?x[0]=[1]&y=]["),
    Row("raw braces", H + "?{a}={b}"),
    Row("raw bar", H + "?a=b|c"),
    Row("raw caret", H + "?a=b^c"),
    Row("raw double quote", H + '?jql=project="A"'),
    Row("raw angle brackets", H + "?jql=created<now()&b=>1"),
    Row("raw backquote and backslash", H + "?a=`b\\c"),
    Row("raw single quote, parentheses, exclamation mark", H + "?a='b'(c)!"),
    Row("raw asterisk", H + "?fields=*all"),
    Row("encoded asterisk", H + "?fields=%2Aall"),
    Row("raw dollar, comma, colon, at, slash, question mark", H + "?a=$b,c:d@e/f?g"),
    Row("unreserved, raw", H + "?a=-._~"),
    Row("unreserved, encoded", H + "?a=%2D%2E%5F%7E%41"),
    Row("tilde raw and encoded in a name", H + "?~a=1&%7Eb=2"),
    Row("plus", H + "?a=x+y"),
    Row("plus in a name", H + "?a+b=1"),
    Row("encoded plus", H + "?a=x%2By"),
    Row("encoded blank", H + "?a=x%20y"),
    Row("plus, blank and encoded plus", H + "?a=+%20%2B+"),
    Row("semicolon is no separator", H + "?a=1;b=2"),
    Row("encoded semicolon", H + "?a=1%3Bb"),
    Row("encoded slash, upper case", H + "?at=refs%2Fheads%2Ffeature%2F1"),
    Row("encoded slash, lower case", H + "?at=refs%2fheads"),
    Row("encoded ampersand and equals sign", H + "?%26=%3D&a=b%26c%3Dd"),
    Row("encoded percent sign", H + "?a=100%25&b=%2541"),
    Row("encoded hash", H + "?a=%23b"),
    Row("equals signs in a value", H + "?a=b=c==" + "&d=="),
    Row("name without equals sign", H + "?a"),
    Row("empty value", H + "?a="),
    Row("name without equals sign between others", H + "?b=1&c&d=2"),
    Row("empty parts", H + "?&&a=1&&b=2&"),
    Row("empty query", H + "?"),
    Row("question marks", H + "??a=?&b?=c"),
    Row("control characters", H + "?a=%00%09%0A%0D%7F"),
    Row("a name of blanks", H + "?+=x&a=%20"),
    # repetition and order
    Row("repeated name, values out of order", H + "?a=2&a=10&a=1", not_perl=REPEATED),
    Row("repeated name and value", H + "?a=1&a=1", not_perl=REPEATED),
    Row("repeated name, once empty", H + "?a=x&a=&a", not_perl=REPEATED),
    Row("repeated in query and form", P + "?a=2", "POST", "a=1&b=3", not_perl=REPEATED),
    Row("repeated, one spelling raw, one encoded", H + "?~=2&%7e=1", not_perl=REPEATED),
    Row("names that begin alike", H + "?a1=3&a-b=2&a=1&a.b=4", not_perl=PREFIX),
    Row("order of upper and lower case, digits, signs", H + "?z=1&Z=2&_=3&0=4&~=5&%C3%A9=6&-=7&.=8"),
    Row(
        "names among the protocol parameters",
        H + "?oauth=1&oauth_zzz=2&nauth=3&p=4",
        not_perl="refuses every name that begins with oauth_",
    ),
    Row("os_authType beside the protocol parameters", P + "?os_authType=basic"),
    # beyond ASCII
    Row("UTF-8, raw", H + "?a=é漢&ü=1"),
    Row("UTF-8, encoded in upper case", H + "?a=%C3%A9%E6%BC%A2"),
    Row("UTF-8, encoded in lower case", H + "?a=%c3%a9%e6%bc%a2"),
    Row("emoji, raw", H + "?a=😀&👩\u200d👩\u200d👧=family"),
    Row("emoji, encoded", H + "?a=%F0%9F%98%80"),
    Row("composed and decomposed", H + "?a=%C3%A9&b=e%CC%81"),
    Row("right-to-left and zero-width", H + "?a=%D7%A9\u200f\u200b"),
    Row("replacement character and non-characters", H + "?a=%EF%BF%BD%EF%BF%BF"),
    Row("no-break blank and line separator", H + "?a=\u00a0\u2028"),
    # scheme, host and port
    Row("default port of https", "https://jira.example.com:443/jira/x"),
    Row("default port of http", "http://jira.example.com:80/jira/x"),
    Row("https on port 80", "https://jira.example.com:80/x"),
    Row("http on port 443", "http://jira.example.com:443/x"),
    Row("another port", "http://jira.example.com:8080/x?a=1"),
    Row("empty port", "https://jira.example.com:/x"),
    Row("upper case in scheme and host", "HTTPS://JIRA.Example.COM/Jira/X?A=B"),
    Row("no path", "https://jira.example.com"),
    Row("no path, but a query", "https://jira.example.com?a=1"),
    Row("fragment", H + "?a=1#b?c=2"),
    Row("international name", "https://bücher.example/x?a=1"),
    Row("international name in capitals, Japanese", "https://BÜCHER.日本語.example/x"),
    Row("international name in A-labels", "https://xn--bcher-kva.example/x"),
    Row("sharp s in the host", "https://faß.example/x"),
    Row("IPv4", "http://127.0.0.1:7990/x"),
    Row("IPv6", "http://[::1]:7990/x"),
    Row("IPv6, upper case, default port", "https://[2001:DB8::A]:443/x"),
    # the path
    Row("blank and slash encoded in the path", "https://h.example/a%20b/c%2Fd"),
    Row("lower-case hex in the path", "https://h.example/%c3%a9%2f"),
    Row("tilde raw and encoded in the path", "https://h.example/~bob/%7Ebob"),
    Row("double slashes and a slash at the end", "https://h.example//a//b/"),
    Row("dots in the path", "https://h.example/a/./b/../c"),
    Row("sub-delimiters in the path", "https://h.example/a;b=c,d/!$&'()*+:@"),
    Row("plus and encoded plus in the path", "https://h.example/a+b%2Bc"),
    Row("encoded brackets, braces, bar, caret, quote in the path", "https://h.example/a%5B1%5D%7Bb%7D%7C%5E%22"),
    Row("percent sign encoded in the path", "https://h.example/100%25"),
    # forms
    Row("form", P, "POST", "a=1&b=hello+world&c=%C3%A9~"),
    Row("form and query", P + "?z=1&b=2", "POST", "y=3&a=4"),
    Row("empty form", P, "POST", ""),
    Row("form with names without values", P, "POST", "stage=&executeAllStages"),
    Row("raw form as curl -d sends it", P, "POST", 'a=x y&b=[1]|{2}"^é'),
    Row("line breaks in a form", P, "POST", "text=a%0D%0Ab"),
    Row("no form", P, "POST"),
    # method, credentials, the dance
    Row("method in lower case", H, "get", not_perl=METHOD_CASE),
    Row("other methods", H + "?a=1", "DELETE"),
    Row("methods of WebDAV", H, "M-SEARCH"),
    Row("odd consumer key and token", H + "?a=1", consumer_key='key/with+"odd"~signs*=%', token="t+/=&%"),
    Row("callback with a query", P, "POST", oauth=(("oauth_callback", "http://127.0.0.1:8765/cb/?a=1&b=%2F+é"),), token=None),
    Row("callback oob", P, "POST", oauth=(("oauth_callback", "oob"),), token=None),
    Row("verifier", P, "POST", oauth=(("oauth_verifier", "a b+c"),)),
    # length
    Row("very long value", H + "?jql=" + "issue%20in%20(A-1)%20OR%20" * 2_000),
    Row("very many names", H + "?" + "&".join(f"p{number:04}={number}" for number in range(2_000))),
    Row("very long path", "https://h.example/" + "segment/" * 2_000),
)
