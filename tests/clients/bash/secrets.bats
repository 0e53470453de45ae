#!/usr/bin/env bats
# Signed headers and verifiers stay out of arguments, environments and files, whatever the user's environment holds.

# shellcheck disable=SC2154 # bats sets stderr
# shellcheck disable=SC2317 # functions are run by their names

load helpers

setup_file() {
	start_recorded
	export URL=$RECORDER/bamboo/rest/api/latest/plan.json
	export LABEL=$RECORDER/bamboo/rest/api/latest/plan/WEB-BUILD/label
}

# Every name that the script gives a value: exported before, it would be passed on with that.
our_names() {
	grep -hoE '^[^#]*\b(local|declare|for)\b [^#"(]*' "$ROOT"/clients/bash/atl-sign* | grep -oE '\b[a-z][a-z_]*\b'
	grep -hoE '^\s*[a-z_]+\+?=' "$ROOT"/clients/bash/atl-sign* | tr -d '\t+='
}

export_our_names() {
	local name
	for name in $(our_names); do
		# Not the shell's own words, nor what this test still needs.
		case $name in local | for | do | in | declare | name | output | status | stderr | lines) continue ;; esac
		export "$name=mine"
	done
}

# watch_for TEXT COMMAND…: puts what the watcher saw into the file seen
watch_for() {
	# No name of the script's: those are exported.
	local WATCHED=$1 watcher
	shift
	rm -f stop
	python "$ROOT/tests/clients/bash/watch_processes.py" "$WATCHED" stop >seen 3>&- &
	watcher=$!
	local FAILED=''
	"$@" || FAILED=1
	touch stop
	wait "$watcher"
	cat seen
	[[ -z $FAILED ]]
}

nobody_showed_it() {
	if grep -E 'cmdline|environ' seen; then return 1; fi
	grep -q '^looked [1-9]' seen
}

# blocked_curl COMMAND…: a curl that waits for its body, so that it can be looked at for as long as one likes
blocked_curl() {
	mkfifo body
	"$@" <body >answer.out 2>&1 3>&- &
	local runner=$!
	exec 9>body
	sleep 0.5 # the watcher needs some looks while curl waits; nothing that the test waits for
	printf '{"name": "watched"}' >&9
	exec 9>&-
	wait "$runner"
	rm body
}

@test "the watcher sees a header that is in argv" {
	local header
	header=$(atl-sign header POST "$LABEL")
	watch_for "oauth_consumer_key=\"$CONSUMER\"" blocked_curl curl -q -s -H "$header" -H 'Content-Type: application/json' -d @- "$LABEL"
	grep -q ' cmdline' seen
}

@test "curl gets the header by descriptor: no process shows it" {
	export_our_names
	watch_for "oauth_consumer_key=\"$CONSUMER\"" blocked_curl atl-sign curl -s -f -H 'Content-Type: application/json' -d @- "$LABEL"
	nobody_showed_it
	watch_for "oauth_consumer_key=\"$CONSUMER\"" blocked_curl atl-sign curl -v -s -f -H 'Content-Type: application/json' -d @- "$LABEL"
	nobody_showed_it
}

@test "no process shows a header in many quick runs" {
	export_our_names
	many() {
		local run
		for run in {1..8}; do
			atl-sign curl -s -o out "$URL?run=$run"
			atl-sign curl -s -o out -d "run=$run" "$URL" || :
			atl-sign header GET "$URL" >out
		done
	}
	watch_for "oauth_consumer_key=\"$CONSUMER\"" many
	nobody_showed_it
}

@test "lines of a header file and of a form's file stay out of argv" {
	printf 'X-Canary: header-canary-%s\n' $$ >headers
	printf 'form-canary-%s' $$ >form
	watch_for header-canary-$$ blocked_curl atl-sign curl -s -f -H @headers -H 'Content-Type: application/json' -d @- "$LABEL"
	nobody_showed_it
	many() {
		local run
		for run in {1..8}; do atl-sign curl -s -o out -d @form --data-urlencode x@form "$URL"; done
	}
	watch_for form-canary-$$ many
	nobody_showed_it
	grep -q "form-canary-$$&x=form-canary-$$" "$RECORDS"/*.request
}

@test "a verifier that is typed stays out of argv" {
	watch_for verifier-canary-$$ run atl-sign dance bamboo --oob \
		< <(printf 'verifier-canary-%s\nhttp://127.0.0.1/?oauth_verifier=verifier-canary-%s\n' $$ $$)
	[[ $output == *'dance is cancelled'* || $output == *hint:* ]]
	nobody_showed_it
}

@test "an administrator's password stays out of argv" {
	local other
	other=$(atl-sign link export bamboo | sed 's/^\[links.bamboo\]$/[links.new]/; s/^consumer_key = .*/consumer_key = "new"/')
	atl-sign link import - <<<"$other"
	watch_for password-canary-$$ run atl-sign link register new --admin admin < <(printf 'password-canary-%s\n' $$)
	atl-sign link remove new
	[[ $output == *'the product does not take the user name and the password of admin'* ]]
	nobody_showed_it
}

@test "an inherited xtrace, allexport or posix mode shows nothing and breaks nothing" {
	run --separate-stderr env SHELLOPTS=xtrace:allexport:verbose POSIXLY_CORRECT=1 atl-sign curl -s -o out "$URL"
	((status == 0))
	[[ -s out && $stderr != *oauth_* ]]
	run --separate-stderr bash -x "$ROOT/clients/bash/atl-sign" curl -s -o out "$URL"
	[[ $stderr != *oauth_* ]]
}

# answers ENV-ARGUMENT…: what a fixed set of commands prints, and their statuses, in that environment
answers() {
	local -a helper=("$ROOT/clients/git/git-credential-atl-sign")
	env "$@" atl-sign curl --dry-run -s -d 'a=b c' --data-urlencode 'x=y z' "$URL" | sed 's/_timestamp%3D[0-9]*//'
	echo "${PIPESTATUS[0]}"
	env "$@" atl-sign curl -s -u ann:secret "$URL" || echo "$?"
	env "$@" atl-sign curl -s -H 'Authorization: Basic x' "$URL" || echo "$?"
	env "$@" atl-sign curl -s -L -w '%{http_code} %{num_redirects}\n' "$RECORDER/bamboo/recorder/redirect/302?/bamboo/recorder/echo" || echo "$?"
	env "$@" atl-sign link list --json || echo "$?"
	env "$@" "${helper[@]}" capability </dev/null || echo "$?"
}

@test "no option of bash that is inherited changes anything" {
	local expected kind name variable
	expected=$(answers A=1 2>err)
	[[ $expected == 'method: POST'*'form: a=b+c'* || $expected == *'form: a=b c&x=y+z'* ]]
	for kind in BASHOPTS SHELLOPTS; do
		if [[ $kind == BASHOPTS ]]; then variable=''; else variable=-o; fi
		# shellcheck disable=SC2086 # none or one
		for name in $(shopt $variable | cut -f 1); do
			case $name in
			noexec | onecmd) continue ;; # of bash's every script nothing is run, so nothing of these either
			esac
			echo "$kind=$name"
			diff <(echo "$expected") <(answers "$kind=$name" 2>"err.$name")
			case $name in
			xtrace | verbose | extdebug) run ! grep -F -e "$URL" -e oauth_ "err.$name" ;; # before the first line of the script is run
			*) diff err "err.$name" ;;
			esac
		done
	done
}

@test "functions, BASH_ENV and variables of bash's own that are inherited change nothing" {
	local expected name
	local -a functions=()
	expected=$(answers A=1 2>err)
	for name in printf unset set compgen exec builtin read local declare kill wait trap curl shopt [ source; do
		functions+=("BASH_FUNC_$name%%=() { builtin echo $name \"\$@\" >>'$PWD/seen'; }")
		echo "$name"
		diff <(echo "$expected") <(answers "${functions[@]: -1}" 2>"err.function")
		diff err err.function
	done
	diff <(echo "$expected") <(answers "${functions[@]}" 2>err.function)
	[[ ! -e seen ]]
	# It is the user's own program, and is run; what it sets does not stay.
	# shellcheck disable=SC2016 # for that file
	echo 'shopt -s nocasematch extglob; set -o noglob; alias printf=echo; shopt -s expand_aliases; printf() { echo "printf $*" >>seen; }; trap "echo \$BASH_COMMAND >>seen" DEBUG' >rc
	diff <(echo "$expected") <(answers BASH_ENV="$PWD/rc" 2>err.rc)
	run ! grep -q -e oauth_ -e send_call seen
	rm seen
	for name in POSIXLY_CORRECT=1 BASH_COMPAT=31 BASH_COMPAT=4.2 FUNCNEST=1 TMOUT=1 IFS=: CDPATH=/ GLOBIGNORE='*' TMPDIR=/nowhere; do
		echo "$name"
		diff <(echo "$expected") <(answers "$name" 2>err.variable)
		diff err err.variable
	done
}

@test "a time limit for bash's read does not cut a slow answer off" {
	run --separate-stderr env TMOUT=1 atl-sign curl -s -L -o out -w '%{http_code} %{num_redirects}' "$RECORDER/bamboo/recorder/slow/3?/bamboo/recorder/echo"
	((status == 0))
	[[ $output == '200 1' ]]
}

# keeps_no_core PID: neither a file nor a program that the kernel pipes cores to would get its memory
keeps_no_core() {
	grep -q '^Max core file size  *0 ' "/proc/$1/limits"
	[[ $(<"/proc/$1/coredump_filter") == 00000000 ]]
}

# waiting_curl COMMAND…: runs it in the background in the folder cores, and sets pid to the curl that waits for its answer
waiting_curl() {
	local before
	mkdir -p cores
	before=$(find "$RECORDS" -name '*.authorization' | wc -l)
	(
		cd cores || exit
		ulimit -c unlimited
		exec "$@" >answer.out 2>&1 3>&-
	) &
	runner=$!
	sent_one() { (($(find "$RECORDS" -name '*.authorization' | wc -l) > before)); }
	wait_for sent_one
	pid=$runner
	[[ $(</proc/$runner/comm) == curl ]] || pid=$(pgrep -P "$runner" -x curl)
}

# memory_in FILE: how many bytes of memory a core file holds (ELF-64: the PT_LOAD segments); the registers are apart, in a note
memory_in() {
	python3 - "$1" <<-'END'
		import struct, sys
		core = open(sys.argv[1], "rb").read()
		(start,) = struct.unpack_from("<Q", core, 32)
		size, count = struct.unpack_from("<HH", core, 54)
		segments = [struct.unpack_from("<IIQQQQ", core, start + size * each) for each in range(count)]
		print(sum(segment[5] for segment in segments if segment[0] == 1))
	END
}

end_waiting() {
	kill -ABRT "$pid"
	wait "$runner" || :
}

@test "no core file of curl holds a header" {
	local header slow=$RECORDER/bamboo/recorder/slow/20 runner pid
	[[ $(ulimit -Hc) == unlimited ]] || skip "core files are limited here: $(ulimit -Hc)"
	waiting_curl atl-sign curl -s "$slow"
	keeps_no_core "$pid"
	keeps_no_core "$runner"
	end_waiting
	[[ ! -e cores/core ]] && run ! compgen -G 'cores/core.*'

	[[ $(</proc/sys/kernel/core_pattern) != [/\|]* ]] || skip "cores go to $(</proc/sys/kernel/core_pattern)"
	# A program that gets cores by a pipe gets them whatever the limit is.
	waiting_curl atl-sign curl -s "$slow"
	prlimit --pid "$pid" --core=unlimited
	end_waiting
	# It gets the registers, and in those whatever curl copied last: 64 bytes at most, of a header of more than 600.
	# Of memory there are the kernel's own pages (vvar, vdso, vsyscall: 36 KiB); a stack alone has more.
	(($(memory_in cores/core*) < 65536))
	run ! grep -l -a -E 'oauth_signature="[A-Za-z0-9%]{100}' cores/core*
	rm cores/core*

	# The twin: a curl that was not started here.
	header=$(atl-sign header GET "$slow")
	waiting_curl curl -q -s -H @<(echo "$header") "$slow"
	end_waiting
	(($(memory_in cores/core*) > 65536))
	grep -l -a -E 'oauth_signature="[A-Za-z0-9%]{100}' cores/core*
}

@test "no core file of the commands holds what they read" {
	local child
	for child in "atl-sign unlock --stdin" "atl-sign header POST $URL --form @-" "$ROOT/clients/git/git-credential-atl-sign get"; do
		mkfifo input
		# shellcheck disable=SC2086 # words
		(ulimit -c unlimited && exec $child <input >out 2>&1 3>&-) &
		exec 9>input
		wait_for keeps_no_core $!
		exec 9>&-
		wait $! || :
		rm input
	done
}

@test "no file is made but curl's own, with the modes that the user wants" {
	mkdir tmp
	umask 027
	TMPDIR=$PWD/tmp atl-sign curl -v -s -o out -d a=1 "$URL" 2>err
	[[ $(stat -c %a out) == 640 ]]
	[[ -z $(ls -A tmp) ]]
}

# see_environments COMMAND…: runs it with a curl that first writes its environment into the file env
see_environments() {
	mkdir bin
	printf '#!%s\nenv -0 >>"%s"\nexec "%s" "$@"\n' "$(type -P bash)" "$PWD/env" "$(type -P curl)" >bin/curl
	chmod +x bin/curl
	env PATH="$PWD/bin:$PATH" "$@"
}

@test "no variable of the script reaches curl, whatever the user's are called" {
	local number
	printf 'a=1' >file
	# In a subshell: some of the names are bats' own.
	(
		number=$(our_names | sort -u | wc -l)
		((number > 60))
		export_our_names
		see_environments atl-sign curl -v -s -o out -H 'X-One: 1' -d @file --data-urlencode 'b=x y' "$URL" 2>err
	)
	run ! grep -az -E -e '^[a-z_]+=(.*OAuth|.*X-One|.*a=1|.*127\.0\.0\.1)' env
	rm -r bin env
	(
		export_our_names
		printf 'verifier-canary\n' | see_environments atl-sign dance bamboo --oob || :
	)
	run ! grep -az verifier-canary env
}

@test "the user's locale reaches curl" {
	LC_ALL=C.UTF-8 see_environments atl-sign curl -s -o out -d 'a=ä' "$URL"
	# The last of the two is the user's curl.
	[[ $(tr '\0' '\n' <"env" | grep '^LC_ALL=' | tail -n 1) == LC_ALL=C.UTF-8 ]]
}
