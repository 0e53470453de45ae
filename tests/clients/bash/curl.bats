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
	diff <(sed 's/\r$//' "$RECORDS/$before.request") <(sed 's/\r$//' "$RECORDS/$number.request")
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
	[[ $stderr == "atl-sign: nothing was sent: "*"$words"* ]] || {
		echo "$stderr"
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
	refused "hint: write %5B" -g "$URL" "$URL/[1]"
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

@test "-v shows the request with the secrets struck out, and ends like curl" {
	run --separate-stderr atl-sign curl -v -H 'X-Mine: shown' "$URL"
	((status == 0))
	[[ $stderr == *'> X-Mine: shown'* && $stderr == *'< HTTP/1.1 200'* ]]
	[[ $stderr == *'> Authorization: OAuth '*'oauth_token="***"'*'oauth_signature="***"'* ]]
	[[ $stderr == *'oauth_nonce="'[0-9a-f]* ]]

	run --separate-stderr atl-sign curl -sv -f "$RECORDER/bamboo/rest/api/latest/nothing-here"
	((status == 22))

	printf 'a=1' >file
	run --separate-stderr atl-sign curl -v -d @- -H 'X-Atlassian-Token: no-check' "$QUEUE" <file
	((status == 0))
	[[ $stderr == *'> Content-Length: 3'* ]]
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
    return [each for each in ids if b"curl\0-q\0-K\0" in open(f"/proc/{each}/cmdline", "rb").read()]
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

@test "other credentials, and what would keep or spread the signature, are refused" {
	local option
	for option in -u --user --netrc-file --oauth2-bearer --aws-sigv4 --delegation; do
		refused "brings credentials of its own" "$option" value "$URL"
	done
	for option in -n --netrc --netrc-optional --anyauth --basic --digest --negotiate --ntlm; do
		refused "brings credentials of its own" "$option" "$URL"
	done
	refused "send the signature to other servers" --location-trusted "$URL"
	refused "write the signature into a file" --libcurl file "$URL"
	refused "keep the signature" --trace file "$URL"
	refused "keep the signature" --trace-ascii - "$URL"
	refused "in pieces" -vv "$URL"
	refused "another path" --request-target /other "$URL"
	refused "-k would show" -k "$URL"
	[[ ! -e file ]]
	refused "to another server" --connect-to ::127.0.0.1:1 "$URL"
	refused "to another server" --resolve x:80:127.0.0.1 "$URL"
	refused "to another server" --doh-url https://127.0.0.1:1/ --doh-insecure "$URL"
	refused "to another server" --dns-servers 127.0.0.1 "$URL"
	refused "to another server" --unix-socket "$ATL_SIGN_SOCK" "$URL"
	# Switched off, they do no harm.
	same --no-netrc --no-location-trusted --no-digest "$URL"
}

@test "standard input is given to the option that curl would give it to, or refused" {
	(($(curl_version) >= 7087)) || skip "this curl has no --url-query"
	printf 'a=1' >body
	stdin=body same --url-query @- -d @- "$URL"
	stdin=body refused "--url-query and --json both ask for standard input" --json @- --url-query @- "$URL"
	stdin=body refused "both ask for standard input" -d b=1 -d @- --url-query name@- "$URL"
	stdin=body same -d @- --url-query b=@- "$URL"
}

@test "options that curl does not know are refused by name" {
	refused "option --no-such-option is not known" --no-such-option "$URL"
	refused "--frobnicate" --frobnicate=secret "$URL"
	[[ $stderr != *secret* ]]
	refused "no option -+" -+ "$URL"
	refused "no option -" - "$URL"
	refused "needs a value" "$URL" -d
	refused "needs a value" "$URL" --request
	refused "needs a value" "$URL" -sX
	refused "cannot be switched off" --no-request "$URL"
	refused "--variable" --variable a=b "$URL"
	refused "filled in only by curl itself" --expand-url "{{a}}" "$URL"
}

@test "options that the installed curl is too old for are refused, and so is a curl that is too old" {
	put_fake_curl
	CURL_FAKE=7.81.0 refused "has no option --json" --json '{}' "$URL"
	CURL_FAKE=7.75.0 refused "too old" "$URL"
	CURL_FAKE=8.6.0 refused "option --includ is not known" --includ "$URL"
	CURL_FAKE=8.5.0 refused "is ambiguous" --ipv "$URL"
	CURL_FAKE=8.15.0 refused "takes no value after =" --request=GET "$URL"
}

# What the real ones send is what `make curl-versions` looks at; seen with 7.76.0, 7.88.1, 8.14.1 and 8.23.0.
@test "what is signed follows the installed version" {
	put_fake_curl
	signs 7.76.0 "url: $URL/%c3%a9" "$URL/%c3%a9"
	signs 8.14.1 "url: $URL/%c3%a9" "$URL/%c3%a9"
	signs 8.23.0 "url: $URL/%C3%A9?a=%c3%a9" "$URL/%c3%a9?a=%c3%a9"
	CURL_FAKE=7.76.0 refused "unescaped" "$URL/ä"
	signs 7.88.1 "url: $URL/%c3%a4" "$URL/ä"
	signs 8.23.0 "url: $URL/%C3%A4" "$URL/ä"

	signs 7.76.0 "form: a=x%20y" --data-urlencode 'a=x y' "$URL"
	signs 7.88.1 "form: a=x+y" --data-urlencode 'a=x y' "$URL"
	signs 7.88.1 "form: &a=1&&b=2" -d '' -d a=1 -d '' -d b=2 "$URL"
	signs 8.14.1 "form: a=1&&b=2" -d '' -d a=1 -d '' -d b=2 "$URL"

	CURL_FAKE=7.76.0 refused "fragment" -G -d a=1 "$URL#here"
	signs 7.88.1 "url: $URL?a=1" -G -d a=1 "$URL#here"

	printf x >up
	signs 7.76.0 "url: $URL/?a=b" -T up "$URL/?a=b"
	CURL_FAKE=7.76.0 refused "where it belongs" -T up "$URL/?a=b/"
	signs 7.88.1 "url: $URL/up?a=b" -T up "$URL/?a=b"
	signs 8.14.1 "url: $URL/?a=b" -T up "$URL/?a=b"

	printf 'X-Two: 2\r\n' >file
	signs 7.88.1 "url: $URL" -H @file "$URL"
	CURL_FAKE=8.14.1 refused "holds a CR" -H @file "$URL"
	CURL_FAKE=8.23.0 refused "has a name" "$URL?a={<n>1,2}"
	CURL_FAKE=7.76.0 refused "cannot be switched off" --no-get "$URL"
	CURL_FAKE=8.23.0 refused "cannot be switched off" --no-anyauth "$URL"
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
	local header words="Authorization header"
	if (($(curl_version) >= 8013)); then words="holds a CR"; fi
	for header in 'Authorization: Basic eve' 'authorization:Basic eve' 'AUTHORIZATION;' 'Authorization:' 'Authorization : eve' $'Authorization\t: eve' \
		'Authorization;x: eve' 'Authorization'; do
		refused "Authorization header" -H "$header" "$URL"
		refused "Authorization header" "-H$header" "$URL"
		printf 'X-One: 1\n%s\n' "$header" >file
		refused "Authorization header" -H @file "$URL"
		printf 'X-One: 1\r%s\r\n' "$header" >file
		refused "$words" --header @file "$URL"
	done
	refused "line break" -H $'X-One: 1\nAuthorization: eve' "$URL"
	refused "line break" -H $'X-One: 1\rAuthorization: eve' "$URL"
	refused "begins with a blank" -H ' Authorization: eve' "$URL"
	refused "cannot be read" -H @no-such-file "$URL"
	refused "Host header" -H 'host: elsewhere.example' "$URL"
	same -H "Host: ${RECORDER#http://}" "$URL"
	refused "Content-Length" -H 'Content-Length: 1' -d a=1 "$URL"
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
	same --http1.0 "$URL"
	same -0 -d a=1 "$QUEUE"
	same --http2 "$URL"
}

# options_of KIND OWNER…: the names in the table of options with that kind and one of those owners
options_of() {
	local kind=$1 owner
	shift
	for owner; do grep -oE "[a-z0-9.-]+=$kind:[0-9]+:$owner\\b" "$ROOT/clients/bash/atl-sign-curl.bash"; done | cut -d = -f 1
}

@test "a line break in any value sends nothing" {
	local name break count=0
	for name in $(options_of v pass own global); do
		case $name in
		data* | json | form | form-string | write-out | url-query) continue ;; # a body, or what is printed here
		header | proxy-header) continue ;;                                     # below
		esac
		refused "the value of --$name holds a line break" "--$name" $'1\r\nX-Evil: 1' "$URL"
		((count += 1))
	done
	((count > 100))
	for break in $'\r' $'\n' $'\r\n' $'\x01' $'\x7f' $'\v' $'\n '; do
		for name in -A -e -b -r -z --etag-compare --user-agent --referer --cookie --range --proxy-header; do
			refused holds "$name" "a=b${break}Host: evil.example" "$URL"
		done
		refused 'a header holds a' -H "a: b${break}Host: evil.example" "$URL"
		refused '' "$URL${break}Host: evil.example"
		refused '' -X "GET${break}Host:" "$URL"
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
	# A CR that ends a line of a header file is no part of it, one in the middle is another line, and a zero byte is none of either.
	printf 'X-One: 1\0\n' >zero
	refused 'zero byte' -H @zero "$URL"
	refused 'zero byte' --proxy-header @zero "$URL"
	printf 'X-One: \001\n' >control
	refused 'control character' -H @control "$URL"
	refused 'control character' --proxy-header @control "$URL"
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

@test "a header for a proxy goes on to the server, and must not be one that decides there" {
	printf 'X-File: 1\n' >file
	printf 'X-File: 1\nauthorization: Basic eve\n' >eve
	same -x "$RECORDER" --proxy-header 'X-Proxy: 1' --proxy-header 'Proxy-Authorization: Basic x' --proxy-header @file "$URL"
	grep -q '^X-File: 1' "$RECORDS/$(last_record).request"
	refused authorization -x "$RECORDER" --proxy-header 'Authorization: Basic eve' "$URL"
	refused authorization -x "$RECORDER" --proxy-header 'AUTHORIZATION : Basic eve' "$URL"
	refused authorization -x "$RECORDER" --proxy-header @eve "$URL"
	refused host -x "$RECORDER" --proxy-header 'Host: evil.example' "$URL"
	refused content-length --proxy-header 'content-length: 1' "$URL"
	refused transfer-encoding --proxy-header 'Transfer-Encoding: chunked' "$URL"
}

@test "what would change a form after its signature is refused, and leaves other bodies alone" {
	local option
	local -a json=(-H 'Content-Type: application/json')
	head -c 70000 /dev/zero | tr '\0' a >large
	printf '\n' >>large
	for option in --crlf -B --use-ascii -C1 --continue-at=1 '-C -'; do
		[[ $option != --*=* || $(curl_version) -ge 8016 ]] || continue
		# shellcheck disable=SC2086 # words
		refused 'change a form' $option -d a=1 "$QUEUE"
		# shellcheck disable=SC2086
		refused 'change a form' $option --data-binary @large -H 'Content-Type: application/x-www-form-urlencoded' "$QUEUE"
	done
	same --crlf "${json[@]}" --data-binary @large "$LABEL"
	same -B "${json[@]}" -H 'Expect: 100-continue' -d $'{\n}' "$LABEL"
	same --no-crlf --no-use-ascii -d a=1 -H 'X-Atlassian-Token: no-check' "$QUEUE"
	same --crlf -B "$URL"
}

@test "what is no single address that can be signed is refused" {
	refused "no URL"
	refused "no URL" -d a=1
	refused "the URL is empty" ''
	refused "file of URLs" @file
	refused "begins with ftp://" "ftp://127.0.0.1/"
	refused "one of ftp://" "ftp.example.com"
	refused "nothing that can be signed" --proto-default ftp "${URL#http://}"
	refused "one slash" "http:/127.0.0.1/"
	refused "no application link covers" "$RECORDER/bamboo/rest/../../etc"
	refused "%2E" "$RECORDER/bamboo/rest/.%2E"
	refused "percent sign" "http://127%2e0.0.1/"
	refused "-I and a body" -I -d a=1 "$URL"
	refused "pattern of -T" -T '/etc/{hostname,hosts}' "$URL" "$URL"
	refused "-F and -d" -F a=1 -d a=1 "$URL"
	refused "-T does not go" -T /etc/hostname -d a=1 "$URL"
	refused "cannot be read" -T no-such-file "$URL"
	refused "holds a #" -G -d 'a=#1' "$URL"
	refused "-G and --url-query" -G -d a=1 --url-query b=2 "$URL"
	refused "--path-as-is does not hold" --path-as-is -G -d a=1 "$RECORDER/bamboo/x/../y"
	refused "method is empty" -X '' "$URL"
	refused "the value of -X holds a line break" -X $'GET\nX: y' "$URL"
	refused "method is not a word" -X 'GET X' "$URL"
	refused "pattern" "$URL?a={b"
	refused "pattern" "$URL?a=b}"
	refused "pattern" "$URL?a=[9-1]"
	refused "pattern" "$URL?a=[x]"
	refused "pattern" "$URL?a=[1-99999]"
}

@test "uploads go out as curl sends them" {
	printf 'a\0b\r\n' >'file name'
	same -T 'file name' "$RECORDER/bamboo/rest/"
	same -T 'file name' "$RECORDER/bamboo/rest/other?x=1"
	same -X POST -T 'file name' "$RECORDER/bamboo/rest"
	stdin='file name' same -T - "$RECORDER/bamboo/recorder/echo"
	stdin='file name' same -T . "$RECORDER/bamboo/recorder/echo"
	same -H 'Transfer-Encoding: chunked' -H 'Content-Type: text/plain' -d @'file name' "$RECORDER/bamboo/recorder/echo"
	refused "no form that could be signed" -H 'Content-Type: application/x-www-form-urlencoded' -T 'file name' "$URL"
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
	refused "is ambiguous" --data-a x --ip "$URL"
	refused "takes no value after =" --request=GET "$URL"
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
	refused "brings credentials of its own" "$URL"
	[[ $stderr != *secret* ]]
	rm "$HOME/.curlrc"
	printf 'frobnicate\n' >file
	refused "option frobnicate is not known" -K file "$URL"
	printf 'request = GET POST\n' >file
	refused "blank outside quotes" -K file "$URL"
	printf 'config = file\n' >file
	refused "in a circle" -K file "$URL"
	printf 'silent = yes\n' >file
	refused "takes no value" -K file "$URL"
	refused "cannot be read" -K no-such-file "$URL"
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
	printf 'a=\0' >file
	refused "zero byte" --data-binary @file "$QUEUE"
	refused "zero byte" -d @file "$QUEUE"
	refused "cannot be read" -d @no-such-file "$QUEUE"
	refused "cannot be read" -d @. "$QUEUE"
	refused "two Content-Type" -H 'Content-Type: text/plain' -H 'content-type: application/json' -d a=1 "$QUEUE"
	refused "another encoding" -H 'Content-Type: application/x-www-form-urlencoded; charset=ISO-8859-1' -d a=1 "$QUEUE"
	refused "PUT" -X PUT -d a=1 "$QUEUE"
	refused "percent sign" -d 'a=%zz' "$QUEUE"
	refused "without a name" -d '=b' "$QUEUE"
	refused "oauth_token" -d 'oauth_token=x' "$QUEUE"
	refused "-G and --json" -G --json '{}' "$QUEUE"
	refused "do not go together" -H 'Content-Type: application/x-www-form-urlencoded' --json '{}' "$QUEUE"
	head -c 1100000 /dev/zero | tr '\0' a >file
	refused "over 1048576 bytes" -d @file "$QUEUE"
}

@test "what the daemon refuses is not sent, and its reason is told" {
	refused "no application link covers this URL" "$RECORDER/elsewhere"
	[[ $stderr == *$'\nhint: '* ]]
	refused "user name" "http://eve:secret@${URL#http://}"
	[[ $stderr != *secret* ]]
	refused "blank" "$URL?a b"
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
