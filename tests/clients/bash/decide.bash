# A user without a browser: logs in at the sandbox as alice, and presses Allow or Deny on the consent page.
# usage: bash decide.bash ADDRESS allow|deny      prints the code that the page shows, or the page it ends on
set -euo pipefail

address=$1
origin=${address%"${address#*://*/}"}
origin=${origin%/}
jar=$(mktemp)
trap 'rm -f "$jar"' EXIT

visit() { page=$(curl -q -sS -L --noproxy '*' -b "$jar" -c "$jar" "$@"); }

# hidden NAME: the value of the page's hidden field
hidden() {
	local field="name=\"$1\" value=\"([^\"]*)\""
	[[ $page =~ $field ]]
	value=${BASH_REMATCH[1]//&amp;/'&'}
}

form_action() {
	[[ $page =~ action=\"([^\"]*)\" ]]
	action=$origin${BASH_REMATCH[1]//&amp;/'&'}
}

visit "$address"
form_action
hidden os_destination
visit --data-urlencode os_username=alice --data-urlencode os_password=alice --data-urlencode "os_destination=$value" "$action"

form_action
hidden oauth_token
token=$value
hidden atl_token
if [[ $2 == allow ]]; then button=approve; else button=deny; fi
visit --data-urlencode "oauth_token=$token" --data-urlencode "atl_token=$value" -d "$button=pressed" "$action"

code='id="oauth_verifier"[^>]*>([A-Za-z0-9]+)<'
if [[ $page =~ $code ]]; then
	printf '%s\n' "${BASH_REMATCH[1]}"
else
	printf '%s\n' "$page"
fi
