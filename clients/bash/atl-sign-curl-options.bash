# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2178,SC2128,SC2179,SC2004 # names that other files set, that are arrays in one function and text in another
# The less usual of the options that atl-sign-curl.bash handles itself. Read by it when the first of them comes.

# Takes the option that take_curl_option has in hand.
take_other_option() {
	local kind holds_nul=''
	case $name in
	next)
		((${#node_urls[@]})) || refuse_curl "there is no URL before --next"
		finish_operation
		;;
	url) take_url "$value" ;;
	config)
		[[ $value != - ]] || all[config-stdin]=1
		read_curl_config "$value"
		;;
	disable) ;;
	help | manual | version | dump-ca-embed)
		[[ -n $toggle ]] || return 0
		# curl prints it and sends nothing.
		end_pending
		exec curl -q "--$name"
		;;
	form | form-string)
		if [[ $name$value == form*[=,\;\"][@\<]-* ]]; then
			# curl reads on where it is in the configuration.
			[[ -z ${all[config-stdin]-} ]] || refuse_curl "-F and -K both ask for standard input" "put one of them into a file"
			o[mime-stdin]=1
		fi
		o[mime]=1
		data+=("$name" "$value")
		;;
	url-query)
		take_query "$value"
		;;
	head)
		[[ -n $toggle ]] || refuse_curl "--no-head changes the method" "take it out, and -I too"
		o[head]=1
		;;
	get) o[get]=$toggle ;;
	path-as-is | globoff | location | follow | insecure | junk-session-cookies | retry-all-errors | retry-connrefused | post301 | post302 | post303 | remote-name-all | remote-header-name | xattr | skip-existing)
		o[$name]=$toggle
		case $name:$toggle in
		location:) o[follow]='' ;;
		follow:*) o[location]='' ;;
		insecure:* | remote-header-name:* | xattr:* | skip-existing:*) pass_option pass ;;
		esac
		;;
	fail | fail-with-body)
		o[$name]=$toggle
		pass_option pass
		;;
	clobber)
		o[no-clobber]=1
		[[ -z $toggle ]] || o[no-clobber]=''
		pass_option pass
		;;
	parallel | fail-early) all[$name]=$toggle ;;
	proxy-header)
		[[ $value != @- ]] || refuse_curl "--proxy-header @- would need standard input for itself" "--proxy-header @FILE"
		if [[ $value == @* ]]; then take_header_file "${value#@}"; else take_proxy_header "$value"; fi
		;;
	remote-name) if [[ -n $toggle ]]; then take_output remote ''; else take_output '' ''; fi ;;
	out-null) take_output null '' ;;
	upload-file) take_upload "$value" ;;
	dump-header) o[dump]=$value ;;
	max-redirs)
		[[ $value =~ ^(-1|[0-9]{1,9})$ ]] || refuse_curl "$shown takes a number, or -1"
		o[max-redirs]=$value
		;;
	retry)
		[[ $value =~ ^[0-9]{1,9}$ ]] || refuse_curl "$shown takes a number"
		o[retry]=$((10#$value))
		;;
	retry-delay | retry-max-time)
		[[ $value =~ ^[0-9]{1,9}(\.[0-9]+)?$ ]] || refuse_curl "$shown takes a number of seconds"
		o[$name]=$value
		;;
	max-time)
		[[ $value =~ ^[0-9]{0,9}(\.[0-9]+)?$ && -n $value ]] || refuse_curl "$shown takes a number of seconds"
		o[max-time]=$value
		;;
	cookie)
		# Each goes to curl as it came: versions differ in how they join them.
		if [[ $value == *=* && $value != @* ]]; then kind=cookie; else kind=cookie-file; fi
		o[${kind}s]=$((${o[${kind}s]-0} + 1))
		o[$kind-${o[${kind}s]}]=$value
		;;
	cookie-jar) o[cookie-jar]=$value ;;
	referer)
		o[referer]=${value%;auto}
		if [[ $value == *';auto' ]]; then o[auto-referer]=1; else o[auto-referer]=''; fi
		;;
	write-out)
		if [[ $value == @* ]]; then
			read_content "${value#@}" stripped
			value=${reply//[$'\r\n']/}
			[[ $value != @* ]] || refuse_curl "the text of -w begins with @"
		fi
		o[write-out]=$value
		;;
	cacert | capath | ca-native)
		o[has-ca]=1
		pass_option pass
		;;
	cert)
		o[has-cert]=1
		pass_option pass
		;;
	proxy | preproxy | socks4 | socks4a | socks5 | socks5-hostname | noproxy | proxy1.0)
		o[has-proxy]=1
		pass_option pass
		;;
	proto)
		o[proto]=$value
		;;
	proto-redir) o[proto-redir]=$value ;;
	proto-default) o[proto-default]=$value ;;
	connect-to | resolve | doh-url | dns-servers | unix-socket | abstract-unix-socket)
		o[elsewhere]=$name
		pass_option pass
		;;
	hsts)
		o[hsts]=1
		pass_option pass
		;;
	rate)
		all[rate]=1
		pass_option global_pass
		;;
	crlf | use-ascii)
		o[$name]=$toggle
		pass_option pass
		;;
	continue-at)
		o[continue-at]=1
		pass_option pass
		;;
	stderr)
		# Before everything else that is said, as curl does it.
		if [[ $value == - ]]; then
			exec 2>&1
		else
			{ : >"$value"; } 2>/dev/null || refuse_curl "the file of --stderr cannot be written: $value"
			exec 2>"$value"
		fi
		;;
	*) refuse_curl "curl's option $shown is not supported" ;;
	esac
}

# One rule for every value that can come to stand in a request's head, where a line break begins another header or a second request.
# Values that are a body, or are only printed, may hold anything, and headers are checked one by one.
check_control() {
	case $name in json | form | form-string | url-query | write-out | header | proxy-header) return 0 ;; esac
	[[ ${value//$'\t'/} == *[[:cntrl:]]* ]] || return 0
	refuse_curl "the value of $shown holds a line break or another control character" "take it out"
}

# Of the header that take_header or take_proxy_header has in hand.
check_header() {
	[[ $header != *[$'\r\n']* ]] || refuse_curl "a header holds a line break" "give each header its own -H"
	[[ ${header//$'\t'/} != *[[:cntrl:]]* ]] || refuse_curl "a header holds a control character" "take it out"
	[[ $header != [[:blank:]]* ]] || refuse_curl "a header begins with a blank: it would belong to the one before it"
	[[ $header != @* ]] || refuse_curl "a header begins with @"
}

# take_proxy_header HEADER: an http:// request goes to a proxy with these headers in it, and on to the server with most of them.
take_proxy_header() {
	local header=$1 name
	[[ $header != *[[:cntrl:]]* && $header != [[:blank:]@]* ]] || check_header
	name=${header%%[:;]*}
	name=${name,,}
	case $name in
	authorization* | host* | content-length* | content-type* | transfer-encoding*)
		refuse_curl "a proxy would pass $name of --proxy-header on to the server" "take it out"
		;;
	esac
	o[proxy-headers]+=$header$'\n'
}
