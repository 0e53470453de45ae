#!/usr/bin/env bats
# `atl-sign curl`: sends what curl sends, signed so that the provider takes it, or nothing.

# shellcheck disable=SC2154 # bats sets stderr

load helpers

setup_file() {
	start_recorded
	# Any resource will do that is answered whatever the query.
	export URL=$RECORDER/bamboo/rest/api/latest/plan.json
	export LABEL=$RECORDER/bamboo/rest/api/latest/plan/WEB-BUILD/label
	export QUEUE=$RECORDER/bamboo/rest/api/latest/queue/WEB-BUILD
}

# last_record: the number of the newest recorded request
last_record() {
	local -a all=("$RECORDS"/*.request)
	echo "${#all[@]}"
}

# plain FILE: a recorded request without what the daemon adds for the products' check of forms, and without blanks around values
plain() { sed -E 's/\r$//; /^(X-Atlassian-Token: no-check|Expect:.*)$/d; s/^([A-Za-z-]+): */\1: /; s/ +$//' "$1"; }

# same ARGUMENT…: curl alone and `atl-sign curl` send the same but for the signature; standard input is $stdin
same() {
	local number before after
	echo "curl $(printf '%q ' "$@")"
	# Without a signature the provider refuses, and with -f curl says so.
	curl -q -s -o plain.out "$@" <"${stdin:-/dev/null}" 2>plain.err || :
	before=$(last_record)
	atl-sign curl -s -o signed.out "$@" <"${stdin:-/dev/null}"
	after=$(last_record)
	((after == before + 1))
	number=$after
	diff <(plain "$RECORDS/$before.request") <(plain "$RECORDS/$number.request")
	[[ ! -s $RECORDS/$before.authorization ]]
	grep -q '^Authorization: OAuth ' "$RECORDS/$number.authorization"
}

# accepted ARGUMENT…: as same, and the provider takes the signature
accepted() {
	same "$@"
	local status
	status=$(<"$RECORDS/$(last_record).status")
	[[ $status == 'HTTP/1.1 2'* ]] || {
		cat signed.out
		echo "$status"
		return 1
	}
}

# refused WORDS ARGUMENT…: status 125, nothing on standard output, the words in the reason, no request anywhere
refused() {
	local words=$1 before
	shift
	echo "curl $(printf '%q ' "$@")"
	before=$(last_record)
	run --separate-stderr atl-sign curl "$@" </dev/null
	((status == 125))
	[[ -z $output ]]
	[[ $stderr == *"atl-sign: nothing was sent: "*"$words"* ]] || {
		echo "$stderr"
		return 1
	}
	(($(last_record) == before))
}

# curls_own ARGUMENT…: an error of curl's own, with its status and words; no request anywhere
curls_own() {
	local before plain
	echo "curl $(printf '%q ' "$@")"
	before=$(last_record)
	run --separate-stderr curl -q "$@" </dev/null
	plain="$status $stderr"
	run --separate-stderr atl-sign curl "$@" </dev/null
	[[ "$status $stderr" == "$plain" ]] || {
		echo "$plain"
		echo "$status $stderr"
		return 1
	}
	(($(last_record) == before))
}

# put_fake_curl: the installed curl, which tells the version in CURL_FAKE
put_fake_curl() {
	mkdir bin
	# shellcheck disable=SC2016 # for the shell of that script
	printf '#!%s\ncase "$CURL_FAKE $* " in *" --version "*) echo "curl $CURL_FAKE (x)" ;; 7.75*" --no-fail-with-body "*) exit 2 ;; *) exec "%s" "$@" | sed "s#libcurl/[0-9.]*#libcurl/$CURL_FAKE#" ;; esac\n' \
		"$(type -P bash)" "$(type -P curl)" >bin/curl
	chmod +x bin/curl
	export PATH=$PWD/bin:$PATH
}

# signs VERSION TEXT ARGUMENT…: with that curl, the text is part of what would be signed
signs() {
	local version=$1 text=$2
	shift 2
	echo "$version: curl $(printf '%q ' "$@")"
	CURL_FAKE=$version run --separate-stderr atl-sign curl --dry-run "$@"
	echo "$output$stderr"
	((status == 0))
	[[ $output$'\n' == *"$text"$'\n'* ]]
}

@test "queries reach the provider as curl sends them, and the signature holds" {
	accepted "$URL"
	accepted "$URL?"
	accepted "$URL?expand=plans"
	accepted "$URL?a=1&a=0&b&c=&&d=%20+%2B%2b"
	accepted "$URL?u=%c3%a4%C3%A4ä&s=a;b&t=*~'()!"
	accepted -g "$URL?jql=a[1]{x}|\"^<>\`"
	accepted "$URL?x=1#fragment"
	accepted --url "$URL"
	accepted -- "$URL"
}

@test "a character that no path has is refused with its escape" {
	local character
	for character in '[' ']' '{' '}' '|' '^' '"' '<' '>' '`' $'\\'; do
		printf -v escape '%%%02X' "'$character"
		refused "the URL's path holds a raw $character"$'\n'"hint: write $escape" -g "$URL/a${character}b"
		same -g "$URL/a${escape}b?c=$character"
	done
	refused "hint: write %5B" -g "$URL/[1]"
}

@test "-G makes a query of the data, and the signature holds" {
	printf 'from file\r\n' >file
	accepted -G -d a=1 -d b=2 "$URL"
	if (($(curl_version) >= 7086)); then accepted -G -d a=1 "$URL?z=0#fragment"; fi
	accepted -G -d a=1 "$URL?"
	accepted -G -d '' "$URL"
	accepted -G --data-urlencode 'jql=project = "A B" & x + [y] ä%' "$URL"
	accepted -G --data-urlencode f@file --data-urlencode '=x y' --data-urlencode 'plain text' "$URL?q=1"
	accepted --get -I -d a=1 "$URL"
}

@test "forms reach the provider as curl sends them, and the signature holds" {
	local -a headers=(-H 'X-Atlassian-Token: no-check')
	printf 'line=1\r\nline&two=ä+%%20\n' >file
	printf 'f=from stdin' >stdin.txt
	accepted "${headers[@]}" -d stage -d executeAllStages=true "$QUEUE"
	accepted "${headers[@]}" -d '' -d a=1 -d '' -d a=0 "$QUEUE"
	accepted "${headers[@]}" -d '' "$QUEUE"
	accepted "${headers[@]}" -sSfXPOST -da=1 "$QUEUE"
	accepted "${headers[@]}" -d @file --data-ascii @file "$QUEUE"
	accepted "${headers[@]}" --data-binary @file "$QUEUE?q=1&a=2"
	accepted "${headers[@]}" --data-raw @file "$QUEUE"
	accepted "${headers[@]}" --data-urlencode 'a=x y&z+%' --data-urlencode '=b c' --data-urlencode 'd e' --data-urlencode g@file \
		--data-urlencode @file --data-urlencode a@b=c "$QUEUE"
	stdin=stdin.txt accepted "${headers[@]}" -d @- -d @- -d b=1 "$QUEUE"
	stdin=stdin.txt accepted "${headers[@]}" --data-urlencode f@- "$QUEUE"
	accepted "${headers[@]}" -H 'content-TYPE: application/x-www-form-urlencoded; charset=UTF-8' -d a=1 "$QUEUE"
}

@test "a form of 1 MiB is signed, and of one byte more nothing is sent" {
	python -c 'import sys; sys.stdout.write(("a=" + "%C3%A9" * 174762 + "xxxxxxx")[:1048576])' >form
	accepted -H 'X-Atlassian-Token: no-check' -H 'Expect:' -d @form "$QUEUE"
	printf x >>form
	refused "the form is over 1048576 bytes" -d @form "$QUEUE"
}

@test "more parameters than many servers read: a warning on standard error, unless -s" {
	python -c 'print("&".join(f"a{number}=" for number in range(1001)), end="")' >form
	run --separate-stderr atl-sign curl -sS -H 'X-Atlassian-Token: no-check' -d @form "$QUEUE"
	((status == 0))
	[[ $stderr == 'atl-sign: warning: the request has 1001 parameters; many servers read only the first 1000 '* ]]
	((${#stderr_lines[@]} == 1))
	run --separate-stderr atl-sign curl -s -H 'X-Atlassian-Token: no-check' -d @form "$QUEUE"
	[[ -z $stderr ]]
	run --separate-stderr atl-sign curl -sS -H 'X-Atlassian-Token: no-check' -d "$(cut -d '&' -f -1000 form)" "$QUEUE"
	[[ -z $stderr ]]
	[[ $(<"$RECORDS/$(last_record).status") == 'HTTP/1.1 2'* ]]
}

@test "a form's data may hold every byte when curl encodes it" {
	python -c 'import sys; sys.stdout.buffer.write(bytes(range(128)) + "äöü €".encode() + bytes(range(127, -1, -1)))' >bytes
	same -H 'X-Atlassian-Token: no-check' --data-urlencode x@bytes "$QUEUE"
}

@test "bodies that are no form go through untouched and unsigned" {
	local label=$RECORDER/bamboo/rest/api/latest/plan/WEB-BUILD/label
	printf '{"name": "from-file"}\n' >file
	accepted -H 'Content-Type: application/json' -d '{"name": "nightly"}' "$label"
	accepted -H 'Content-Type: application/json' --data-binary @file "$label"
	same -X PUT -H 'Content-Type: application/json' -d @file "$label"
	stdin="file" accepted -H 'CONTENT-TYPE:application/json;charset=UTF-8' -d @- "$label"
	if (($(curl_version) >= 7082)); then accepted --json '{"name": "x"}' "$label"; fi
	printf 'a\0b\r\n' >file
	same -H 'Content-Type: application/octet-stream' --data-binary @file "$label"
	same -H 'Content-Type:' -d 'a=1' "$label"
	same -H 'Content-Type;' -d 'a=1' "$label"
}

@test "methods are curl's own" {
	accepted -I "$URL"
	accepted -X GET "$URL"
	accepted --request PATCH --request GET "$URL"
	same -X DELETE "$URL"
	same -X get "$URL"
}

@test "headers go out in their order, those of a file too" {
	printf 'X-Two: 2\n\nX-Three: 3' >file
	# Later ones would send the CR, and take the last line for a comment.
	if (($(curl_version) < 8013)); then printf 'X-Two: 2\r\n\n#X-Three: 3' >file; fi
	accepted -H 'X-One: 1' -H @file -H 'X-Four;' -H 'Accept:' -H 'no header' -H "User-Agent: tests" "$URL"
}

@test "output, silence and exit status are curl's own" {
	run --separate-stderr atl-sign curl -sS -o out '-g' "$URL"
	((status == 0))
	[[ -z $output && -z $stderr && -s out ]]

	run --separate-stderr atl-sign curl -f "$RECORDER/bamboo/rest/api/latest/nothing-here"
	((status == 22))
	[[ $stderr == *'curl: (22)'* ]]

	run --separate-stderr atl-sign curl -sf "$RECORDER/bamboo/rest/api/latest/nothing-here"
	((status == 22))
	[[ -z $stderr ]]

	run --separate-stderr atl-sign curl -s -o no/such/folder "$URL"
	((status == 23))
}

@test "closed descriptors: files, status and request are curl's" {
	local closed options before status_of_curl
	for closed in '<&-' '>&-' '2>&-' '>&- 2>&-' '<&- >&-' '<&- 2>&-' '<&- >&- 2>&-'; do
		for options in '-s -o out' '-S -s' '-d a=1 -o out' '-s -L -o out' '-v -o out' '-o out -w %{stderr}%{http_code}'; do
			# curl alone would write what it prints into a pipe to itself, and call that a success.
			[[ $options != '-S -s' || $closed != '<&- >&-'* ]] || continue
			echo "$options $closed"
			rm -f out
			status_of_curl=0
			bash -c "exec curl -q $options '$URL' $closed" >plain.out || status_of_curl=$?
			if [[ -e out ]]; then mv out plain; fi
			before=$(last_record)
			status=0
			bash -c "exec atl-sign curl $options '$URL' $closed" >signed.out 2>signed.err || status=$?
			cat signed.err
			((status == status_of_curl))
			(($(last_record) == before + 1))
			[[ -e plain || ! -e out ]]
			if [[ -e plain ]]; then
				[[ -s out ]]
				rm plain
			fi
			run ! grep 'atl-sign.*line [0-9]' signed.err signed.out
		done
	done
	# Nothing comes in; curl alone would wait for the end of a pipe to itself.
	bash -c "exec atl-sign curl -s -o out -H 'Content-Type: text/plain' -d @- '$URL' <&-"
	tail -n 1 "$RECORDS/$(last_record).request" >body
	[[ $(<body) == $'\r' ]]
}

@test "closed descriptors: a header that cannot be printed is an error" {
	run --separate-stderr bash -c "exec atl-sign header GET '$URL' >&-"
	((status == 1))
	[[ $stderr == 'atl-sign: standard output cannot be written' ]]
	run --separate-stderr bash -c "exec atl-sign header GET '$URL' >/dev/full"
	((status == 1))
	[[ $stderr == 'atl-sign: standard output cannot be written' ]]
	run bash -c "exec atl-sign header GET '$URL' <&- 2>&-"
	[[ $output == 'Authorization: OAuth '* ]]
	run bash -c "exec atl-sign link list 2>&- <&-"
	[[ $output == *bamboo* ]]
}

@test "-v, --trace and --libcurl show the request, and curl has no signature to show" {
	run --separate-stderr atl-sign curl -v -H 'X-Mine: shown' "$URL"
	((status == 0))
	[[ $stderr == *'> X-Mine: shown'* && $stderr == *'< HTTP/1.1 200'* && $stderr != *OAuth* ]]
	run --separate-stderr atl-sign curl -sv -f "$RECORDER/bamboo/rest/api/latest/nothing-here"
	((status == 22))
	printf 'a=1' >file
	run --separate-stderr atl-sign curl -v -d @- -H 'X-Atlassian-Token: no-check' "$QUEUE" <file
	((status == 0))
	[[ $stderr == *'> Content-Length: 3'* ]]
	accepted --trace trace --trace-time "$URL"
	accepted --libcurl code.c "$URL"
	accepted -vv "$URL"
	grep -q 'bamboo/rest' trace
	run ! grep -rqi 'oauth' trace code.c
}

# signalled SIGNAL ARGUMENT…: prints the status after a signal that comes while curl waits for its body, and whether curl is gone
signalled() {
	local name=$1
	shift
	python -c 'import os, signal, subprocess, sys, time
read, write = os.pipe()
process = subprocess.Popen(["atl-sign", "curl", *sys.argv[2:]], stdin=read, start_new_session=True, stderr=open("err", "w"))
children = f"/proc/{process.pid}/task/{process.pid}/children"
def curls():
    ids = [process.pid, *map(int, open(children).read().split())]
    return [each for each in ids if open(f"/proc/{each}/cmdline", "rb").read().startswith(b"curl\0")]
deadline = time.monotonic() + 20
while not curls() and time.monotonic() < deadline: time.sleep(0.02)
curl = curls()[0]
process.send_signal(getattr(signal, "SIG" + sys.argv[1]))
status = process.wait(20)
deadline = time.monotonic() + 5  # the signal reaches both; the kernel buries them one after the other
while os.path.exists(f"/proc/{curl}") and time.monotonic() < deadline: time.sleep(0.02)
print(status, "running" if os.path.exists(f"/proc/{curl}") else "gone")' "$name" "$@"
}

@test "a signal ends curl, with -v too" {
	local -a line=(-H 'Content-Type: application/json' -d @- "$URL")
	run signalled TERM "${line[@]}"
	[[ $output == '-15 gone' ]]
	run signalled INT "${line[@]}"
	[[ $output == '-2 gone' ]]
	run signalled TERM -v "${line[@]}"
	[[ $output == '-15 gone' ]]
	run signalled INT -v "${line[@]}"
	[[ $output == '-2 gone' ]]
}

@test "other credentials are refused, and what belongs to the link" {
	local option
	for option in '-u eve:x' '--user eve:x' '--oauth2-bearer x' '-u eve:x --basic' '--aws-sigv4 aws:amz -u eve:x'; do
		# shellcheck disable=SC2086 # words
		refused "credentials of its own" $option "$URL"
	done
	printf 'machine %s login eve password x\n' 127.0.0.1 >netrc
	refused "credentials of its own" --netrc-file netrc "$URL"
	for option in -k --insecure '--cacert x' '--capath x' '-E x' '--cert x' '--key x' '-x http://127.0.0.1:1' '--proxy http://127.0.0.1:1' \
		'--preproxy socks5://127.0.0.1:1' '--socks5 127.0.0.1:1' '--socks5-hostname 127.0.0.1:1' '--socks4 127.0.0.1:1' '--noproxy *' \
		'--proxy1.0 127.0.0.1:1' '-U a:b' '--connect-to ::127.0.0.1:1' '--resolve x:80:127.0.0.1' '--doh-url https://127.0.0.1:1/' \
		'--dns-servers 127.0.0.1' "--unix-socket $ATL_SIGN_SOCK" '--abstract-unix-socket x' '--pinnedpubkey x' '--haproxy-protocol' '-sSkf' '-sx127.0.0.1'; do
		# shellcheck disable=SC2086
		set -f -- $option
		refused "which is the daemon's" "$@" "$URL"
		[[ $stderr == *$'\nhint: set the link\'s '* ]]
		printf '%s\n' "$option" >config
		refused "which is the daemon's" -K config "$URL"
		cp config "$HOME/.curlrc"
		refused "which is the daemon's" "$URL"
		rm "$HOME/.curlrc"
		run ! grep -q . <(find . -newer config -name trace)
	done
	set +f
	if [[ $(curl -q --version) == 'curl 7.'* ]]; then refused "which is the daemon's" --INSECUR "$URL"; fi
	# What only looks like one of them is not.
	accepted -H '-k: x' -A -k -e --proxy "$URL"
	accepted --no-insecure --no-netrc --no-location-trusted "$URL"
	accepted --location-trusted --request-target "/bamboo/rest/api/latest/plan.json" "$RECORDER/x"
}

@test "standard input is given to the option that curl would give it to" {
	(($(curl_version) >= 7087)) || skip "this curl has no --url-query"
	printf 'a=1' >body
	stdin=body same --url-query @- -d @- "$URL"
	stdin=body same -d @- --url-query b=@- "$URL"
}

@test "options that curl does not know are its own errors, and ours come first" {
	curls_own --no-such-option "$URL"
	curls_own "$URL" -d
	curls_own "$URL" -sX
	curls_own -+ "$URL"
	refused "must come first" "$URL" --dry-run
	refused "must come first" "$URL" --link bamboo
}

@test "a curl that is too old is refused" {
	put_fake_curl
	CURL_FAKE=7.75.0 refused "too old" "$URL"
}

# What the real ones send is what `make curl-versions` looks at; seen with 7.76.0, 7.88.1, 8.14.1 and 8.23.0.
@test "a curl without SOCKS on Unix sockets takes a port, which is for this user" {
	put_fake_curl
	export CURL_FAKE=7.76.0
	accepted "$URL"
	accepted -H 'X-Atlassian-Token: no-check' -d a=1 "$QUEUE"
	run --separate-stderr atl-sign curl -sv "$URL"
	[[ $stderr == *"Trying 127.0.0.1:"* ]]
	rm "$FOLDER/curl-version"
	CURL_FAKE=7.84.0 run --separate-stderr atl-sign curl -sv "$URL"
	[[ $stderr == *"proxy.sock"* ]]
}

@test "a missing curl is told" {
	mkdir bin
	ln -s "$(type -P bash)" bin/bash
	local status=0
	PATH=$PWD/bin bash "$ROOT/clients/bash/atl-sign" curl "$URL" 2>err || status=$?
	((status == 125))
	grep -q 'curl cannot be run' err
}

@test "an Authorization header of the user's own is refused in any spelling" {
	local header
	for header in 'Authorization: Basic eve' 'authorization:Basic eve' 'AUTHORIZATION;' $'Authorization\t: eve' 'Authorization : eve'; do
		refused '' -H "$header" "$URL"
		printf 'X-One: 1\n%s\n' "$header" >file
		refused '' -H @file "$URL"
	done
	refused "line break" -H $'X-One: 1\nAuthorization: eve' "$URL"
	refused "line break" -H $'X-One: 1\rAuthorization: eve' "$URL"
	refused "Host header" -H 'host: elsewhere.example' "$URL"
	same -H "Host: ${RECORDER#http://}" "$URL"
	same -H 'Authorization:' "$URL" # curl takes that for "none"
}

@test "URLs are what curl makes of them" {
	local base=$RECORDER/bamboo/rest/api/latest
	same "${URL#http://}"
	same --proto-default http "${URL#http://}"
	same "HTTP://${URL#http://}"
	same "$base/x/../plan.json"
	same "$base/./x/y/../../plan.json?a=../b"
	same "$base/plan/."
	same "$base/plan/x/.."
	same "$base//plan//../x"
	same --path-as-is "$base/plan/..."
	if (($(curl_version) >= 7084)); then same "$base/ä%C3%a4"; fi
	same -O "$URL"
	same "$URL#fragment"
	if (($(curl_version) >= 7086)); then same -G -d a=1 "$base/x/../plan.json#fragment"; fi
	if (($(curl_version) >= 7087)); then same --url-query 'a=b c' --url-query +raw=1 --url-query =ä "$URL?z"; fi
	same --globoff "$URL?a=[1-2]"
	same "$URL?a=\\[1-2\\]"
	same "$URL?a=[]"
	atl-sign curl -s -f -o out --http1.0 "$URL"
	atl-sign curl -s -f -o out -0 -d a=1 "$QUEUE"
	atl-sign curl -s -f -o out --http2 "$URL"
}

@test "a line break in any value sends nothing" {
	local name break count=0
	while IFS= read -r name; do
		case $name in
		data* | json | form | form-string | write-out | url-query | variable) continue ;; # a body, or what is printed here
		esac
		refused '' "--$name" $'1\r\nX-Evil: 1' "$URL"
		((count += 1))
	done < <(sed -n '/^VALUED_OPTIONS=/,/"$/p' "$ROOT/clients/bash/atl-sign-curl.bash" | grep -oE '[a-z0-9][a-z0-9.-]+')
	((count > 100))
	for break in $'\r' $'\n' $'\r\n' $'\x01' $'\x7f' $'\v' $'\n '; do
		for name in -A -e -b -r -z --etag-compare --user-agent --referer --cookie --range --proxy-header -H -X; do
			refused "line break" "$name" "a=b${break}Host: evil.example" "$URL"
		done
		refused "line break" "$URL${break}Host: evil.example"
		refused "line break" "-Aa${break}b" "$URL"
	done
}

@test "a line break in a value of a config file or of ~/.curlrc sends nothing" {
	local line
	for line in 'user-agent = "a\r\nHost: evil.example"' '-A "a\nX: y"' 'cookie = "a=b\rX: y"' 'range: "0-1\r\n\r\nGET /y HTTP/1.1"' 'referer="http://a\nX: y"' \
		'proxy-header = "X: y\r\nAuthorization: Basic eve"' 'header = "X: y\r\nHost: evil"'; do
		printf '%s\n' "$line" >config
		refused 'holds a line break' -K config "$URL"
		cp config "$HOME/.curlrc"
		refused 'holds a line break' "$URL"
		rm "$HOME/.curlrc"
	done
	printf 'data = "a=1\\nb"\nheader = "X-A: \\\\n"\n' >config
	same -K config -H 'Content-Type: text/plain' "$LABEL"
}

@test "a second request that a header file smuggles in is not sent" {
	printf 'X-One: 1\r\n\r\nDELETE /bamboo/rest/api/latest/plan HTTP/1.1\r\nHost: x\r\n' >file
	refused "" -H @file "$URL"
}

@test "values without line breaks, and bodies with them, go out as curl sends them" {
	local -a json=(-H 'Content-Type: application/json')
	printf '"tag"' >etag
	same -A $'a\tb' -e 'http://r.example/' -b 'a=b; c=d' -r 0-1 -z '2020-01-01' --etag-compare etag "$URL"
	same "${json[@]}" -d $'{\n"a":\r\n1}' "$LABEL"
	accepted --data-urlencode $'a=b\r\nc' -d $'d=e\nf' -H 'X-Atlassian-Token: no-check' "$QUEUE"
	accepted -G --data-urlencode $'a=b\r\nc' "$URL"
	same -w $'a\nb' "$URL"
	same -H $'X-Tab: a\tb' "$URL"
}

@test "a header for a proxy reaches nobody" {
	same --proxy-header 'X-Proxy: 1' --proxy-header 'Authorization: Basic eve' "$URL"
}

@test "forms that curl changes are signed as they go out" {
	local option
	for option in --crlf -B --use-ascii; do accepted "$option" -H 'X-Atlassian-Token: no-check' -d a=1 "$QUEUE"; done
	same --crlf -B "$URL"
}

@test "what curl itself refuses is its own error, and an address that cannot be signed is ours" {
	curls_own -d a=1
	curls_own ''
	curls_own -I -d a=1 "$URL"
	curls_own -F a=1 -d a=1 "$URL"
	curls_own -T no-such-file "$URL"
	curls_own "$URL?a={b"
	curls_own "$URL?a=[9-1]"
	refused "no application link covers" "$RECORDER/etc"
	refused "no application link covers" https://elsewhere.example/
	refused "no application link covers" ftp://127.0.0.1/
	refused "climbs out" --path-as-is "$RECORDER/bamboo/rest/../../etc"
	refused "climbs out" "$RECORDER/bamboo/rest/%2E%2E/%2E%2E/etc"
	refused "" -X 'GET X' "$URL"
}

@test "uploads go out as curl sends them" {
	printf 'a\0b\r\n' >'file name'
	same -T 'file name' "$RECORDER/bamboo/rest/"
	same -T 'file name' "$RECORDER/bamboo/rest/other?x=1"
	same -X POST -T 'file name' "$RECORDER/bamboo/rest"
	stdin='file name' same -T - "$RECORDER/bamboo/recorder/echo"
	stdin='file name' same -T . "$RECORDER/bamboo/recorder/echo"
	same -H 'Transfer-Encoding: chunked' -H 'Content-Type: text/plain' -d @'file name' "$RECORDER/bamboo/recorder/echo"
	same -H 'Content-Type: application/x-www-form-urlencoded' -T 'file name' "$URL"
}

@test "multipart bodies go out as curl sends them, apart from their boundary" {
	local number
	printf 'a\0b\r\n' >file
	atl-sign curl -s -o out -F a=1 -F f=@file --form-string 's=@x' "$URL"
	number=$(last_record)
	grep -q 'Content-Type: multipart/form-data' "$RECORDS/$number.request"
	grep -q '^Authorization: OAuth ' "$RECORDS/$number.authorization"
	grep -q 'filename="file"' "$RECORDS/$number.request"
	grep -q '@x' "$RECORDS/$number.request"
}

@test "options are read as curl reads them" {
	accepted -sSf -XGET --compressed "$URL"
	accepted -A agent -e http://x/ -b a=b --header 'X-A: 1' --connect-timeout 5 -m 10 --tcp-nodelay --no-keepalive "$URL"
	accepted -sN --no-buffer "$URL"
	accepted "$URL" -s --no-progress-meter --raw
	[[ $(curl -q --version) == 'curl 7.'* ]] || skip "abbreviations went away with curl 8.6"
	accepted --inclu --SILENT "$URL"
	curls_own --ip "$URL"
	curls_own --request=GET "$URL"
}

@test "config files and ~/.curlrc are read by the same rules" {
	printf '%s\n' '# a comment' 'header = "X-One: \"1\""' '-H "X-Two: 2"' 'user-agent: tester' '' 'data a=1' '--data' '"b=x y"' >file
	printf '%s\n' '# a comment' 'header = "X-One: \"1\""' '-H "X-Two: 2"' 'user-agent: tester' '' 'data a=1' '--data "b=x y"' >file
	same -K file "$QUEUE"
	printf 'url = "%s"\n-G\ndata = a=1' "$URL" >stdin.txt
	stdin=stdin.txt same -K -
	printf 'header = "X-Mine: from home"\n' >"$HOME/.curlrc"
	atl-sign curl -s -o out "$URL"
	grep -q 'X-Mine: from home' "$RECORDS/$(last_record).request"
	atl-sign curl -q -s -o out "$URL"
	run ! grep -q 'X-Mine: from home' "$RECORDS/$(last_record).request"
	printf 'user = eve:secret\n' >"$HOME/.curlrc"
	refused "credentials of its own" "$URL"
	[[ $stderr != *secret* ]]
	rm "$HOME/.curlrc"
	printf 'frobnicate\n' >file
	curls_own -K file "$RECORDER/x" -m 0.001 || :
	printf 'config = file\n' >file
	refused "in a circle" -K file "$URL"
	curls_own -K no-such-file "$URL"
	# What can be read only once is read once.
	same -K <(printf 'header = "X-One: 1"\n') "$URL" || :
	atl-sign curl -s -o out -K <(printf 'header = "X-Once: 1"\nurl = "%s"\n' "$URL")
	grep -q 'X-Once: 1' "$RECORDS/$(last_record).request"
	refused "which is the daemon's" -K <(printf 'insecure\n') "$URL"
}

@test "a config file is found and read as curl does it, however it is spelled" {
	local line
	mkdir 'a folder' home "home/.config"
	printf 'proxy = 127.0.0.1:9\n' >bad
	cp bad 'a folder/bad'
	for line in '-Kbad' '-sKbad' '-K bad' '-K "bad"' '--config bad' '--config=bad' 'CONFIG = bad' 'conf: bad' 'config = "a folder/bad"'; do
		printf '%s\n' "$line" >file
		refused "option proxy in" -K file "$URL"
	done
	printf 'config = "b\\ad"\n' >file
	refused "holds a backslash" -K file "$URL"
	printf '\0\nproxy = 127.0.0.1:9\n' >file
	refused "holds a zero byte" -K file "$URL"
	refused "holds a zero byte" -K <(cat file) "$URL"
	refused "option proxy in" --config=bad "$URL"
	refused "cannot be a variable" --variable f=bad --expand-config '{{f}}' "$URL"
	printf 'expand-config = "{{f}}"\n' >file
	refused "cannot be a variable" --variable f=bad -K file "$URL"
	cp bad home/.config/curlrc
	HOME=$PWD/home XDG_CONFIG_HOME='' refused "option proxy in" "$URL"
}

@test "the ~/.curlrc of the system's home is read as curl does it, whatever HOME says" {
	((UID == 0)) && unshare -m true || skip "only root can give itself another home"
	printf 'proxy = 127.0.0.1:9\n' >.curlrc
	sed "s#^\(root:.*:\)[^:]*\(:[^:]*\)\$#\1$PWD\2#" /etc/passwd >passwd
	# shellcheck disable=SC2016 # for that shell
	for prefix in '' 'unset -v HOME;'; do
		run --separate-stderr unshare -m bash -c "mount --bind passwd /etc/passwd; $prefix"' exec atl-sign curl -s "$URL"'
		[[ $status == 125 && $stderr == *"option proxy in $PWD/.curlrc"* ]]
	done
}

@test "a word that curl takes for a value hides no option" {
	refused "option -x" --heade -K -x http://127.0.0.1:9 "$URL"
	refused "option -x" '-*' -K -x http://127.0.0.1:9 "$URL"
	refused "option -k" --head --parallel --netrc --ssl --crlf -k "$URL"
}

@test "a line break in a variable gets into no header" {
	refused "a variable holds" --variable $'v=a\r\nX-Evil: 1' --expand-header 'X: {{v}}' "$URL"
	refused "a variable holds" --expand-user-agent '{{v}}' --variable $'v=a\nX-Evil: 1' "$URL"
	V=$'a\r\nX-Evil: 1' refused "a variable holds" --variable %V --expand-url "$URL?{{V}}"
	printf 'variable = "v=a\\r\\nX-Evil: 1"\n' >file
	refused "a variable holds" -K file --expand-header 'X: {{v}}' "$URL"
	(($(curl_version) >= 8003)) || skip "this curl has no variables"
	same --variable $'v=a\nb' --expand-data '{{v}}' -H 'Content-Type: text/plain' "$LABEL"
	same --variable v=a --expand-header 'X: {{v}}' "$URL"
}

@test "where there was no daemon, no request goes out twice and no body is lost" {
	local real
	real=$(type -P curl)
	atl-sign curl -s -o out "$URL"
	mkdir bin
	# shellcheck disable=SC2016 # for the shell of that script
	printf '#!%s\ncase " $* " in *" --version "*) echo "curl $FAKE_VERSION (x)" ;; *" --unix-socket "*) exec "%s" "$@" ;; *) echo "$all_proxy" >>runs; exit 7 ;; esac\n' \
		"$(type -P bash)" "$real" >bin/curl
	chmod +x bin/curl
	mkfifo pipe
	export PATH=$PWD/bin:$PATH FAKE_VERSION=8.14
	# runs COUNT STATUS ARGUMENT…
	runs() {
		local count=$1 expected=$2
		shift 2
		: >runs
		run atl-sign curl -s "$@"
		echo "$(wc -l <runs) $status: $*"
		(($(wc -l <runs) == count && status == expected))
	}
	runs 2 7 -d a=1 "$URL"
	runs 1 7 -d a=1 "$URL" "$URL"
	runs 1 7 -d a=1 --url "$URL" --url "$URL"
	runs 1 7 -d a=1 "$URL?{a,b}"
	runs 1 7 -d a=1 -- "$URL"
	runs 1 7 -Ld a=1 "$URL"
	runs 1 7 -d a=1 --location --retry 3 "$URL"
	printf 'url = %s\nurl = %s\n' "$URL" "$URL" >file
	runs 1 7 -d a=1 -K file
	runs 1 125 --json @<(echo '{}') "$URL"
	runs 1 125 -d @/dev/stdin "$URL"
	runs 1 125 -F 'f=@-;type=text/plain' "$URL"
	runs 1 125 -d @pipe "$URL"
	runs 1 125 -K <(echo 'data = a') "$URL"
	touch -d tomorrow bin/curl # so that its version is asked again
	FAKE_VERSION=7.80 runs 2 7 -d a=1 "$URL"
	run ! grep -v '@127.0.0.1:' runs
}

@test "--dry-run shows what would be signed and sends nothing" {
	local before
	before=$(last_record)
	run --separate-stderr atl-sign curl --dry-run -d a=1 "$QUEUE" -o out
	((status == 0 && $(last_record) == before))
	[[ $output == *$'method: POST\n'*$'form: a=1\n'*$'link: bamboo\n'*'base_string: POST&'* && ! -e out ]]
	run --separate-stderr atl-sign curl --dry-run "$RECORDER/elsewhere"
	((status == 125))
}

@test "forms that cannot be signed exactly are refused" {
	refused "another encoding" -H 'Content-Type: application/x-www-form-urlencoded; charset=ISO-8859-1' -d a=1 "$QUEUE"
	refused "two Content-Type" -H 'Content-Type: text/plain' -H 'content-type: application/json' -d a=1 "$QUEUE"
	same -X PUT -d a=1 "$QUEUE" # which no product reads as a form
	refused "percent sign" -d 'a=%zz' "$QUEUE"
	refused "without a name" -d '=b' "$QUEUE"
	refused "oauth_token" -d 'oauth_token=x' "$QUEUE"
	head -c 1100000 /dev/zero | tr '\0' a >file
	refused "over 1048576 bytes" -d @file "$QUEUE"
}

@test "what the daemon refuses is not sent, and its reason is told" {
	refused "no application link covers this URL" "$RECORDER/elsewhere"
	[[ $stderr == *$'\nhint: '* ]]
	refused "credentials of its own" "http://eve:secret@${URL#http://}"
	[[ $stderr != *secret* ]]
	refused "no application link is called jira" --link jira "$URL"
	accepted --url "$URL"
	atl-sign curl --link bamboo -s -o out "$URL"
	[[ -s out ]]
}

@test "without a daemon nothing is sent" {
	ATL_SIGN_SOCK=$FOLDER/none refused "there is no daemon on $FOLDER/none" "$URL"
}

@test "two runs never send the same signature" {
	atl-sign curl -s -o out "$URL"
	cp "$RECORDS/$(last_record).authorization" first
	atl-sign curl -s -o out "$URL"
	run ! cmp first "$RECORDS/$(last_record).authorization"
}
