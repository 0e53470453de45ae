# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # names that atl-sign sets
# The curl of `atl-sign curl`: curl as it is, with the daemon's proxy in its environment. The daemon authorizes each request that
# reaches a link's host on its way. docs/decisions/0028-curl-by-proxy.md says why so.

unset -v all at breaks ca ca_file ca_folder caught config depth dir end errors expands file files flags free given has_control has_zero home is_dry_run is_quiet is_silent known letter letters link name note notes_file \
	number pending prints_only proxy_address proxy_folder proxy_name read_once refused result sends setting shows_errors stamp taken text tries value version word words

PROXY_SINCE=7084 # curl 7.84.0 knows SOCKS on a Unix socket

# Options that take a value: the next word is not an option, whatever it looks like.
VALUED_OPTIONS=" abstract-unix-socket alt-svc aws-sigv4 cacert capath cert cert-type ciphers config connect-timeout connect-to continue-at \
cookie cookie-jar create-file-mode crlfile curves data data-ascii data-binary data-raw data-urlencode delegation dns-interface \
dns-ipv4-addr dns-ipv6-addr dns-servers doh-url dump-header ech egd-file engine etag-compare etag-save expect100-timeout form \
form-string ftp-account ftp-alternative-to-user ftp-method ftp-port ftp-ssl-ccc-mode happy-eyeballs-timeout-ms haproxy-clientip header \
hostpubmd5 hostpubsha256 hsts httpsig-algo httpsig-headers httpsig-key httpsig-keyid interface ip-tos ipfs-gateway json keepalive-cnt \
keepalive-time key key-type knownhosts krb krb4 libcurl limit-rate local-port login-options mail-auth mail-from mail-rcpt max-filesize \
max-redirs max-time netrc-file noproxy oauth2-bearer output output-dir parallel-max parallel-max-host pass pinnedpubkey preproxy proto \
proto-default proto-redir proxy proxy-cacert proxy-capath proxy-cert proxy-cert-type proxy-ciphers proxy-crlfile proxy-header proxy-key \
proxy-key-type proxy-pass proxy-pinnedpubkey proxy-service-name proxy-tls13-ciphers proxy-tlsauthtype proxy-tlspassword proxy-tlsuser \
proxy-user proxy1.0 pubkey quote random-file range rate referer request request-target resolve retry retry-delay retry-max-time \
sasl-authzid service-name sigalgs socks4 socks4a socks5 socks5-gssapi-service socks5-hostname speed-limit speed-time ssl-sessions \
stderr telnet-option tftp-blksize time-cond tls-max tls13-ciphers tlsauthtype tlspassword tlsuser trace trace-ascii trace-config \
unix-socket upload-file upload-flags url url-query user user-agent variable vlan-priority write-out "
VALUED_LETTERS='AbCcDdEeFHKmoPQrTtUuwXxYyz*' # the last one is a slip of curl before 8.6
PLAIN_OPTIONS=" crlf ftp-ssl-ccc head netrc parallel ssl " # without a value, though names of others begin with them
# Their values are a body, or are only printed, and may hold line breaks. In all others these would begin another header.
FREE_OPTIONS=" data data-ascii data-binary data-raw data-urlencode form form-string json url-query variable write-out "
FREE_LETTERS=dFw

# They are about the connection between daemon and product, so each is a setting of the link.
REFUSED_OPTIONS=" abstract-unix-socket ca-native cacert capath cert cert-status cert-type connect-to crlfile dns-interface dns-ipv4-addr \
dns-ipv6-addr dns-servers doh-cert-status doh-insecure doh-url engine haproxy-clientip haproxy-protocol insecure key key-type noproxy \
pass pinnedpubkey preproxy proxy proxy-user proxy1.0 resolve socks4 socks4a socks5 socks5-gssapi socks5-hostname unix-socket "
declare -A REFUSED_LETTERS=([E]=cert [k]=insecure [x]=proxy [U]=proxy-user)

cmd_curl() {
	local link=${ATL_SIGN_LINK-} is_dry_run='' caught='' config='' depth=0 sends=0 read_once='' prints_only='' expands='' breaks='' end
	local -a words
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
	[[ -z $link || $link =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$ ]] || refuse_curl "no application link is called $link" "$PROGRAM link list"
	type -P curl >/dev/null || refuse_curl "curl cannot be run" "install curl 7.76 or newer"
	words=("$@")
	[[ ${1-} == -q* || ${1-} == --disable ]] || check_curlrc
	check_line
	[[ -z $expands || -z $breaks ]] || refuse_curl "a variable holds a line break or another control character, and may get into a header" "take it out"
	[[ -z $prints_only ]] || exec curl "${words[@]}" # which sends nothing, and needs no daemon
	set --
	find_proxy
	run_curl
	show_notes
	exit "$result"
}

# refuse_curl MESSAGE [HINT]
refuse_curl() { die "$REFUSED" "$@"; }

# --- the options that belong to the link ---

# check_line: looks through words[]; a configuration that can be read only once is kept for curl
check_line() {
	local LC_ALL=C word name letters taken at free value has_control='' all=${words[*]}
	local -A known=()
	is_silent='' shows_errors=''
	[[ ${all//$'\t'/} != *[[:cntrl:]]* ]] || has_control=1 # else none of the words needs a look
	for ((at = 0; at < ${#words[@]}; at++)); do
		word=${words[at]} value='' free=''
		case $word in
		--)
			((sends += 2)) # or fewer
			break
			;;
		--?*)
			name=${word#--}
			name=${name%%=*}
			[[ -n ${known[=$name]-} ]] || learn_name
			value=${known[=$name]}
			name=${value#*:} free=${value%%:*} value=''
			if [[ $word == *=* ]]; then # since curl 8.16
				value=${word#*=}
			elif [[ $free == *V ]]; then
				((at += 1))
				value=${words[at]-}
			fi
			free=${free%V}
			;;
		-?*)
			name='' taken=${word:1:1} letters=${word:2}
			[[ $VALUED_LETTERS == *"$taken"* && -z ${REFUSED_LETTERS[$taken]-} ]] || {
				letters=${word#-}
				check_letters
			}
			[[ -z $taken || $FREE_LETTERS != *"$taken"* ]] || free=F
			[[ $taken != K ]] || name=config
			value=$letters
			if [[ -n $taken && -z $value ]]; then
				((at += 1))
				value=${words[at]-}
			fi
			;;
		*) name=url value=$word ;;
		esac
		if [[ -n $has_control && -z $free ]]; then
			check_control "$word"
			check_control "$value"
		fi
		case $name in
		url | variable) note_value "$name" "$value" ;;
		conf*)
			check_config "$value"
			[[ -z $config ]] || words[at]="${words[at]%"$value"}$config"
			;;
		esac
	done
}

# learn_name: checks the option called name; known[] gets F if its value is free, V if it is the next word, and after a colon what
# curl calls it
learn_name() {
	local given=$name name=$name flags=''
	note_name
	check_name_of_option "$name" "$word"
	case $name in
	silent) is_silent=1 ;;
	show-error) shows_errors=1 ;;
	dump-ca-embed | help | manual | version) prints_only=1 ;;
	esac
	[[ $FREE_OPTIONS != *" $name "* ]] || flags=F
	# Up to 8.5, also the beginning of a name.
	[[ $VALUED_OPTIONS != *" $name"* || $PLAIN_OPTIONS == *" $name "* ]] || flags+=V
	known[=$given]=$flags:$name
}

# note_name: makes of name what curl compares, and notes what it means for the whole line
note_name() {
	local word=${name,,}
	name=${word#expand-}
	[[ $word == "$name" || $name != conf* ]] || refuse_curl "the name of a config file cannot be a variable" "write it out"
	[[ $word == "$name" || $FREE_OPTIONS == *" $name "* ]] || expands=1
	case $name in loc* | retr*) ((sends += 2)) ;; esac
}

# note_value NAME VALUE: of an option
note_value() {
	local name=${2%%=*}
	case $1 in
	url)
		((sends += 1))
		[[ $2 != *['{[']* ]] || ((sends += 1))
		;;
	variable) # what it holds may have come from elsewhere, and may go into a header
		[[ ${2//$'\t'/} != *[[:cntrl:]]* ]] || breaks=1
		[[ $name == %* && ${name#%} =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || return 0
		name=${name#%}
		[[ ${!name-} != *[[:cntrl:]]* ]] || breaks=1
		;;
	esac
}

# check_control TEXT: a value that comes from elsewhere could bring headers of its own
check_control() {
	[[ ${1//$'\t'/} == *[[:cntrl:]]* ]] || return 0
	refuse_curl "a value on the line holds a line break or another control character" "take it out"
}

# check_letters: of a word of letters; sets taken to the one that takes a value, and letters to the value, if it is in this word
check_letters() {
	local letter
	taken=''
	while [[ -n $letters ]]; do
		letter=${letters:0:1}
		letters=${letters:1}
		case $letter in s) is_silent=1 ;; S) shows_errors=1 ;; [hMV]) prints_only=1 ;; L) ((sends += 2)) ;; esac
		[[ -z ${REFUSED_LETTERS[$letter]-} ]] || refuse_link_option "${REFUSED_LETTERS[$letter]}" "-$letter"
		if [[ $VALUED_LETTERS == *"$letter"* ]]; then
			taken=$letter
			return
		fi
	done
}

# check_name_of_option NAME SHOWN: up to 8.5, curl takes any beginning of a name that no other one has
check_name_of_option() {
	local refused
	if [[ $REFUSED_OPTIONS == *" $1 "* ]]; then refuse_link_option "$1" "$2"; fi
	case $1 in
	dry-run | link) refuse_curl "--$1 is an option of atl-sign's own and must come first, before curl's" "$PROGRAM help curl" ;;
	esac
	[[ $REFUSED_OPTIONS == *" $1"* && $1 != crlf && $VALUED_OPTIONS != *" $1 "* && ${#1} -gt 1 ]] || return 0
	refused=${REFUSED_OPTIONS#*" $1"}
	refuse_link_option "$1${refused%% *}" "$2"
}

# refuse_link_option NAME SHOWN
refuse_link_option() {
	local setting
	case $1 in
	ca-native | cacert | capath | cert-status | crlfile | insecure | pinnedpubkey) setting='ca_bundle: atl-sign help link' ;;
	cert | cert-type | engine | key | key-type | pass) setting='client_cert: atl-sign help link' ;;
	noproxy | preproxy | proxy* | socks*) setting='proxy: atl-sign help link' ;;
	*) setting='URL: atl-sign link list' ;;
	esac
	refuse_curl "curl's option ${2%%=*} is about the connection to the product, which is the daemon's" "set the link's $setting"
}

# check_curlrc: of the file that curl reads by itself
check_curlrc() {
	local file HOME=${HOME-}
	local -a files=()
	[[ -z ${CURL_HOME-} ]] || files+=("$CURL_HOME/.curlrc")
	[[ -z ${XDG_CONFIG_HOME-} ]] || files+=("$XDG_CONFIG_HOME/.curlrc" "$XDG_CONFIG_HOME/curlrc")
	[[ -z ${HOME-} ]] || files+=("$HOME/.curlrc")
	if [[ -z ${XDG_CONFIG_HOME-} ]]; then
		[[ -z ${CURL_HOME-} ]] || files+=("$CURL_HOME/.config/curlrc")
		[[ -z ${HOME-} ]] || files+=("$HOME/.config/curlrc")
	fi
	unset -v HOME
	files+=(~/.curlrc) # in the home that the system knows, if there is none in the others
	# Which one of them counts depends on curl's version.
	for file in "${files[@]}"; do [[ ! -f $file || ! -r $file ]] || check_config "$file"; done
}

# check_config FILE|-: looks through a config file; sets config to the file to give curl instead, if that one can be read only once
check_config() {
	local LC_ALL=C text line word name number=0 end home=$1 letters taken value has_zero='' depth=$((depth + 1))
	config=''
	((depth <= 5)) || refuse_curl "config files lead in a circle: $1"
	if [[ $1 == - ]]; then
		! IFS= read -r -d '' text || has_zero=1
	elif [[ -f $1 && -r $1 || -p $1 || -c $1 ]]; then
		{ ! IFS= read -r -d '' text <"$1" || has_zero=1; } 2>/dev/null
	else
		return 0 # curl says what is wrong with it
	fi
	[[ -z $has_zero ]] || refuse_curl "the config file $1 holds a zero byte" "take it out"
	while IFS= read -r line; do
		taken='' name=''
		((number += 1))
		line=${line#"${line%%[![:space:]]*}"}
		case $line in '' | '#'* | /* | '*'*) continue ;; esac
		if [[ $line == -* ]]; then
			word=${line%%[[:space:]]*}
			value=${line#"$word"}
			value=${value#"${value%%[![:space:]]*}"}
		else
			word=${line%%[[:space:]=:]*}
			value=${line#"$word"}
			value=${value#"${value%%[![:space:]=:]*}"}
		fi
		case $word in
		--*=*) # since curl 8.16
			value=${word#*=}
			word=${word%%=*}
			;;
		--*) ;;
		-*)
			letters=${word#-}
			check_letters
			value=${letters:-$value}
			[[ $taken != K ]] || name=config
			;;
		esac
		if [[ $word != -* || $word == --* ]]; then
			name=${word#--}
			note_name
			check_name_of_option "$name" "$word in $1, line $number"
		fi
		if [[ ${line//\\\\/} == *\\[nrv]* ]]; then
			[[ $FREE_OPTIONS == *" $name "* || ${taken:+$FREE_LETTERS} == *"$taken"* && -n $taken ]] ||
				refuse_curl "$1, line $number: a value holds a line break or another control character" "take it out"
			[[ $name != variable ]] || breaks=1
		fi
		if [[ $value == '"'* ]]; then
			value=${value#\"}
			[[ $name != conf* || $value != *\\* ]] || refuse_curl "$1, line $number: the name of a config file holds a backslash" "name another file"
			value=${value%%\"*}
		else
			value=${value%%[[:space:]]*}
		fi
		note_value "$name" "$value"
		! is_read_once "$value" || read_once=1
		[[ $name == conf* ]] || continue
		check_config "$value"
		[[ -z $config ]] || refuse_curl "the config file that $home names, line $number, can be read only once" "name a file"
	done <<<"$text"
	config=''
	[[ $1 == - || ! -f $1 ]] || return 0
	read_once=1
	exec {end}< <(printf '%s' "$text")
	config=/dev/fd/$end
}

# is_read_once VALUE: whether it names what can be read only once
is_read_once() {
	local file=${1#*[@<]}
	case $1 in - | *[@\<]- | *[@\<]-\;* | */dev/stdin | */dev/fd/* | */proc/*/fd/*) return 0 ;; esac
	[[ -p ${file%%;*} ]]
}

# --- the proxy ---

# find_proxy: sets proxy_address, ca_file and notes_file, starts the daemon where there is none
find_proxy() {
	local LC_ALL=C
	name_socket || find_socket
	proxy_folder=${socket_file%/*}
	proxy_name=proxy
	[[ ${socket_file##*/} == agent.sock ]] || proxy_name=${socket_file##*/}.proxy
	note=$$-$RANDOM$RANDOM$RANDOM
	find_version
	open_proxy
	find_ca_folder
}

# open_proxy [NEW]: sets where the proxy is; NEW says that it must be another one than so far
open_proxy() {
	local LC_ALL=C
	if ((version < PROXY_SINCE)); then
		ask_proxy '?port=true'
		field_of port
		is_proxy_there || not_ours
		proxy_address=127.0.0.1:$reply
	elif [[ -n ${1-} ]] || ! is_proxy_there; then
		ask_proxy
		is_proxy_there || not_ours
	fi
}

# is_proxy_there: whether socket and CA file are there and ours. The folder is held open: where a path leads can be changed.
is_proxy_there() {
	local folder=$proxy_folder line
	if [[ -d /proc/self/fd ]]; then
		{ exec {dir}<"$proxy_folder"; } 2>/dev/null || return
		folder=/proc/self/fd/$dir
	fi
	# A curl that is older than it seemed looks for a proxy at a port, and must not find another user's: 1 is only root's.
	proxy_address=localhost:1$folder/$proxy_name.sock ca_file=$folder/$proxy_name-own-ca.pem notes_file=$folder/$proxy_name-notes/$note
	# curl takes most of its time to read the system's certificates, and needs no list of those that it has in a folder.
	[[ -f $ca_file ]] && IFS= read -r line <"$ca_file" && [[ $line == "# beside ${ca_folder:--}" ]] || ca_file=$folder/$proxy_name-ca.pem
	{ exec {ca}<"$ca_file"; } 2>/dev/null || return # which file it was, should it be another one afterwards
	[[ -O $folder/. && -S $folder/$proxy_name.sock && -O $folder/$proxy_name.sock && ! -L $folder/$proxy_name.sock && -f $ca_file && -O $ca_file ]]
}

# ask_proxy [QUERY]: lets the daemon open the proxy, and write its certificates
ask_proxy() {
	find_socket
	call GET "/proxy${1-}"
}

# find_version: sets version to the installed curl's, as 1000 × major + minor, and ca_folder if it is known; curl is asked once
find_version() {
	local text command
	command=$(type -P curl)
	stamp=$proxy_folder/curl-version
	if [[ -O $stamp && $stamp -nt $command ]] && IFS=$'\t' read -r version ca_folder text <"$stamp" && [[ $text == "$command" && $version =~ ^[0-9]+$ ]]; then return; fi
	ca_folder=''
	text=$(exec curl -q --version 2>/dev/null) || refuse_curl "curl cannot be run" "install curl 7.76 or newer"
	[[ $text =~ ^curl\ ([0-9]+)\.([0-9]+) ]] || refuse_curl "curl does not tell its version" "install curl 7.76 or newer"
	version=$((10#${BASH_REMATCH[1]} * 1000 + 10#${BASH_REMATCH[2]}))
	((version >= 7076)) || refuse_curl "the installed curl is too old" "install curl 7.76 or newer"
}

# find_ca_folder: sets ca_folder to the one whose certificates curl trusts anyway, "-" without one: curl tells it before TLS fails
find_ca_folder() {
	local text
	[[ -z $ca_folder ]] || return 0
	text=$(
		unset -v all_proxy ALL_PROXY https_proxy HTTPS_PROXY
		# With the file of the request itself.
		CURL_CA_BUNDLE=$ca_file curl -q -sv --max-time 2 --noproxy '*' --unix-socket "${notes_file%/*/*}/$proxy_name.sock" https://localhost/ 2>&1
	) || :
	[[ $text == *CAfile:* ]] || return 0 # it did not come as far as that
	ca_folder=-
	[[ ! $text =~ CApath:\ (/[^$'\t\r\n']*[^$'\t\r\n'/]) ]] || ca_folder=${BASH_REMATCH[1]}
	[[ ! -O $proxy_folder ]] || { (umask 077 && printf '%s\t%s\t%s\n' "$version" "$ca_folder" "$(type -P curl)" >"$stamp"); } 2>/dev/null || :
	open_proxy # which takes the file that is for it
}

# --- curl ---

# run_curl: sets result to curl's status
run_curl() {
	local tries errors word
	if [[ -n $is_dry_run ]]; then
		result=0
		set_environment
		errors=$(exec curl "${words[@]}" 2>&1 >/dev/null) || result=$?
		if [[ $result == 52 && -f $notes_file ]]; then result=0; elif [[ ! -f $notes_file ]]; then say "$errors"; fi
		return
	fi
	for ((tries = 0; ; tries++)); do
		start_curl
		((tries == 0)) && [[ ! -e $notes_file ]] || return 0
		# Nothing was sent if nobody took the connection (7), if the proxy hung up (97), or if a daemon that has just started has other
		# certificates than curl has read or found (60, 77).
		case $result in
		7 | 97) ;;
		60 | 77) [[ ! $ca_file -ef /dev/fd/$ca ]] || return 0 ;;
		*) return 0 ;;
		esac
		if ((sends > 1)); then # it may have ended in the middle, and a request must not go out twice
			say "$PROGRAM: there was no daemon for the last request; those before it may have been sent"
			return
		fi
		has_started=''
		open_proxy new
		for word in "${words[@]}"; do ! is_read_once "$word" || read_once=1; done
		[[ -z $read_once ]] || refuse_curl "there was no daemon, and curl has read what can be read only once" "run it again: the daemon runs now"
	done
}

set_environment() {
	unset -v http_proxy https_proxy HTTPS_PROXY ftp_proxy FTP_PROXY ws_proxy WS_PROXY wss_proxy WSS_PROXY ALL_PROXY no_proxy NO_PROXY
	export all_proxy="socks5h://${link:--}:${is_dry_run:+dry-run.}$note@$proxy_address" CURL_CA_BUNDLE=$ca_file
}

start_curl() {
	pending=''
	trap 'pass_on INT' INT # before curl is there: else a signal in between would end this program, and not curl
	trap 'pass_on TERM' TERM
	trap 'pass_on HUP' HUP
	(
		# bash lets asynchronous commands ignore two of these.
		trap - INT QUIT TERM HUP
		set_environment
		exec curl "${words[@]}"
	) <&0 &
	pending=$!
	[[ -z $caught ]] || pass_on "$caught"
	while :; do
		result=0
		wait "$pending" || result=$?
		if [[ -z $caught ]]; then break; fi
		kill -0 "$pending" 2>/dev/null || break
	done
	trap - INT TERM HUP
	[[ -z $caught ]] || kill -"$caught" $$
}

# pass_on SIGNAL
pass_on() {
	caught=$1
	[[ -z $pending ]] || kill -"$1" "$pending" 2>/dev/null || :
}

# show_notes: what the daemon has to say of the requests. Where it sent nothing, curl found an empty reply.
show_notes() {
	local LC_ALL=C line is_quiet=''
	[[ -f $notes_file ]] || return 0
	prefix="$PROGRAM: "
	while IFS= read -r line; do
		case $line in
		D*) printf '%s\n' "${line:1}" ;;
		E*)
			is_quiet=''
			say "$PROGRAM: nothing was sent: ${line:1}"
			;;
		M*)
			is_quiet=''
			[[ -z $is_silent || -n $shows_errors && $line == 'Mwarning: '* ]] || is_quiet=1
			[[ -n $is_quiet ]] || say "$PROGRAM: ${line:1}"
			;;
		H*) [[ -n $is_quiet ]] || say "hint: ${line:1}" ;;
		S*) case $result in 0 | 52 | 55 | 56 | 97) result=${line:1} ;; esac ;;
		esac
	done <"$notes_file"
}
