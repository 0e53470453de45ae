# Completion of atl-sign for bash 4.4 and newer, with the package bash-completion or without it.
# Every helper works on current, the word as typed up to the cursor, and adds to candidates, whole words.
# shellcheck shell=bash

_atl_sign() {
	local IFS=$' \t\n'
	local current=$2 line=${COMP_LINE:0:COMP_POINT} command='' verb='' pending='' place=0 at=1 word
	local -a words=() starts=() offsets=() candidates=()
	COMPREPLY=()
	_atl_sign_split
	while ((at < ${#words[@]})) && [[ ${words[at]} == --json ]]; do ((at++)); done
	if ((at < ${#words[@]})); then command=${words[at]}; fi
	((at++))
	_atl_sign_alias
	if [[ $command == curl ]]; then
		_atl_sign_curl "$1" "$2"
		return
	fi
	for word in "${words[@]:at}"; do
		if [[ -n $pending ]]; then
			pending=''
		elif [[ $word == --?* && $word != *=* ]]; then
			if _atl_sign_has_value "$word"; then pending=$word; fi
		elif [[ $word != -* ]]; then
			((place++))
			if ((place == 1)); then verb=$word; fi
		fi
	done
	if [[ -z $command ]]; then
		_atl_sign_offer "${_atl_sign_commands[@]}" "${_atl_sign_aliases[@]}" --help --version --json
	elif [[ -n $pending ]]; then
		_atl_sign_value "$pending" "$current" '' "$1"
	elif [[ $current == --?*=* ]]; then
		_atl_sign_value "${current%%=*}" "${current#*=}" "${current%%=*}=" "$1"
	elif [[ $current == -* ]]; then
		_atl_sign_options
	else
		_atl_sign_argument "$1"
	fi
	_atl_sign_reply "$2"
}

# Sets words and current anew: bash splits at "=" and ":" too, and the blanks between tell what was one word.
# For each word, and current last, starts has its place in COMP_WORDS and offsets the one in COMP_LINE.
_atl_sign_split() {
	local rest=$line blanks piece index
	for ((index = 0; index <= COMP_CWORD; index++)); do
		blanks=${rest%%[![:blank:]]*}
		piece=${COMP_WORDS[index]}
		if ((index == COMP_CWORD)); then piece=${rest#"$blanks"}; fi
		if ((index)) && [[ $rest != [[:blank:]]* && -n $rest ]]; then
			words[-1]+=$piece
		else
			words+=("$piece")
			starts+=("$index")
			offsets+=($((${#line} - ${#rest} + ${#blanks})))
		fi
		rest=${rest#"$blanks"}
		rest=${rest#"$piece"}
	done
	current=${words[-1]#[\"\']}
	unset -v 'words[-1]'
}

# --- made by tests/tools/write_commands.py: table ---
_atl_sign_commands=(setup link key dance check token logout git header curl lease run status log why doctor lock unlock store vault serve stop restart service demo sandbox help)
_atl_sign_aliases=(ls rm login)

# Sets command, verb and place to what an alias stands for.
_atl_sign_alias() {
	case $command in
	ls) command=link verb=list place=1 ;;
	rm) command=link verb=remove place=1 ;;
	login) command=dance ;;
	esac
}

_atl_sign_has_value() {
	case $command:$1 in
	link:--scheme | link:--consumer-key | link:--signing-url | link:--flavour | link:--client-id | link:--account | link:--issuer | link:--scopes | link:--redirect-port | link:--gateway | link:--authorize-url | link:--token-url | link:--device-url | link:--revoke-url | link:--who-url | link:--who-field | link:--client-auth | link:--git-minutes | link:--user | link:--ca-bundle | link:--client-cert | link:--proxy | link:--timeout | link:--git | link:--git-days | link:--admin) ;;
	key:--bits | key:--in) ;;
	dance:--expires) ;;
	token:--days | token:--from) ;;
	header:--form | header:--link) ;;
	curl:--link) ;;
	lease:--link | lease:--allow | lease:--deny | lease:--for | lease:--uses | lease:--peers | lease:--name | lease:--purpose) ;;
	run:--link | run:--allow | run:--deny | run:--for | run:--uses | run:--tool) ;;
	log:--link | log:--lease | log:--since) ;;
	vault:--key | vault:--store) ;;
	serve:--key-fd) ;;
	sandbox:--port | sandbox:--product | sandbox:--product-version | sandbox:--context-path | sandbox:--base-url | sandbox:--clock-offset | sandbox:--token-life | sandbox:--oauth2-token-life | sandbox:--request-token-life | sandbox:--token-days-max | sandbox:--refusals) ;;
	*) return 1 ;;
	esac
}

_atl_sign_options() {
	case $command:$verb in
	setup:*) _atl_sign_offer --help ;;
	link:add) _atl_sign_offer --scheme --consumer-key --signing-url --flavour --client-id --account --issuer --scopes --redirect-port --gateway --authorize-url --token-url --device-url --revoke-url --who-url --who-field --client-auth --git-minutes --user --ca-bundle --client-cert --proxy --timeout --git --git-days --replace --json --help ;;
	link:register) _atl_sign_offer --admin --print-script --json --help ;;
	link:import) _atl_sign_offer --replace --dry-run --json --help ;;
	link:*) _atl_sign_offer --json --help ;;
	key:new) _atl_sign_offer --bits --in --replace --json --help ;;
	key:use) _atl_sign_offer --replace --json --help ;;
	key:*) _atl_sign_offer --json --help ;;
	dance:*) _atl_sign_offer --oob --device --no-browser --expires --json --help ;;
	check:*) _atl_sign_offer --json --help ;;
	token:rotate) _atl_sign_offer --days --json --help ;;
	token:make) _atl_sign_offer --from --days --json --help ;;
	token:*) _atl_sign_offer --json --help ;;
	logout:*) _atl_sign_offer --keep-grant --keep-git-token --json --help ;;
	git:*) _atl_sign_offer --json --help ;;
	header:*) _atl_sign_offer --form --with-url --link --json --help ;;
	lease:new) _atl_sign_offer --link --allow --deny --read-only --for --uses --sign --port --peers --tunnel --allow-reusable --name --purpose --env --docker --json --help ;;
	lease:change) _atl_sign_offer --for --uses --json --help ;;
	lease:suspend) _atl_sign_offer --all --json --help ;;
	lease:resume) _atl_sign_offer --all --json --help ;;
	lease:revoke) _atl_sign_offer --all --json --help ;;
	lease:log) _atl_sign_offer --follow --json --help ;;
	lease:check) _atl_sign_offer --allow --deny --link --json --help ;;
	lease:*) _atl_sign_offer --json --help ;;
	run:) _atl_sign_offer --link --allow --deny --read-only --for --uses --no-tunnel --sign --allow-reusable --tool --help ;;
	status:*) _atl_sign_offer --exit-code --json --help ;;
	log:*) _atl_sign_offer --follow --link --lease --since --json --help ;;
	why:*) _atl_sign_offer --json --help ;;
	doctor:*) _atl_sign_offer --json --report --redact --help ;;
	lock:*) _atl_sign_offer --json --help ;;
	unlock:*) _atl_sign_offer --new --change --key --try-again --stdin --json --help ;;
	store:move) _atl_sign_offer --volatile --stdin --json --help ;;
	store:*) _atl_sign_offer --json --help ;;
	vault:policy) _atl_sign_offer --key --store --make-key --help ;;
	vault:*) _atl_sign_offer --help ;;
	serve:*) _atl_sign_offer --key-fd --help ;;
	stop:*) _atl_sign_offer --help ;;
	restart:*) _atl_sign_offer --help ;;
	service:status) _atl_sign_offer --json --help ;;
	service:*) _atl_sign_offer --help ;;
	demo:*) _atl_sign_offer --no-browser --help ;;
	sandbox:*) _atl_sign_offer --port --product --product-version --cloud --scoped-only --forges --app --context-path --base-url --behind-proxy --clock-offset --token-life --oauth2-token-life --request-token-life --token-days-max --tokens-must-expire --no-signed-tokens --refusals --help ;;
	help:*) _atl_sign_offer --help ;;
	esac
}

# _atl_sign_value OPTION TEXT PREFIX PROGRAM: what may follow that option, behind PREFIX in the same word
_atl_sign_value() {
	local current=$2 index
	case $command:$1 in
	link:--scheme) _atl_sign_offer oauth1 oauth2 bearer basic ;;
	link:--flavour) _atl_sign_offer datacenter atlassian-cloud bitbucket-cloud github github-enterprise gitlab generic ;;
	link:--client-auth) _atl_sign_offer basic body none ;;
	link:--ca-bundle) _atl_sign_files ;;
	link:--client-cert) _atl_sign_files ;;
	link:--git) _atl_sign_offer read write ;;
	key:--bits) _atl_sign_offer 2048 3072 4096 ;;
	token:--from) _atl_sign_links "$4" ;;
	header:--form) [[ $current != @* ]] || _atl_sign_files ;;
	header:--link) _atl_sign_links "$4" ;;
	curl:--link) _atl_sign_links "$4" ;;
	lease:--link) _atl_sign_links "$4" ;;
	lease:--allow) _atl_sign_offer read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build ;;
	lease:--deny) _atl_sign_offer read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build ;;
	lease:--peers) _atl_sign_offer own any ;;
	run:--link) _atl_sign_links "$4" ;;
	run:--allow) _atl_sign_offer read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build ;;
	run:--deny) _atl_sign_offer read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build ;;
	run:--tool) _atl_sign_offer mcp-atlassian atlassian-dc-mcp jira-cli go-jira terraform-bitbucketserver terraform-jira ;;
	log:--link) _atl_sign_links "$4" ;;
	log:--lease) _atl_sign_leases "$4" ;;
	doctor:--report) _atl_sign_files ;;
	sandbox:--product) _atl_sign_offer bamboo jira confluence bitbucket ;;
	sandbox:--refusals) _atl_sign_offer both newline header body page ;;
	esac
	for index in "${!candidates[@]}"; do candidates[index]=$3${candidates[index]}; done
}

# _atl_sign_argument PROGRAM: what may stand where no option does
_atl_sign_argument() {
	case $command:$place:$verb in
	setup:0:) _atl_sign_links "$1" ;;
	link:0:) _atl_sign_offer add list show remove setup register export import secret default ;;
	link:1:show) _atl_sign_links "$1" ;;
	link:1:remove) _atl_sign_links "$1" ;;
	link:1:setup) _atl_sign_links "$1" ;;
	link:1:register) _atl_sign_links "$1" ;;
	link:[1-9]:export) _atl_sign_links "$1" ;;
	link:1:import) _atl_sign_files ;;
	link:1:secret) _atl_sign_links "$1" ;;
	link:1:default) _atl_sign_links "$1" ;;
	key:0:) _atl_sign_offer new use import-to ;;
	dance:0:) _atl_sign_links "$1" ;;
	check:0:) _atl_sign_links "$1" ;;
	token:0:) _atl_sign_offer rotate make ;;
	token:1:rotate) _atl_sign_links "$1" ;;
	token:1:make) _atl_sign_links "$1" ;;
	logout:0:) _atl_sign_links "$1" ;;
	git:0:) _atl_sign_offer setup remove ;;
	git:1:setup) _atl_sign_links "$1" ;;
	git:1:remove) _atl_sign_links "$1" ;;
	header:0:) _atl_sign_offer GET POST PUT DELETE HEAD PATCH OPTIONS ;;
	header:1:*) _atl_sign_urls "$1" ;;
	lease:0:) _atl_sign_offer new list show change suspend resume revoke log check presets ;;
	lease:1:show) _atl_sign_leases "$1" ;;
	lease:1:change) _atl_sign_leases "$1" ;;
	lease:[1-9]:suspend) _atl_sign_leases "$1" ;;
	lease:[1-9]:resume) _atl_sign_leases "$1" ;;
	lease:[1-9]:revoke) _atl_sign_leases "$1" ;;
	lease:1:log) _atl_sign_leases "$1" ;;
	lease:1:presets) _atl_sign_offer read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build ;;
	run:0:) _atl_sign_programs ;;
	status:0:) _atl_sign_links "$1" ;;
	why:0:) _atl_sign_leases "$1" ;;
	doctor:0:) _atl_sign_links "$1" ;;
	store:0:) _atl_sign_offer move ;;
	store:1:move) _atl_sign_offer secret-service file memory keyring: vault: ;;
	vault:0:) _atl_sign_offer policy ;;
	service:0:) _atl_sign_offer install uninstall status ;;
	help:0:) _atl_sign_offer "${_atl_sign_commands[@]}" ;;
	esac
}
# --- end of table ---

# _atl_sign_offer WORD…: those that go on from current
_atl_sign_offer() {
	local word
	for word; do
		if [[ $word == "$current"* ]]; then candidates+=("$word"); fi
	done
}

# bash itself completes file names best, with quotes and ~; but not behind an "@".
_atl_sign_files() {
	local path
	if [[ $current != @* ]]; then
		compopt -o default
		return
	fi
	while IFS= read -r path; do
		if [[ -d $path ]]; then
			path+=/
			compopt -o nospace
		fi
		printf -v path '@%q' "$path"
		candidates+=("$path")
	done < <(compgen -f -- "${current#@}")
}

_atl_sign_links() {
	local line
	local -a found=()
	_atl_sign_ask "$1"
	for line in "${found[@]}"; do _atl_sign_offer "${line%% *}"; done
}

# The ids of the leases, and the names of those that have one.
_atl_sign_leases() {
	local line
	local -a found=()
	_atl_sign_ask "$1" lease
	for line in "${found[@]}"; do
		_atl_sign_offer "${line%% *}"
		line=${line#* }
		line=${line#"${line%%[! ]*}"}
		[[ $line == -* ]] || _atl_sign_offer "${line%% *}"
	done
}

_atl_sign_programs() {
	local name
	while IFS= read -r name; do candidates+=("$name"); done < <(compgen -c -- "$current" | sort -u)
}

_atl_sign_urls() {
	local line
	local -a found=()
	_atl_sign_ask "$1"
	compopt -o nospace
	for line in "${found[@]}"; do
		line=${line#* }
		line=${line#"${line%%[! ]*}"}
		_atl_sign_offer "${line%% *}"
	done
}

# _atl_sign_ask PROGRAM [lease]: sets found to the daemon's lines "NAME  URL  TOKEN", or of leases "ID  NAME  STATE", or to nothing after
# two seconds
_atl_sign_ask() {
	local program=${1/#\~/"$HOME"} line from asked status=0
	type -P -- "$program" >/dev/null || program=atl-sign
	type -P -- "$program" >/dev/null || return 0
	exec {from}< <(ATL_SIGN_AUTOSTART=0 exec "$program" "${2-link}" list </dev/null 2>/dev/null)
	asked=$!
	while IFS= read -r -t 2 -u "$from" line || ! status=$?; do
		if [[ $line == [A-Za-z0-9]* && $line != warning:* && $line != NAME*" URL "* && $line != ID*" STATE "* ]]; then found+=("$line"); fi
	done
	# Over 128: the time was up, and nobody waits for that process any more.
	if ((status > 128)); then kill "$asked" 2>/dev/null; fi
	exec {from}<&-
	return 0
}

# _atl_sign_reply WORD: fills COMPREPLY for WORD, which is all of current that bash puts the reply in the place of
_atl_sign_reply() {
	local word before=0
	if [[ $current == *"$1" ]]; then before=$((${#current} - ${#1})); fi
	for word in "${candidates[@]}"; do COMPREPLY+=("${word:before}"); done
}

# --- curl ---

# Ours come first, then it is curl's line: curl's own completion has it, where there is one, and `curl --help all` the options.
_atl_sign_curl() {
	while ((at < ${#words[@]})); do
		case ${words[at]} in
		--dry-run | --link=*) ((at++)) ;;
		--link)
			if ((at + 1 == ${#words[@]})); then
				_atl_sign_value --link "$current" '' "$1"
				_atl_sign_reply "$2"
				return
			fi
			((at += 2))
			;;
		*) break ;;
		esac
	done
	if ((at == ${#words[@]})); then
		if [[ $current == --link=* ]]; then
			_atl_sign_value --link "${current#*=}" --link= "$1"
			_atl_sign_reply "$2"
			return
		fi
		_atl_sign_offer --link --dry-run --help
	fi
	if _atl_sign_curl_waits; then
		_atl_sign_hand_over || _atl_sign_files
	elif [[ $current == -* ]]; then
		_atl_sign_hand_over
		_atl_sign_curl_options
	else
		_atl_sign_hand_over
		if ((${#COMPREPLY[@]} == 0)); then _atl_sign_urls "$1"; fi
	fi
	_atl_sign_reply "$2"
}

# Calls curl's own completion with its own line; fails where there is none.
_atl_sign_hand_over() {
	local name specification
	for name in _comp_load __load_completion _completion_loader; do
		complete -p curl &>/dev/null && break
		if declare -F "$name" >/dev/null; then "$name" curl &>/dev/null; fi
	done
	specification=$(complete -p curl 2>/dev/null) || return 1
	[[ $specification == *' -F '* ]] || return 1
	name=${specification#*' -F '}
	name=${name%% *}
	declare -F "$name" >/dev/null || return 1
	local COMP_LINE="curl ${COMP_LINE:offsets[at]}" COMP_POINT=$((COMP_POINT - offsets[at] + 5)) COMP_CWORD=$((COMP_CWORD - starts[at] + 1))
	local -a COMP_WORDS=(curl "${COMP_WORDS[@]:starts[at]}")
	"$name" curl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
	if [[ $specification == *' -o default '* || $specification == *' -o bashdefault '* ]]; then compopt -o default; fi
	return 0
}

# Sets names to the options of the installed curl, as `curl --help all` has them: NAME, or NAME= where a value follows.
_atl_sign_curl_names() {
	local line letter name
	local option='^ *(-(.), )?--([a-z0-9.-]+)( <)?'
	while IFS= read -r line; do
		[[ $line =~ $option ]] || continue
		letter=${BASH_REMATCH[2]} name=${BASH_REMATCH[3]}
		names+=("--$name${BASH_REMATCH[4]:+=}")
		if [[ -n $letter ]]; then names+=("-$letter${BASH_REMATCH[4]:+=}"); fi
	done < <(exec curl -q --help all </dev/null 2>/dev/null)
}

# Tells whether the word before is an option of curl whose value comes now.
_atl_sign_curl_waits() {
	local -a names=()
	((at < ${#words[@]})) && [[ ${words[-1]} == -* ]] || return 1
	_atl_sign_curl_names
	[[ " ${names[*]} " == *" ${words[-1]}= "* ]]
}

_atl_sign_curl_options() {
	local name
	local -a names=()
	_atl_sign_curl_names
	for name in "${names[@]}"; do
		name=${name%=}
		[[ $name == --* && " ${COMPREPLY[*]} " != *" $name "* ]] || continue
		_atl_sign_offer "$name"
	done
}

complete -F _atl_sign atl-sign
