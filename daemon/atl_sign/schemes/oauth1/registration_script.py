"""A shell script with which an administrator makes an application link elsewhere: no secret in it, and none in an argument."""

import json
from shlex import quote

from atl_sign.config.links import Link
from atl_sign.schemes.oauth1.applink import LINKS_PATH, Applink, consumer_path

# Without tabs, which an answer to a terminal would not keep.
_SCRIPT = """\
#!/bin/sh
# Makes an application link for atl-sign at {base}
# with the consumer key {key}.
#
# usage: sh FILE USER
#
# USER is an administrator there. curl asks for the password twice, once for each of the two calls. Needs curl and sed.
set -eu
base={base_word}
links={links}
link={link_fields}
consumer={consumer_fields}

fail() {{
    printf '%s\\n' "$*" >&2
    exit 1
}}

[ $# -eq 1 ] || fail "usage: sh FILE USER"
case $1 in '' | *:*) fail "a user name is not empty, and has no colon" ;; esac
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

# put PATH CONSEQUENCE: sends standard input; if that is refused, ends with what it means
put() {{
    status=$(curl -q -sS -u "$user" -X PUT -A atl-sign -H 'Content-Type: application/json' -H 'Accept: application/json' \\
        -H 'X-Atlassian-Token: no-check' --data-binary @- -o "$folder/answer" -w '%{{http_code}}' "$base$1") ||
        fail "curl failed; $2"
    [ "$status" = 201 ] && return
    sed 1q "$folder/answer" 2>/dev/null | cut -c 1-500 >&2 || :
    case $status in
    401) fail "the product does not take this user name and password, or wants a secure session (401); $2" ;;
    403) fail "this user may not make application links, or has to solve a CAPTCHA in the browser first (403); $2" ;;
    404 | 405) fail "the product has no REST calls for application links ($status): use the form instead; $2" ;;
    *) fail "the product answered with status $status; $2" ;;
    esac
}}

user=$1
printf '%s\\n' "$link" >"$folder/body"
put "$links" "nothing was made" <"$folder/body"
id=$(sed -n 's|.*applicationlink/\\([0-9A-Fa-f-][0-9A-Fa-f-]*\\).*|\\1|p' "$folder/answer" | sed 1q)
[ -n "$id" ] || fail "the answer does not name the new link; look at $base{page}"
printf '%s\\n' "$consumer" >"$folder/body"
put {consumer_path} "a link without a consumer was made; delete it at $base{page}" <"$folder/body"
printf '%s\\n' "The application link is made. Its user goes on with: atl-sign dance {name}"
"""


def make_script(link: Link, applink: Applink, page: str) -> str:
    """
    Return the script that makes *applink* at the product of *link*.

    Args:
        link: names the product's address.
        applink: what is made.
        page: the path of the page where an administrator sees application links.
    """
    return _SCRIPT.format(
        base=link.url,
        key=applink.consumer_key,
        base_word=quote(str(link.url)),
        links=quote(LINKS_PATH),
        link_fields=quote(json.dumps(applink.link_fields)),
        consumer_fields=quote(json.dumps(applink.consumer_fields)),
        consumer_path=f'"{consumer_path("$id")}"',
        page=page,
        name=link.name,
    )
