#!/usr/bin/env bats
# Every command of `atl-sign` but curl: what it prints, where, and how it ends.

# shellcheck disable=SC2154,SC2030,SC2031 # bats sets stderr, and each test is a subshell of its own

load helpers

setup_file() {
	clear_environment
	start_sandbox
	start_daemon
	export BASE=http://127.0.0.1:$SANDBOX_PORT/bamboo
	add_link bamboo "$BASE"
	dance_oob bamboo
}

# fails STATUS WORDS COMMAND…: with that status, nothing on standard output, and the words on standard error
fails() {
	local expected=$1 words=$2
	shift 2
	run --separate-stderr "$@" </dev/null
	echo "$* -> $status: $stderr"
	((status == expected))
	[[ -z $output ]]
	[[ $stderr == *"$words"* ]]
}

@test "--version names the version of the daemon's package, and that this is a checkout" {
	local version
	version=$(python -c 'import atl_sign; print(atl_sign.__version__)')
	run atl-sign --version
	[[ $output == "atl-sign $version (checkout)" ]]
	run atl-signd --version
	[[ $output == "atl-signd $version (checkout)" ]]
}

@test "--version of a command whose build is not known says so" {
	local bin=$BATS_TEST_TMPDIR/bin
	mkdir "$bin"
	cp "$BATS_TEST_DIRNAME/../../../clients/bash/atl-sign" "$bin"
	run "$bin/atl-sign" --version
	[[ $output == "atl-sign "*" (commit unknown)" ]]
	mkdir -p "$BATS_TEST_TMPDIR/libexec/atl-sign"
	echo 'commit 0123456789ab, 2026-03-01' >"$BATS_TEST_TMPDIR/libexec/atl-sign/build"
	run "$bin/atl-sign" --version
	[[ $output == "atl-sign "*" (commit 0123456789ab, 2026-03-01)" ]]
}

@test "help names every command and option, and nothing else" {
	local command
	run --separate-stderr atl-sign help
	((status == 0))
	for command in link key dance check logout git header curl status store; do
		[[ $output == *"  $command "* ]]
		run --separate-stderr atl-sign help "$command"
		((status == 0))
		[[ $output == "usage: atl-sign $command"* ]]
		[[ $(atl-sign "$command" --help) == "$output" ]]
		run --separate-stderr atl-sign help
	done
	[[ $(atl-sign --help) == "$output" && $(atl-sign -h) == "$output" ]]
	for command in log doctor serve demo sandbox service lease run; do
		[[ $(atl-sign help "$command") == "usage: atl-sign $command"*--help* ]]
	done
	[[ $(atl-sign help autostart) == "usage: atl-signd autostart"*"what clients call"* ]]
	fails 2 "there is no command nonsense" atl-sign help nonsense
}

@test "a command line that makes no sense: status 2 and the usage" {
	fails 2 "usage: atl-sign COMMAND" atl-sign
	fails 2 "there is no command nonsense" atl-sign nonsense
	fails 2 "usage: atl-sign header METHOD URL" atl-sign header GET
	fails 2 "usage: atl-sign header METHOD URL" atl-sign header GET "$BASE" more
	fails 2 "unknown option --nonsense" atl-sign header GET "$BASE" --nonsense
	fails 2 "unknown option -x" atl-sign status -x
	fails 2 "option --exit-code takes no value" atl-sign status --exit-code=1
	fails 2 "--form needs a value" atl-sign header GET "$BASE" --form
	fails 2 "link needs a verb" atl-sign link
	fails 2 "there is no link rename" atl-sign link rename a b
	fails 2 "link show does not take --replace" atl-sign link show bamboo --replace
	fails 2 "a link's name is" atl-sign link show ../status
	fails 2 "a link's name is" atl-sign check 'a b'
	fails 2 "belong to key new" atl-sign key --bits 4096
	fails 2 "key takes nothing, new, use or import-to" atl-sign key old
	fails 2 "usage: atl-sign dance NAME" atl-sign dance
}

@test "a slip of the keys: the nearest command, verb or option is named" {
	fails 2 "did you mean: atl-sign link" atl-sign lnk
	fails 2 "did you mean: atl-sign status" atl-sign statsu
	fails 2 "did you mean: atl-sign login" atl-sign lgoin
	fails 2 "did you mean: atl-sign unlock" atl-sign unlokc
	fails 2 "did you mean: atl-sign link remove" atl-sign link remvoe bamboo
	fails 2 "did you mean: atl-sign help header" atl-sign help heade
	fails 2 "unknown option --lnik, did you mean: --link" atl-sign header GET "$BASE" --lnik bamboo
	fails 2 "unknown option --exitcode, did you mean: --exit-code" atl-sign status --exitcode
	fails 2 "unknown option --sdtin, did you mean: --stdin" atl-sign unlock --sdtin
	fails 2 "there is no store mvoe, did you mean: atl-sign store move" atl-sign store mvoe file
	# The twin: what is like nothing.
	local line
	for line in frobnicate "status --frobnicate" "link frobnicate" "unlock --frobnicate" "store frobnicate" "help frobnicate" x; do
		# shellcheck disable=SC2086 # words
		fails 2 "" atl-sign $line
		[[ $stderr != *"did you mean"* ]]
	done
	fails 2 "hint: atl-sign help" atl-sign frobnicate
}

@test "aliases do and take what the commands do that they stand for" {
	[[ $(atl-sign ls) == "$(atl-sign link list)" && $(atl-sign --json ls) == "$(atl-sign link list --json)" ]]
	atl-sign link add short http://127.0.0.1:1/short >/dev/null 2>&1 || :
	atl-sign link show short
	atl-sign rm short
	fails 1 "no application link is called short" atl-sign link show short
	fails 2 "usage: atl-sign dance NAME" atl-sign login
	fails 1 "no application link is called nobody" atl-sign login nobody
	fails 2 "takes 0 argument(s)" atl-sign ls bamboo
	[[ $(atl-sign help login) == "$(atl-sign help dance)" && $(atl-sign rm --help) == "$(atl-sign help link)" ]]
}

@test "the socket's path: ATL_SIGN_SOCK, XDG_RUNTIME_DIR, the state folder" {
	fails 3 "there is no daemon on $PWD/none" env ATL_SIGN_SOCK="$PWD/none" atl-sign status
	[[ $stderr == *'hint: start it: atl-sign serve &'* ]]
	fails 3 "there is no daemon on $PWD/atl-sign/agent.sock" env -u ATL_SIGN_SOCK XDG_RUNTIME_DIR="$PWD" atl-sign status
	if [[ ! -O /run/user/$UID ]]; then
		fails 3 "there is no daemon on $PWD/.local/state/atl-sign/agent.sock" env -u ATL_SIGN_SOCK -u XDG_RUNTIME_DIR HOME="$PWD" atl-sign status
	fi
	mkdir atl-sign
	ln -s "$ATL_SIGN_SOCK" atl-sign/agent.sock
	env -u ATL_SIGN_SOCK XDG_RUNTIME_DIR="$PWD" atl-sign status
}

@test "a socket's path of 107 bytes is tried, one of 108 is refused" {
	local long
	long=/tmp/$(printf 'ä%.0s' {1..51})
	fails 3 "there is no daemon" env ATL_SIGN_SOCK="$long" LC_ALL=C.UTF-8 atl-sign status
	fails 3 "108 bytes long" env ATL_SIGN_SOCK="${long}x" LC_ALL=C.UTF-8 atl-sign status
}

@test "what is no daemon's socket is not talked to" {
	echo >file
	fails 3 "is not a socket" env ATL_SIGN_SOCK="$PWD/file" atl-sign status
	python -c 'import socket; socket.socket(socket.AF_UNIX).bind("stale")'
	fails 3 "no daemon answers on stale" env ATL_SIGN_SOCK=stale atl-sign status
	if ((EUID == 0)); then
		chown 1 stale
		fails 3 "belongs to another user" env ATL_SIGN_SOCK=stale atl-sign status
	fi
}

@test "a daemon that closes without a word" {
	start mute python -c 'import socket
server = socket.socket(socket.AF_UNIX); server.bind("mute"); server.listen(); print("listening", flush=True)
while True:
    connection, _ = server.accept(); connection.recv(65536); connection.close()'
	wait_for test -s "$FOLDER/mute.out"
	fails 3 "closed the connection" env ATL_SIGN_SOCK=mute atl-sign status
}

@test "status, as text and as JSON" {
	run --separate-stderr atl-sign status
	((status == 0))
	[[ $output == 'link: bamboo  active'* && $output == *'store: memory'* && $output == *'store_state: ready'* ]]
	[[ $(atl-sign status --json) == '{"version":'* ]]
	[[ $(atl-sign --json status) == '{"version":'* ]]
}

@test "proxies and ~/.curlrc do not come between the command and the daemon" {
	printf 'fail\nproxy = http://127.0.0.1:1\n' >"$HOME/.curlrc"
	http_proxy=http://127.0.0.1:1 all_proxy=http://127.0.0.1:1 atl-sign status
	rm "$HOME/.curlrc"
}

@test "link add: prints what an administrator enters, and warns on standard error" {
	run --separate-stderr atl-sign link add other "$BASE/" --consumer-key mine --timeout 20 --replace
	((status == 0))
	[[ $output == *'consumer_key: mine'* && $output == *'product: bamboo'* && $output == *'-----BEGIN PUBLIC KEY-----'* ]]
	[[ $output != *warning:* ]]
	atl-sign link remove other

	run --separate-stderr atl-sign link add other "http://localhost:$SANDBOX_PORT/bamboo" --consumer-key=mine
	((status == 0))
	[[ $stderr == *'warning: '* ]]
	[[ $output != *warning:* ]]

	fails 1 "other" atl-sign link add other "$BASE"
	[[ $stderr == *'hint: '* ]]
	atl-sign link add other "$BASE" --replace >/dev/null
	atl-sign link remove other
	fails 1 "hint: " atl-sign link remove other
	fails 1 "hint: " atl-sign link add other ftp://nowhere.example
	fails 1 "" atl-sign link add other "$BASE" --timeout soon
}

# said_last: whether the form is above what is wrong, as on a terminal
said_last() { [[ ${output##*Then: atl-sign dance other} == *'warning: '*'hint: '*'link other is kept, but no product answered at '* ]]; }

@test "link add: a dead or wrong address is kept, reported below the form, and exits with 1" {
	run atl-sign link add other http://127.0.0.1:1/jira
	((status == 1))
	said_last
	atl-sign link remove other
	local page
	for page in secure/Dashboard.jspa rest/api/2 browse/X-1 projects/P/repos display/X nothing/known; do
		run atl-sign link add other "$BASE/$page"
		((status == 1))
		said_last
		[[ $output == *"warning: the product is at $BASE"$'\n'* && $output == *"hint: atl-sign link add other $BASE --replace"$'\n'* ]]
		# It works when it is pasted.
		eval "$(sed -n 's/^hint: \(atl-sign link add .*\)/\1/p' <<<"$output")" >/dev/null
		[[ $(atl-sign link show other) == *"url: $BASE"$'\n'* ]]
		atl-sign link remove other
	done
	# The host is down: only the path can be judged, and a context path is none of a page's.
	run atl-sign link add other http://127.0.0.1:1/jira/secure/Dashboard.jspa
	[[ $output == *'hint: atl-sign link add other http://127.0.0.1:1/jira --replace'* ]]
	atl-sign link remove other
	run atl-sign link add other http://127.0.0.1:1/projects
	[[ $output == *'hint: '* && $output != *--replace* ]]
	atl-sign link remove other
	fails 1 "hint: atl-sign link add other $BASE" atl-sign link add other "$BASE/secure/Dashboard.jspa?selectPageId=1#x"
	fails 1 "" atl-sign link show other
}

@test "link add makes files' names absolute" {
	printf 'no certificate' >ca.pem
	atl-sign link add files "http://127.0.0.1:1/x" --ca-bundle ca.pem --timeout 1 >/dev/null 2>&1 || :
	run atl-sign link show files
	atl-sign link remove files || :
	[[ $output == *"ca_bundle: $PWD/ca.pem"* ]]
}

@test "link list, show, setup and remove" {
	run --separate-stderr atl-sign link list
	[[ ${lines[0]} =~ ^NAME\ +URL\ +TOKEN$ && ${lines[1]} == "bamboo  $BASE  active" ]]
	[[ $(atl-sign link list --json) == '{"links":[{"name":"bamboo"'* ]]
	run --separate-stderr atl-sign link show bamboo
	[[ $output == *"url: $BASE"* && $output == *'token: active'* && $output == *'user: alice'* ]]
	run --separate-stderr atl-sign link setup bamboo
	[[ $output == *"$BASE/plugins/servlet/applinks/listApplicationLinks"* && $output == *'tests'* ]]
	fails 1 "no application link is called jira" atl-sign link show jira
	fails 1 '{"error":' atl-sign link show jira --json
	fails 1 "no application link is called jira" atl-sign link setup jira
}

@test "key: printed, and not replaced unasked" {
	run --separate-stderr atl-sign key
	((status == 0))
	[[ $output == '-----BEGIN PUBLIC KEY-----'*'-----END PUBLIC KEY-----' ]]
	fails 1 "hint: " atl-sign key new
	fails 2 "--bits takes 2048, 3072 or 4096" atl-sign key new --bits 1024 --replace
}

@test "a first link makes the key; key new with --bits and --replace makes another" {
	local first
	start other env ATL_SIGN_SOCK="$PWD/s" XDG_CONFIG_HOME="$PWD" atl-signd serve
	wait_for test -S s
	export ATL_SIGN_SOCK=$PWD/s
	fails 1 "hint: atl-sign key new" atl-sign key
	run --separate-stderr atl-sign link add bamboo "$BASE"
	((status == 0))
	[[ $stderr == *"made the consumer's key"* ]]
	first=$(atl-sign key)
	[[ $output == *"${first:30:60}"* ]]
	run --separate-stderr atl-sign key new --bits 3072 --replace
	((status == 0))
	[[ $output != "$first" ]]
	[[ $(atl-sign key --json) == *'"bits":3072'* ]]
	fails 1 "atl-sign dance bamboo" atl-sign header GET "$BASE/x"
	run --separate-stderr atl-sign link add more "$BASE/more" --json
	((status == 1))
	[[ $output == '{"name":"more"'* && $stderr != *made* ]]
}

@test "check says who one is; without a token it says what to do" {
	run --separate-stderr atl-sign check bamboo
	((status == 0))
	[[ $output == *'user: alice'* && $output == *'product: bamboo'* ]]
	[[ $(atl-sign check bamboo --json) == *'"user":"alice"'* ]]
	atl-sign link add tokenless "$BASE/rest" >/dev/null 2>&1 || :
	fails 1 "hint: atl-sign dance tokenless" atl-sign check tokenless
	atl-sign link remove tokenless
}

@test "header: one line, good for one request" {
	local header
	run --separate-stderr atl-sign header GET "$BASE/rest/api/latest/currentUser.json?a=1"
	((status == 0))
	[[ ${#lines[@]} == 1 && $output == 'Authorization: OAuth '*'oauth_signature="'* ]]
	header=$output
	curl -q -sSf -o answer -H "$header" "$BASE/rest/api/latest/currentUser.json?a=1"
	[[ $(<answer) == *alice* ]]
	[[ $(curl -q -s -o answer -w '%{http_code}' -H "$header" "$BASE/rest/api/latest/currentUser.json?a=1") == 401 ]]
	[[ $(<answer) == *nonce_used* ]]
	header=$(atl-sign header GET "$BASE/rest/api/latest/currentUser.json?a=1" --link bamboo)
	[[ $(curl -q -s -o answer -w '%{http_code}' -H "$header" "$BASE/rest/api/latest/currentUser.json?a=2") == 401 ]]
	[[ $(<answer) == *signature_invalid* ]]
	[[ $(atl-sign header GET "$BASE/" --json) == '{"authorization": "OAuth '* ]]
	run --separate-stderr atl-sign header --with-url GET "$BASE/x?a=1"
	[[ ${#lines[@]} == 2 && ${lines[0]} == 'Authorization: OAuth '* && ${lines[1]} == "$BASE/x?a=1" ]]
	fails 2 "option --with-url takes no value" atl-sign header GET "$BASE/" --with-url=1
	fails 1 "no application link covers this URL" atl-sign header GET http://elsewhere.example/
	fails 1 "no application link is called jira" atl-sign header GET "$BASE/" --link=jira
	fails 1 "method" atl-sign header 'GET /' "$BASE/"
	fails 1 "longer than 65536 bytes" atl-sign header GET "$BASE/$(printf 'a%.0s' {1..65536})"
}

@test "header --form: a text, a file, standard input, each to the byte" {
	local url=$BASE/rest/api/latest/queue/WEB-BUILD header
	local -a post=(curl -q -s -o answer -w '%{http_code}' -H 'X-Atlassian-Token: no-check')
	header=$(atl-sign header POST "$url" --form 'stage&a=x+y&a=%C3%A4')
	[[ $("${post[@]}" -H "$header" --data-raw 'stage&a=x+y&a=%C3%A4' "$url") == 200 ]]
	header=$(atl-sign header POST "$url" --form 'stage&a=x')
	[[ $("${post[@]}" -H "$header" --data-raw 'stage&a=y' "$url") == 401 ]]
	printf 'a=x\r\n' >'a=file'
	header=$(atl-sign header POST "$url" --form '@a=file')
	[[ $("${post[@]}" -H "$header" --data-binary '@a=file' "$url") == 200 ]]
	header=$(atl-sign header POST "$url" --form @- <'a=file')
	[[ $("${post[@]}" -H "$header" --data-binary '@a=file' "$url") == 200 ]]
	header=$(atl-sign header POST "$url" --form '')
	[[ $("${post[@]}" -H "$header" -X POST "$url") == 200 ]]
	: >empty
	header=$(atl-sign header POST "$url" --form @empty)
	[[ $("${post[@]}" -H "$header" -X POST "$url") == 200 ]]
	printf 'a=\0' >zero
	fails 1 "zero byte" atl-sign header POST "$url" --form @zero
	fails 1 "cannot be read: none" atl-sign header POST "$url" --form @none
	fails 1 "cannot be read: ." atl-sign header POST "$url" --form @.
	fails 1 "" atl-sign header PUT "$url" --form a=b
}

@test "header --form: 1 MiB whatever is in it, and not one byte more" {
	local url=$BASE/rest/api/latest/queue/WEB-BUILD header
	local -a post=(curl -q -s -o answer -w '%{http_code}' -H 'X-Atlassian-Token: no-check' -H 'Expect:')
	python -c 'import sys; sys.stdout.write(("a=" + "%C3%A9" * 174762 + "xxxxxxx")[:1048576])' >form
	header=$(atl-sign header POST "$url" --form @form)
	[[ $("${post[@]}" -H "$header" --data-binary @form "$url") == 200 ]]
	printf x >>form
	fails 1 "the form is over 1048576 bytes" atl-sign header POST "$url" --form @form
}

@test "header: more parameters than many servers read give a warning, and one line as ever" {
	local query
	query=$(python -c 'print("&".join(f"a{number}=" for number in range(1001)), end="")')
	run --separate-stderr atl-sign header GET "$BASE/x?$query"
	((status == 0))
	[[ ${#lines[@]} == 1 && $output == 'Authorization: OAuth '*'oauth_signature="'* ]]
	[[ $stderr == 'atl-sign: warning: the request has 1001 parameters; many servers read only the first 1000 '* ]]
	run --separate-stderr atl-sign header GET "$BASE/x?$query" --json
	[[ $output == '{"authorization": '*'"warning": "the request has 1001 parameters'* && -z $stderr ]]
	run --separate-stderr atl-sign header GET "$BASE/x?${query#*&}"
	[[ ${#lines[@]} == 1 && -z $stderr ]]
}

@test "dance --oob: the code, the whole address, three tries, and no answer" {
	begin_dance_oob bamboo
	end_dance_oob $'\n  '"$(decide "$address" allow)  "
	[[ $printed == *'state: granted'$'\n''user: alice'$'\n''signed in as alice at bamboo' ]]

	begin_dance_oob bamboo
	end_dance_oob "http://nowhere.example/?x=1&oauth_token=${address##*=}&oauth_verifier=$(decide "$address" allow)"
	[[ $printed == *'state: granted'$'\n''user: alice'$'\n''signed in as alice at bamboo' ]]

	begin_dance_oob bamboo
	! end_dance_oob "$(decide "$address" deny >/dev/null)wrong1" || return 1
	[[ $printed == *'hint: '* && $printed != *granted* ]]

	run --separate-stderr atl-sign dance bamboo --oob <<<$'http://127.0.0.1/?x=1\n\nhttp://127.0.0.1/?x=2\nx'
	((status == 1))
	[[ -z $output && $stderr == *'no good code in 3 tries'* ]]
	fails 1 "no code was given; the dance is cancelled" atl-sign dance bamboo --oob
	fails 1 "no code was given; the dance is cancelled" atl-sign dance bamboo
	fails 1 "no application link is called jira" atl-sign dance jira --oob
	fails 1 '{"error":' atl-sign dance jira --oob --json
	[[ $(atl-sign link list) == *active ]]
}

@test "dance in the browser: Allow and Deny" {
	export BROWSER="$FOLDER/nothing:bash $ROOT/tests/clients/bash/decide.bash %s allow"
	run --separate-stderr atl-sign dance bamboo
	((status == 0))
	[[ $output == 'state: granted'$'\n''user: alice' ]]
	[[ $stderr == *"$BASE/plugins/servlet/oauth/authorize?oauth_token="* ]]
	[[ $stderr == *'You have 10 minutes; ^C cancels.'* && $stderr == *'signed in as alice at bamboo' && $stderr != *$'\r'* ]]
	[[ $(atl-sign dance bamboo --json 2>/dev/null) == '{"state":"granted","user":"alice"'* ]]

	export BROWSER="bash $ROOT/tests/clients/bash/decide.bash %s deny"
	fails 1 "refused" atl-sign dance bamboo
	[[ $stderr == *'hint: to ask again: atl-sign dance bamboo'* ]]
	fails 1 '{"state":"refused"' atl-sign dance bamboo --json
}

@test "dance: ^C and SIGTERM cancel it" {
	local signal status
	for signal in INT:130 TERM:143; do
		status=0
		# bash lets background commands ignore ^C, so that another must start it, which may itself be in the background.
		python -c 'import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
process = subprocess.Popen(["atl-sign", "dance", "bamboo", "--no-browser"], start_new_session=True, stderr=open("err", "w"))
deadline = time.monotonic() + 20
while "oauth_token=" not in open("err").read() and time.monotonic() < deadline: time.sleep(0.02)
__import__("os").killpg(process.pid, getattr(signal, "SIG" + sys.argv[1]))
sys.exit(process.wait(20))' "${signal%:*}" || status=$?
		((status == ${signal#*:}))
		[[ $(atl-sign status) == *'dances: 0'* ]]
	done
}

@test "logout forgets the token and says where to revoke it" {
	run --separate-stderr atl-sign logout bamboo
	((status == 0))
	[[ $output == *"$BASE/plugins/servlet/oauth/users/access-tokens"* ]]
	fails 1 "hint: atl-sign dance bamboo" atl-sign check bamboo
	fails 1 "hint: atl-sign dance bamboo" atl-sign header GET "$BASE/"
	dance_oob bamboo
}

@test "what is the daemon's own is handed over to atl-signd, beside the script first" {
	mkdir one two
	cp "$ROOT/clients/bash/atl-sign" one/
	printf '#!/bin/sh\necho "beside: $*"\nexit 7\n' >one/atl-signd
	printf '#!/bin/sh\necho "on PATH: $*"\n' >two/atl-signd
	chmod +x one/atl-signd two/atl-signd
	run env PATH="$PWD/two:$PATH" one/atl-sign serve --now
	[[ $status == 7 && $output == 'beside: serve --now' ]]
	rm one/atl-signd
	run env PATH="$PWD/two:$PATH" one/atl-sign service install
	[[ $status == 0 && $output == 'on PATH: service install' ]]
	mkdir bin
	ln -s "$(type -P bash)" bin/bash
	fails 1 "neither beside this program nor on PATH" env PATH="$PWD/bin" bash one/atl-sign doctor
}

@test "without curl it says so" {
	mkdir bin
	ln -s "$(type -P bash)" bin/bash
	fails 1 "curl cannot be run" env PATH="$PWD/bin" bash "$ROOT/clients/bash/atl-sign" status
	[[ $stderr == $'atl-sign: curl cannot be run\nhint: install curl 7.76 or newer' ]]
}

@test "git: what it refuses, before anything is changed" {
	fails 2 "usage: atl-sign git setup NAME" atl-sign git
	fails 2 "there is no git nonsense" atl-sign git nonsense bamboo
	fails 2 "git takes 2 argument(s), not 1" atl-sign git setup
	fails 2 "a link's name is up to 64" atl-sign git setup ../x
	fails 1 "no application link is called nobody" atl-sign git setup nobody
	fails 1 "link bamboo is a bamboo, which has no git repositories" atl-sign git setup bamboo
	[[ ! -e $HOME/.gitconfig ]]
}

@test "git setup: another helper for that address is the user's matter" {
	local url=http://127.0.0.1:$SANDBOX_PORT/bitbucket
	atl-sign link add bb "$url"
	export GIT_CONFIG_GLOBAL=$PWD/settings
	git config --global "credential.$url.helper" store
	cp settings before
	fails 1 "git has a helper of yours for $url: store" atl-sign git setup bb
	[[ $stderr == *"hint: take it out first: git config --global --unset-all credential.$url.helper"* ]]
	cmp settings before
	git config --global --unset-all "credential.$url.helper"
	run --separate-stderr atl-sign --json git setup bb
	((status == 0))
	[[ $output == '{"removed": [], "added": ["credential.'"$url"'.helper=", "credential.'"$url"'.helper='*'git-credential-atl-sign --link bb", "credential.'"$url"'.useHttpPath=true"]}' ||
		$output == '{"removed": [], "added": ["credential.'"$url"'.helper=", "credential.'"$url"'.helper=atl-sign --link bb", "credential.'"$url"'.useHttpPath=true"]}' ]]
	atl-sign link remove bb
	run --separate-stderr atl-sign git remove bb # the link is gone, the settings are not
	((status == 0))
	[[ $output == '- [credential "'"$url"'"]'* ]]
	[[ ! -s settings ]]
}

@test "through a symbolic link that is alone in its folder it finds git's helper and the daemon's program" {
	local url=http://127.0.0.1:$SANDBOX_PORT/bitbucket
	mkdir programs links
	cp "$ROOT/clients/bash/atl-sign" "$ROOT/clients/git/git-credential-atl-sign" programs
	# shellcheck disable=SC2016 # for the shell of that script
	printf '#!/bin/sh\n[ "$1" = git ] && exec "%s" "$@"\necho "beside: $*"\n' "$(type -P atl-signd)" >programs/atl-signd
	chmod +x programs/atl-signd
	ln -s ../programs/atl-sign links/again
	ln -s again links/atl-sign
	atl-sign link add bb "$url"
	export GIT_CONFIG_GLOBAL=$PWD/settings PATH=/usr/local/bin:/usr/bin:/bin
	links/atl-sign git setup bb
	run --separate-stderr git credential fill <<<"url=$url/scm/web/shop.git"
	[[ $stderr == *"no access token for link bb; hint: atl-sign dance bb"* ]]
	run links/atl-sign service status
	[[ $status == 0 && $output == 'beside: service status' ]]
	links/atl-sign git remove bb
	links/atl-sign link remove bb
	[[ ! -s settings ]]
}

@test "git setup: a program folder with a blank in its name is quoted for git's shell" {
	local url=http://127.0.0.1:$SANDBOX_PORT/bitbucket
	mkdir "a folder"
	cp "$ROOT/clients/bash/atl-sign" "$ROOT/clients/git/git-credential-atl-sign" "a folder"
	ln -s "$(type -P atl-signd)" "a folder"
	atl-sign link add bb "$url"
	export GIT_CONFIG_GLOBAL=$PWD/settings PATH=/usr/local/bin:/usr/bin:/bin
	"$PWD/a folder/atl-sign" git setup bb
	run --separate-stderr git credential fill <<<"url=$url/scm/web/shop.git"
	[[ $stderr == *"no access token for link bb; hint: atl-sign dance bb"* ]]
	"$PWD/a folder/atl-sign" git remove bb
	"$PWD/a folder/atl-sign" link remove bb
	[[ ! -s settings ]]
}

@test "status --exit-code: whether a dance is needed, as text and as JSON, for all links and for one" {
	atl-sign status --exit-code
	atl-sign status bamboo --exit-code --json
	atl-sign link add undanced http://127.0.0.1:1/undanced >/dev/null 2>&1 || :
	for arguments in '' --json; do
		run --separate-stderr atl-sign status --exit-code $arguments
		((status == 1))
		[[ $output == *undanced* && -z $stderr ]]
		run atl-sign status undanced --exit-code $arguments
		((status == 1))
		atl-sign status bamboo --exit-code $arguments
		atl-sign status $arguments
	done
	atl-sign link remove undanced
	fails 1 "no application link" atl-sign status nobody
	fails 2 "a link's name is" atl-sign status 'a b'
}

@test "log: the decisions, of one link and since a time" {
	atl-sign header GET "$BASE/rest/log-me?secret=1" >/dev/null
	run --separate-stderr atl-sign log --link bamboo --since 1h
	((status == 0))
	[[ $output == *'ok '*'sign '*'bamboo '*'curl['*'/rest/log-me' ]]
	[[ $(atl-sign log --json) == *'"path": "/bamboo/rest/log-me"'* ]]
	fails 2 "this is not a time" atl-sign log --since soon
}

@test "the second URL of a line is asked for by a second curl, in the same place" {
	run -0 --separate-stderr atl-sign curl -sS -o /dev/null -w '%{http_code}\n' "$BASE/rest/api/latest/{plan,currentUser}.json"
	[[ $output == $'200\n200' ]]
}

@test "two accounts at one address: a default, ATL_SIGN_LINK, and --link before both" {
	local url=$BASE/rest/api/latest/plan
	atl-sign link add other "$BASE" >/dev/null
	fails 1 'several links' atl-sign header GET "$url"

	atl-sign link default bamboo
	atl-sign header GET "$url"
	atl-sign curl -sS -o /dev/null "$url"
	fails 1 'no access token for link other' env ATL_SIGN_LINK=other atl-sign header GET "$url"
	fails 125 'no access token for link other' env ATL_SIGN_LINK=other atl-sign curl -sS "$url"
	ATL_SIGN_LINK=other atl-sign header GET "$url" --link bamboo
	ATL_SIGN_LINK=other atl-sign curl --link bamboo -sS -o /dev/null "$url"

	atl-sign link default other # one at a time
	fails 1 'no access token for link other' atl-sign header GET "$url"
	fails 1 'no application link is called nothing' atl-sign link default nothing
	atl-sign link remove other
	atl-sign header GET "$url"
}

@test "an option of our own behind curl's: it must come first" {
	fails 125 '--dry-run is an option of atl-sign' atl-sign curl -sS --dry-run "$BASE"
	[[ $stderr == *'must come first'* ]]
	fails 125 '--link is an option of atl-sign' atl-sign curl -sS --link bamboo "$BASE"
	atl-sign curl --dry-run -sS "$BASE"
}
