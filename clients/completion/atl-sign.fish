# Completion of atl-sign for fish.

# The words after the command's name, up to the cursor, without a --json before the command.
function __atl_sign_words
    set -l words (commandline -opc)
    set -e words[1]
    while test (count $words) -gt 0; and test "$words[1]" = --json
        set -e words[1]
    end
    string join \n -- $words
end

# __atl_sign_at COMMAND [PLACE [VERB…]]: whether the cursor is after COMMAND, with so many arguments before it, the first one of VERB.
# "-" as the command: there is none yet.
function __atl_sign_at
    set -l words (__atl_sign_words)
    if test "$argv[1]" = -
        test (count $words) -eq 0
        return
    end
    test (count $words) -gt 0; and test "$words[1]" = "$argv[1]"
    or return 1
    set -q argv[2]; or return 0
    set -l arguments
    set -l waits no
    for word in $words[2..-1]
        if test $waits = yes
            set waits no
        else if string match -q -- '-*' $word
            if contains -- $word --consumer-key --signing-url --ca-bundle --client-cert --proxy --timeout --git --git-days --bits --form --link \
                    --key-fd --port --product --product-version --context-path --base-url --clock-offset --token-life --request-token-life --token-days-max --refusals
                set waits yes
            end
        else
            set -a arguments $word
        end
    end
    if test "$argv[2]" != any
        test (count $arguments) -eq $argv[2]; or return 1
    end
    set -q argv[3]; or return 0
    test (count $arguments) -gt 0; and contains -- $arguments[1] $argv[3..-1]
end

# The daemon's lines "NAME  URL  TOKEN", or nothing after two seconds; bash, which atl-sign needs, has the time limit.
function __atl_sign_ask
    bash -c '
        exec 3< <(ATL_SIGN_AUTOSTART=0 exec atl-sign link list </dev/null 2>/dev/null)
        while IFS= read -r -t 2 -u 3 line || ! status=$?; do
            if [[ $line == [A-Za-z0-9]* && $line != warning:* && $line != NAME*" URL "* ]]; then printf "%s\n" "$line"; fi
        done
        if ((status > 128)); then kill "$!"; fi' 2>/dev/null
end

function __atl_sign_links
    __atl_sign_ask | string replace -r '^(\S+) +(\S+).*' '$1\t$2'
end

function __atl_sign_urls
    __atl_sign_ask | string replace -r '^(\S+) +(\S+).*' '$2\t$1'
end

function __atl_sign_form
    set -l word (commandline -ct | string replace -r '^--form=' '')
    string match -q -- '@*' $word; or return
    printf '@%s\n' (__fish_complete_path (string sub -s 2 -- $word))
end

# Ours come first, then it is curl's line: curl's own completion has it, where there is one, and `curl --help all` the options.
function __atl_sign_curl
    set -l words (__atl_sign_words)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case --dry-run '--link=*'
                set -e words[1]
            case --link
                if not set -q words[2]
                    __atl_sign_links
                    return
                end
                set -e words[1..2]
            case '*'
                break
        end
    end
    set -l current (commandline -ct)
    if not set -q words[1]
        if string match -q -- '--link=*' $current
            __atl_sign_links | string replace -r '^' -- --link=
            return
        end
        if string match -q -- '-*' $current
            printf '%s\t%s\n' --link 'link to sign for' --dry-run 'print what would be signed, send nothing' --help 'what is taken'
        end
    end
    if string match -q -- '*://*' $current # curl's completion would take it for a file's name
        __atl_sign_urls
        return
    end
    set -l found (complete -C (string join ' ' -- curl (string escape -- $words) $current))
    set -l names (string replace -r '\t.*' '' -- $found)
    string join \n -- $found
    if string match -q -- '-*' $current
        curl -q --help all 2>/dev/null | string replace -rf '^ *(?:-., )?(--[a-z0-9.-]+)(?: <[^ ]*>)? +(.*)' '$1\t$2' | while read -l line
            contains -- (string replace -r '\t.*' '' -- $line) $names; or printf '%s\n' $line
        end
    else if string match -q -- '@*' $current
        test (count $found) -gt 0; or printf '@%s\n' (__fish_complete_path (string sub -s 2 -- $current))
    else if string match -q -- 'h*' $current; or test -z "$current"
        __atl_sign_urls
    end
end

complete -c atl-sign -e
complete -c atl-sign -f

complete -c atl-sign -n '__atl_sign_at -' -a link -d 'keep application links'
complete -c atl-sign -n '__atl_sign_at -' -a key -d 'the public key that application links are given'
complete -c atl-sign -n '__atl_sign_at -' -a dance -d 'consent in the browser, once for each link'
complete -c atl-sign -n '__atl_sign_at -' -a check -d 'who am I there'
complete -c atl-sign -n '__atl_sign_at -' -a logout -d 'forget the token'
complete -c atl-sign -n '__atl_sign_at -' -a git -d 'let git authenticate to a Bitbucket'
complete -c atl-sign -n '__atl_sign_at -' -a header -d 'one Authorization header, good for one request'
complete -c atl-sign -n '__atl_sign_at -' -a curl -d 'curl, signed'
complete -c atl-sign -n '__atl_sign_at -' -a status -d 'how the daemon is'
complete -c atl-sign -n '__atl_sign_at -' -a log -d 'what was signed for whom'
complete -c atl-sign -n '__atl_sign_at -' -a lock -d 'forget every secret in memory'
complete -c atl-sign -n '__atl_sign_at -' -a unlock -d 'read the store again'
complete -c atl-sign -n '__atl_sign_at -' -a store -d 'carry the secrets over to another store'
complete -c atl-sign -n '__atl_sign_at -' -a doctor -d 'what is wrong here, and what mends it'
complete -c atl-sign -n '__atl_sign_at -' -a help -d 'what a command does'
complete -c atl-sign -n '__atl_sign_at -' -a setup -d 'from nothing to the first signed request, step by step'
complete -c atl-sign -n '__atl_sign_at -' -a serve -d 'run the daemon'
complete -c atl-sign -n '__atl_sign_at -' -a stop -d 'end the daemon'
complete -c atl-sign -n '__atl_sign_at -' -a restart -d 'end the daemon and start it'
complete -c atl-sign -n '__atl_sign_at -' -a demo -d 'sandbox, daemon, dance and signed curl in a throw-away folder'
complete -c atl-sign -n '__atl_sign_at -' -a sandbox -d 'a provider to try against'
complete -c atl-sign -n '__atl_sign_at -' -a service -d 'have the daemon started at log-in'
complete -c atl-sign -n '__atl_sign_at -' -l version -d 'print the version'

for command in - link key dance check logout git header status lock unlock store log doctor setup serve stop restart demo sandbox service
    complete -c atl-sign -n "__atl_sign_at $command" -s h -l help -d 'print what the command does'
end
for command in - link key dance check logout git header status lock unlock store service
    complete -c atl-sign -n "__atl_sign_at $command" -l json -d "print the daemon's JSON answer"
end

complete -c atl-sign -n '__atl_sign_at link 0' -a add -d 'register a link'
complete -c atl-sign -n '__atl_sign_at link 0' -a list -d 'every link and its token'
complete -c atl-sign -n '__atl_sign_at link 0' -a show -d 'one link'
complete -c atl-sign -n '__atl_sign_at link 0' -a remove -d 'forget the link and its token'
complete -c atl-sign -n '__atl_sign_at link 0' -a setup -d 'what an administrator enters'
complete -c atl-sign -n '__atl_sign_at link 0' -a default -d 'take this one of several with its address'
complete -c atl-sign -n '__atl_sign_at link 1 show remove setup default' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l consumer-key -d 'name that the product knows you by'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l signing-url -d 'base URL that the product believes it has'
complete -c atl-sign -n '__atl_sign_at link any add' -rF -l ca-bundle -d 'PEM file of authorities'
complete -c atl-sign -n '__atl_sign_at link any add' -rF -l client-cert -d 'PEM file of certificate and key'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l proxy -d 'proxy for this link'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l timeout -d 'seconds that the daemon waits for the product'
complete -c atl-sign -n '__atl_sign_at link any add' -l allow-insecure -d "let curl's -k be used"
complete -c atl-sign -n '__atl_sign_at link any add' -x -l git -a 'read write' -d 'what git may do'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l git-days -d 'days that a token for git lives'
complete -c atl-sign -n '__atl_sign_at link any add' -l replace -d 'change the link of this name'

complete -c atl-sign -n '__atl_sign_at key 0' -a new -d 'make a key'
complete -c atl-sign -n '__atl_sign_at key any new' -x -l bits -a '2048 3072 4096' -d 'bits of the key'
complete -c atl-sign -n '__atl_sign_at key any new' -l replace -d 'though there is a key'

complete -c atl-sign -n '__atl_sign_at dance 0; or __atl_sign_at check 0; or __atl_sign_at logout 0; or __atl_sign_at status 0; or __atl_sign_at doctor 0; or __atl_sign_at setup 0' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at logout' -l keep-git-token -d 'git goes on with its token'
complete -c atl-sign -n '__atl_sign_at git 0' -a setup -d 'let git ask for a token'
complete -c atl-sign -n '__atl_sign_at git 0' -a remove -d 'take that out again'
complete -c atl-sign -n '__atl_sign_at git 1 setup remove' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at dance' -l oob -d 'the product shows a code'
complete -c atl-sign -n '__atl_sign_at dance; or __atl_sign_at demo' -l no-browser -d 'open no browser'

complete -c atl-sign -n '__atl_sign_at header 0' -a 'GET POST PUT DELETE HEAD PATCH OPTIONS'
complete -c atl-sign -n '__atl_sign_at header 1' -a '(__atl_sign_urls)'
complete -c atl-sign -n '__atl_sign_at header' -x -l form -a '(__atl_sign_form)' -d 'body, if it is a form; @FILE, @-'
complete -c atl-sign -n '__atl_sign_at header' -x -l link -a '(__atl_sign_links)' -d 'link to sign for'

complete -c atl-sign -n '__atl_sign_at status' -l exit-code -d '1 when a dance is needed'

complete -c atl-sign -n '__atl_sign_at doctor' -F -l report -d 'write a bundle for a bug report'
complete -c atl-sign -n '__atl_sign_at doctor' -l redact -d 'leave hosts and paths out of it'
complete -c atl-sign -n '__atl_sign_at doctor' -l json -d 'print JSON'

complete -c atl-sign -n '__atl_sign_at log' -l follow -d 'go on with what comes'
complete -c atl-sign -n '__atl_sign_at log' -x -l link -a '(__atl_sign_links)' -d 'of one link alone'
complete -c atl-sign -n '__atl_sign_at log' -x -l since -d '30m, 2h or 7d ago, or a date'
complete -c atl-sign -n '__atl_sign_at log' -l json -d 'the lines as they were recorded'

complete -c atl-sign -n '__atl_sign_at curl' -a '(__atl_sign_curl)'

complete -c atl-sign -n '__atl_sign_at serve' -x -l key-fd -d 'descriptor that gives the passphrase'
complete -c atl-sign -n '__atl_sign_at unlock' -l new -d 'make the file of secrets'
complete -c atl-sign -n '__atl_sign_at unlock' -l change -d 'give it another passphrase'
complete -c atl-sign -n '__atl_sign_at unlock' -l stdin -d 'read the passphrase from standard input'
complete -c atl-sign -n '__atl_sign_at store 0' -a move -d 'to another store'
complete -c atl-sign -n '__atl_sign_at store 1 move' -a 'secret-service file memory keyring:'
complete -c atl-sign -n '__atl_sign_at store' -l volatile -d 'to memory, though it ends with the daemon'
complete -c atl-sign -n '__atl_sign_at store' -l stdin -d 'read the passphrase from standard input'
complete -c atl-sign -n '__atl_sign_at help 0' -a 'link key dance check logout git header curl status lock unlock store log doctor setup help serve stop restart demo sandbox service'

complete -c atl-sign -n '__atl_sign_at service 0' -a 'install uninstall status'

complete -c atl-sign -n '__atl_sign_at sandbox' -x -l port -d 'port to listen on'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l product -a 'bamboo jira confluence bitbucket' -d 'product to play'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l product-version -d 'another version of a product'
complete -c atl-sign -n '__atl_sign_at sandbox' -l cloud -d 'a Cloud site and its gateway too'
complete -c atl-sign -n '__atl_sign_at sandbox' -l tokens-must-expire -d 'refuse personal access tokens without an end'
complete -c atl-sign -n '__atl_sign_at sandbox' -l scoped-only -d 'a gateway that refuses unscoped API tokens'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l context-path -d 'instead of /PRODUCT'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l base-url -d 'configured base URL'
complete -c atl-sign -n '__atl_sign_at sandbox' -l behind-proxy -d 'check signatures against --base-url'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l clock-offset -d 'seconds that its clock is ahead'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l token-life -d 'seconds that an access token lives'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l request-token-life -d 'seconds that a request token lives'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l token-days-max -d 'days that a personal access token lives at most'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l refusals -a 'both newline header body page' -d 'how an OAuth problem arrives'
