# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2178,SC2128,SC2179,SC2004 # names that other files set, that are arrays in one function and text in another
# For few command lines: several requests, redirects, repetitions, --dry-run, and the remedy after a refusal. Read when it
# is needed first.

REDIRECTS_MAX=50 # curl's own
BACKOFF_S_MAX=600 # curl's own

# A body that is sent more than once cannot come from standard input, which can be read once; some options mean something else then.
check_repeated() {
	local index holds_nul='' variable
	local why="several URLs"
	[[ -z ${o[loops]} ]] || why="-L and --retry"
	if [[ ${o[body]-} == sent ]]; then
		for ((index = 0; index < ${#data[@]}; index += 2)); do
			[[ ${data[index + 1]} == @- && ${data[index]} != data-raw ]] || continue
			[[ -z ${o[stdin-kept]-} ]] || refuse_curl "standard input is asked for twice"
			case ${data[index]} in
			data | data-ascii) read_content - stripped && reply=${reply//[$'\r\n']/} ;;
			data-urlencode) refuse_curl "--data-urlencode of standard input does not go with $why here" "put it into a file" ;;
			*) read_content - text ;;
			esac
			[[ -z $holds_nul ]] || refuse_curl "standard input holds a zero byte, and $why may send it again" "put it into a file"
			o[stdin-kept]=1
			o[stdin-text]=$reply
			[[ ${data[index]} == json ]] || data[index]='data-binary'
		done
	fi
	[[ -z ${o[mime-stdin]-} ]] || refuse_curl "-F from standard input cannot be sent again, as $why may need it" "put it into a file"
	if [[ -n ${o[upload-stdin]-} && (${o[retry]-0} -gt 0 || ${o[count]} -gt 1) ]]; then
		refuse_curl "-T from standard input cannot be sent again, as $why may need it" "put it into a file"
	fi
	if [[ -n ${o[upload-stdin]-} && -n ${o[location]-}${o[follow]-} && ! (-p /dev/fd/$saved_in || -S /dev/fd/$saved_in || -t $saved_in) ]]; then
		# After a redirect curl would rewind it, which bash cannot.
		refuse_curl "-T from a standard input that is a file cannot be sent again, as -L may need it" "-T FILE"
	fi
	if [[ -n ${o[cookie-files]-} && -z ${o[cookie-jar]-} ]] || [[ ${o[cookie-jar]-} == - ]]; then
		refuse_curl "cookies of one answer would not come with the next request" "-c FILE, so that there is a place for them"
	fi
	[[ ${o[count]} -eq 1 || -z ${all[rate]-} ]] || refuse_curl "--rate does not go with several URLs here" "run one command for each"
	[[ -z ${o[loops]} ]] || [[ -z ${o[no-clobber]-}${o[skip-existing]-} ]] || refuse_curl "--no-clobber and --skip-existing do not go with $why" "take one of them out"
	if [[ -n ${o[location]-}${o[follow]-} ]]; then
		[[ -z ${o[remote-header-name]-}${o[xattr]-} ]] || refuse_curl "-J and --xattr do not go with -L here" "-o FILE"
		if [[ -n ${o[include]-}${o[head]-} && "${t_kinds[*]:o[first]}" == *[a-z]* ]]; then
			refuse_curl "-i and -I would put the headers of all answers into the file of -o" "-D FILE"
		fi
	fi
	if [[ -n ${o[dump]-} ]]; then
		[[ ${o[dump]} != - && (! -e ${o[dump]} || -f ${o[dump]}) ]] || refuse_curl "the headers of several answers do not go to ${o[dump]}" "-D FILE"
		o[own-dump]=1
	fi
	for variable in json header_json time_redirect conn_id xfer_id stdout stderr output num_connects; do
		if [[ ${o[write-out]-} == *"%{$variable}"* || $variable == output && ${o[write-out]-} == *"%output{"* ]]; then
			case $variable in
			stdout | stderr | output) [[ -n ${o[loops]} ]] || continue ;;
			header_json) [[ -n ${o[loops]} ]] || continue ;;
			esac
			refuse_curl "-w cannot tell %{$variable} of $why" "take it out"
		fi
	done
}

print_transfers() {
	local transfer
	for transfer in "${!t_urls[@]}"; do
		((transfer == 0)) || printf '\n'
		prepare "$transfer"
		ask dry
		print_answer
	done
}

run_several() {
	local transfer
	# Nothing is sent unless everything can be signed. The first is signed before it is sent in any case.
	for transfer in "${!t_urls[@]}"; do
		((transfer)) || continue
		prepare "$transfer"
		ask details
		check_insecure
	done
	for transfer in "${!t_urls[@]}"; do
		run_transfer "$transfer"
		# curl ends with the status of its last transfer, and goes on after an error unless told otherwise.
		case $result in 2 | 27 | 41 | 43 | 48) break ;; esac
		if [[ $result != 0 && -n ${all[fail-early]-} ]]; then break; fi
	done
}

# ask details|dry: sets answer for the transfer that is prepared
ask() {
	begin_asking "$1" "$method" "$signed_url" "$link" "$form"
	finish_asking
	[[ $status == 2?? ]] || refused
	if [[ $1 == dry ]]; then
		[[ $answer == 'method: '* ]] || no_answer
	else
		check_answer
	fi
}

# follow_and_repeat TRANSFER: as follow, as often as --retry says; sets result
follow_and_repeat() {
	local retries=${o[retry]} backoff=1 started delay reason
	set_clock
	started=$clock_ms
	while :; do
		follow "$1"
		((attempt += 1))
		((retries > 0)) || return 0
		reason=''
		case $result in
		5 | 6 | 12 | 28) reason=': timeout' ;;
		7) [[ -z ${o[retry-connrefused]-} ]] || reason=': connection refused' ;;
		0 | 22)
			if [[ $result == 0 || -n ${o[fail]-}${o[fail-with-body]-} ]]; then
				case $code in
				408 | 429 | 500 | 502 | 503 | 504) reason=': HTTP error' ;;
				522 | 524)
					find_version
					((version < 8017)) || reason=': HTTP error'
					;;
				esac
			fi
			;;
		esac
		if [[ -z $reason && $result != 0 && -n ${o[retry-all-errors]-} ]]; then reason=' (retrying all errors)'; fi
		[[ -n $reason ]] || return 0
		set_clock
		if [[ ${o[retry-max-time]-0} != 0 ]]; then
			to_ms "${o[retry-max-time]}"
			((clock_ms - started < ms)) || return 0
		fi
		if [[ ${o[retry-delay]-0} != 0 ]]; then
			delay=${o[retry-delay]}
		else
			delay=$backoff
			((backoff = backoff * 2 > BACKOFF_S_MAX ? BACKOFF_S_MAX : backoff * 2))
		fi
		if [[ $reason == *HTTP* && $retry_after =~ ^[0-9]{1,9}$ && $retry_after != 0 ]]; then
			delay=$((10#$retry_after))
			if [[ ${o[retry-max-time]-0} != 0 ]] && ((clock_ms - started + delay * 1000 > ms)); then
				note "Warning: The Retry-After: time would make this command line exceed the maximum allowed time for retries."
				return 0
			fi
		fi
		note "Warning: Problem$reason. Will retry in $delay seconds. $retries retries left."
		((retries -= 1)) || :
		tell_log drop
		pause "$delay"
		prepare "$1"
	done
}

set_clock() {
	if [[ -n ${EPOCHREALTIME-} ]]; then
		clock_ms=${EPOCHREALTIME//[!0-9]/}
		clock_ms=$((clock_ms / 1000))
	else
		printf -v clock_ms '%(%s)T' -1
		clock_ms=$((clock_ms * 1000))
	fi
}

# to_ms SECONDS: sets ms
to_ms() {
	local whole=${1%%.*} part=000
	[[ $1 != *.* ]] || part=${1#*.}000
	ms=$((10#${whole:-0} * 1000 + 10#${part:0:3}))
}

# Sets left to what redirects have left of --max-time.
find_time_left() {
	to_ms "$left"
	set_clock
	left=$((ms - clock_ms + start))
	((left > 0)) || left=1
	printf -v left '%d.%03d' $((left / 1000)) $((left % 1000))
}

# pause SECONDS: in a child, so that a signal ends it
pause() {
	[[ $1 != 0 ]] || return 0
	sleep "$1" &
	pending=$!
	wait "$pending" || :
	kill -KILL "$pending" 2>/dev/null || :
	pending=''
}

begin_following() {
	origin_of "$url"
	first_origin=$reply
	set_clock
	start=$clock_ms
}

# Prepares the request that the answer leads to; fails where it is not made.
redirect() {
	local limit=${o[max-redirs]-$REDIRECTS_MAX} target scheme host path query fragment
	if ((limit != -1 && hop >= limit)); then
		[[ -n ${all[silent]-} && -z ${all[show-error]-} ]] || late="curl: (47) Maximum ($limit) redirects followed"
		return 1
	fi
	[[ -z ${o[auto-referer]-} ]] || referer=${signed_url%%#*}
	resolve "$location" "$signed_url"
	target=$reply
	if [[ $target != [Hh][Tt][Tt][Pp]://* && $target != [Hh][Tt][Tt][Pp][Ss]://* ]]; then
		stop_at 1 "the redirect leads to ${target%%:*}:, which is not followed"
		return 1
	fi
	if [[ $url == https://* && $target == [Hh][Tt][Tt][Pp]://* ]]; then
		stop_at 1 "the redirect leads from https to http, and is not followed" "$target"
		return 1
	fi
	split_url "$target"
	[[ -n ${o[path-as-is]-} ]] || squash_path
	# A lone "?" is gone after a redirect.
	[[ $query != '?' ]] || query=''
	if [[ $path$query == *%* ]]; then
		find_version
		if ((version >= 8020)); then
			change_escapes upper "$path"
			path=$reply
			change_escapes upper "$query"
			query=$reply
		fi
	fi
	case $code in
	301 | 302) [[ $kind != post || -n ${o[post$code]-} ]] || become_get ;;
	303) [[ $kind == post && -n ${o[post303]-} || $kind == get || $kind == head ]] || become_get ;;
	esac
	if [[ $kind == put && ($upload == - || $upload == .) ]]; then
		stop_at 65 "the redirect wants what came from standard input a second time" "-T FILE"
		return 1
	fi
	url=$scheme://$host$path$query
	signed_url=$url
	((hop += 1))
	tell_log drop
}

become_get() {
	kind='get'
	method=${custom:-GET}
	if [[ -n ${o[follow]-} ]]; then
		custom='' method=GET
	fi
	form='' upload=''
	if [[ -n ${o[json]-} ]]; then is_json_bare=1; fi
}

# stop_at STATUS MESSAGE [HINT]: of a redirect that is not followed
stop_at() {
	result=$1
	if [[ -z ${all[silent]-} || -n ${all[show-error]-} ]]; then late="$PROGRAM: $2"${3:+$'\n'"hint: $3"}; fi
}

origin_of() {
	reply=${1%"${1#*://*/}"}
	reply=${reply,,}
	case $reply in
	http://*:80/) reply=${reply%:80/}/ ;;
	https://*:443/) reply=${reply%:443/}/ ;;
	esac
}

# resolve REFERENCE BASE: sets reply to the address that a redirect from BASE leads to
resolve() {
	local LC_ALL=C to=$1 base=${2%%#*} out='' char code before
	if [[ $to =~ ^[A-Za-z][A-Za-z0-9+.-]*: ]]; then
		:
	elif [[ $to == //* ]]; then
		to=${base%%:*}:$to
	elif [[ $to == /* ]]; then
		to=${base%"/${base#*://*/}"}$to
	elif [[ $to == \?* ]]; then
		to=${base%%\?*}$to
	elif [[ $to == '#'* || -z $to ]]; then
		to=$base
	else
		base=${base%%\?*}
		to=${base%/*}/$to
	fi
	if [[ $to == *[!!-~]* ]]; then
		before=path
		while [[ -n $to ]]; do
			char=${to:0:1}
			to=${to:1}
			case $char in
			\?)
				before=query
				out+=$char
				;;
			' ') if [[ $before == query ]]; then out+='+'; else out+=%20; fi ;;
			[!!-~])
				printf -v code '%d' "'$char"
				find_version
				if ((version < 8015)); then printf -v char '%%%02x' $((code & 255)); else printf -v char '%%%02X' $((code & 255)); fi
				out+=$char
				;;
			*) out+=$char ;;
			esac
		done
		to=$out
	fi
	reply=$to
}

# Says what to do after an answer that refuses the signature, or did not look at it.
explain() {
	local code_before=$code text index
	if [[ $code == 401 && -n $authenticate ]]; then
		prefix="$PROGRAM: "
		add_field www_authenticate "$authenticate"
		NO_DAEMON=$result
		REFUSED=$result
		request POST "/links/$shown_link/problem"
		if [[ $status == 2?? && -n $answer ]]; then say "$prefix$answer"; fi
		code=$code_before
	elif [[ $code == 500 ]]; then
		# A refusal repeats what was signed in one header, where a letter stays one and an escape of three becomes seven; a Tomcat
		# that cannot fit it into its 8 KiB sends nothing at all. About 1 KiB of it is the rest.
		text=$signed_url\&$form
		index=${text//[!%&=]/}
		((${#text} + 4 * ${#index} > 7000)) || return 0
		say "$PROGRAM: the product answered 500 with an empty body: it may have refused the signature, and a refusal of a request as long as this does not fit into its headers"
		say "hint: $PROGRAM check $shown_link; if that succeeds, send fewer or shorter parameters"
	elif [[ ${user,,} == anonymous ]]; then
		text="the product took this signed request for anonymous"
		say "$PROGRAM: $text"
		say "hint: $PROGRAM check $shown_link"
	fi
}
