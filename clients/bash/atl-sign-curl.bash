# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2178,SC2128,SC2179,SC2004 # names that other files set, that are arrays in one function and text in another
# The curl of `atl-sign curl`: reads a curl command line as curl does, and works out what each operation sends. Sourced by atl-sign
# beside it, whose helpers it uses. docs/decisions/0010-curl-wrapper.md says why so.

# Names that are filled in here: an inherited one would pass what it holds on to every child.
unset -v all answer array at attempt authenticate authorization backoff base before body body_end char chosen chunk clock_ms code code_before config_end \
	config_text content count custom data entries letter_names loaded saved_error data_kept delay digits dump element ends entry extra file files filter first first_link \
	first_origin first_transfer form fragment from global_pass has_comments has_json header headers headers_kept held holds_nul hop host in_text index \
	is_dry_run is_json_bare is_same is_signed item kept kind late left length letter letters limit line link literal location log mark method ms \
	name needs needs_name node node_count node_kinds node_outs node_uploads node_urls number o o_kept operation operations out out_at pad \
	params part pass pass_kept path pattern pattern_count pending piece place places plain query quoted reason referer reply report report_end \
	rest result retries retry_after said saved_in saved_out scheme segment shown shown_link signed_url since size sizes start started status \
	step t_fragments t_indexes t_kinds t_operations t_outs t_typed t_uploads t_urls target text to toggle total transfer typed upload upload_at \
	uploads url url_at used user value values variable version wants_report why word

FORM_TYPE=application/x-www-form-urlencoded
INLINE_BYTES_MAX=16384 # curl's config takes lines of 100 kB; a byte can become two

# Every option of curl 7.76 to 8.23: kind (v takes a value, b is switched off by --no-NAME, n has no --no-), the version that
# brought it as 1000 × major + minor, 0 for those before 7.77, and whose it is: "pass" goes to curl as it is, one operation's
# only; "global" goes to curl for all operations; "own" is handled in take_own_option; "refuse" is refused with a reason.
# One text, in which find_entry searches: filling an array with it would take longer than all that a usual line needs.
CURL_OPTIONS='
	abstract-unix-socket=v:0:own alpn=b:0:pass alt-svc=v:0:pass anyauth=b:0:refuse append=b:0:pass aws-sigv4=v:0:refuse basic=b:0:refuse
	buffer=b:0:pass ca-native=b:8002:own cacert=v:0:own capath=v:0:own cert=v:0:own cert-status=b:0:pass cert-type=v:0:pass
	ciphers=v:0:pass clobber=b:7083:own compressed=b:0:pass compressed-ssh=b:0:pass config=v:0:own connect-timeout=v:0:pass
	connect-to=v:0:own continue-at=v:0:own cookie=v:0:own cookie-jar=v:0:own create-dirs=b:0:pass create-file-mode=v:0:pass crlf=b:0:own
	crlfile=v:0:pass curves=v:0:pass data=v:0:own data-ascii=v:0:own data-binary=v:0:own data-raw=v:0:own data-urlencode=v:0:own
	delegation=v:0:refuse digest=b:0:refuse disable=b:0:own disable-eprt=b:0:pass disable-epsv=b:0:pass disallow-username-in-url=b:0:pass
	dns-interface=v:0:pass dns-ipv4-addr=v:0:pass dns-ipv6-addr=v:0:pass dns-servers=v:0:own doh-cert-status=b:0:pass doh-insecure=b:0:pass
	doh-url=v:0:own dump-ca-embed=n:8010:own dump-header=v:0:own ech=v:8008:pass egd-file=v:0:pass engine=v:0:pass eprt=b:0:pass
	epsv=b:0:pass etag-compare=v:0:pass etag-save=v:0:pass expect100-timeout=v:0:pass fail=b:0:own fail-early=b:0:own fail-with-body=b:0:own
	false-start=b:0:pass follow=b:8016:own form=v:0:own form-escape=b:7081:pass form-string=v:0:own ftp-account=v:0:pass
	ftp-alternative-to-user=v:0:pass ftp-create-dirs=b:0:pass ftp-method=v:0:pass ftp-pasv=b:0:pass ftp-port=v:0:pass ftp-pret=b:0:pass
	ftp-skip-pasv-ip=b:0:pass ftp-ssl=b:0:pass ftp-ssl-ccc=b:0:pass ftp-ssl-ccc-mode=v:0:pass ftp-ssl-control=b:0:pass ftp-ssl-reqd=b:0:pass
	get=b:0:own globoff=b:0:own happy-eyeballs-timeout-ms=v:0:pass haproxy-clientip=v:8002:pass haproxy-protocol=b:0:pass head=b:0:own
	header=v:0:own help=b:0:own hostpubmd5=v:0:pass hostpubsha256=v:7080:pass hsts=v:0:own http0.9=b:0:pass http1.0=n:0:pass
	http1.1=n:0:pass http2=n:0:pass http2-prior-knowledge=n:0:pass http3=n:0:pass http3-only=n:7088:pass httpsig-algo=v:8022:refuse
	httpsig-headers=v:8022:refuse httpsig-key=v:8022:refuse httpsig-keyid=v:8022:refuse ignore-content-length=b:0:pass include=b:0:own
	insecure=b:0:own interface=v:0:pass ip-tos=v:8009:pass ipfs-gateway=v:8004:pass ipv4=n:0:pass ipv6=n:0:pass json=v:7082:own
	junk-session-cookies=b:0:own keepalive=b:0:pass keepalive-cnt=v:8009:pass keepalive-time=v:0:pass key=v:0:pass key-type=v:0:pass
	knownhosts=v:8017:pass krb=v:0:pass krb4=v:0:pass libcurl=v:0:refuse limit-rate=v:0:pass list-only=b:0:pass local-port=v:0:pass
	location=b:0:own location-trusted=b:0:refuse login-options=v:0:pass mail-auth=v:0:pass mail-from=v:0:pass mail-rcpt=v:0:pass
	mail-rcpt-allowfails=b:0:pass manual=b:0:own max-filesize=v:0:pass max-redirs=v:0:own max-time=v:0:own metalink=b:0:pass
	mptcp=b:8009:pass negotiate=b:0:refuse netrc=b:0:refuse netrc-file=v:0:refuse netrc-optional=b:0:refuse next=n:0:own noproxy=v:0:own
	npn=b:0:pass ntlm=b:0:refuse ntlm-wb=b:0:refuse oauth2-bearer=v:0:refuse out-null=b:8016:own output=v:0:own output-dir=v:0:pass
	parallel=b:0:own parallel-immediate=b:0:global parallel-max=v:0:global parallel-max-host=v:8016:global pass=v:0:pass path-as-is=b:0:own
	pinnedpubkey=v:0:pass post301=b:0:own post302=b:0:own post303=b:0:own preproxy=v:0:own progress-bar=b:0:global progress-meter=b:0:global
	proto=v:0:own proto-default=v:0:own proto-redir=v:0:own proxy=v:0:own proxy-anyauth=b:0:pass proxy-basic=b:0:pass
	proxy-ca-native=b:8002:pass proxy-cacert=v:0:pass proxy-capath=v:0:pass proxy-cert=v:0:pass proxy-cert-type=v:0:pass
	proxy-ciphers=v:0:pass proxy-crlfile=v:0:pass proxy-digest=b:0:pass proxy-header=v:0:own proxy-http2=b:8001:pass proxy-http3=b:8021:pass
	proxy-insecure=b:0:pass proxy-key=v:0:pass proxy-key-type=v:0:pass proxy-negotiate=b:0:pass proxy-ntlm=b:0:pass proxy-pass=v:0:pass
	proxy-pinnedpubkey=v:0:pass proxy-service-name=v:0:pass proxy-ssl-allow-beast=b:0:pass proxy-ssl-auto-client-cert=b:7077:pass
	proxy-tls13-ciphers=v:0:pass proxy-tlsauthtype=v:0:pass proxy-tlspassword=v:0:pass proxy-tlsuser=v:0:pass proxy-tlsv1=n:0:pass
	proxy-user=v:0:pass proxy1.0=v:0:own proxytunnel=b:0:pass pubkey=v:0:pass quote=v:0:pass random-file=v:0:pass range=v:0:pass
	rate=v:7084:own raw=b:0:pass referer=v:0:own remote-header-name=b:0:own remote-name=b:0:own remote-name-all=b:0:own remote-time=b:0:pass
	remove-on-error=b:7083:pass request=v:0:own request-target=v:0:refuse resolve=v:0:own retry=v:0:own retry-all-errors=b:0:own
	retry-connrefused=b:0:own retry-delay=v:0:own retry-max-time=v:0:own sasl-authzid=v:0:pass sasl-ir=b:0:pass service-name=v:0:pass
	sessionid=b:0:pass show-error=b:0:own show-headers=b:8010:own sigalgs=v:8014:pass silent=b:0:own skip-existing=b:8010:own socks4=v:0:own
	socks4a=v:0:own socks5=v:0:own socks5-basic=b:0:pass socks5-gssapi=b:0:pass socks5-gssapi-nec=b:0:pass socks5-gssapi-service=v:0:pass
	socks5-hostname=v:0:own speed-limit=v:0:pass speed-time=v:0:pass ssl=b:0:pass ssl-allow-beast=b:0:pass ssl-auto-client-cert=b:7077:pass
	ssl-no-revoke=b:0:pass ssl-reqd=b:0:pass ssl-revoke-best-effort=b:0:pass ssl-sessions=v:8012:global sslv2=n:0:pass sslv3=n:0:pass
	stderr=v:0:own styled-output=b:0:global suppress-connect-headers=b:0:pass tcp-fastopen=b:0:pass tcp-nodelay=b:0:pass
	telnet-option=v:0:pass test-event=b:0:pass tftp-blksize=v:0:pass tftp-no-options=b:0:pass time-cond=v:0:pass tls-earlydata=b:8011:pass
	tls-max=v:0:pass tls13-ciphers=v:0:pass tlsauthtype=v:0:pass tlspassword=v:0:pass tlsuser=v:0:pass tlsv1=n:0:pass tlsv1.0=n:0:pass
	tlsv1.1=n:0:pass tlsv1.2=n:0:pass tlsv1.3=n:0:pass tr-encoding=b:0:pass trace=v:0:refuse trace-ascii=v:0:refuse
	trace-config=v:8003:global trace-ids=b:8002:global trace-time=b:0:global unix-socket=v:0:own upload-file=v:0:own upload-flags=v:8013:pass
	url=v:0:own url-query=v:7087:own use-ascii=b:0:own user=v:0:refuse user-agent=v:0:pass variable=v:8003:refuse verbose=b:0:own
	version=b:0:own vlan-priority=v:8009:pass write-out=v:0:own xattr=b:0:own
'
CURL_LETTERS='
	#=progress-bar 0=http1.0 1=tlsv1 2=sslv2 3=sslv3 4=ipv4 6=ipv6 :=next A=user-agent B=use-ascii C=continue-at D=dump-header
	E=cert F=form G=get H=header I=head J=remote-header-name K=config L=location M=manual N=buffer O=remote-name P=ftp-port
	Q=quote R=remote-time S=show-error T=upload-file U=proxy-user V=version X=request Y=speed-limit Z=parallel a=append b=cookie
	c=cookie-jar d=data e=referer f=fail g=globoff h=help i=include j=junk-session-cookies k=insecure l=list-only m=max-time
	n=netrc o=output p=proxytunnel q=disable r=range s=silent t=telnet-option u=user v=verbose w=write-out x=proxy y=speed-time
	z=time-cond
'

# Those of kind b that have a --no- only from one version on, up to another: 8.14.1 took it from some that 8.14.0 has it for.
CURL_REVERSIBLE='
	anyauth=7076:8013 ftp-pasv=7076:8013 get=7088:99999 remote-name=7084:99999
'

# The options of one operation (everything between two --next), and those of all of them.
declare -A o=() all=() entries=() letter_names=() said=()
declare -a pass=() headers=() data=() global_pass=() node_urls=() node_outs=() node_kinds=() node_uploads=()
declare -a t_urls=() t_fragments=() t_typed=() t_outs=() t_kinds=() t_uploads=() t_operations=() t_indexes=()
node_count=0 url_at=0 out_at=0 upload_at=0 operations=0 link=${ATL_SIGN_LINK-} is_dry_run='' version='' needs=0 needs_name='' pending='' log='' mark='' late='' dump='' loaded=' '

# --- what is read when it is needed first ---

# load NAME: the functions of that file, in place of those here
load() {
	[[ $loaded != *" $1 "* ]] || return 0
	loaded+="$1 "
	# shellcheck source=/dev/null
	source "${engine%.bash}-$1.bash"
}

find_version() { load config && find_version; }
find_abbreviation() { load config && find_abbreviation "$@"; }
read_curl_config() { load config && read_curl_config "$@"; }
take_header_file() { load config && take_header_file "$@"; }
refuse_option() { load config && refuse_option; }
take_changed() { load config && take_changed "$@"; }
check_control() { load options && check_control; }
check_header() { load options && check_header; }
take_other_option() { load options && take_other_option; }
escape_path() { load urls && escape_path; }
change_escapes() { load urls && change_escapes "$@"; }
raise_escapes() { load urls && raise_escapes; }
add_file_name() { load urls && add_file_name "$@"; }
check_fragment() { load urls && check_fragment; }
squash_dots() { load urls && squash_dots; }
url_encode() { load urls && url_encode "$@"; }
encode_data() { load urls && encode_data "$@"; }
take_query() { load urls && take_query "$@"; }
read_pattern() { load urls && read_pattern "$@"; }
check_repeated() { load again && check_repeated; }

cmd_curl() {
	local first
	# shellcheck disable=SC2034 # used by what the script itself has
	REFUSED=125 USAGE=125 NO_DAEMON=125
	prefix="$PROGRAM: nothing was sent: "
	while :; do
		case ${1-} in
		--link)
			(($# > 1)) || refuse_curl "option --link needs a value"
			link=$2
			shift 2
			;;
		--link=*)
			link=${1#*=}
			shift
			;;
		--dry-run)
			is_dry_run=1
			shift
			;;
		*) break ;;
		esac
	done
	exec {saved_in}<&0 {saved_out}>&1
	trap 'end_pending' EXIT
	type -P curl >/dev/null || refuse_curl "curl cannot be run" "install curl 7.76 or newer"
	first=${1-}
	if [[ $first != -q* && ${first,,} != --disable ]]; then read_curlrc; fi
	read_curl_line "$@"
	finish_operation
	load send
	run_transfers
}

# refuse_curl MESSAGE [HINT]
refuse_curl() { die "$REFUSED" "$@"; }

# A curl that waits for its configuration must not be left to find the end of it.
end_pending() {
	[[ -n $pending$asker ]] || return 0
	# shellcheck disable=SC2086 # none, one or two
	{ kill -KILL $pending $asker && wait $pending $asker; } 2>/dev/null || :
	asker=''
}

# --- the command line ---

read_curl_line() {
	local LC_ALL=C used word at=0 count=$#
	local -a words=("$@")
	# bash copies all positional parameters with each call of a function.
	set --
	while ((at < count)); do
		word=${words[at]}
		((at += 1))
		used=''
		case $word in
		--) break ;;
		--*) if ((at < count)); then take_long "${word#--}" "$word" "${words[at]}"; else take_long "${word#--}" "$word"; fi ;;
		-?*) if ((at < count)); then take_letters "${word#-}" "${words[at]}"; else take_letters "${word#-}"; fi ;;
		-) refuse_curl "curl knows no option -" ;;
		*) take_url "$word" ;;
		esac
		[[ -z $used ]] || ((at += 1))
	done
	for word in "${words[@]:at}"; do take_url "$word"; done
}

# take_letters LETTERS [NEXT]: sets used when NEXT was its value
take_letters() {
	local letters=$1 letter name entry shown=''
	used=''
	while [[ -n $letters ]]; do
		letter=${letters:0:1}
		letters=${letters:1}
		name=${letter_names[$letter]-}
		[[ -n $name ]] || find_letter
		entry=${entries[$name]-}
		[[ -n $entry ]] || find_entry "$name"
		if [[ $entry != v:* ]]; then
			# From 8.10 on, each further v of one word shows more, up to the raw bytes in pieces.
			shown+=$letter
			[[ $shown != *v*v* ]] || refuse_curl "-vv and more would show the signature in pieces" "-v"
			if [[ $letter == N ]]; then take_curl_option buffer '' -N; else take_curl_option "$name" 1 "-$letter"; fi
		elif [[ -n $letters ]]; then
			take_curl_option "$name" 1 "-$letter" "$letters"
			return
		elif (($# > 1)); then
			used=1
			take_curl_option "$name" 1 "-$letter" "$2"
		else
			refuse_curl "option -$letter needs a value"
		fi
	done
}

find_letter() {
	[[ $letter == [A-Za-z0-9:#] && $CURL_LETTERS =~ [[:blank:]]"$letter="([a-z0-9.-]+) ]] ||
		refuse_curl "curl has no option -$letter that is known here" "$PROGRAM help curl"
	name=${BASH_REMATCH[1]}
	letter_names[$letter]=$name
}

# take_long WORD SHOWN [NEXT]: sets used when NEXT was its value
take_long() {
	local name=$1 shown=$2 entry
	used=''
	entry=${entries[$name]-}
	if [[ -n $entry ]] || { [[ $name != no-* && $name != expand-* ]] && find_entry "$name"; }; then
		case $entry in
		v:*)
			(($# > 2)) || refuse_curl "option $shown needs a value"
			used=1
			take_curl_option "$name" 1 "$shown" "$3"
			;;
		*) take_curl_option "$name" 1 "$shown" ;;
		esac
	else
		take_changed "$@"
	fi
}

# find_entry NAME: sets entry, and entries[NAME] for the next time, to what the table says of it; fails where that is nothing
find_entry() {
	[[ $1 =~ ^[a-z0-9.-]+$ && $CURL_OPTIONS =~ [[:blank:]]"$1="([a-z0-9:]+) ]] || return 1
	entry=${BASH_REMATCH[1]}
	entries[$1]=$entry
}

set_version() {
	version=$((10#$1 * 1000 + 10#$2))
	((version >= 7076)) || refuse_curl "the installed curl $1.$2 is too old" "install curl 7.76 or newer"
	((version >= needs)) || refuse_curl "the installed curl $1.$2 has no option --$needs_name"
}

# curl's order of places; it takes the first that it can read.
read_curlrc() {
	local file
	local -a files=()
	[[ -z ${CURL_HOME-} ]] || files+=("$CURL_HOME/.curlrc")
	if [[ -n ${XDG_CONFIG_HOME-} && -e $XDG_CONFIG_HOME/.curlrc || -n ${XDG_CONFIG_HOME-} && -e $XDG_CONFIG_HOME/curlrc ]]; then
		find_version
		if ((version < 8010)); then files+=("$XDG_CONFIG_HOME/.curlrc"); else files+=("$XDG_CONFIG_HOME/curlrc"); fi
	fi
	[[ -z ${HOME-} ]] || files+=("$HOME/.curlrc")
	if [[ -z ${XDG_CONFIG_HOME+set} ]]; then
		[[ -z ${CURL_HOME-} ]] || files+=("$CURL_HOME/.config/curlrc")
		[[ -z ${HOME-} ]] || files+=("$HOME/.config/curlrc")
	fi
	for file in "${files[@]}"; do
		if [[ -f $file && -r $file ]]; then
			read_curl_config "$file"
			return
		fi
	done
}

# --- the options ---

# take_curl_option NAME TOGGLE SHOWN [VALUE]: NAME's entry has been found. Here and in what is called from here are the most usual
# options only: bash copies a function each time that it calls it.
take_curl_option() {
	local name=$1 toggle=$2 shown=$3 value=${4-}
	[[ $entry == ?:0:* ]] || check_since
	[[ $name == data* || $value != *[[:cntrl:]]* ]] || check_control
	case $entry:$name in
	*:pass:*) pass_option pass ;;
	*:own:data*) data+=("$name" "$value") ;;
	*:own:header) if [[ $value == @* ]]; then take_header_file "${value#@}"; else take_header "$value"; fi ;;
	*:own:verbose | *:own:silent | *:own:show-error)
		all[$name]=$toggle
		pass_option global_pass
		;;
	*:own:*) take_own_option ;;
	*:global:*) pass_option global_pass ;;
	*) refuse_option ;;
	esac
}

check_since() {
	local since=${entry#*:}
	since=${since%:*}
	if ((since > needs)); then
		needs=$since needs_name=$name
		[[ -z $version ]] || ((version >= needs)) || refuse_curl "the installed curl has no option --$name"
	fi
}

# pass_option ARRAY: puts the option that take_curl_option has in hand at its end
pass_option() {
	local -n array=$1
	if [[ $entry == v:* ]]; then
		array+=("--$name" "$value")
	elif [[ -n $toggle ]]; then
		array+=("--$name")
	else
		array+=("--no-$name")
	fi
}

take_own_option() {
	case $name in
	output) take_output file "$value" ;;
	request)
		[[ -n $value ]] || refuse_curl "the method is empty" "-X POST"
		[[ $value != *[!A-Za-z0-9_-]* ]] || refuse_curl "the method is not a word"
		o[method]=$value
		;;
	include | show-headers)
		o[include]=$toggle
		pass_option pass
		;;
	json)
		data+=("$name" "$value")
		o[json]=1
		;;
	*) take_other_option ;;
	esac
}

# The n-th URL, the n-th -o and the n-th -T belong together; a place is made by whichever comes first.
add_node() {
	node_kinds[node_count]=''
	[[ -z ${o[remote-name-all]-} ]] || node_kinds[node_count]=remote
	((node_count += 1))
}

take_url() {
	[[ -n $1 ]] || refuse_curl "the URL is empty"
	[[ $1 != @* ]] || refuse_curl "a URL that begins with @ names a file of URLs" "xargs -n 1 $PROGRAM curl -O <FILE"
	((url_at < node_count)) || add_node
	node_urls[url_at]=$1
	((url_at += 1))
}

# take_output KIND VALUE
take_output() {
	((out_at < node_count)) || add_node
	[[ $1 != file || -n $2 ]] || refuse_curl "the file name of -o is empty"
	node_kinds[out_at]=$1
	node_outs[out_at]=$2
	((out_at += 1))
}

take_upload() {
	((upload_at < node_count)) || add_node
	node_uploads[upload_at]=$1
	((upload_at += 1))
}

# All headers reach curl in their order on one descriptor, so that the lines of a header file stay out of argv.
take_header() {
	local header=$1 name value
	[[ $header != *[[:cntrl:]]* && $header != [[:blank:]@]* ]] || check_header
	name=${header%%[:;]*}
	name=${name,,}
	case $name in
	authorization* | host* | content-length* | content-type* | accept*)
		value=${header#"${header%%[:;]*}"}
		take_known_header "${name%"${name##*[![:blank:]]}"}" "${value#[:;]}"
		;;
	esac
	headers+=("$header")
}

# take_known_header NAME VALUE: of those that decide what is signed
take_known_header() {
	local value=$2
	case $1 in
	authorization) refuse_curl "there is an Authorization header already" "take it out: the signature says who you are" ;;
	host)
		value=${value#"${value%%[![:blank:]]*}"}
		value=${value%"${value##*[![:blank:]]}"}
		o[host]=${value,,}
		[[ -n $value ]] || refuse_curl "a Host header would name no server" "leave it to curl"
		;;
	content-length) refuse_curl "a Content-Length of your own can cut the body short" "leave it to curl" ;;
	content-type)
		[[ -z ${o[content-type]-} ]] || refuse_curl "there are two Content-Type headers"
		value=${value#"${value%%[![:blank:]]*}"}
		o[content-type]=${value:-none}
		;;
	accept) o[has-accept]=1 ;;
	esac
}

# --- an operation's end: what it sends ---

finish_operation() {
	local LC_ALL=C node upload url at reply='' item first_transfer=${#t_urls[@]}
	local -a uploads
	((${#node_urls[@]})) || refuse_curl "there is no URL" "$PROGRAM help curl"
	case ${o[proto-default]-http} in http | https) ;; *) refuse_curl "--proto-default ${o[proto-default]} is nothing that can be signed" ;; esac
	describe_body
	o[loops]=''
	if [[ -n ${o[location]-}${o[follow]-} || ${o[retry]-0} -gt 0 ]]; then o[loops]=1; fi
	for ((node = 0; node < node_count; node++)); do
		[[ -n ${node_urls[node]-} ]] || continue
		uploads=("${node_uploads[node]-}")
		if [[ -z ${o[globoff]-} && ${uploads[0]} == *[][{}\\]* ]]; then
			read_pattern "${uploads[0]}"
			uploads=()
			for ((at = 0; at < pattern_count; at++)); do
				fill_pattern "$at"
				uploads+=("$reply")
			done
			((${#uploads[@]} == 1 || ${#node_urls[@]} == 1)) || refuse_curl "a pattern of -T does not go with several URLs" "run one command for each URL"
		fi
		for upload in "${uploads[@]}"; do
			if [[ -n ${o[globoff]-} || ${node_urls[node]} != *[][{}\\]* ]]; then
				add_transfer "${node_urls[node]}" "$upload" "${node_outs[node]-}"
			else
				read_pattern "${node_urls[node]}"
				for ((at = 0; at < pattern_count; at++)); do
					fill_pattern "$at"
					url=$reply
					reply=${node_outs[node]-}
					if [[ $reply == *'#'* ]]; then fill_output "$reply"; fi
					add_transfer "$url" "$upload" "$reply"
				done
			fi
		done
	done
	o[count]=$((${#t_urls[@]} - first_transfer))
	o[first]=$first_transfer
	if [[ ${o[count]} -gt 1 || -n ${o[loops]} ]]; then check_repeated; fi
	unset -v "o_$operations" "pass_$operations" "headers_$operations" "data_$operations"
	declare -gA "o_$operations"
	local -n o_kept=o_$operations pass_kept=pass_$operations headers_kept=headers_$operations data_kept=data_$operations
	# shellcheck disable=SC2004 # their keys are words
	for item in "${!o[@]}"; do o_kept[$item]=${o[$item]}; done
	pass_kept=("${pass[@]}")
	headers_kept=("${headers[@]}")
	data_kept=("${data[@]}")
	((operations += 1))
	o=() pass=() headers=() data=() node_urls=() node_outs=() node_kinds=() node_uploads=()
	node_count=0 url_at=0 out_at=0 upload_at=0
}

# add_transfer URL UPLOAD OUTPUT
add_transfer() {
	local scheme host path query fragment name typed=$1
	split_url "$1"
	if [[ -n ${o[path-as-is]-} ]]; then
		case $path/ in
		*/./* | */../*) [[ -z ${o[get]-}${o[has-query]-}$2 ]] || refuse_curl "--path-as-is does not hold where curl adds to the URL" "take . and .. out of the path" ;;
		esac
	else
		squash_path
	fi
	if [[ $path == *[![:ascii:]]* ]]; then escape_path; fi
	if [[ -n $fragment && -n ${o[get-data]-} ]]; then check_fragment; fi
	if [[ -n $2 ]]; then
		[[ -z ${o[body]-} && -z ${o[head]-} && -z ${o[get-data]-} ]] || refuse_curl "-T does not go together with another body, -I or -G" "take one of them out"
		case $2 in
		- | .)
			o[upload-stdin]=1
			;;
		*)
			[[ -r $2 && ! -d $2 ]] || refuse_curl "the file cannot be read: $2"
			add_file_name "$2"
			;;
		esac
		if is_form; then refuse_curl "-T sends no form that could be signed" "--data-binary @FILE"; fi
	fi
	if [[ $path == *%[a-f]* || $path == *%?[a-f]* ]]; then raise_escapes; fi
	if [[ -n ${o[host]-} ]]; then
		name=${host##*@}
		[[ ${o[host]} == "${name,,}" ]] ||
			refuse_curl "a Host header would name another server than the one that is signed for" "put the host into the URL"
	fi
	# With https the server must show that it is the one that is meant.
	[[ -z ${o[elsewhere]-} || $scheme == https ]] ||
		refuse_curl "--${o[elsewhere]} would show the signature to another server, as http:// lets anyone answer" "take it out, or use https://"
	[[ -z ${o[hsts]-} || $scheme == https ]] || refuse_curl "--hsts can turn http:// into https://, which is another signature" "write https:// into the URL"
	t_urls+=("$scheme://$host$path$query")
	t_fragments+=("$fragment")
	t_typed+=("$typed")
	t_uploads+=("$2")
	t_kinds+=("${node_kinds[node]}")
	t_outs+=("$3")
	t_operations+=("$operations")
	t_indexes+=("$node")
}

# split_url URL: sets scheme, host, path, query (with its "?") and fragment (with its "#"), as curl reads them
split_url() {
	local rest=$1
	fragment='' query=''
	if [[ $rest =~ ^([A-Za-z][A-Za-z0-9+.-]*):// ]]; then
		scheme=${BASH_REMATCH[1],,}
		rest=${rest#*://}
	elif [[ $rest =~ ^[A-Za-z][A-Za-z0-9+.-]*:/ ]]; then
		refuse_curl "the URL has one slash after its scheme" "write it out: https://HOST/PATH"
	else
		guess_scheme "$rest"
	fi
	case $scheme in
	http | https) ;;
	*) refuse_curl "the URL begins with $scheme://" "https:// or http:// is what can be signed" ;;
	esac
	if [[ $rest == *'#'* ]]; then
		fragment=#${rest#*#}
		rest=${rest%%#*}
	fi
	if [[ $rest == *\?* ]]; then
		query=\?${rest#*\?}
		rest=${rest%%\?*}
	fi
	host=${rest%%/*}
	path=${rest#"$host"}
	path=${path:-/}
	[[ -n $host ]] || refuse_curl "the URL names no host"
	[[ $host != *[\\%]* || $host == \[*%*\]* ]] || refuse_curl "the URL's host holds a percent sign or a backslash" "write the host's name out"
}

# As curl does for a URL without one.
guess_scheme() {
	scheme=${o[proto-default]-}
	[[ -z $scheme ]] || return 0
	case ${1,,} in
	ftp.* | dict.* | ldap.* | imap.* | smtp.* | pop3.*)
		refuse_curl "curl would take the URL for one of ${1%%.*}://" "write https:// or http:// in front"
		;;
	esac
	scheme=http
}

# Takes . and .. out of path, as curl does.
squash_path() {
	case ${path//%2[Ee]/.}/ in
	*/./* | */../*) squash_dots ;;
	esac
}

# Sets o[body] (form, sent or mime), o[form] to what is signed of it, and o[get-data] to what -G makes of it.
describe_body() {
	local index has_json='' body=''
	if [[ -n ${o[mime]-} ]]; then
		for ((index = 0; index < ${#data[@]}; index += 2)); do
			[[ ${data[index]} == form* ]] || refuse_curl "-F and -d do not go together" "take one of them out"
		done
		[[ -z ${o[head]-} ]] || refuse_curl "-I and a body do not go together" "take one of them out"
		if is_form; then refuse_curl "-F sends no such form as the Content-Type says" "-d"; fi
		o[body]=mime
		return
	fi
	((${#data[@]})) || return 0
	if [[ -n ${o[head]-} && -z ${o[get]-} ]]; then
		refuse_curl "-I and a body do not go together" "take one of them out"
	fi
	has_json=${o[json]-}
	if [[ -n ${o[get]-} ]]; then
		[[ -z $has_json ]] || refuse_curl "-G and --json do not go together" "use --data-urlencode"
		[[ -z ${o[has-query]-} ]] || refuse_curl "-G and --url-query do not go together" "use one of them"
		assemble_data
		[[ $body != *'#'* ]] || refuse_curl "the query holds a #, and all after it would not be sent" "use --data-urlencode"
		o[get-data]=1
		o[get-text]=$body
		return
	fi
	o[body]=sent
	if [[ -z ${o[content-type]-} ]]; then
		[[ -n $has_json ]] || o[body]=form
	elif is_form; then
		o[body]=form
	fi
	[[ ${o[body]} == form ]] || return 0
	[[ -z $has_json ]] || refuse_curl "--json and a form's Content-Type do not go together" "use -d"
	[[ -z ${o[crlf]-}${o[use-ascii]-}${o[continue-at]-} ]] || refuse_curl "--crlf, -B and -C can change a form after it was signed" "take them out"
	assemble_data
	o[form]=$body
}

# Succeeds when the Content-Type says that the body is a form; refuses one that a server may read differently: Tomcat before 9.0.98
# knows the type in lower case only, and a charset other than UTF-8 makes other parameters of the same bytes.
is_form() {
	local rest=${o[content-type]-}\; kind
	kind=${rest%%;*}
	kind=${kind%"${kind##*[![:blank:]]}"}
	[[ ${kind,,} == "$FORM_TYPE" ]] || return 1
	[[ $kind == "$FORM_TYPE" ]] ||
		refuse_curl "the form's Content-Type is not in lower case, which some servers do not read as a form" "write $FORM_TYPE"
	rest=${rest#*;}
	while [[ -n $rest ]]; do
		kind=${rest%%;*}
		rest=${rest#*;}
		kind=${kind//\"/}
		[[ ! ${kind,,} =~ ^[[:blank:]]*charset[[:blank:]]*(=|$) || ${kind,,} =~ ^[[:blank:]]*charset[[:blank:]]*=[[:blank:]]*utf-?8[[:blank:]]*$ ]] ||
			refuse_curl "a form in another encoding than UTF-8 cannot be signed" "take the charset out"
	done
}

# Joins data[] into body as curl does. curl is given the result, so that what is sent is what was signed.
assemble_data() {
	local LC_ALL=C index kind value holds_nul=''
	for ((index = 0; index < ${#data[@]}; index += 2)); do
		kind=${data[index]} value=${data[index + 1]} holds_nul=''
		case $kind:$value in
		data-raw:*) reply=$value ;;
		data:@* | data-ascii:@*)
			read_content "${value#@}" stripped
			# curl of some versions drops the zero byte, of others the rest of its line.
			[[ -z $holds_nul ]] || refuse_curl "the form holds a zero byte: ${value#@}" "use --data-urlencode @FILE"
			reply=${reply//[$'\r\n']/}
			;;
		data-binary:@*)
			read_content "${value#@}" text
			[[ -z $holds_nul ]] || refuse_curl "the form holds a zero byte: ${value#@}" "use --data-urlencode @FILE"
			;;
		data-urlencode:*) encode_data "$value" ;;
		*) reply=$value ;;
		esac
		if ((index > 0)); then
			# From 8.6 on, "&" comes only after something.
			[[ -n $body ]] || find_version
			if [[ -n $body ]] || ((version < 8006)); then body+='&'; fi
		fi
		body+=$reply
		((${#body} <= FORM_BYTES_MAX)) || refuse_curl "the form is over $FORM_BYTES_MAX bytes" "send it as JSON, or in parts"
	done
}
