# shellcheck shell=bash
# shellcheck disable=SC2034,SC2178,SC2128,SC2179 # names that are arrays in one function, and by reference or text in another
# The curl of `atl-sign curl`: reads a curl command line as curl does, and runs one curl for each request, each with a
# signature of its own. Sourced by atl-sign beside it, whose helpers it uses. docs/decisions/0010-curl-wrapper.md says why so.

# Names that are filled in here: an inherited one would pass what it holds on to every child.
unset -v all answer array at attempt authenticate backoff base before body body_end char charset chosen chunk clock_ms code code_before config_end \
	config_text content count custom data data_kept delay dump element ends entry extra field file files filter first first_host first_link \
	first_origin first_transfer form fragment from global_pass has_json header headers headers_kept held holds_nul hop host in_text index \
	is_dry_run is_json_bare is_same is_signed item joint kept kind late left letter letters limit line link literal location log mark method ms \
	name needs needs_name node node_count node_kinds node_outs node_uploads node_urls number o o_kept operation operations origin out out_at pad \
	params part pass pass_kept path pattern pattern_count pending piece place places plain query quoted reason referer reply report report_end \
	rest result retries retry_after saved_in saved_out scheme segment shown shown_link signed_url since size sizes socket start started status \
	step t_fragments t_indexes t_kinds t_operations t_outs t_typed t_uploads t_urls target text to toggle total transfer typed upload upload_at \
	uploads url url_at used user value values variable version wants_report why word

REDIRECTS_MAX=50     # curl's own
TRANSFERS_MAX=10000  # more of them in one pattern is a slip of the pen
INLINE_BYTES_MAX=16384 # curl's config takes lines of 100 kB; a byte can become two
BACKOFF_S_MAX=600    # curl's own

# Every option of curl 7.76 to 8.22: kind (v takes a value, b is switched off by --no-NAME, n has no --no-), the version that
# brought it as 1000 × major + minor, 0 for those before 7.77, and whose it is: "pass" goes to curl as it is, one operation's
# alone; "global" goes to curl for all operations; "own" is handled in take_curl_option; "refuse" is refused there with a reason.
declare -A CURL_OPTIONS=(
	[abstract-unix-socket]=v:0:own [alpn]=b:0:pass [alt-svc]=v:0:pass [anyauth]=b:0:refuse [append]=b:0:pass [aws-sigv4]=v:0:refuse [basic]=b:0:refuse
	[buffer]=b:0:pass [ca-native]=b:8002:own [cacert]=v:0:own [capath]=v:0:own [cert]=v:0:own [cert-status]=b:0:pass [cert-type]=v:0:pass
	[ciphers]=v:0:pass [clobber]=b:7083:own [compressed]=b:0:pass [compressed-ssh]=b:0:pass [config]=v:0:own [connect-timeout]=v:0:pass
	[connect-to]=v:0:own [continue-at]=v:0:own [cookie]=v:0:own [cookie-jar]=v:0:own [create-dirs]=b:0:pass [create-file-mode]=v:0:pass [crlf]=b:0:pass
	[crlfile]=v:0:pass [curves]=v:0:pass [data]=v:0:own [data-ascii]=v:0:own [data-binary]=v:0:own [data-raw]=v:0:own [data-urlencode]=v:0:own
	[delegation]=v:0:refuse [digest]=b:0:refuse [disable]=b:0:own [disable-eprt]=b:0:pass [disable-epsv]=b:0:pass [disallow-username-in-url]=b:0:pass
	[dns-interface]=v:0:pass [dns-ipv4-addr]=v:0:pass [dns-ipv6-addr]=v:0:pass [dns-servers]=v:0:pass [doh-cert-status]=b:0:pass [doh-insecure]=b:0:pass
	[doh-url]=v:0:pass [dump-ca-embed]=n:8010:own [dump-header]=v:0:own [ech]=v:8008:pass [egd-file]=v:0:pass [engine]=v:0:pass [eprt]=b:0:pass
	[epsv]=b:0:pass [etag-compare]=v:0:pass [etag-save]=v:0:pass [expect100-timeout]=v:0:pass [fail]=b:0:own [fail-early]=b:0:own [fail-with-body]=b:0:own
	[false-start]=b:0:pass [follow]=b:8016:own [form]=v:0:own [form-escape]=b:7081:pass [form-string]=v:0:own [ftp-account]=v:0:pass
	[ftp-alternative-to-user]=v:0:pass [ftp-create-dirs]=b:0:pass [ftp-method]=v:0:pass [ftp-pasv]=b:0:pass [ftp-port]=v:0:pass [ftp-pret]=b:0:pass
	[ftp-skip-pasv-ip]=b:0:pass [ftp-ssl]=b:0:pass [ftp-ssl-ccc]=b:0:pass [ftp-ssl-ccc-mode]=v:0:pass [ftp-ssl-control]=b:0:pass [ftp-ssl-reqd]=b:0:pass
	[get]=b:0:own [globoff]=b:0:own [happy-eyeballs-timeout-ms]=v:0:pass [haproxy-clientip]=v:8002:pass [haproxy-protocol]=b:0:pass [head]=b:0:own
	[header]=v:0:own [help]=b:0:own [hostpubmd5]=v:0:pass [hostpubsha256]=v:7080:pass [hsts]=v:0:own [http0.9]=b:0:pass [http1.0]=n:0:pass
	[http1.1]=n:0:pass [http2]=n:0:pass [http2-prior-knowledge]=n:0:pass [http3]=n:0:pass [http3-only]=n:7088:pass [httpsig-algo]=v:8022:refuse
	[httpsig-headers]=v:8022:refuse [httpsig-key]=v:8022:refuse [httpsig-keyid]=v:8022:refuse [ignore-content-length]=b:0:pass [include]=b:0:own
	[insecure]=b:0:own [interface]=v:0:pass [ip-tos]=v:8009:pass [ipfs-gateway]=v:8004:pass [ipv4]=n:0:pass [ipv6]=n:0:pass [json]=v:7082:own
	[junk-session-cookies]=b:0:own [keepalive]=b:0:pass [keepalive-cnt]=v:8009:pass [keepalive-time]=v:0:pass [key]=v:0:pass [key-type]=v:0:pass
	[knownhosts]=v:8017:pass [krb]=v:0:pass [krb4]=v:0:pass [libcurl]=v:0:refuse [limit-rate]=v:0:pass [list-only]=b:0:pass [local-port]=v:0:pass
	[location]=b:0:own [location-trusted]=b:0:refuse [login-options]=v:0:pass [mail-auth]=v:0:pass [mail-from]=v:0:pass [mail-rcpt]=v:0:pass
	[mail-rcpt-allowfails]=b:0:pass [manual]=b:0:own [max-filesize]=v:0:pass [max-redirs]=v:0:own [max-time]=v:0:own [metalink]=b:0:pass
	[mptcp]=b:8009:pass [negotiate]=b:0:refuse [netrc]=b:0:refuse [netrc-file]=v:0:refuse [netrc-optional]=b:0:refuse [next]=n:0:own [noproxy]=v:0:own
	[npn]=b:0:pass [ntlm]=b:0:refuse [ntlm-wb]=b:0:refuse [oauth2-bearer]=v:0:refuse [out-null]=b:8016:own [output]=v:0:own [output-dir]=v:0:pass
	[parallel]=b:0:own [parallel-immediate]=b:0:global [parallel-max]=v:0:global [parallel-max-host]=v:8016:global [pass]=v:0:pass [path-as-is]=b:0:own
	[pinnedpubkey]=v:0:pass [post301]=b:0:own [post302]=b:0:own [post303]=b:0:own [preproxy]=v:0:own [progress-bar]=b:0:global [progress-meter]=b:0:global
	[proto]=v:0:own [proto-default]=v:0:own [proto-redir]=v:0:own [proxy]=v:0:own [proxy-anyauth]=b:0:pass [proxy-basic]=b:0:pass
	[proxy-ca-native]=b:8002:pass [proxy-cacert]=v:0:pass [proxy-capath]=v:0:pass [proxy-cert]=v:0:pass [proxy-cert-type]=v:0:pass
	[proxy-ciphers]=v:0:pass [proxy-crlfile]=v:0:pass [proxy-digest]=b:0:pass [proxy-header]=v:0:own [proxy-http2]=b:8001:pass [proxy-http3]=b:8021:pass
	[proxy-insecure]=b:0:pass [proxy-key]=v:0:pass [proxy-key-type]=v:0:pass [proxy-negotiate]=b:0:pass [proxy-ntlm]=b:0:pass [proxy-pass]=v:0:pass
	[proxy-pinnedpubkey]=v:0:pass [proxy-service-name]=v:0:pass [proxy-ssl-allow-beast]=b:0:pass [proxy-ssl-auto-client-cert]=b:7077:pass
	[proxy-tls13-ciphers]=v:0:pass [proxy-tlsauthtype]=v:0:pass [proxy-tlspassword]=v:0:pass [proxy-tlsuser]=v:0:pass [proxy-tlsv1]=n:0:pass
	[proxy-user]=v:0:pass [proxy1.0]=v:0:own [proxytunnel]=b:0:pass [pubkey]=v:0:pass [quote]=v:0:pass [random-file]=v:0:pass [range]=v:0:pass
	[rate]=v:7084:own [raw]=b:0:pass [referer]=v:0:own [remote-header-name]=b:0:own [remote-name]=b:0:own [remote-name-all]=b:0:own [remote-time]=b:0:pass
	[remove-on-error]=b:7083:pass [request]=v:0:own [request-target]=v:0:refuse [resolve]=v:0:own [retry]=v:0:own [retry-all-errors]=b:0:own
	[retry-connrefused]=b:0:own [retry-delay]=v:0:own [retry-max-time]=v:0:own [sasl-authzid]=v:0:pass [sasl-ir]=b:0:pass [service-name]=v:0:pass
	[sessionid]=b:0:pass [show-error]=b:0:own [show-headers]=b:8010:own [sigalgs]=v:8014:pass [silent]=b:0:own [skip-existing]=b:8010:own [socks4]=v:0:own
	[socks4a]=v:0:own [socks5]=v:0:own [socks5-basic]=b:0:pass [socks5-gssapi]=b:0:pass [socks5-gssapi-nec]=b:0:pass [socks5-gssapi-service]=v:0:pass
	[socks5-hostname]=v:0:own [speed-limit]=v:0:pass [speed-time]=v:0:pass [ssl]=b:0:pass [ssl-allow-beast]=b:0:pass [ssl-auto-client-cert]=b:7077:pass
	[ssl-no-revoke]=b:0:pass [ssl-reqd]=b:0:pass [ssl-revoke-best-effort]=b:0:pass [ssl-sessions]=v:8012:global [sslv2]=n:0:pass [sslv3]=n:0:pass
	[stderr]=v:0:own [styled-output]=b:0:global [suppress-connect-headers]=b:0:pass [tcp-fastopen]=b:0:pass [tcp-nodelay]=b:0:pass
	[telnet-option]=v:0:pass [test-event]=b:0:pass [tftp-blksize]=v:0:pass [tftp-no-options]=b:0:pass [time-cond]=v:0:pass [tls-earlydata]=b:8011:pass
	[tls-max]=v:0:pass [tls13-ciphers]=v:0:pass [tlsauthtype]=v:0:pass [tlspassword]=v:0:pass [tlsuser]=v:0:pass [tlsv1]=n:0:pass [tlsv1.0]=n:0:pass
	[tlsv1.1]=n:0:pass [tlsv1.2]=n:0:pass [tlsv1.3]=n:0:pass [tr-encoding]=b:0:pass [trace]=v:0:refuse [trace-ascii]=v:0:refuse
	[trace-config]=v:8003:global [trace-ids]=b:8002:global [trace-time]=b:0:global [unix-socket]=v:0:own [upload-file]=v:0:own [upload-flags]=v:8013:pass
	[url]=v:0:own [url-query]=v:7087:own [use-ascii]=b:0:pass [user]=v:0:refuse [user-agent]=v:0:pass [variable]=v:8003:refuse [verbose]=b:0:own
	[version]=b:0:own [vlan-priority]=v:8009:pass [write-out]=v:0:own [xattr]=b:0:own
)
declare -A CURL_LETTERS=(
	['#']=progress-bar [0]=http1.0 [1]=tlsv1 [2]=sslv2 [3]=sslv3 [4]=ipv4 [6]=ipv6 [':']=next [A]=user-agent [B]=use-ascii [C]=continue-at [D]=dump-header
	[E]=cert [F]=form [G]=get [H]=header [I]=head [J]=remote-header-name [K]=config [L]=location [M]=manual [N]=buffer [O]=remote-name [P]=ftp-port
	[Q]=quote [R]=remote-time [S]=show-error [T]=upload-file [U]=proxy-user [V]=version [X]=request [Y]=speed-limit [Z]=parallel [a]=append [b]=cookie
	[c]=cookie-jar [d]=data [e]=referer [f]=fail [g]=globoff [h]=help [i]=include [j]=junk-session-cookies [k]=insecure [l]=list-only [m]=max-time
	[n]=netrc [o]=output [p]=proxytunnel [q]=disable [r]=range [s]=silent [t]=telnet-option [u]=user [v]=verbose [w]=write-out [x]=proxy [y]=speed-time
	[z]=time-cond
)

# What one operation (what stands between two --next) collects, and what all of them do.
declare -A o=() all=()
declare -a pass=() headers=() data=() global_pass=() node_urls=() node_outs=() node_kinds=() node_uploads=()
declare -a t_urls=() t_fragments=() t_typed=() t_outs=() t_kinds=() t_uploads=() t_operations=() t_indexes=()
node_count=0 url_at=0 out_at=0 upload_at=0 operations=0 link='' is_dry_run='' version='' needs=0 needs_name='' pending='' log=''

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
	{ exec {saved_in}<&0; } 2>/dev/null || exec {saved_in}</dev/null
	exec {saved_out}>&1
	trap 'end_pending' EXIT
	type -P curl >/dev/null || refuse_curl "curl cannot be run" "install curl 7.76 or newer"
	first=${1-}
	if [[ $first != -q* && ${first,,} != --disable ]]; then read_curlrc; fi
	read_curl_line "$@"
	finish_operation
	run_transfers
}

# refuse_curl MESSAGE [HINT]
refuse_curl() { die "$REFUSED" "$@"; }

# A curl that waits for its configuration must not be left to find the end of it.
end_pending() {
	if [[ -n $pending ]]; then
		kill -KILL "$pending" 2>/dev/null || :
		wait "$pending" 2>/dev/null || :
	fi
}

# --- the command line ---

read_curl_line() {
	local LC_ALL=C used
	while (($#)); do
		case $1 in
		--)
			shift
			while (($#)); do
				take_url "$1"
				shift
			done
			return
			;;
		--*) take_long "${1#--}" "$1" ${2+"$2"} ;;
		-?*) take_letters "${1#-}" ${2+"$2"} ;;
		-) refuse_curl "curl knows no option -" ;;
		*)
			take_url "$1"
			used=''
			;;
		esac
		if [[ -n $used ]]; then shift; fi
		shift
	done
}

# take_letters LETTERS [NEXT]: sets used when NEXT was its value
take_letters() {
	local letters=$1 letter name shown=''
	used=''
	while [[ -n $letters ]]; do
		letter=${letters:0:1}
		letters=${letters:1}
		[[ $letter == [A-Za-z0-9:#] && -n ${CURL_LETTERS[$letter]-} ]] || refuse_curl "curl has no option -$letter that is known here" "$PROGRAM help curl"
		name=${CURL_LETTERS[$letter]}
		shown+=$letter
		if [[ ${CURL_OPTIONS[$name]} != v:* ]]; then
			# From 8.10 on, each further v of one word shows more, up to the raw bytes in pieces.
			[[ $shown != *v*v* ]] || refuse_curl "-vv and more would show the signature in pieces" "-v"
			case $letter in
			N) take_curl_option buffer '' "-$letter" ;;
			*) take_curl_option "$name" 1 "-$letter" ;;
			esac
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

# take_long WORD SHOWN [NEXT]: sets used when NEXT was its value
take_long() {
	local word=$1 shown=${2%%=*} toggle=1 name extra
	local -a value=("${@:3:1}")
	used=''
	case $word in
	no-*)
		toggle=''
		word=${word#no-}
		;;
	expand-*) refuse_curl "curl's option $shown would be filled in by curl alone" "let the shell fill in the value" ;;
	esac
	if [[ $word == *=* ]]; then
		find_version
		((version >= 8016)) || refuse_curl "the installed curl takes no value after =: $shown" "write option and value as two arguments: $shown VALUE"
		value=("${word#*=}")
		word=${word%%=*}
		extra=1
	else
		extra=''
	fi
	find_option "$word" "$toggle" "$shown"
	name=$reply
	case ${CURL_OPTIONS[$name]}:$toggle in
	v:*:) refuse_curl "curl's option --$name cannot be switched off by --no-" ;;
	v:*)
		((${#value[@]})) || refuse_curl "option $shown needs a value"
		used=1
		[[ -z $extra ]] || used=''
		take_curl_option "$name" 1 "$shown" "${value[0]}"
		;;
	n:*:) refuse_curl "curl's option --$name cannot be switched off by --no-" ;;
	*)
		[[ -z $extra ]] || refuse_curl "curl's option $shown takes no value"
		take_curl_option "$name" "$toggle" "$shown"
		;;
	esac
}

# find_option WORD TOGGLE SHOWN: sets reply to the option's full name
find_option() {
	local word=$1 name chosen='' count=0 since
	if [[ $word =~ ^[a-z0-9.-]+$ && -n ${CURL_OPTIONS[$word]-} ]]; then
		reply=$word
		return
	fi
	# Up to 8.5, curl takes any beginning that only one option has, in either case; after --no- the whole name only.
	if [[ $word =~ ^[A-Za-z0-9.-]+$ ]]; then
		find_version
		if ((version < 8006)); then
			word=${word,,}
			for name in "${!CURL_OPTIONS[@]}"; do
				[[ $name == "$word"* ]] || continue
				since=${CURL_OPTIONS[$name]#*:}
				((${since%:*} <= version)) || continue
				if [[ $name == "$word" ]]; then
					reply=$name
					return
				fi
				[[ -n $2 ]] || continue
				chosen=$name
				((count += 1))
			done
			((count < 2)) || refuse_curl "curl's option $3 is ambiguous" "write its whole name"
		fi
	fi
	[[ -n $chosen ]] || refuse_curl "curl's option $3 is not known here" "$PROGRAM help curl"
	reply=$chosen
}

# Sets version to the installed curl's, as 1000 × major + minor.
find_version() {
	local text
	[[ -z $version ]] || return 0
	text=$(exec curl -q --version 2>/dev/null) || refuse_curl "curl cannot be run" "install curl 7.76 or newer"
	[[ $text =~ ^curl\ ([0-9]+)\.([0-9]+) ]] || refuse_curl "curl does not tell its version" "install curl 7.76 or newer"
	set_version "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
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

# read_curl_config FILE|-: takes the options of a config file. curl itself warns of a wrong line and goes on; here it is refused.
read_curl_config() {
	local LC_ALL=C holds_nul='' content line word value used at=0 quoted
	local -a params
	((${all[depth]-0} < 5)) || refuse_curl "config files lead in a circle: $1"
	all[depth]=$((${all[depth]-0} + 1))
	read_content "$1" text
	[[ -z $holds_nul ]] || refuse_curl "the config file holds a zero byte: $1"
	content=$reply$'\n'
	while [[ -n $content ]]; do
		line=${content%%$'\n'*}
		content=${content#*$'\n'}
		((at += 1))
		line=${line#"${line%%[![:space:]]*}"}
		case $line in '' | '#'* | /* | '*'*) continue ;; esac
		if [[ $line == -* ]]; then
			word=${line%%[[:space:]]*}
			line=${line#"$word"}
			line=${line#"${line%%[![:space:]]*}"}
		else
			word=${line%%[[:space:]=:]*}
			line=${line#"$word"}
			line=${line#"${line%%[![:space:]=:]*}"}
		fi
		params=()
		if [[ $line == '"'* ]]; then
			unquote "${line:1}"
			params=("$reply")
		elif [[ -n $line ]]; then
			value=${line%%[[:space:]]*}
			line=${line#"$value"}
			line=${line#"${line%%[![:space:]]*}"}
			[[ -z $line || $line == '#'* ]] || refuse_curl "line $at of $1 has a blank outside quotes" "put the value into double quotes"
			params=("$value")
		fi
		case $word in
		--?*) take_long "${word#--}" "$word" "${params[@]}" ;;
		-?*) take_letters "${word#-}" "${params[@]}" ;;
		*) take_long "$word" "$word" "${params[@]}" ;;
		esac
		[[ -n $used || ${#params[@]} -eq 0 || -z ${params[0]} ]] || refuse_curl "line $at of $1: option $word takes no value"
	done
	all[depth]=$((all[depth] - 1))
}

# unquote TEXT: sets reply to what stands before the closing quote, as curl's config has it
unquote() {
	local text=$1 quoted='' piece
	while [[ -n $text && $text != '"'* ]]; do
		piece=${text%%[\\\"]*}
		quoted+=$piece
		text=${text#"$piece"}
		if [[ $text == \\* ]]; then
			case ${text:1:1} in
			t) quoted+=$'\t' ;;
			n) quoted+=$'\n' ;;
			r) quoted+=$'\r' ;;
			v) quoted+=$'\v' ;;
			*) quoted+=${text:1:1} ;;
			esac
			text=${text:2}
		fi
	done
	reply=$quoted
}

# --- the options ---

# take_curl_option NAME TOGGLE SHOWN [VALUE]
take_curl_option() {
	local name=$1 toggle=$2 shown=$3 value=${4-} entry=${CURL_OPTIONS[$1]} since kind holds_nul=''
	since=${entry#*:}
	since=${since%:*}
	if ((since > needs)); then
		needs=$since needs_name=$name
		[[ -z $version ]] || ((version >= needs)) || refuse_curl "the installed curl has no option --$name"
	fi
	case $entry in
	*:pass) pass_option pass ;;
	*:global) pass_option global_pass ;;
	*:refuse) refuse_option ;;
	*) take_own_option ;;
	esac
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

refuse_option() {
	# What is switched off does no harm.
	[[ -n $toggle ]] || return 0
	case $name in
	location-trusted) refuse_curl "curl's option $shown would send the signature to other servers" "-L: each request is signed for itself" ;;
	libcurl) refuse_curl "curl's option $shown would write the signature into a file" "take it out" ;;
	trace | trace-ascii) refuse_curl "curl's option $shown would keep the signature" "-v, which strikes it out" ;;
	request-target) refuse_curl "curl's option $shown would send another path than the signed one" "put the path into the URL, with --path-as-is" ;;
	variable) refuse_curl "curl's option $shown is for values that curl alone fills in" "let the shell fill in the values" ;;
	*) refuse_curl "curl's option $shown brings credentials of its own" "take it out: the signature says who you are" ;;
	esac
}

take_own_option() {
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
		exec curl -q "--$name"
		;;
	data | data-ascii | data-raw | data-binary | data-urlencode) data+=("$name" "$value") ;;
	json)
		data+=("$name" "$value")
		o[json]=1
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
	request)
		[[ -n $value ]] || refuse_curl "the method is empty" "-X POST"
		[[ $value != *[!A-Za-z0-9_-]* ]] || refuse_curl "the method is no word"
		o[method]=$value
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
	include | show-headers)
		o[include]=$toggle
		pass_option pass
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
	header)
		if [[ $value == @* ]]; then take_header_file "${value#@}"; else take_header "$value"; fi
		;;
	proxy-header)
		[[ $value != @- ]] || refuse_curl "--proxy-header @- would need standard input for itself" "--proxy-header @FILE"
		pass_option pass
		;;
	output) take_output file "$value" ;;
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
	connect-to | resolve | unix-socket | abstract-unix-socket)
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
	continue-at)
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
	verbose | silent | show-error | parallel | fail-early)
		all[$name]=$toggle
		case $name in parallel | fail-early) ;; *) pass_option global_pass ;; esac
		;;
	*) refuse_curl "curl's option $shown is not supported" ;;
	esac
}

# take_query VALUE: of --url-query; like --data-urlencode, but "+" in front leaves the rest as it is
take_query() {
	local content
	if [[ $1 == +* ]]; then
		content=${1:1}
	else
		encode_data "$1"
		content=$reply
	fi
	o[query]=${o[has-query]:+${o[query]}&}$content
	o[has-query]=1
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
	local LC_ALL=C header=$1 name value
	[[ $header != *[$'\r\n']* ]] || refuse_curl "a header holds a line break" "give each header its own -H"
	[[ $header != [[:blank:]]* ]] || refuse_curl "a header begins with a blank: it would belong to the one before it"
	[[ $header != @* ]] || refuse_curl "a header begins with @"
	name=${header%%[:;]*}
	name=${name%"${name##*[![:blank:]]}"}
	value=${header#"${header%%[:;]*}"}
	value=${value#[:;]}
	case ${name,,} in
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
		value=${value//[[:blank:]]/}
		value=${value,,}
		o[content-type]=${value:-none}
		;;
	accept) o[has-accept]=1 ;;
	esac
	headers+=("$header")
}

take_header_file() {
	local LC_ALL=C line holds_nul=''
	read_content "$1" text
	[[ -z $holds_nul ]] || refuse_curl "the header file holds a zero byte: $1"
	reply=${reply//$'\r'/$'\n'}
	while [[ -n $reply ]]; do
		line=${reply%%$'\n'*}
		if [[ $reply == *$'\n'* ]]; then reply=${reply#*$'\n'}; else reply=''; fi
		[[ -z $line ]] || take_header "$line"
	done
}

# --- URLs ---

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

# Takes . and .. out of path, as curl does (RFC 3986, section 5.2.4).
squash_path() {
	local rest=${path#/} out='' segment
	case ${path//%2[Ee]/.}/ in
	*/./* | */../*) ;;
	*) return 0 ;;
	esac
	case $path/ in
	*%2[Ee]*) refuse_curl "the URL's path holds . or .. segments and %2E" "write the path that they lead to" ;;
	esac
	while :; do
		segment=${rest%%/*}
		case $segment in
		.) [[ $rest == */* ]] || out+=/ ;;
		..)
			out=${out%/*}
			[[ $rest == */* ]] || out+=/
			;;
		*) out+=/$segment ;;
		esac
		[[ $rest == */* ]] || break
		rest=${rest#*/}
	done
	path=$out
}

# Where curl adds to the path, it writes all its escapes in lower case.
lower_escapes() {
	local rest=$path out=''
	while [[ $rest =~ ^([^%]*)%([0-9A-Fa-f][0-9A-Fa-f])(.*)$ || $rest =~ ^([^%]*)%()(.*)$ ]]; do
		out+=${BASH_REMATCH[1]}%${BASH_REMATCH[2],,}
		rest=${BASH_REMATCH[3]}
	done
	path=$out$rest
}

# Escapes what is not ASCII in path, as curl does.
escape_path() {
	local LC_ALL=C rest=$path out='' char code
	[[ $path == *[![:ascii:]]* ]] || return 0
	while [[ -n $rest ]]; do
		char=${rest:0:1}
		rest=${rest:1}
		if [[ $char == [![:ascii:]] ]]; then
			printf -v code '%d' "'$char"
			printf -v char '%%%02x' $((code & 255))
		fi
		out+=$char
	done
	path=$out
}

# --- patterns: {a,b} [1-9] [a-z] [1-10:2] ---

# read_pattern TEXT: sets pieces_N to what each piece of the text can be, sizes[] to how many, pattern[] to the pieces that are patterns
read_pattern() {
	local text=$1 literal='' element body count=0 total=1 from to step pad at
	sizes=() pattern=()
	while [[ -n $text ]]; do
		case $text in
		'\{'* | '\['* | '\}'* | '\]'*)
			literal+=${text:1:1}
			text=${text:2}
			;;
		'[]'*)
			literal+='[]'
			text=${text:2}
			;;
		'{'* | '['*)
			if [[ $text =~ ^\[[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*(%[^]]*)?\] ]]; then
				literal+=${BASH_REMATCH[0]}
				text=${text#"${BASH_REMATCH[0]}"}
				continue
			fi
			if [[ -n $literal ]]; then
				add_piece "$literal"
				literal=''
			fi
			pattern+=("$count")
			unset -v "pieces_$count"
			local -n piece=pieces_$count
			piece=()
			if [[ $text == '{'* ]]; then
				text=${text:1}
				element=''
				while :; do
					case $text in
					'') refuse_pattern "a { is not closed" ;;
					[\{\[\]]*) refuse_pattern "there are brackets within braces" ;;
					,*)
						piece+=("$element")
						element=''
						text=${text:1}
						;;
					'}'*)
						[[ -n $element || ${#piece[@]} -gt 0 ]] || refuse_pattern "braces are empty"
						[[ -n $element ]] || refuse_pattern "a set ends with a comma"
						piece+=("$element")
						text=${text:1}
						break
						;;
					\\?*)
						element+=${text:1:1}
						text=${text:2}
						;;
					*)
						element+=${text:0:1}
						text=${text:1}
						;;
					esac
				done
			else
				body=${text%%]*}
				[[ $text == *]* ]] || refuse_pattern "a [ is not closed"
				text=${text#*]}
				if [[ $body =~ ^\[([0-9]+)-[[:blank:]]*([0-9]+)(:([0-9]+))?$ ]]; then
					from=${BASH_REMATCH[1]} to=${BASH_REMATCH[2]} step=${BASH_REMATCH[4]:-1}
					((${#from} < 16 && ${#to} < 16 && ${#step} < 16)) || refuse_pattern "a range is too large"
					pad=0
					[[ $from != 0* ]] || pad=${#from}
					from=$((10#$from)) to=$((10#$to)) step=$((10#$step))
					((step > 0 && (from == to && step == 1 || from < to && step <= to - from))) || refuse_pattern "a range does not go up"
					(((to - from) / step < TRANSFERS_MAX)) || refuse_pattern "a range is too large"
					for ((at = from; at <= to; at += step)); do
						printf -v element '%0*d' "$pad" "$at"
						piece+=("$element")
					done
				elif [[ $body =~ ^\[([A-Za-z])-([A-Za-z])(:([0-9]{1,3}))?$ ]]; then
					printf -v from '%d' "'${BASH_REMATCH[1]}"
					printf -v to '%d' "'${BASH_REMATCH[2]}"
					step=$((10#${BASH_REMATCH[4]:-1}))
					((step > 0 && to - from <= 25 && (from == to && step == 1 || from < to && step <= to - from))) || refuse_pattern "a range does not go up"
					for ((at = from; at <= to; at += step)); do
						printf -v element '\\x%x' "$at"
						printf -v element '%b' "$element"
						piece+=("$element")
					done
				else
					refuse_pattern "brackets hold no range like [1-9] or [a-z]"
				fi
			fi
			sizes+=("${#piece[@]}")
			((count += 1))
			((total *= ${#piece[@]}))
			((total <= TRANSFERS_MAX)) || refuse_pattern "a pattern stands for more than $TRANSFERS_MAX URLs"
			;;
		'}'* | ']'*) refuse_pattern "a closing bracket has no opening one" ;;
		*)
			element=${text%%[\\\{\}\[\]]*}
			[[ -n $element ]] || element=${text:0:1}
			literal+=$element
			text=${text#"$element"}
			;;
		esac
	done
	if [[ -n $literal ]]; then add_piece "$literal"; fi
	pattern_count=$total
}

# add_piece TEXT: the text between two patterns
add_piece() {
	unset -v "pieces_$count"
	local -n plain=pieces_$count
	plain=("$1")
	sizes+=(1)
	((count += 1))
}

refuse_pattern() { refuse_curl "curl reads brackets as a pattern of several URLs, and $1" "add -g if you mean the characters themselves"; }

# fill_pattern N: sets reply to the n-th text of the pattern that was read, and chosen[] to what each pattern is in it
fill_pattern() {
	local left=$1 at place text=''
	local -a places=()
	for ((at = ${#sizes[@]} - 1; at >= 0; at--)); do
		places[at]=$((left % sizes[at]))
		((left /= sizes[at])) || :
	done
	chosen=()
	for ((at = 0; at < ${#sizes[@]}; at++)); do
		local -n part=pieces_$at
		text+=${part[places[at]]}
	done
	for at in "${pattern[@]}"; do
		local -n part=pieces_$at
		chosen+=("${part[places[at]]}")
	done
	reply=$text
}

# fill_output NAME: sets reply to the file name with #1 … as chosen[] has it
fill_output() {
	local rest=$1 out='' number
	while [[ $rest =~ ^([^#]*)#([0-9]+)(.*)$ || $rest =~ ^([^#]*)#()(.*)$ ]]; do
		out+=${BASH_REMATCH[1]}
		number=${BASH_REMATCH[2]}
		rest=${BASH_REMATCH[3]}
		if [[ -n $number && ${#number} -lt 10 ]] && ((10#$number > 0 && 10#$number < ${#sizes[@]} && 10#$number <= ${#chosen[@]})); then
			out+=${chosen[10#$number - 1]}
		else
			out+=#
			rest=$number$rest
		fi
	done
	reply=$out$rest
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
	escape_path
	if [[ -n $2 ]]; then
		[[ -z ${o[body]-} && -z ${o[head]-} && -z ${o[get-data]-} ]] || refuse_curl "-T does not go together with another body, -I or -G" "take one of them out"
		case $2 in
		- | .)
			o[upload-stdin]=1
			;;
		*)
			[[ -r $2 && ! -d $2 ]] || refuse_curl "the file cannot be read: $2"
			name=${2##*/}
			name=${name##*\\}
			if [[ $path == */ ]]; then
				url_encode "$name"
				path+=${reply//+/%20}
				lower_escapes
			fi
			;;
		esac
		case ${o[content-type]-} in
		application/x-www-form-urlencoded*) refuse_curl "-T sends no form that could be signed" "--data-binary @FILE" ;;
		esac
	fi
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

# Sets o[body] (form, sent or mime), o[form] to what is signed of it, and o[get-data] to what -G makes of it.
describe_body() {
	local index has_json='' charset body=''
	if [[ -n ${o[mime]-} ]]; then
		for ((index = 0; index < ${#data[@]}; index += 2)); do
			[[ ${data[index]} == form* ]] || refuse_curl "-F and -d do not go together" "take one of them out"
		done
		[[ -z ${o[head]-} ]] || refuse_curl "-I and a body do not go together" "take one of them out"
		case ${o[content-type]-} in application/x-www-form-urlencoded*) refuse_curl "-F sends no such form as the Content-Type says" "-d" ;; esac
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
	case ${o[content-type]-} in
	application/x-www-form-urlencoded | application/x-www-form-urlencoded\;*) o[body]=form ;;
	'') [[ -n $has_json ]] || o[body]=form ;;
	esac
	[[ ${o[body]} == form ]] || return 0
	[[ -z $has_json ]] || refuse_curl "--json and a form's Content-Type do not go together" "use -d"
	if [[ ${o[content-type]-} == *charset=* ]]; then
		charset=${o[content-type]#*charset=}
		charset=${charset//\"/}
		[[ ${charset%%;*} == utf-8 ]] || refuse_curl "a form in another encoding than UTF-8 cannot be signed" "take the charset out"
	fi
	assemble_data
	o[form]=$body
}

# Joins data[] into body as curl does. curl is given the result, so that what is sent is what was signed.
assemble_data() {
	local LC_ALL=C index kind value holds_nul='' joint=''
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
		body+=$joint$reply
		joint='&'
		((${#body} <= FORM_BYTES_MAX)) || refuse_curl "the form is over $FORM_BYTES_MAX bytes" "send it as JSON, or in parts"
	done
}

# encode_data VALUE: sets reply to what --data-urlencode and --url-query make of it
encode_data() {
	local value=$1 name='' holds_nul=''
	case $value in
	*=*)
		name=${value%%=*}
		url_encode "${value#*=}"
		;;
	*@*)
		name=${value%%@*}
		read_content "${value#*@}" encoded
		# Of an empty file curl sends not even the name.
		[[ -n $reply ]] || name=''
		;;
	*) url_encode "$value" ;;
	esac
	reply=${name:+$name=}$reply
}

# What is sent more than once cannot come from standard input, which can be read once; some options mean something else then.
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

# url_encode TEXT: sets reply as curl's --data-urlencode has it, with "+" for a blank
url_encode() {
	local LC_ALL=C text=$1 chunk rest char code at
	reply=''
	# In short pieces: the time that bash takes to replace grows with the square of the length.
	for ((at = 0; at < ${#text}; at += 512)); do
		chunk=${text:at:512}
		if [[ $chunk == *[!A-Za-z0-9._~-]* ]]; then
			chunk=${chunk//'%'/'%25'}
			rest=${chunk//[A-Za-z0-9._~% -]/}
			while [[ -n $rest ]]; do
				char=${rest:0:1}
				rest=${rest//"$char"/}
				printf -v code '%d' "'$char"
				printf -v code '%%%02X' $((code & 255))
				chunk=${chunk//"$char"/"$code"}
			done
			chunk=${chunk//' '/'+'}
		fi
		reply+=$chunk
	done
}

# --- sending ---

# use_operation N: brings back what finish_operation kept
use_operation() {
	local item
	local -n o_kept=o_$1 pass_kept=pass_$1 headers_kept=headers_$1 data_kept=data_$1
	o=()
	for item in "${!o_kept[@]}"; do o[$item]=${o_kept[$item]}; done
	pass=("${pass_kept[@]}") headers=("${headers_kept[@]}") data=("${data_kept[@]}")
}

run_transfers() {
	local transfer result=0
	if [[ ${#t_urls[@]} -gt 1 && -n ${all[parallel]-} ]]; then
		refuse_curl "-Z would send several requests at a time" "take it out: they go one after the other"
	fi
	[[ -z ${all[parallel]-} ]] || global_pass+=(--parallel)
	if [[ -n $is_dry_run ]]; then
		for transfer in "${!t_urls[@]}"; do
			((transfer == 0)) || printf '\n'
			prepare "$transfer"
			ask_signature dry "$method" "$signed_url" "$link" "$form"
			[[ $status == 2?? ]] || refused
			print_answer
		done
		return
	fi
	# Nothing is sent unless everything can be signed. The first is signed before it is sent in any case.
	for transfer in "${!t_urls[@]}"; do
		((transfer)) || continue
		prepare "$transfer"
		ask_signature details "$method" "$signed_url" "$link" "$form"
		[[ $status == 2?? ]] || refused
		check_insecure
	done
	for transfer in "${!t_urls[@]}"; do
		run_transfer "$transfer"
		# curl ends with the status of its last transfer, and goes on after an error unless told otherwise.
		case $result in 2 | 27 | 41 | 43 | 48) break ;; esac
		if [[ $result != 0 && -n ${all[fail-early]-} ]]; then break; fi
	done
	exit "$result"
}

# catch SIGNAL: whatever is under way, nothing more is sent. KILL is for a child that still ignores the signal. Nothing is waited
# for: a handler that waited for curl and the filter of -v was seen to hang.
catch() {
	if [[ -n $pending ]]; then
		kill -"$1" "$pending" 2>/dev/null || :
		kill -KILL "$pending" 2>/dev/null || :
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

# ask_signature details|dry METHOD URL LINK FORM: sets status and answer, and version from what the daemon's curl tells of itself
ask_signature() {
	local code=0 size
	local -a line
	((${#3} <= URL_BYTES_MAX)) || die "$REFUSED" "the URL is longer than $URL_BYTES_MAX bytes" "send long parameters as a form or JSON body"
	[[ -n ${socket-} ]] || find_socket
	add_field method "$2"
	add_field url "$3"
	[[ -z $4 ]] || add_field link "$4"
	if [[ $1 == dry ]]; then add_field dry_run true; else add_field details true; fi
	size=${#5}
	if ((size > 0 && size <= INLINE_BYTES_MAX)); then add_field form "$5"; fi
	line=(-q -s --noproxy '*' --unix-socket "$socket" --max-time "$LOCAL_S" -H 'Accept: text/plain' -w '\n%{json}')
	if ((size > INLINE_BYTES_MAX)); then
		answer=$(exec curl "${line[@]}" --data-urlencode form@<(printf '%s' "$5") -K <(printf '%s' "$fields") http://localhost/sign) || code=$?
	else
		answer=$(exec curl "${line[@]}" -K <(printf '%s' "$fields") http://localhost/sign) || code=$?
	fi
	fields=''
	case $code in
	0) ;;
	7) no_daemon "no daemon answers on $socket" ;;
	28) die "$NO_DAEMON" "the daemon on $socket did not answer within $LOCAL_S s" "stop that process and start it again: $PROGRAM serve &" ;;
	52 | 56) die "$NO_DAEMON" "the daemon on $socket closed the connection" "its log says why; it serves its own user alone" ;;
	126 | 127) die "$REFUSED" "curl cannot be run" "install curl 7.76 or newer" ;;
	*) die "$NO_DAEMON" "curl could not talk to the daemon on $socket (its status: $code)" "curl must be 7.76 or newer, with Unix sockets" ;;
	esac
	code=${answer##*$'\n'{}
	answer=${answer%$'\n'{*}
	answer=${answer%$'\n'}
	[[ $code =~ \"http_code\":([0-9]+) ]] || die "$REFUSED" "the installed curl is too old" "install curl 7.76 or newer"
	status=${BASH_REMATCH[1]}
	if [[ -z $version ]]; then
		[[ $code =~ \"curl_version\":\"libcurl/([0-9]+)\.([0-9]+) ]] || die "$REFUSED" "the installed curl does not tell its version" "install curl 7.76 or newer"
		set_version "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
	fi
}

# detail NAME: sets reply to that line of the daemon's answer, or to nothing
detail() {
	reply=''
	if [[ $answer == *$'\n'"$1: "* ]]; then
		reply=${answer#*$'\n'"$1: "}
		reply=${reply%%$'\n'*}
	fi
}

check_insecure() {
	[[ -n ${o[insecure]-} ]] || return 0
	detail allow_insecure
	[[ $reply == true ]] || refuse_curl "-k would show the signature to anyone who answers" \
		"give the link its authority: $PROGRAM link add … --ca-bundle FILE, or --allow-insecure"
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
	local attempt=0 retries backoff=1 started delay reason dump='' late=''
	prepare "$1"
	retries=${o[retry]-0}
	set_clock
	started=$clock_ms
	start_log
	while :; do
		follow "$1"
		((attempt += 1))
		((retries > 0)) || break
		reason=''
		case $result in
		5 | 6 | 12 | 28) reason=': timeout' ;;
		7) [[ -z ${o[retry-connrefused]-} ]] || reason=': connection refused' ;;
		0 | 22)
			if [[ $result == 0 || -n ${o[fail]-}${o[fail-with-body]-} ]]; then
				case $code in
				408 | 429 | 500 | 502 | 503 | 504) reason=': HTTP error' ;;
				522 | 524) ((version < 8017)) || reason=': HTTP error' ;;
				esac
			fi
			;;
		esac
		if [[ -z $reason && $result != 0 && -n ${o[retry-all-errors]-} ]]; then reason=' (retrying all errors)'; fi
		[[ -n $reason ]] || break
		set_clock
		if [[ ${o[retry-max-time]-0} != 0 ]]; then
			to_ms "${o[retry-max-time]}"
			((clock_ms - started < ms)) || break
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
				break
			fi
		fi
		note "Warning: Problem$reason. Will retry in $delay seconds. $retries retries left."
		((retries -= 1)) || :
		tell_log drop
		pause "$delay"
		prepare "$1"
	done
	tell_log show
	end_log
	[[ -z $late ]] || say "$late"
	if [[ -n $dump ]]; then exec {dump}>&-; fi
	if [[ -z ${all[silent]-} && -n $shown_link ]]; then explain; fi
}

# refuse_or_stop MESSAGE [HINT]: 125 while nothing was sent, else 1
refuse_or_stop() {
	if [[ -n ${all[sent]-} ]]; then
		prefix="$PROGRAM: "
		die 1 "$@"
	fi
	refuse_curl "$@"
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

# pause SECONDS: in a child, so that a signal ends it
pause() {
	[[ $1 != 0 ]] || return 0
	sleep "$1" &
	pending=$!
	wait "$pending" || :
	kill "$pending" 2>/dev/null || :
	pending=''
}

# follow TRANSFER: sends the request that is prepared, and those that redirects lead to; sets result, code, retry_after, authenticate, user
follow() {
	local hop=0 limit=${o[max-redirs]-$REDIRECTS_MAX} first_origin referer=${o[referer]-} target scheme host path query fragment
	local is_json_bare='' first_link=$link start
	shown_link=''
	origin_of "$url"
	first_origin=$reply
	set_clock
	start=$clock_ms
	while :; do
		send "$1"
		# curl is told to follow no redirect: it throws its body away, and says so by this status.
		[[ $result == 47 && -n ${o[location]-}${o[follow]-} ]] || return 0
		if ((limit != -1 && hop >= limit)); then
			[[ -n ${all[silent]-} && -z ${all[show-error]-} ]] || late="curl: (47) Maximum ($limit) redirects followed"
			return 0
		fi
		[[ -z ${o[auto-referer]-} ]] || referer=${signed_url%%#*}
		resolve "$location" "$signed_url"
		target=$reply
		if [[ $target != [Hh][Tt][Tt][Pp]://* && $target != [Hh][Tt][Tt][Pp][Ss]://* ]]; then
			stop_at 1 "the redirect leads to ${target%%:*}:, which is not followed"
			return 0
		fi
		if [[ $url == https://* && $target == [Hh][Tt][Tt][Pp]://* ]]; then
			stop_at 1 "the redirect leads from https to http, and is not followed" "$target"
			return 0
		fi
		split_url "$target"
		[[ -n ${o[path-as-is]-} ]] || squash_path
		escape_path
		case $code in
		301 | 302) [[ $kind != post || -n ${o[post$code]-} ]] || become_get ;;
		303) [[ $kind == post && -n ${o[post303]-} || $kind == get || $kind == head ]] || become_get ;;
		esac
		if [[ $kind == put && ($upload == - || $upload == .) ]]; then
			stop_at 65 "the redirect wants what came from standard input a second time" "-T FILE"
			return 0
		fi
		url=$scheme://$host$path$query
		signed_url=$url
		((hop += 1))
		tell_log drop
	done
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
				printf -v char '%%%02x' $((code & 255))
				out+=$char
				;;
			*) out+=$char ;;
			esac
		done
		to=$out
	fi
	reply=$to
}

# send TRANSFER: one request with a signature of its own; sets result, and from the answer's headers code, location, retry_after, authenticate, user
send() {
	local config_end='' report='' config_text='' wants_report='' is_signed=1 header text name index value is_same=1 ms
	local -a line=(-g --path-as-is) ends=()
	if ((hop > 0)); then
		origin_of "$url"
		[[ $reply == "$first_origin" ]] || is_same=''
	fi
	code='' location='' retry_after='' authenticate='' user=''
	if [[ -n ${o[loops]} || -n ${o[own-dump]-} || (-z ${all[silent]-} && -z ${o[dump]-}) ]]; then wants_report=1; fi
	build_line "$1"
	# curl starts while the daemon signs, and waits for its configuration. Until it has that, there is no URL that it could ask.
	# The traps come after it: what it starts with is what it can go back to.
	trap - INT TERM HUP
	coproc CURL { become_curl; }
	pending=$!
	trap 'catch INT' INT
	trap 'catch TERM' TERM
	trap 'catch HUP' HUP
	ends=("${CURL[@]}")
	if ((${#ends[@]} == 2)); then
		{ exec {report}<&"${ends[0]}" {config_end}>&"${ends[1]}"; } 2>/dev/null || report='' config_end=''
		eval "exec ${ends[0]}<&- ${ends[1]}>&-" 2>/dev/null || :
	fi
	sign_hop
	if [[ -n ${o[own-dump]-} && -z $dump ]]; then
		if (($1 == o[first] && attempt == 0)); then
			{ : >"${o[dump]}"; } 2>/dev/null || refuse_or_stop "the file of -D cannot be written: ${o[dump]}"
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
	if [[ -n $is_json_bare ]]; then
		[[ -n ${o[content-type]-} ]] || add_config header 'Content-Type: application/json'
		[[ -n ${o[has-accept]-} ]] || add_config header 'Accept: application/json'
	fi
	if [[ -n $is_signed ]]; then add_config header "${answer%%$'\n'*}"; fi
	if [[ $kind == post && ${o[body]} == form ]]; then
		((${#form} > INLINE_BYTES_MAX)) || add_config data-raw "$form"
	elif [[ $kind != post && -n ${o[get-data]-} && $hop -eq 0 ]]; then
		((${#o[get-text]} > INLINE_BYTES_MAX)) || add_config data-raw "${o[get-text]}"
	fi
	if ((hop > 0)); then add_config url "$url"; else add_config url "$url${t_fragments[$1]}"; fi
	trap '' PIPE
	if [[ -n $config_end ]]; then
		{ printf '%s' "$config_text" >&"$config_end"; } 2>/dev/null || :
		exec {config_end}>&-
	fi
	trap - PIPE
	all[sent]=1
	if [[ -n $report ]]; then
		if [[ -n $wants_report ]]; then read_report; fi
		exec {report}<&-
	fi
	result=0
	wait "$pending" || result=$?
	pending=''
}

# Sets answer and is_signed for this hop, and puts what the link says into the config.
sign_hop() {
	local reply
	ask_signature details "$method" "$signed_url" "$first_link" "$form"
	if ((hop > 0)) && [[ $status == 404 ]]; then
		# Off the link: without credentials, as curl does it.
		is_signed='' answer=''
		return
	fi
	if [[ $status != 2?? ]]; then
		if [[ -z ${all[sent]-} ]]; then refused; fi
		prefix="$PROGRAM: "
		show_refusal
		exit 1
	fi
	# One line and nothing else: what follows it would be a header of its own.
	[[ ${answer%%$'\n'*} == 'Authorization: OAuth '* && $answer != *$'\r'* ]] || refuse_or_stop "the daemon's answer is not one header"
	[[ -n ${all[sent]-} ]] || check_insecure
	detail link
	first_link=$reply
	shown_link=$reply
	if [[ -z ${o[has-ca]-} ]]; then
		detail ca_bundle
		[[ -z $reply ]] || add_config cacert "$reply"
	fi
	if [[ -z ${o[has-cert]-} ]]; then
		detail client_cert
		reply=${reply//\\/\\\\}
		[[ -z $reply ]] || add_config cert "${reply//:/\\:}"
	fi
	if [[ -z ${o[has-proxy]-}${http_proxy-}${https_proxy-}${HTTPS_PROXY-}${all_proxy-}${ALL_PROXY-} ]]; then
		detail proxy
		[[ -z $reply ]] || add_config proxy "$reply"
	fi
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
			value=${t_urls[$1]%%\?*}
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
		if ((hop > 0)); then
			to_ms "$left"
			set_clock
			left=$((ms - clock_ms + start))
			((left > 0)) || left=1
			printf -v left '%d.%03d' $((left / 1000)) $((left % 1000))
		fi
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
	if [[ -n $log ]]; then exec 2>&"$log"; fi
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
			location='' retry_after='' authenticate='' user=''
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
		esac
	done
}

# Says what to do after an answer that refuses the signature, or did not look at it.
explain() {
	local code_before=$code text
	if [[ $code == 401 && -n $authenticate ]]; then
		prefix="$PROGRAM: "
		add_field www_authenticate "$authenticate"
		NO_DAEMON=$result
		REFUSED=$result
		request POST "/links/$shown_link/problem"
		if [[ $status == 2?? && -n $answer ]]; then say "$prefix$answer"; fi
		code=$code_before
	elif [[ ${user,,} == anonymous ]]; then
		text="the product took this signed request for anonymous"
		say "$PROGRAM: $text"
		say "hint: $PROGRAM check $shown_link"
	fi
}

# --- what curl says ---

# Starts the filter of what curl writes to standard error, where there is something to strike out or to hold back.
start_log() {
	log='' mark=''
	if [[ -n ${o[write-out]-} && -n ${o[loops]} ]]; then mark=atl-sign-$RANDOM$RANDOM$RANDOM; fi
	if [[ -n ${all[verbose]-}$mark ]] || [[ -n ${o[location]-}${o[follow]-} && (-z ${all[silent]-} || -n ${all[show-error]-}) ]]; then
		exec {log}> >(filter_log >&2)
		filter=$!
	fi
}

# tell_log show|drop: what becomes of the text of -w that is held back
tell_log() {
	[[ -z $mark ]] || printf '\n%s\n' "$mark $1" >&"$log"
}

# note TEXT: in its place among what curl says
note() {
	[[ -z ${all[silent]-} ]] || return 0
	if [[ -n $log ]]; then printf '%s\n' "$1" >&"$log"; else say "$1"; fi
}

end_log() {
	[[ -n $log ]] || return 0
	exec {log}>&-
	wait "$filter" || :
	log=''
}

# Copies standard input with the secrets of signed headers struck out, also those that a provider repeats, without the word on
# redirects that curl was told not to follow, and with the text of -w held back until it is clear that it is the last.
filter_log() {
	local LC_ALL=C part line='' held='' in_text='' text=''
	trap '' INT QUIT TERM HUP
	while :; do
		if IFS= read -r -t 0.5 part; then
			filter_line "$line$part"
			line=''
		elif (($? > 128)); then
			# The progress meter ends no line. Headers come whole, but keep one that did not.
			line+=$part
			if [[ -n $held ]]; then printf '\n'; fi
			held=''
			if [[ $line != '>'* && $line != *OAuth* && -z $in_text && $line != "${mark:-none}"* ]]; then
				printf '%s' "$line"
				line=''
			fi
		else
			if [[ -n $held ]]; then printf '\n'; fi
			strike "$line$part"
			printf '%s' "$reply"
			return
		fi
	done
}

filter_line() {
	if [[ -n $mark ]]; then
		case $1 in
		"$mark{")
			in_text=1 text='' held=''
			return
			;;
		"$mark}")
			in_text=''
			text=${text%$'\n'}
			return
			;;
		"$mark show")
			printf '%s' "$text" >&"$saved_out"
			text='' held=''
			return
			;;
		"$mark drop")
			text='' held=''
			return
			;;
		esac
		if [[ -n $in_text ]]; then
			text+=$1$'\n'
			return
		fi
	fi
	if [[ -n $held ]]; then printf '\n'; fi
	held=''
	case $1 in 'curl: (47) Maximum (0) redirects followed' | '* Maximum (0) redirects followed') return 0 ;; esac
	strike "$1"
	printf '%s' "$reply"
	if [[ -n $mark ]]; then held=1; else printf '\n'; fi
}

strike() {
	local name rest out
	reply=$1
	for name in oauth_token oauth_signature oauth_signature_base_string; do
		[[ $reply == *"$name=\""* ]] || continue
		rest=$reply out=''
		while [[ $rest == *"$name=\""* ]]; do
			out+="${rest%%"$name=\""*}$name=\"***\""
			rest=${rest#*"$name=\""}
			rest=${rest#*\"}
		done
		reply=$out$rest
	done
}
