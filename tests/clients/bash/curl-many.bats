#!/usr/bin/env bats
# `atl-sign curl` with several requests: patterns, --next, redirects, repetitions. Each is signed for itself.

# shellcheck disable=SC2154 # bats sets stderr

load helpers

setup_file() {
	start_recorded
	export BASE=$RECORDER/bamboo/recorder
	export ECHO=/bamboo/recorder/echo
}

last_record() {
	local -a all=("$RECORDS"/*.request)
	echo "${#all[@]}"
}

# theirs FILE: what curl printed, without the header that is about its connection, which leads to the daemon
theirs() { sed 's/KEY/OTHER/; /^Connection: close\r$/d' "$1"; }

# plain FILE: a recorded request without what the daemon adds for the products' check of forms
plain() { sed -E 's/\r$//; /^(X-Atlassian-Token: no-check|Expect:.*)$/d' "$1"; }

# as_curl ARGUMENT…: curl alone and `atl-sign curl` send the same requests, print the same and end the same; all of ours are signed
# but those named in $unsigned
as_curl() {
	local before middle after number count plain=0 signed=0 name
	echo "curl $(printf '%q ' "$@")"
	rm -rf plain signed
	mkdir plain signed
	before=$(last_record)
	(cd plain && curl -q "$@" <"${stdin:-/dev/null}" >../plain.out 2>../plain.err) || plain=$?
	middle=$(last_record)
	(cd signed && atl-sign curl "${@//KEY/OTHER}" <"${stdin:-/dev/null}" >../signed.out 2>../signed.err) || signed=$?
	after=$(last_record)
	cat signed.err
	((plain == signed)) || {
		echo "status $plain and $signed"
		return 1
	}
	count=$((middle - before))
	((after - middle == count)) || {
		echo "$count and $((after - middle)) requests"
		return 1
	}
	for ((number = 1; number <= count; number++)); do
		diff <(plain "$RECORDS/$((before + number)).request" | sed 's/KEY/OTHER/') <(plain "$RECORDS/$((middle + number)).request")
		if [[ " ${unsigned-} " == *" $number "* ]]; then
			[[ ! -s $RECORDS/$((middle + number)).authorization ]]
		else
			grep -q '^Authorization: OAuth ' "$RECORDS/$((middle + number)).authorization"
		fi
	done
	# No signature twice.
	name=$(cat "$RECORDS"/*.authorization | grep -o 'oauth_nonce="[^"]*"' | sort | uniq -d)
	[[ -z $name ]]
	diff <(theirs plain.out) <(theirs signed.out)
	diff <(cd plain && find . -type f | sort) <(cd signed && find . -type f | sort)
	(cd plain && find . -type f) | while read -r name; do diff <(theirs "plain/$name") <(theirs "signed/$name"); done
}

# curls_own ARGUMENT…: an error of curl's own, with its status and words
curls_own() {
	local plain
	echo "curl $(printf '%q ' "$@")"
	run --separate-stderr curl -q "$@" </dev/null
	plain="$status $stderr"
	run --separate-stderr atl-sign curl "$@" </dev/null
	[[ "$status $stderr" == "$plain" ]] || {
		echo "$plain"
		echo "$status $stderr"
		return 1
	}
}

@test "several URLs and patterns: one signature each, output as curl names it" {
	as_curl -s "$BASE/echo" "$BASE/echo?x"
	as_curl -s "$BASE/{a,b}/[1-3:2]"
	as_curl -s "$BASE/[08-10]/{x,y}/[a-c:2]" -o 'f#1-#2#3#4#'
	as_curl -s "$BASE/{a,b}" -o '#1' "$BASE/x/[1-2]" -o 'n#1'
	as_curl -s -O "$BASE/a" -O "$BASE/b" "$BASE/c"
	as_curl -s --remote-name-all "$BASE/a" "$BASE/b" -o c
	as_curl -s --output-dir d --create-dirs "$BASE/{a,b}" -o '#1'
	as_curl -s -w '%{http_code} %{urlnum} %{url}\n' "$BASE/{a,b}" "$BASE/c"
	as_curl -s -d a=1 "$BASE/{a,b}"
	as_curl -s -G -d a=1 "$BASE/{a,b}?q"
	as_curl -s -D headers -i "$BASE/a" "$BASE/b"
	printf x >u1
	cp u1 u2
	as_curl -s -T "$PWD/u1" "$BASE/" -T "$PWD/u2" "$BASE/"
	as_curl -s -T "$PWD/u{1,2}" "$BASE/"
	printf '{}' >in
	stdin=$PWD/in as_curl -s -H 'Content-Type: application/json' -d @- "$BASE/a" "$BASE/b"
}

@test "the exit status of several is the last one's, and --fail-early stops" {
	as_curl -s -f "$BASE/fail/404/9/KEY1" "$BASE/echo"
	as_curl -s -f "$BASE/echo" "$BASE/fail/404/9/KEY2"
	as_curl -s -f --fail-early "$BASE/fail/404/9/KEY3" "$BASE/echo"
}

@test "one of several that cannot be signed is not sent, and the status says so" {
	local before
	for line in "$BASE/echo $RECORDER/elsewhere" "$RECORDER/elsewhere $BASE/echo" "$BASE/echo --next $RECORDER/elsewhere" "$BASE/echo?=x $BASE/echo"; do
		before=$(last_record)
		# shellcheck disable=SC2086 # words
		run --separate-stderr atl-sign curl -sS $line
		((status == 125))
		[[ $stderr == *'atl-sign: nothing was sent: '* ]]
		(($(last_record) == before + 1))
	done
}

@test "several at the same time" {
	local before
	before=$(last_record)
	atl-sign curl -sS -Z -o '#1' "$BASE/{a,b,c,d,e,f,g,h}"
	(($(last_record) == before + 8))
	(($(cat "$RECORDS"/*.authorization | grep -o 'oauth_nonce="[^"]*"' | sort | uniq -d | wc -l) == 0))
	[[ -s a && -s h ]]
	if (($(curl_version) >= 7084)); then as_curl -s --rate 20/s "$BASE/echo" "$BASE/echo"; fi
}

@test "--next: each operation has its own options, the global ones hold for all" {
	as_curl -s -d a=1 -H 'X-One: 1' "$BASE/a" --next -X DELETE "$BASE/b" --next -G -d c=1 "$BASE/c" -o out
	as_curl "$BASE/a" -: -s "$BASE/b" -w '%{http_code}'
}

@test "-L follows, signs each hop, and sends what curl sends" {
	as_curl -sL "$BASE/redirect/302?$ECHO"
	as_curl -sL "$BASE/redirect/302?../echo?x=1"
	as_curl -sL "$BASE/redirect/301?$BASE/redirect/308?$ECHO"
	as_curl -sL "$BASE/redirect/302?$ECHO%3Fa%20b=c%20d%26e=%C3%A4"
	as_curl -sL -I "$BASE/redirect/302?$ECHO"
	as_curl -sLi "$BASE/redirect/302?$ECHO"
	as_curl -sL -o out "$BASE/redirect/302?$ECHO"
	as_curl -sL -O "$BASE/redirect/302?$ECHO"
	as_curl -sL -D headers "$BASE/redirect/302?$ECHO"
	as_curl -sL -w '%{http_code} %{num_redirects} %{url_effective} %{redirect_url}|\n' "$BASE/redirect/302?$ECHO"
	as_curl -sL -w 'no line' "$BASE/echo"
	as_curl -sL -e 'http://x/;auto' "$BASE/redirect/302?$ECHO"
	as_curl -sL "$BASE/redirect/302?$ECHO" "$BASE/redirect/302?$ECHO%3F2"
	as_curl -s "$BASE/redirect/302?$ECHO"
	as_curl -sL "$BASE/redirect/304?$ECHO"
}

@test "-L: methods and bodies after a redirect are curl's" {
	local code
	for code in 301 302 303 307 308; do
		as_curl -sL -d a=1 "$BASE/redirect/$code?$ECHO"
		if (($(curl_version) >= 7082)); then as_curl -sL --json '{}' "$BASE/redirect/$code?$ECHO"; fi
		as_curl -sL -X POST "$BASE/redirect/$code?$ECHO"
		as_curl -sL -X PUT -H 'Content-Type: text/plain' -d a=1 "$BASE/redirect/$code?$ECHO"
	done
	as_curl -sL --post301 --post302 --post303 -d a=1 "$BASE/redirect/301?$ECHO"
	as_curl -sL --post302 -d a=1 "$BASE/redirect/302?$ECHO"
	as_curl -sL --post303 -d a=1 "$BASE/redirect/303?$ECHO"
	printf upload >up
	as_curl -sL -T "$PWD/up" "$BASE/redirect/307?$ECHO"
	as_curl -sL -T "$PWD/up" "$BASE/redirect/303?$ECHO"
	printf '{}' >in
	if (($(curl_version) >= 7082)); then stdin=$PWD/in as_curl -sL --json @- "$BASE/redirect/307?$ECHO"; fi
	stdin=$PWD/in as_curl -sL -d @- "$BASE/redirect/307?$ECHO"
	tail -c 2 "$RECORDS/$(last_record).request" | grep -q '{}'
	head -c 40000 /dev/zero | tr '\0' a >large
	as_curl -sL --data-urlencode "x@$PWD/large" "$BASE/redirect/307?$ECHO"
	run --separate-stderr atl-sign curl -sG -d "@$PWD/large" "$BASE/echo" # the head of a request may have 32 KiB
	((status == 125))
}

@test "-L: off the link without a signature, and the limits are curl's" {
	unsigned=2 as_curl -sL "$BASE/redirect/302?$RECORDER/recorder/echo"
	unsigned=2 as_curl -sL -d a=1 "$BASE/redirect/307?//${RECORDER#http://}/recorder/echo"
	unsigned=2 as_curl -sL -H 'Cookie: a=b' "$BASE/redirect/302?http://localhost:${RECORDER##*:}/recorder/echo"
	as_curl -sL --max-redirs 0 "$BASE/redirect/302?$ECHO"
	as_curl -sL "$BASE/redirect/302?302"
	run --separate-stderr atl-sign curl -sSL --max-redirs 1 "$BASE/redirect/302?302%3F302"
	[[ $stderr == 'curl: (47) Maximum (1) redirects followed' ]]
	curls_own -sSL "$BASE/redirect/302?gopher://x/"
	run --separate-stderr atl-sign curl -sSL "$RECORDER/recorder/echo"
	((status == 125))
}

@test "-L with what needs curl's own eye on all answers" {
	as_curl -sL -OJ "$BASE/echo"
	as_curl -sL -i -o out "$BASE/redirect/302?$ECHO"
	as_curl -sL -I -o out "$BASE/redirect/302?$ECHO"
	as_curl -sL -D - "$BASE/redirect/302?$ECHO"
	as_curl -sL -w '%{stderr}x' "$BASE/redirect/302?$ECHO"
	as_curl -sL -b '' "$BASE/cookie/a" "$BASE/redirect/302?$ECHO"
	printf 'a=1' >cookies
	as_curl -sL -b "$PWD/cookies" "$BASE/redirect/302?$ECHO"
	echo body >body
	stdin=$PWD/body as_curl -sL -T - "$BASE/echo"
	run --separate-stderr atl-sign curl -sL -w '%{time_redirect} %{json}' "$BASE/redirect/302?$ECHO"
	((status == 0))
	if (($(curl_version) >= 8003)); then as_curl -s --variable a=echo --expand-url "$BASE/{{a}}"; fi
}

@test "cookies given twice are joined as the installed curl joins them" {
	as_curl -s -b a=b -b a=b "$BASE/echo"
	as_curl -s -b a=b -b c=d "$BASE/echo"
}

@test "-L with a cookie jar: what one answer sets goes with the next request" {
	as_curl -sL -c jar -b '' "$BASE/cookie/a" "$BASE/redirect/302?$ECHO"
}

@test "--retry repeats with a signature of its own, on curl's conditions" {
	as_curl -s --retry 2 --retry-delay 1 "$BASE/fail/503/1/KEY1"
	as_curl -s --retry 1 --retry-delay 1 -f "$BASE/fail/500/9/KEY2"
	as_curl -s --retry 2 --retry-delay 1 -o out "$BASE/fail/429/1/KEY3"
	as_curl -s --retry 2 -f "$BASE/fail/404/1/KEY4"
	as_curl -s --retry 2 --retry-delay 1 --retry-all-errors -f "$BASE/fail/404/1/KEY5"
	as_curl -s --retry 2 --retry-delay 9 "$BASE/fail/503/1/after-KEY6"
	as_curl -s --retry 2 --retry-delay 1 -d a=1 -w '%{http_code}\n' "$BASE/fail/502/1/KEY7"
	as_curl -s --retry 5 --retry-delay 3 --retry-max-time 1 "$BASE/fail/503/1/KEY8"
	as_curl -sL --retry 2 --retry-delay 1 "$BASE/redirect/302?fail/../../fail/503/1/KEY9"
	curls_own --retry x "$BASE/echo"
}

@test "--retry-connrefused: a server that is not there" {
	local port
	port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	atl-sign link add gone "http://127.0.0.1:$port" >out 2>&1 || skip "the link cannot be added while its server is gone"
	run atl-sign curl -s --retry 1 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/"
	((status == 125 || status == 7))
}

@test "after an answer that refuses the signature, the remedy is told; not with -s" {
	run --separate-stderr atl-sign curl --no-progress-meter "$BASE/problem"
	((status == 0))
	[[ $output == 'GET /bamboo/recorder/problem' ]]
	[[ $stderr == 'atl-sign: link bamboo: '*token_rejected*$'\nhint: atl-sign dance bamboo' ]]
	run --separate-stderr atl-sign curl -s "$BASE/problem"
	[[ -z $stderr ]]
	run --separate-stderr atl-sign curl --no-progress-meter "$BASE/anonymous"
	[[ $stderr == *anonymous*$'\nhint: atl-sign check bamboo' ]]
	run --separate-stderr atl-sign curl --no-progress-meter -f "$BASE/problem"
	((status == 22))
	run --separate-stderr atl-sign curl --no-progress-meter "$BASE/echo"
	[[ -z $stderr ]]
}

@test "-L: another server has nothing signed" {
	local last
	# A second link at another name for the same server: what the first one redirects to is not for it to have signed.
	atl-sign link add other "http://localhost:${RECORDER##*:}/bamboo" >out 2>&1
	run --separate-stderr atl-sign curl -L --no-progress-meter "$BASE/redirect/307?http://localhost:${RECORDER##*:}$ECHO" -d a=1
	((status == 0))
	[[ $stderr == *'link other: a request that follows a redirect of another server was sent unsigned'* ]]
	last=$(last_record)
	grep -q '^Authorization: OAuth ' "$RECORDS/$((last - 1)).authorization"
	[[ ! -s $RECORDS/$last.authorization ]]
	# Nor is a link that an address outside of the links leads back to.
	run --separate-stderr atl-sign curl -sL "$BASE/redirect/302?$RECORDER/recorder/redirect/302%3F$ECHO"
	last=$(last_record)
	[[ ! -s $RECORDS/$last.authorization ]]
	atl-sign link remove other
}

@test "large bodies are streamed, in and out" {
	local peak
	head -c 104857600 /dev/zero >big
	peak=$(python "$ROOT/tests/clients/bash/measure_memory.py" atl-sign curl -sS -T big "$BASE/echo")
	((peak < 40000)) || { echo "$peak kB up"; return 1; }
	peak=$(python "$ROOT/tests/clients/bash/measure_memory.py" atl-sign curl -sS -o copy "$BASE/bytes/104857600")
	((peak < 40000)) || { echo "$peak kB down"; return 1; }
	cmp big copy
	rm big copy "$RECORDS/$(($(last_record) - 1)).request"
}
