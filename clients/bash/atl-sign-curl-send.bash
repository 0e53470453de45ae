# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2178,SC2128,SC2179,SC2004 # names that other files set, that are arrays in one function and text in another
# Sends what atl-sign-curl.bash has read: one curl that asks the daemon for a signature, and one that the request is left to.

# use_operation N: brings back what finish_operation kept
use_operation() {
	local item
	local -n o_kept=o_$1 pass_kept=pass_$1 headers_kept=headers_$1 data_kept=data_$1
	o=()
	for item in "${!o_kept[@]}"; do o[$item]=${o_kept[$item]}; done
	pass=("${pass_kept[@]}") headers=("${headers_kept[@]}") data=("${data_kept[@]}")
}

run_transfers() {
	local result=0
	set_traps
	[[ -z ${all[parallel]-} || ${#t_urls[@]} -eq 1 ]] ||
		refuse_curl "-Z would send several requests at a time" "take it out: they go one after the other"
	[[ -z ${all[parallel]-} ]] || global_pass+=(--parallel)
	if [[ -n $is_dry_run ]]; then
		load again
		print_transfers
	elif ((${#t_urls[@]} > 1)); then
		load again
		run_several
	else
		run_transfer 0
	fi
	exit "$result"
}

set_traps() {
	trap 'end_pending' EXIT
	trap 'catch INT' INT
	trap 'catch TERM' TERM
	trap 'catch HUP' HUP
}

# catch SIGNAL: whatever is under way, nothing more is sent. KILL is for a child that still ignores the signal. Nothing is waited
# for: a handler that waited for curl and the filter of -v was seen to hang.
catch() {
	if [[ -n $pending$asker ]]; then
		# shellcheck disable=SC2086 # none, one or two
		kill -"$1" $pending $asker 2>/dev/null || :
		# shellcheck disable=SC2086
		kill -KILL $pending $asker 2>/dev/null || :
	fi
	trap - "$1" EXIT
	kill -"$1" $$
}

# prepare TRANSFER: sets what its first request is: kind (get, head, post or put), method, custom, url, signed_url, form
prepare() {
	if [[ ${t_operations[$1]} != "${operation-}" ]]; then
		operation=${t_operations[$1]}
		use_operation "$operation"
	fi
	custom=${o[method]-} upload=${t_uploads[$1]} form=''
	url=${t_urls[$1]}
	signed_url=$url
	add_to_signed "${o[query]-}"
	if [[ -n $upload ]]; then
		kind=put method=PUT
	elif [[ -n ${o[head]-} ]]; then
		kind=head method=HEAD
		add_to_signed "${o[get-text]-}"
	elif [[ -n ${o[body]-} ]]; then
		kind=post method=POST
		[[ ${o[body]} != form ]] || form=${o[form]}
	else
		kind=get method=GET
		add_to_signed "${o[get-text]-}"
	fi
	method=${custom:-$method}
}

add_to_signed() {
	[[ -n $1 ]] || return 0
	if [[ $signed_url == *\?* ]]; then signed_url+=\&$1; else signed_url+=\?$1; fi
}

# begin_asking details|dry METHOD URL LINK FORM: for a signature, from a curl that has started already if it can be
begin_asking() {
	local size=${#5}
	asking=("$@")
	((${#3} <= URL_BYTES_MAX)) || die "$REFUSED" "the URL is longer than $URL_BYTES_MAX bytes" "send long parameters as a form or JSON body"
	[[ -n $socket ]] || find_socket
	add_field method "$2"
	add_field url "$3"
	[[ -z $4 ]] || add_field link "$4"
	if [[ $1 == dry ]]; then add_field dry_run true; else add_field details true; fi
	if ((size > INLINE_BYTES_MAX)); then
		end_asker
		start_asker --data-urlencode form@<(printf '%s' "$5")
	else
		((size == 0)) || add_field form "$5"
		[[ -n $asker ]] || start_asker
	fi
	# The version costs curl 2 ms, so it is asked for only where an option of the line needs one.
	if ((needs > 0)) && [[ -z $version ]]; then
		fields+='write-out = "\n%{json}"'$'\n'
	else
		fields+='write-out = "\n%{http_code} %{size_download}"'$'\n'
	fi
	# Last the URL: of half a configuration nothing comes.
	fields+='url = "http://localhost/sign"'
	if [[ -n $asker_in ]]; then
		trap '' PIPE
		{ printf '%s\n' "$fields" >&"$asker_in"; } 2>/dev/null || :
		trap - PIPE
		exec {asker_in}>&-
		asker_in=''
	fi
	fields=''
}

# Sets status and answer, and version where that was asked for.
finish_asking() {
	local LC_ALL=C code=0 part='' size
	answer=''
	if [[ -n $asker_out ]]; then
		# curl before 8.4 bounds only what is announced.
		while IFS= read -r -N "$READ_BYTES" part <&"$asker_out"; do
			answer+=$part
			((${#answer} <= ANSWER_BYTES_MAX)) || no_answer
		done
		answer+=$part
		exec {asker_out}<&-
		asker_out=''
	fi
	wait "$asker" || code=$?
	asker=''
	case $code in
	0) ;;
	1) not_ours ;;
	2) die "$REFUSED" "the installed curl is too old" "install curl 7.76 or newer" ;;
	7)
		autostart "no daemon answers on $socket"
		begin_asking "${asking[@]}"
		finish_asking
		return
		;;
	28) silent "$LOCAL_S" ;;
	23 | 27 | 63) no_answer ;; # more than a daemon would say
	52 | 56) die "$NO_DAEMON" "the daemon on $socket closed the connection" "its log says why; it serves only its own user" ;;
	126 | 127) die "$REFUSED" "curl cannot be run" "install curl 7.76 or newer" ;;
	*) die "$NO_DAEMON" "curl could not talk to the daemon on $socket (its status: $code)" "curl must be 7.76 or newer, with Unix sockets" ;;
	esac
	part=${answer##*$'\n'}
	answer=${answer%$'\n'*}
	if [[ $part == \{* ]]; then
		[[ $part =~ \"curl_version\":\"libcurl/([0-9]+)\.([0-9]+) ]] || die "$REFUSED" "the installed curl does not tell its version" "install curl 7.76 or newer"
		set_version "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
		[[ $part =~ \"size_download\":([0-9]+) ]] || no_answer
		size=${BASH_REMATCH[1]}
		[[ $part =~ \"http_code\":([0-9]+) ]] || no_answer
		status=${BASH_REMATCH[1]}
	else
		status=${part% *} size=${part#* }
	fi
	case $status in 2?? | [45]??) ;; *) no_answer ;; esac
	# bash drops zero bytes, of which the daemon sends none.
	[[ $size == "${#answer}" ]] || no_answer
	answer=${answer%$'\n'}
}

# Nothing but a signature or a token may lead to a request: one header, and after it what the daemon says of the link, each once on its line.
# Sets authorization to the header, and said[] by name to the rest.
check_answer() {
	local LC_ALL=C line rest
	said=()
	authorization=${answer%%$'\n'*}
	[[ $authorization == 'Authorization: '@(OAuth|Bearer|Basic)' '?* && $authorization != *[[:cntrl:]]* ]] || no_answer
	rest=${answer:${#authorization}+1}
	while [[ -n $rest ]]; do
		line=${rest%%$'\n'*}
		rest=${rest:${#line}+1}
		[[ $line != *[[:cntrl:]]* && -z ${said[${line%%:*}]+x} ]] || no_answer
		case $line in
		'link: '* | 'base_url: '* | 'ca_bundle: '* | 'client_cert: '* | 'proxy: '* | 'allow_insecure: '* | 'warning: '* | 'url: '*) said[${line%%:*}]=${line#*: } ;;
		*) no_answer ;;
		esac
	done
}

# The parts that curl adds by itself stay: the query of -G and of --url-query is not in url yet.
go_to_gateway() {
	url=${said[url]%%\?*}${url#"${url%%\?*}"}
	signed_url=${said[url]}
	if [[ -n ${o[loops]} && $hop -eq 0 ]]; then
		origin_of "$url"
		first_origin=$reply
	fi
}

check_insecure() {
	[[ -z ${o[insecure]-} || ${said[allow_insecure]-} == true ]] || refuse_curl "-k would show the signature to anyone who answers" \
		"see which authority the link needs: $PROGRAM doctor ${said[link]}; or read of --allow-insecure: $PROGRAM help link"
}

# add_config NAME VALUE: a line of curl's config
add_config() {
	local value=${2//\\/\\\\}
	value=${value//\"/\\\"}
	value=${value//$'\n'/\\n}
	value=${value//$'\r'/\\r}
	config_text+="$1 = \"$value\""$'\n'
}

# run_transfer N: one URL with all its redirects and repetitions; sets result
run_transfer() {
	local attempt=0 dump='' late=''
	prepare "$1"
	if [[ -n ${o[loops]} ]]; then load again; fi
	if [[ -n ${o[loops]}${all[verbose]-} ]]; then
		load log
		start_log
	fi
	if [[ ${o[retry]-0} == 0 ]]; then follow "$1"; else follow_and_repeat "$1"; fi
	if [[ -n $log ]]; then
		tell_log show
		end_log
	fi
	[[ -z $late ]] || say "$late"
	if [[ -n $dump ]]; then exec {dump}>&-; fi
	if [[ -z ${all[silent]-} && -n $shown_link ]] && [[ $code == 401 && -n $authenticate || $code == 500 && $length == 0 || ${user,,} == anonymous ]]; then
		load again
		explain
	fi
}

# follow TRANSFER: sends the request that is prepared, and those that redirects lead to; sets result, code, retry_after, authenticate, user
follow() {
	local hop=0 first_origin='' referer=${o[referer]-} is_json_bare='' first_link=$link start
	shown_link=''
	[[ -z ${o[loops]} ]] || begin_following
	send "$1"
	# curl runs without following redirects: it throws its body away, and says so by this status.
	while [[ $result == 47 && -n ${o[location]-}${o[follow]-} ]] && redirect; do send "$1"; done
}

# send TRANSFER: one request with a signature of its own; sets result, and from the answer's headers code, location, retry_after, authenticate, user
send() {
	local config_end='' report='' config_text='' wants_report='' is_signed=1 header text name index value is_same=1 saved_error
	local -a line=(-g --path-as-is) ends=()
	if ((hop > 0)); then
		origin_of "$url"
		[[ $reply == "$first_origin" ]] || is_same=''
	fi
	code='' location='' retry_after='' authenticate='' user=''
	if [[ -n ${o[loops]} || -n ${o[own-dump]-} || (-z ${all[silent]-} && -z ${o[dump]-}) ]]; then wants_report=1; fi
	begin_asking details "$method" "$signed_url" "$first_link" "$form"
	build_line "$1"
	exec {saved_error}>&2
	# curl starts while the daemon signs, and waits for its configuration. Until it has that, there is no URL that it could ask.
	# The traps come after it: what it starts with is what it can go back to. No trap for EXIT either: bash runs that for a signal that
	# is not trapped before the coprocess has its name, and any command in it then waits for the coprocess, which waits for bash.
	# bash 4 would warn of the other coprocess.
	trap - EXIT INT TERM HUP
	{ coproc CURL { become_curl; }; } 2>/dev/null
	pending=$!
	exec {saved_error}>&-
	set_traps
	ends=("${CURL[@]}")
	if ((${#ends[@]} == 2)); then
		{ exec {report}<&"${ends[0]}" {config_end}>&"${ends[1]}"; } 2>/dev/null || report='' config_end=''
		eval "exec ${ends[0]}<&- ${ends[1]}>&-" 2>/dev/null || :
	fi
	# Until it has this, a signal that ends bash ends it too; as curl it would first read all of standard input for -d @-.
	trap '' PIPE
	[[ -z $config_end ]] || { printf '\n' >&"$config_end"; } 2>/dev/null || :
	finish_asking
	use_answer
	if [[ -n ${o[own-dump]-} && -z $dump ]]; then
		if (($1 == o[first] && attempt == 0)); then
			{ : >"${o[dump]}"; } 2>/dev/null || refuse_curl "the file of -D cannot be written: ${o[dump]}"
		fi
		exec {dump}>>"${o[dump]}"
	fi
	for header in "${headers[@]}"; do
		name=${header%%[:;]*}
		if [[ -z $is_same ]]; then
			case ${name,,} in cookie* | host*) continue ;; esac
		fi
		add_config header "$header"
	done
	value=${o[proxy-headers]-}
	while [[ -n $value ]]; do
		add_config proxy-header "${value%%$'\n'*}"
		value=${value#*$'\n'}
	done
	if [[ -n $is_json_bare ]]; then
		[[ -n ${o[content-type]-} ]] || add_config header 'Content-Type: application/json'
		[[ -n ${o[has-accept]-} ]] || add_config header 'Accept: application/json'
	fi
	if [[ -n $is_signed ]]; then add_config header "$authorization"; fi
	if [[ $kind == post && ${o[body]} == form ]]; then
		((${#form} > INLINE_BYTES_MAX)) || add_config data-raw "$form"
	elif [[ $kind != post && -n ${o[get-data]-} && $hop -eq 0 ]]; then
		((${#o[get-text]} > INLINE_BYTES_MAX)) || add_config data-raw "${o[get-text]}"
	fi
	if ((hop > 0)); then add_config url "$url"; else add_config url "$url${t_fragments[$1]}"; fi
	if [[ -n $config_end ]]; then
		{ printf '%s' "$config_text" >&"$config_end"; } 2>/dev/null || :
		exec {config_end}>&-
	fi
	trap - PIPE
	# From here on nothing can say that nothing was sent.
	all[sent]=1
	REFUSED=1 NO_DAEMON=1 prefix="$PROGRAM: "
	if [[ -n $report ]]; then
		if [[ -n $wants_report ]]; then read_report; fi
		exec {report}<&-
	fi
	result=0
	wait "$pending" || result=$?
	pending=''
}

# Sets is_signed for this hop, and puts what the link says into the config.
use_answer() {
	local value
	if ((hop > 0)) && [[ $status == 404 ]]; then
		# Off the link: without credentials, as curl does it.
		is_signed='' answer=''
		return
	fi
	[[ $status == 2?? ]] || refused
	check_answer
	[[ -z ${said[url]-} ]] || go_to_gateway
	[[ -n ${all[sent]-} ]] || check_insecure
	if [[ -n ${said[warning]-} && (-z ${all[silent]-} || -n ${all[show-error]-}) ]]; then say "$PROGRAM: warning: ${said[warning]}"; fi
	first_link=${said[link]-}
	shown_link=$first_link
	value=${said[ca_bundle]-}
	[[ -z $value || -n ${o[has-ca]-} ]] || add_config cacert "$value"
	value=${said[client_cert]-}
	value=${value//\\/\\\\}
	[[ -z $value || -n ${o[has-cert]-} ]] || add_config cert "${value//:/\\:}"
	value=${said[proxy]-}
	[[ -z $value || -n ${o[has-proxy]-}${http_proxy-}${https_proxy-}${HTTPS_PROXY-}${all_proxy-}${ALL_PROXY-} ]] || add_config proxy "$value"
}

# Sets line[] to curl's arguments for this request, without what comes by the config.
build_line() {
	local value left
	line+=("${global_pass[@]}" "${pass[@]}")
	[[ -z $custom ]] || line+=(--request "$custom")
	case $kind in
	head) line+=(--head) ;;
	put) line+=(--upload-file "$upload") ;;
	esac
	if [[ -n ${o[location]-}${o[follow]-} ]]; then line+=(--location --max-redirs 0); fi
	if [[ $kind != post && -n ${o[get-data]-} && $hop -eq 0 ]]; then line+=(--get); fi
	if [[ -n ${o[has-query]-} && $hop -eq 0 ]]; then line+=(--url-query "+${o[query]}"); fi
	case ${t_kinds[$1]} in
	file) line+=(--output "${t_outs[$1]}") ;;
	null) line+=(--out-null) ;;
	remote)
		if ((hop == 0)); then
			line+=(--remote-name)
		else
			value=${t_urls[$1]}${t_fragments[$1]}
			find_version
			((version < 7086)) || value=${value%%[?#]*}
			value=${value#*://*/}
			value=${value##*/}
			line+=(--output "${value:-curl_response}")
		fi
		;;
	esac
	if [[ -n ${o[dump]-} && -z ${o[own-dump]-} ]]; then line+=(--dump-header "${o[dump]}"); fi
	if [[ -n ${o[write-out]-} ]]; then
		fill_write_out "$1"
		line+=(--write-out "$reply")
	fi
	if [[ -n ${o[max-time]-} ]]; then
		left=${o[max-time]}
		((hop == 0)) || find_time_left
		line+=(--max-time "$left")
	fi
	[[ -z $referer ]] || line+=(--referer "$referer")
	[[ -z $is_same ]] || add_cookies cookie
	if [[ -n ${o[cookie-jar]-} ]]; then
		line+=(--cookie-jar "${o[cookie-jar]}")
		if [[ -n ${all[jar ${o[cookie-jar]}]-} ]]; then
			# It holds by now what the file held, and what came since.
			line+=(--cookie "${o[cookie-jar]}")
		else
			add_cookie_files
			[[ -z ${o[loops]} && ${o[count]} == 1 ]] || all[jar ${o[cookie-jar]}]=1
		fi
	else
		add_cookie_files
	fi
	if [[ -n ${o[proto-redir]-} && $hop -gt 0 ]]; then
		line+=(--proto "${o[proto-redir]}")
	elif [[ -n ${o[proto]-} ]]; then
		line+=(--proto "${o[proto]}")
	fi
}

# add_cookies cookie|cookie-file
add_cookies() {
	local index
	for ((index = 1; index <= ${o[$1s]-0}; index++)); do line+=(--cookie "${o[$1-$index]}"); done
}

add_cookie_files() {
	add_cookies cookie-file
	[[ -z ${o[junk-session-cookies]-} ]] || line+=(--junk-session-cookies)
}

# Sets reply to the text of -w with what only we know put in.
fill_write_out() {
	local text=${o[write-out]} typed=${t_typed[$1]}
	typed=${typed//\\/\\\\}
	typed=${typed//%/%%}
	text=${text//'%{url}'/"$typed"}
	text=${text//'%{num_redirects}'/"${hop}"}
	text=${text//'%{num_retries}'/"${attempt}"}
	text=${text//'%{urlnum}'/"${t_indexes[$1]}"}
	reply=$text
	if [[ -n $mark ]]; then reply="%{stderr}\\n$mark{\\n$text\\n$mark}\\n"; fi
}

# add_body OPTION TEXT: on a descriptor of its own, which bash must not close before curl has it
add_body() {
	local body_end
	exec {body_end}< <(printf '%s' "$2")
	body+=("--$1" "@/dev/fd/$body_end")
}

# Runs as curl, whose first argument is a configuration that is still to come.
become_curl() {
	local config_end report_end index
	local -a body=()
	# bash lets asynchronous commands ignore these two.
	trap - INT QUIT TERM HUP EXIT
	read -r || exit
	exec {config_end}<&0 {report_end}>&1 0<&"$saved_in" 1>&"$saved_out"
	if [[ $kind == post ]]; then
		case ${o[body]} in
		form) ((${#form} <= INLINE_BYTES_MAX)) || add_body data-binary "$form" ;;
		*)
			for ((index = 0; index < ${#data[@]}; index += 2)); do
				if [[ -n ${o[stdin-kept]-} && ${data[index + 1]} == @- && ${data[index]} != data-raw ]]; then
					add_body "${data[index]}" "${o[stdin-text]}"
				else
					body+=("--${data[index]}" "${data[index + 1]}")
				fi
			done
			;;
		esac
	elif [[ -n ${o[get-data]-} && $hop -eq 0 ]]; then
		((${#o[get-text]} <= INLINE_BYTES_MAX)) || add_body data-binary "${o[get-text]}"
	fi
	if [[ -n $wants_report ]]; then line+=(--dump-header "/dev/fd/$report_end"); else exec {report_end}>&-; fi
	exec 2>&"${log:-$saved_error}" {saved_error}>&-
	exec curl -q -K "/dev/fd/$config_end" "${line[@]}" "${body[@]}"
}

read_report() {
	local text name value
	while IFS= read -r text <&"$report"; do
		[[ -z $dump ]] || printf '%s\n' "$text" >&"$dump"
		text=${text%$'\r'}
		case $text in
		HTTP/*)
			code=${text#* }
			code=${code%% *}
			location='' retry_after='' authenticate='' user='' length=''
			continue
			;;
		*:*) ;;
		*) continue ;;
		esac
		name=${text%%:*}
		value=${text#*:}
		value=${value#"${value%%[![:blank:]]*}"}
		value=${value%"${value##*[![:blank:]]}"}
		case ${name,,} in
		location) [[ -n $location ]] || location=$value ;;
		retry-after) retry_after=$value ;;
		www-authenticate) [[ $value != *oauth_problem* ]] || authenticate=$value ;;
		x-ausername) user=$value ;;
		content-length) length=$value ;;
		esac
	done
}
