# Common set-up: a daemon and a sandbox of this test file's own, a recorder between them, and a link that may sign.
# shellcheck shell=bash

ROOT=$(cd "$BATS_TEST_DIRNAME/../../.." && pwd)
# The environment's commands are those of `make`, else of the checkout; the script is the checkout's own in any case.
type -P atl-signd >/dev/null || PATH=$ROOT/.venv/bin:$PATH
export PATH=$ROOT/clients/bash:$PATH
DEADLINE_S=20

bats_require_minimum_version 1.5.0

# clear_environment: what could lead a command out of the test's own folder
clear_environment() {
	local name
	for name in $(compgen -e); do
		case $name in
		XDG_* | ATL_SIGN_* | *_proxy | *_PROXY | BROWSER | DISPLAY | WAYLAND_DISPLAY | WSL_DISTRO_NAME | SSH_* | PYTHON_KEYRING_BACKEND | DBUS_SESSION_BUS_ADDRESS | CURL_HOME)
			unset -v "$name"
			;;
		esac
	done
	FOLDER=$BATS_FILE_TMPDIR
	export FOLDER HOME=$FOLDER/home XDG_RUNTIME_DIR=$FOLDER/run XDG_CONFIG_HOME=$FOLDER/config
	export ATL_SIGN_STORE=memory ATL_SIGN_AUTOSTART=0 ATL_SIGN_SOCK=$FOLDER/s
	mkdir -m 700 "$HOME" "$XDG_RUNTIME_DIR" "$XDG_CONFIG_HOME"
}

# wait_for COMMAND…: until it succeeds, within the deadline
wait_for() {
	local end=$((SECONDS + DEADLINE_S))
	until "$@"; do
		if ((SECONDS > end)); then
			echo "waited $DEADLINE_S s in vain for: $*" >&2
			tail -n 5 "$FOLDER"/*.err >&2
			return 1
		fi
		sleep 0.02
	done
}

# start NAME COMMAND…: in the background, output in $FOLDER/NAME.out and .err
start() {
	local name=$1
	shift
	# bats waits until nobody holds its descriptor 3.
	"$@" >"$FOLDER/$name.out" 2>"$FOLDER/$name.err" </dev/null 3>&- &
	echo $! >>"$FOLDER/pids"
}

start_daemon() {
	start daemon atl-signd serve
	wait_for test -S "$ATL_SIGN_SOCK"
}

# start_sandbox: sets SANDBOX_PORT
start_sandbox() {
	local line
	start sandbox python -m atl_sign.sandbox
	wait_for grep -q '^bamboo ' "$FOLDER/sandbox.out"
	line=$(grep '^bamboo ' "$FOLDER/sandbox.out")
	[[ $line =~ :([0-9]+) ]]
	export SANDBOX_PORT=${BASH_REMATCH[1]}
}

# start_recorder [PORT]: sets RECORDER, its address, and RECORDS, its folder
start_recorder() {
	export RECORDS=$FOLDER/records
	mkdir -p "$RECORDS"
	start recorder python "$ROOT/tests/clients/bash/recorder.py" "$RECORDS" "$@"
	wait_for test -s "$FOLDER/recorder.out"
	RECORDER=$(<"$FOLDER/recorder.out")
	export RECORDER
}

# start_recorded: daemon and sandbox with the recorder between them, and a link bamboo whose dance is done
start_recorded() {
	clear_environment
	start_sandbox
	start_recorder "$SANDBOX_PORT"
	start_daemon
	add_link bamboo "$RECORDER/bamboo"
	dance_oob bamboo
}

stop_all() {
	local pid
	while read -r pid; do kill "$pid" 2>/dev/null || :; done <"$FOLDER/pids"
}

# curl_version: the installed curl's, as 1000 × major + minor
curl_version() {
	local text
	text=$(curl -q --version)
	[[ $text =~ ^curl\ ([0-9]+)\.([0-9]+) ]]
	echo $((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2]))
}

# Every test begins in an empty folder of its own.
setup() {
	mkdir -p "$BATS_TEST_TMPDIR/here"
	cd "$BATS_TEST_TMPDIR/here" || return
}

# What setup_file started ends with its file.
teardown_file() { stop_all; }

# register_consumer BASE-URL KEY: gives the public key on standard input to the sandbox, as an administrator's script would
register_consumer() {
	local base=$1 key=$2 pem answer id
	pem=$(tr -d '\n')
	answer=$(curl -q -sSf -u admin:admin -X PUT -H 'Content-Type: application/json' -H 'Accept: application/json' \
		-d '{"name": "tests", "rpcUrl": "http://tests.example", "displayUrl": "http://tests.example", "typeId": "generic"}' \
		"$base/rest/applinks/3.0/applicationlink")
	[[ $answer =~ applicationlink/([0-9a-f-]+) ]]
	id=${BASH_REMATCH[1]}
	curl -q -sSf -o "$FOLDER/registered" -u admin:admin -X PUT -H 'Content-Type: application/json' \
		-d "{\"key\": \"$key\", \"name\": \"tests\", \"description\": \"\", \"publicKey\": \"$pem\", \"outgoing\": false, \"twoLOAllowed\": false, \"executingTwoLOUser\": null, \"twoLOImpersonationAllowed\": null}" \
		"$base/rest/applinks-oauth/1.0/applicationlink/$id/authentication/consumer"
}

# add_link NAME BASE-URL: key, link and consumer; no dance yet
add_link() {
	export CONSUMER=tests-$$
	atl-sign link add "$1" "$2" --consumer-key "$CONSUMER" >"$FOLDER/link-add.out" 2>"$FOLDER/link-add.err"
	atl-sign key | register_consumer "$2" "$CONSUMER"
}

# decide ADDRESS allow|deny: what a user does in the browser
decide() { bash "$ROOT/tests/clients/bash/decide.bash" "$@"; }

# begin_dance_oob NAME: sets address, and from and to, the descriptors of what `dance` prints and reads
begin_dance_oob() {
	coproc DANCE { exec atl-sign dance "$1" --oob 2>&1; }
	# Moved, not copied: bash forgets its own as soon as the coprocess ends, and an end of input must get there.
	dancer=$DANCE_PID
	exec {from}<&"${DANCE[0]}"- {to}>&"${DANCE[1]}"-
	address=$(address_from <&"$from")
}

# end_dance_oob TEXT: types it; sets printed to the rest of what `dance` prints, and returns its status
end_dance_oob() {
	printf '%s\n' "$1" >&"$to"
	exec {to}>&-
	# shellcheck disable=SC2034 # for the test
	printed=$(cat <&"$from")
	exec {from}<&-
	wait "$dancer"
}

# dance_oob NAME: alice allows it, and types the code
dance_oob() {
	begin_dance_oob "$1"
	end_dance_oob "$(decide "$address" allow)"
}

# address_from: the authorize address out of what `dance` prints on standard input
address_from() {
	local line
	while IFS= read -r line; do
		[[ $line != *://*oauth_token=* ]] || break
	done
	printf '%s' "${line##* }"
}
