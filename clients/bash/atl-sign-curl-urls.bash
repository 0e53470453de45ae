# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2178,SC2128,SC2179,SC2004 # names that other files set, that are arrays in one function and text in another
# For the few URLs that need it: escapes, dots, and curl's patterns of several. Read by atl-sign-curl.bash when it is needed first.

TRANSFERS_MAX=10000 # more of them in one pattern is a slip of the pen

# Escapes what is not ASCII in path, as curl does.
escape_path() {
	local LC_ALL=C rest=$path out='' char code
	[[ $path == *[![:ascii:]]* ]] || return 0
	find_version
	((version >= 7084)) || refuse_curl "the installed curl would send the URL's path unescaped, which cannot be signed" "write it percent-encoded"
	while [[ -n $rest ]]; do
		char=${rest:0:1}
		rest=${rest:1}
		if [[ $char == [![:ascii:]] ]]; then
			printf -v code '%d' "'$char"
			if ((version < 8015)); then printf -v char '%%%02x' $((code & 255)); else printf -v char '%%%02X' $((code & 255)); fi
		fi
		out+=$char
	done
	path=$out
}

# change_escapes lower|upper TEXT: sets reply to it with the digits of its escapes in that case
change_escapes() {
	local LC_ALL=C rest=$2 out='' digits
	while [[ $rest =~ ^([^%]*)%([0-9A-Fa-f][0-9A-Fa-f])(.*)$ || $rest =~ ^([^%]*)%()(.*)$ ]]; do
		digits=${BASH_REMATCH[2]}
		if [[ $1 == lower ]]; then digits=${digits,,}; else digits=${digits^^}; fi
		out+=${BASH_REMATCH[1]}%$digits
		rest=${BASH_REMATCH[3]}
	done
	reply=$out$rest
}

# From 8.20 on, curl writes all escapes in the path in upper case.
raise_escapes() {
	find_version
	((version >= 8020)) || return 0
	change_escapes upper "$path"
	path=$reply
}

# add_file_name FILE: what -T adds to a path that ends with a slash
add_file_name() {
	local name=${1##*/}
	name=${name##*\\}
	if [[ -n $query$fragment ]]; then
		find_version
		if ((version < 7086)); then
			[[ $query$fragment != */ && $path != / ]] ||
				refuse_curl "the installed curl would not put the file's name where it belongs" "write the whole path, without ? and #"
			return
		fi
		# From 8.1 on, a query says that the path is whole.
		[[ ${#query} -lt 2 || $version -lt 8001 ]] || return 0
	fi
	[[ $path == */ ]] || return 0
	url_encode "$name"
	path+=${reply//+/%20}
	[[ $path == *%* ]] || return 0
	# Up to 8.20, curl wrote all escapes in lower case where it added some.
	find_version
	((version >= 7086)) || return 0
	change_escapes lower "$path"
	path=$reply
}

# -G of a URL with a fragment
check_fragment() {
	find_version
	((version >= 7086)) || refuse_curl "the installed curl would add the data of -G to the URL's fragment, which is not sent" "take # and what follows it out"
}

# Takes . and .. out of path, as curl does (RFC 3986, section 5.2.4).
squash_dots() {
	local rest=${path#/} out='' segment
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
	if [[ $reply == *+* ]]; then
		find_version
		((version >= 7077)) || reply=${reply//+/%20}
	fi
	reply=${name:+$name=}$reply
}

# take_query VALUE: of --url-query; like --data-urlencode, but "+" in front leaves the rest as it is
take_query() {
	local content index
	if [[ $1 == +* ]]; then
		content=${1:1}
	else
		# curl reads in the order of the line; here a body's @- is read later than this.
		for ((index = 0; index < ${#data[@]}; index += 2)); do
			[[ $1 != *=* && $1 == *@- && ${data[index]} != data-raw && ${data[index + 1]} == *@- ]] || continue
			refuse_curl "--url-query and --${data[index]} both ask for standard input" "put one of them into a file"
		done
		encode_data "$1"
		content=$reply
	fi
	o[query]=${o[has-query]:+${o[query]}&}$content
	o[has-query]=1
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
		'{<'* | '[<'*)
			find_version
			((version < 8021)) || refuse_pattern "it has a name, which is not known here"
			;;&
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
