# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2178,SC2128,SC2179,SC2004 # names that other files set, that are arrays in one function and text in another
# For the few command lines that lead here: config and header files, the version, abbreviated and refused options. Read by
# atl-sign-curl.bash when it is needed first.

# Sets version to the installed curl's, as 1000 × major + minor.
find_version() {
	local text
	[[ -z $version ]] || return 0
	text=$(exec curl -q --version 2>/dev/null) || refuse_curl "curl cannot be run" "install curl 7.76 or newer"
	[[ $text =~ ^curl\ ([0-9]+)\.([0-9]+) ]] || refuse_curl "curl does not tell its version" "install curl 7.76 or newer"
	set_version "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
}

# take_changed WORD SHOWN [NEXT]: as take_long, for --no-NAME, --NAME=VALUE and abbreviations; sets used
take_changed() {
	local word=$1 shown=${2%%=*} toggle=1 name entry extra=''
	local -a value=("${@:3:1}")
	case $word in
	no-*)
		toggle=''
		word=${word#no-}
		;;
	expand-*) refuse_curl "curl's option $shown would be filled in only by curl itself" "let the shell fill in the value" ;;
	esac
	if [[ $word == *=* ]]; then
		find_version
		((version >= 8016)) || refuse_curl "the installed curl takes no value after =: $shown" "write option and value as two arguments: $shown VALUE"
		value=("${word#*=}")
		word=${word%%=*}
		extra=1
	fi
	if find_entry "$word"; then
		name=$word
	else
		find_abbreviation "$word" "$toggle" "$shown"
		name=$reply
		find_entry "$name"
	fi
	case $entry:$toggle in
	v:*: | n:*:) refuse_curl "curl's option --$name cannot be switched off by --no-" ;;
	b:*:) check_reversible ;;&
	v:*)
		((${#value[@]})) || refuse_curl "option $shown needs a value"
		used=1
		[[ -z $extra ]] || used=''
		take_curl_option "$name" 1 "$shown" "${value[0]}"
		;;
	*)
		[[ -z $extra ]] || refuse_curl "curl's option $shown takes no value"
		take_curl_option "$name" "$toggle" "$shown"
		;;
	esac
}

check_reversible() {
	[[ $CURL_REVERSIBLE =~ [[:blank:]]"$name="([0-9]+):([0-9]+) ]] || return 0
	local since=${BASH_REMATCH[1]} until=${BASH_REMATCH[2]}
	find_version
	((version >= since && version <= until)) || refuse_curl "the installed curl's option --$name cannot be switched off by --no-"
}

# find_abbreviation WORD TOGGLE SHOWN: sets reply to the option's full name
find_abbreviation() {
	local word=$1 item name chosen='' count=0 since
	# Up to 8.5, curl takes any beginning that only one option has, in either case; after --no- the whole name only.
	if [[ $word =~ ^[A-Za-z0-9.-]+$ ]]; then
		find_version
		if ((version < 8006)); then
			word=${word,,}
			for item in $CURL_OPTIONS; do
				name=${item%%=*}
				[[ $name == "$word"* ]] || continue
				since=${item#*:}
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
	case ${word%%=*} in
	dry-run | link) refuse_curl "--${word%%=*} is an option of atl-sign's own and must come first, before curl's" "$PROGRAM help curl" ;;
	esac
	[[ -n $chosen ]] || refuse_curl "curl's option $3 is not known here" "$PROGRAM help curl"
	reply=$chosen
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

take_header_file() {
	local LC_ALL=C line holds_nul='' has_comments=''
	read_content "$1" text
	[[ -z $holds_nul ]] || refuse_curl "the header file holds a zero byte: $1"
	if [[ $reply == *[$'\r#']* ]]; then
		find_version
		# From 8.13 on, lines end with LF only, and those that begin with # are comments.
		if ((version >= 8013)); then
			[[ $reply != *$'\r'* ]] || refuse_curl "the header file holds a CR, which the installed curl would send: $1" "write it with LF line ends"
			has_comments=1
		fi
	fi
	reply=${reply//$'\r'/$'\n'}
	while [[ -n $reply ]]; do
		line=${reply%%$'\n'*}
		if [[ $reply == *$'\n'* ]]; then reply=${reply#*$'\n'}; else reply=''; fi
		[[ -n $line && ! (-n $has_comments && $line == '#'*) ]] || continue
		if [[ $name == proxy-header ]]; then take_proxy_header "$line"; else take_header "$line"; fi
	done
}

refuse_option() {
	# An option that is switched off does no harm.
	[[ -n $toggle ]] || return 0
	case $name in
	location-trusted) refuse_curl "curl's option $shown would send the signature to other servers" "-L: each request is signed for itself" ;;
	libcurl) refuse_curl "curl's option $shown would write the signature into a file" "take it out" ;;
	trace | trace-ascii) refuse_curl "curl's option $shown would keep the signature" "-v, which strikes it out" ;;
	request-target) refuse_curl "curl's option $shown would send another path than the signed one" "put the path into the URL, with --path-as-is" ;;
	variable) refuse_curl "curl's option $shown is for values that only curl itself fills in" "let the shell fill in the values" ;;
	*) refuse_curl "curl's option $shown brings credentials of its own" "take it out: the signature says who you are" ;;
	esac
}
