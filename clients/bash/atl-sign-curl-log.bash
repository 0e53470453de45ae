# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2178,SC2128,SC2179,SC2004 # names that other files set, that are arrays in one function and text in another
# Curl's own messages, where there is something to strike out or to hold back (-v, -L, --retry with -w). Read when it is needed first.

# Starts the filter of what curl writes to standard error, where there is something to strike out or to hold back.
start_log() {
	log='' mark=''
	if [[ -n ${o[write-out]-} && -n ${o[loops]} ]]; then mark=atl-sign-$RANDOM$RANDOM$RANDOM; fi
	if [[ -n ${all[verbose]-}$mark ]] || [[ -n ${o[location]-}${o[follow]-} && (-z ${all[silent]-} || -n ${all[show-error]-}) ]]; then
		# An end of the pipe to the curl that asks, kept open here, would make it wait for ever.
		exec {log}> >(
			[[ -z $asker_in ]] || exec {asker_in}>&-
			filter_log >&2
		)
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
	if [[ -n $log ]]; then show "$1" >&"$log"; else say "$1"; fi
}

end_log() {
	[[ -n $log ]] || return 0
	exec {log}>&-
	wait "$filter" || :
	log=''
}

# Copies standard input with the secrets of signed headers struck out, also those that a provider repeats, without the word on
# redirects that curl must not follow, and with the text of -w held back until it is clear that it is the last.
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
			if [[ $line != '>'* && $line != *@(OAuth|Bearer|Basic)* && -z $in_text && $line != "${mark:-none}"* ]]; then
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
	# A token is the rest of its line.
	if [[ $reply =~ ^(.*Authorization:\ (Bearer|Basic)\ )[^[:space:]]+(.*)$ ]]; then reply="${BASH_REMATCH[1]}***${BASH_REMATCH[3]}"; fi
}
