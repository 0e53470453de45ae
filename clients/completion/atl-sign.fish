# Completion of atl-sign for fish.

# --- made by tests/tools/write_commands.py: words ---
set -g __atl_sign_valued --scheme --consumer-key --signing-url --flavour --client-id --account --issuer --scopes --redirect-port --gateway --authorize-url --token-url --device-url --revoke-url --who-url --who-field --client-auth --git-minutes --user --ca-bundle --client-cert --proxy --timeout --git --git-days --admin --bits --in --expires --days --from --form --link --allow --deny --for --uses --peers --name --purpose --tool --lease --since --key --store --key-fd --port --product --product-version --context-path --base-url --clock-offset --token-life --oauth2-token-life --request-token-life --token-days-max --refusals

function __atl_sign_alias
    switch $argv[1]
        case ls
            string join \n -- link list $argv[2..-1]
        case rm
            string join \n -- link remove $argv[2..-1]
        case login
            string join \n -- dance $argv[2..-1]
        case '*'
            string join \n -- $argv
    end
end
# --- end of words ---

# The words after the command's name, up to the cursor, without a --json before the command.
function __atl_sign_words
    set -l words (commandline -opc)
    set -e words[1]
    while test (count $words) -gt 0; and test "$words[1]" = --json
        set -e words[1]
    end
    set -q words[1]; and __atl_sign_alias $words
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
            if contains -- $word $__atl_sign_valued
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
        exec 3< <(ATL_SIGN_AUTOSTART=0 exec atl-sign "${1-link}" list </dev/null 2>/dev/null)
        while IFS= read -r -t 2 -u 3 line || ! status=$?; do
            if [[ $line == [A-Za-z0-9]* && $line != warning:* && $line != NAME*" URL "* && $line != ID*" STATE "* ]]; then printf "%s\n" "$line"; fi
        done
        if ((status > 128)); then kill "$!"; fi' bash $argv 2>/dev/null
end

function __atl_sign_leases
    __atl_sign_ask lease | string replace -r '^(\S+) .*' '$1'
    __atl_sign_ask lease | string match -rg '^\S+ +([A-Za-z0-9]\S*) '
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

# --- made by tests/tools/write_commands.py: table ---
complete -c atl-sign -n '__atl_sign_at -' -a setup -d 'from nothing to the first signed request, step by step'
complete -c atl-sign -n '__atl_sign_at -' -a link -d 'keep application links'
complete -c atl-sign -n '__atl_sign_at -' -a key -d 'the public key that application links are given'
complete -c atl-sign -n '__atl_sign_at -' -a dance -d 'consent in the browser, once for each link'
complete -c atl-sign -n '__atl_sign_at -' -a check -d 'who am I there'
complete -c atl-sign -n '__atl_sign_at -' -a token -d 'personal access tokens made for you'
complete -c atl-sign -n '__atl_sign_at -' -a logout -d 'forget the token'
complete -c atl-sign -n '__atl_sign_at -' -a git -d 'let git authenticate to a Bitbucket'
complete -c atl-sign -n '__atl_sign_at -' -a header -d 'one Authorization header, good for one request'
complete -c atl-sign -n '__atl_sign_at -' -a curl -d 'curl, signed'
complete -c atl-sign -n '__atl_sign_at -' -a lease -d 'give a program a limited part of your right'
complete -c atl-sign -n '__atl_sign_at -' -a run -d 'run a program with a lease of its own'
complete -c atl-sign -n '__atl_sign_at -' -a status -d 'how the daemon is, and which links need a dance'
complete -c atl-sign -n '__atl_sign_at -' -a log -d 'what was signed for whom'
complete -c atl-sign -n '__atl_sign_at -' -a why -d 'what was refused last, and what to do about it'
complete -c atl-sign -n '__atl_sign_at -' -a doctor -d 'find out what is wrong, and which command fixes it'
complete -c atl-sign -n '__atl_sign_at -' -a lock -d 'forget every secret in memory'
complete -c atl-sign -n '__atl_sign_at -' -a unlock -d 'read the store again'
complete -c atl-sign -n '__atl_sign_at -' -a store -d 'move the secrets to another store'
complete -c atl-sign -n '__atl_sign_at -' -a vault -d 'print the policy that a vault\'s operators enter'
complete -c atl-sign -n '__atl_sign_at -' -a serve -d 'serve on the Unix socket until SIGTERM'
complete -c atl-sign -n '__atl_sign_at -' -a stop -d 'end the daemon'
complete -c atl-sign -n '__atl_sign_at -' -a restart -d 'end the daemon and start it'
complete -c atl-sign -n '__atl_sign_at -' -a service -d 'have systemd start the daemon at log-in'
complete -c atl-sign -n '__atl_sign_at -' -a demo -d 'sandbox, daemon, dance and signed curl in a throw-away folder'
complete -c atl-sign -n '__atl_sign_at -' -a sandbox -d 'a provider to try against'
complete -c atl-sign -n '__atl_sign_at -' -a help -d 'the commands, or one command in full'
complete -c atl-sign -n '__atl_sign_at -' -a ls -d 'the same as link list'
complete -c atl-sign -n '__atl_sign_at -' -a rm -d 'the same as link remove'
complete -c atl-sign -n '__atl_sign_at -' -a login -d 'the same as dance'
complete -c atl-sign -n '__atl_sign_at -' -l version -d 'print the version'
complete -c atl-sign -n '__atl_sign_at -' -s h -l help -d 'print the commands'
complete -c atl-sign -n '__atl_sign_at -' -l json -d 'print the daemon\'s JSON answer, errors too'

complete -c atl-sign -n '__atl_sign_at setup' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at setup 0' -a '(__atl_sign_links)'

complete -c atl-sign -n '__atl_sign_at link' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at link' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at link 0' -a add -d 'register a link, make the consumer\'s key if there is none, and print what is entered at the provider'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l scheme -a 'oauth1 oauth2 bearer basic' -d 'how requests are authorized'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l consumer-key -d 'the name that the product knows you by (default: the daemon\'s)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l signing-url -d 'the base URL that the product behind its proxy believes it has'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l flavour -a 'datacenter atlassian-cloud bitbucket-cloud github github-enterprise gitlab generic' -d 'the provider\'s OAuth 2.0: datacenter, atlassian-cloud, bitbucket-cloud, github, github-enterprise, gitlab, generic (default: found by URL)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l client-id -d 'the id of the app that was registered for you; its secret follows with link secret'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l account -d 'the only user who may consent, as the provider names them (default: anybody)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l issuer -d 'the authorization server\'s own name for itself, whose metadata say the rest'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l scopes -d 'the rights to ask for, with blanks between them: "READ" (default: the flavour\'s)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l redirect-port -d 'the port on this machine in the registered redirect address (default: 47813)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l gateway -d 'the host of REST calls at Atlassian Cloud: for scoped tokens (default: https://api.atlassian.com), or Bitbucket\'s'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l authorize-url -d 'where the user consents, instead of what flavour or metadata say'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l token-url -d 'where tokens are requested, instead of what flavour or metadata say'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l device-url -d 'where a device flow begins, instead of what flavour or metadata say'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l revoke-url -d 'where tokens are revoked, instead of what flavour or metadata say'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l who-url -d 'answers who the user is, as a JSON object'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l who-field -d 'the field of that answer with the user\'s name (default: sub)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l client-auth -a 'basic body none' -d 'how the secret is sent to the token endpoint (default: as flavour or metadata say)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l git-minutes -d 'how long a token that git gets must be good for at least, 1 to 120 (default: 15)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l user -d 'the user who belongs to the token: at Atlassian Cloud the account\'s e-mail address'
complete -c atl-sign -n '__atl_sign_at link any add' -rF -l ca-bundle -d 'PEM file of the certificate authorities to trust for this link'
complete -c atl-sign -n '__atl_sign_at link any add' -rF -l client-cert -d 'PEM file of certificate and key for TLS client authentication'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l proxy -d 'proxy for the daemon\'s own requests'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l timeout -d 'how long the daemon waits for the product'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l git -a 'read write' -d 'the access that git has at this Bitbucket (default: write)'
complete -c atl-sign -n '__atl_sign_at link any add' -x -l git-days -d 'how long a token for git lives, 1 to 90 (default: 7)'
complete -c atl-sign -n '__atl_sign_at link any add' -l replace -d 'change the link if there is one of this name'
complete -c atl-sign -n '__atl_sign_at link 0' -a list -d 'print every link and the state of its token: none, active or expired'
complete -c atl-sign -n '__atl_sign_at link 0' -a show -d 'print the settings of one link, and the file that it comes from'
complete -c atl-sign -n '__atl_sign_at link 1 show' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at link 0' -a remove -d 'forget the link and its token'
complete -c atl-sign -n '__atl_sign_at link 1 remove' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at link 0' -a setup -d 'print again what is entered at the provider'
complete -c atl-sign -n '__atl_sign_at link 1 setup' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at link 0' -a register -d 'make the application link at the product with an administrator\'s password, in place of the form'
complete -c atl-sign -n '__atl_sign_at link any register' -x -l admin -d 'the user name of an administrator at the product'
complete -c atl-sign -n '__atl_sign_at link any register' -l print-script -d 'print a shell script with which an administrator makes it elsewhere'
complete -c atl-sign -n '__atl_sign_at link 1 register' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at link 0' -a export -d 'print links as a file for other machines, without secrets'
complete -c atl-sign -n '__atl_sign_at link any export' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at link 0' -a import -d 'add the links of such a file, all or none; - is standard input'
complete -c atl-sign -n '__atl_sign_at link any import' -l replace -d 'change the link if there is one of this name'
complete -c atl-sign -n '__atl_sign_at link any import' -l dry-run -d 'print what would change, and change nothing'
complete -c atl-sign -n '__atl_sign_at link 0' -a secret -d 'keep the secret of the link\'s app, which is read from standard input and not shown'
complete -c atl-sign -n '__atl_sign_at link 1 secret' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at link 0' -a default -d 'make this link the default among those with its base URL'
complete -c atl-sign -n '__atl_sign_at link 1 default' -a '(__atl_sign_links)'

complete -c atl-sign -n '__atl_sign_at key' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at key' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at key 0' -a new -d 'make a key'
complete -c atl-sign -n '__atl_sign_at key any new' -x -l bits -a '2048 3072 4096' -d '2048 (the default), 3072 or 4096'
complete -c atl-sign -n '__atl_sign_at key any new' -x -l in -d 'where to make it instead of the store'
complete -c atl-sign -n '__atl_sign_at key any new' -l replace -d 'replace the existing key; every application link then needs the new one'
complete -c atl-sign -n '__atl_sign_at key 0' -a use -d 'sign with a key that is in a vault or a token'
complete -c atl-sign -n '__atl_sign_at key any use' -l replace -d 'replace another key; every application link then needs the new one'
complete -c atl-sign -n '__atl_sign_at key 0' -a import-to -d 'move the key from the store to a vault or a token; no provider sees a change'

complete -c atl-sign -n '__atl_sign_at dance' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at dance' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at dance' -l oob -d 'let the product show a code that you type here; the default over SSH and without a browser'
complete -c atl-sign -n '__atl_sign_at dance' -l device -d 'show a code that you enter on any device, for a provider that supports it'
complete -c atl-sign -n '__atl_sign_at dance' -l no-browser -d 'print the address, open nothing, and wait until you have opened it on this machine'
complete -c atl-sign -n '__atl_sign_at dance' -x -l expires -d 'the last day of a token that you paste, for products that do not report it'
complete -c atl-sign -n '__atl_sign_at dance 0' -a '(__atl_sign_links)'

complete -c atl-sign -n '__atl_sign_at check' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at check' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at check 0' -a '(__atl_sign_links)'

complete -c atl-sign -n '__atl_sign_at token' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at token' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at token 0' -a rotate -d 'replace the token with a new one'
complete -c atl-sign -n '__atl_sign_at token any rotate' -x -l days -d 'how long the new token is valid (default: 90)'
complete -c atl-sign -n '__atl_sign_at token 1 rotate' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at token 0' -a make -d 'get a token with a signed request, without pasting one'
complete -c atl-sign -n '__atl_sign_at token any make' -x -l from -a '(__atl_sign_links)' -d 'the link of the scheme oauth1, to the same product, that signs'
complete -c atl-sign -n '__atl_sign_at token any make' -x -l days -d 'how long the new token is valid (default: 90)'
complete -c atl-sign -n '__atl_sign_at token 1 make' -a '(__atl_sign_links)'

complete -c atl-sign -n '__atl_sign_at logout' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at logout' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at logout' -l keep-grant -d 'do not ask the provider to revoke the token'
complete -c atl-sign -n '__atl_sign_at logout' -l keep-git-token -d 'leave git its token, which is valid until it expires'
complete -c atl-sign -n '__atl_sign_at logout 0' -a '(__atl_sign_links)'

complete -c atl-sign -n '__atl_sign_at git' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at git' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at git 0' -a setup -d 'have git-credential-atl-sign asked for addresses below the link\'s base URL, and no other helper'
complete -c atl-sign -n '__atl_sign_at git 1 setup' -a '(__atl_sign_links)'
complete -c atl-sign -n '__atl_sign_at git 0' -a remove -d 'take these lines out again; no daemon is needed for that'
complete -c atl-sign -n '__atl_sign_at git 1 remove' -a '(__atl_sign_links)'

complete -c atl-sign -n '__atl_sign_at header' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at header' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at header' -x -l form -a '(__atl_sign_form)' -d 'the body, if it is application/x-www-form-urlencoded; @FILE and @- (standard input) are read as they are'
complete -c atl-sign -n '__atl_sign_at header' -l with-url -d 'print the address to send the request to on a second line'
complete -c atl-sign -n '__atl_sign_at header' -x -l link -a '(__atl_sign_links)' -d 'the link to sign for, when several cover the URL'
complete -c atl-sign -n '__atl_sign_at header 0' -a 'GET POST PUT DELETE HEAD PATCH OPTIONS'
complete -c atl-sign -n '__atl_sign_at header 1' -a '(__atl_sign_urls)'
complete -c atl-sign -n '__atl_sign_at curl' -a '(__atl_sign_curl)'

complete -c atl-sign -n '__atl_sign_at lease' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at lease' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at lease 0' -a new -d 'open a lease, and print its id, its sockets and its end'
complete -c atl-sign -n '__atl_sign_at lease any new' -x -l link -a '(__atl_sign_links)' -d 'a link that the program may use; without it, every link'
complete -c atl-sign -n '__atl_sign_at lease any new' -x -l allow -a 'read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build' -d 'a rule or preset that allows; without it, read'
complete -c atl-sign -n '__atl_sign_at lease any new' -x -l deny -a 'read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build' -d 'a rule or preset that denies'
complete -c atl-sign -n '__atl_sign_at lease any new' -l read-only -d 'allow only the preset read, which is also the default'
complete -c atl-sign -n '__atl_sign_at lease any new' -x -l for -d 'how long: 90s, 30m, 2h or 7d; without it 1h, and at most 30d'
complete -c atl-sign -n '__atl_sign_at lease any new' -x -l uses -d 'how many requests; without it, any number'
complete -c atl-sign -n '__atl_sign_at lease any new' -l sign -d 'add a socket that gives out signed headers, for scripts that send requests themselves'
complete -c atl-sign -n '__atl_sign_at lease any new' -l port -d 'add a port on 127.0.0.1, which takes the lease\'s secret'
complete -c atl-sign -n '__atl_sign_at lease any new' -x -l peers -a 'own any' -d 'the users that may use the sockets: own, any, or uids'
complete -c atl-sign -n '__atl_sign_at lease any new' -l tunnel -d 'let the program also reach addresses of no link, unsigned'
complete -c atl-sign -n '__atl_sign_at lease any new' -l allow-reusable -d 'with --sign: give out tokens that can be used again, for links without signatures'
complete -c atl-sign -n '__atl_sign_at lease any new' -x -l name -d 'a name to use instead of the id'
complete -c atl-sign -n '__atl_sign_at lease any new' -x -l purpose -d 'a note for you, up to 200 characters'
complete -c atl-sign -n '__atl_sign_at lease any new' -l env -d 'print the environment as lines for a shell, such as export NAME=\'value\''
complete -c atl-sign -n '__atl_sign_at lease any new' -l docker -d 'print options for docker run'
complete -c atl-sign -n '__atl_sign_at lease 0' -a list -d 'print every lease, and those that ended in the last hour'
complete -c atl-sign -n '__atl_sign_at lease 0' -a show -d 'print one lease'
complete -c atl-sign -n '__atl_sign_at lease 1 show' -a '(__atl_sign_leases)'
complete -c atl-sign -n '__atl_sign_at lease 0' -a change -d 'change the time or the number of uses'
complete -c atl-sign -n '__atl_sign_at lease any change' -x -l for -d 'how long: 90s, 30m, 2h or 7d; without it 1h, and at most 30d'
complete -c atl-sign -n '__atl_sign_at lease any change' -x -l uses -d 'how many requests; without it, any number'
complete -c atl-sign -n '__atl_sign_at lease 1 change' -a '(__atl_sign_leases)'
complete -c atl-sign -n '__atl_sign_at lease 0' -a suspend -d 'refuse the requests of a lease until it is resumed'
complete -c atl-sign -n '__atl_sign_at lease any suspend' -l all -d 'every lease that is open'
complete -c atl-sign -n '__atl_sign_at lease any suspend' -a '(__atl_sign_leases)'
complete -c atl-sign -n '__atl_sign_at lease 0' -a resume -d 'allow the requests of a lease again'
complete -c atl-sign -n '__atl_sign_at lease any resume' -l all -d 'every lease that is open'
complete -c atl-sign -n '__atl_sign_at lease any resume' -a '(__atl_sign_leases)'
complete -c atl-sign -n '__atl_sign_at lease 0' -a revoke -d 'end a lease, and cut its connections'
complete -c atl-sign -n '__atl_sign_at lease any revoke' -l all -d 'every lease that is open'
complete -c atl-sign -n '__atl_sign_at lease any revoke' -a '(__atl_sign_leases)'
complete -c atl-sign -n '__atl_sign_at lease 0' -a log -d 'print the decisions on a lease and its requests, with the rule that decided'
complete -c atl-sign -n '__atl_sign_at lease any log' -l follow -d 'continue with new ones'
complete -c atl-sign -n '__atl_sign_at lease 1 log' -a '(__atl_sign_leases)'
complete -c atl-sign -n '__atl_sign_at lease 0' -a check -d 'print whether rules would allow a request, and which rule decides; the exit status is 0 if they would, 1 if not, 2 for a bad rule or request'
complete -c atl-sign -n '__atl_sign_at lease any check' -x -l allow -a 'read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build' -d 'a rule or preset that allows; without it, read'
complete -c atl-sign -n '__atl_sign_at lease any check' -x -l deny -a 'read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build' -d 'a rule or preset that denies'
complete -c atl-sign -n '__atl_sign_at lease any check' -x -l link -a '(__atl_sign_links)' -d 'the link that the rules are for, when several cover the URL'
complete -c atl-sign -n '__atl_sign_at lease 0' -a presets -d 'print the presets, or the rules of one'
complete -c atl-sign -n '__atl_sign_at lease 1 presets' -a 'read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build'

complete -c atl-sign -n '__atl_sign_at run 0' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at run 0' -x -l link -a '(__atl_sign_links)' -d 'a link that the program may use; without it, every link'
complete -c atl-sign -n '__atl_sign_at run 0' -x -l allow -a 'read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build' -d 'a rule or preset that allows; without it, read'
complete -c atl-sign -n '__atl_sign_at run 0' -x -l deny -a 'read download jira:comment jira:edit jira:transition bitbucket:review bitbucket:merge bitbucket:build-status confluence:edit bamboo:build' -d 'a rule or preset that denies'
complete -c atl-sign -n '__atl_sign_at run 0' -l read-only -d 'allow only the preset read, which is also the default'
complete -c atl-sign -n '__atl_sign_at run 0' -x -l for -d 'how long: 90s, 30m, 2h or 7d; without it 1h, and at most 30d'
complete -c atl-sign -n '__atl_sign_at run 0' -x -l uses -d 'how many requests; without it, any number'
complete -c atl-sign -n '__atl_sign_at run 0' -l no-tunnel -d 'do not let COMMAND reach addresses of no link through the lease'
complete -c atl-sign -n '__atl_sign_at run 0' -l sign -d 'add a socket that gives out signed headers, named by ATL_SIGN_SOCK'
complete -c atl-sign -n '__atl_sign_at run 0' -l allow-reusable -d 'with --sign: give out tokens that can be used again, for links without signatures'
complete -c atl-sign -n '__atl_sign_at run 0' -x -l tool -a 'mcp-atlassian atlassian-dc-mcp jira-cli go-jira terraform-bitbucketserver terraform-jira' -d 'set the variables by which COMMAND, a tool that wants a base URL and a token, finds the lease\'s port'
complete -c atl-sign -n '__atl_sign_at run 0' -a '(__fish_complete_command)'

complete -c atl-sign -n '__atl_sign_at status' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at status' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at status' -l exit-code -d '1 when a link may not sign without a dance (or the store does not say), 0 when none needs one'
complete -c atl-sign -n '__atl_sign_at status 0' -a '(__atl_sign_links)'

complete -c atl-sign -n '__atl_sign_at log' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at log' -l follow -d 'continue with new ones'
complete -c atl-sign -n '__atl_sign_at log' -x -l link -a '(__atl_sign_links)' -d 'only of one link'
complete -c atl-sign -n '__atl_sign_at log' -x -l lease -a '(__atl_sign_leases)' -d 'only of the lease with this id, with the rules that decided'
complete -c atl-sign -n '__atl_sign_at log' -x -l since -d '30m, 2h or 7d ago, or a date or time like 2026-11-25T08:00 (UTC)'
complete -c atl-sign -n '__atl_sign_at log' -l json -d 'the lines as they were recorded'

complete -c atl-sign -n '__atl_sign_at why' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at why' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at why 0' -a '(__atl_sign_leases)'

complete -c atl-sign -n '__atl_sign_at doctor' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at doctor' -l json -d 'print one object: version, result and checks'
complete -c atl-sign -n '__atl_sign_at doctor' -F -l report -d 'write a bundle for a bug report, without secrets'
complete -c atl-sign -n '__atl_sign_at doctor' -l redact -d 'with --report: leave hosts and the paths of requests out of the bundle'
complete -c atl-sign -n '__atl_sign_at doctor 0' -a '(__atl_sign_links)'

complete -c atl-sign -n '__atl_sign_at lock' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at lock' -l json -d 'print the daemon\'s JSON answer, errors too'

complete -c atl-sign -n '__atl_sign_at unlock' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at unlock' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at unlock' -l new -d 'make the file, with a passphrase of your choice'
complete -c atl-sign -n '__atl_sign_at unlock' -l change -d 'give the file another passphrase'
complete -c atl-sign -n '__atl_sign_at unlock' -F -l key -d 'unlock the token with the consumer\'s key by its PIN, or the token of another key'
complete -c atl-sign -n '__atl_sign_at unlock' -l try-again -d 'with --key: try a PIN after a wrong one; the token locks itself after a few'
complete -c atl-sign -n '__atl_sign_at unlock' -l stdin -d 'read the passphrase from standard input, one line each: the present one, then the new one'

complete -c atl-sign -n '__atl_sign_at store' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at store' -l json -d 'print the daemon\'s JSON answer, errors too'
complete -c atl-sign -n '__atl_sign_at store 0' -a move -d 'move every secret to BACKEND'
complete -c atl-sign -n '__atl_sign_at store any move' -l volatile -d 'needed for memory, which ends with the daemon'
complete -c atl-sign -n '__atl_sign_at store any move' -l stdin -d 'read the passphrase of the store\'s file from standard input, one line; makes the file if there is none'
complete -c atl-sign -n '__atl_sign_at store 1 move' -a 'secret-service file memory keyring: vault:'

complete -c atl-sign -n '__atl_sign_at vault' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at vault 0' -a policy -d 'print the policy for a key, a store, or both'
complete -c atl-sign -n '__atl_sign_at vault any policy' -x -l key -d 'a key in the transit engine: vault:NAME/MOUNT/KEY'
complete -c atl-sign -n '__atl_sign_at vault any policy' -x -l store -d 'a store in a KV v2 engine: vault:NAME/MOUNT/PREFIX'
complete -c atl-sign -n '__atl_sign_at vault any policy' -l make-key -d 'with --key: for the person who makes the key there, or moves it there'

complete -c atl-sign -n '__atl_sign_at serve' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at serve' -x -l key-fd -d 'descriptor that gives the passphrase of the store\'s file'

complete -c atl-sign -n '__atl_sign_at stop' -s h -l help -d 'print what the command does'

complete -c atl-sign -n '__atl_sign_at restart' -s h -l help -d 'print what the command does'

complete -c atl-sign -n '__atl_sign_at service' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at service 0' -a install -d 'link, enable and start the units of this installation, and check them with one request'
complete -c atl-sign -n '__atl_sign_at service 0' -a uninstall -d 'remove everything that install made'
complete -c atl-sign -n '__atl_sign_at service 0' -a status -d 'print the state of the units and the daemon; the exit status is 1 if there is something to do'
complete -c atl-sign -n '__atl_sign_at service any status' -l json -d 'with status: print it as JSON'

complete -c atl-sign -n '__atl_sign_at demo' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at demo' -l no-browser -d 'approve by itself even where a browser is'

complete -c atl-sign -n '__atl_sign_at sandbox' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l port -d 'port to listen on; 0, the default, is any free one'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l product -a 'bamboo jira confluence bitbucket' -d 'product to play; all four without it'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l product-version -d 'another version of a product, such as jira=8.13.0, which has no personal access tokens'
complete -c atl-sign -n '__atl_sign_at sandbox' -l cloud -d 'play Atlassian Cloud too: a site, its gateway, account pages, Bitbucket Cloud, on the six ports after --port'
complete -c atl-sign -n '__atl_sign_at sandbox' -l scoped-only -d 'with --cloud: the gateway refuses API tokens without scopes'
complete -c atl-sign -n '__atl_sign_at sandbox' -l forges -d 'play GitHub, GitHub Enterprise, GitLab and a generic OAuth 2.0 provider too, on the five ports after those of --cloud'
complete -c atl-sign -n '__atl_sign_at sandbox' -F -l app -d 'register an app at each OAuth 2.0 server and print its client ID, secret and redirect URL'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l context-path -d 'instead of /PRODUCT, with a single --product; / for none'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l base-url -d 'the configured base URL, when it is to differ from the real address'
complete -c atl-sign -n '__atl_sign_at sandbox' -l behind-proxy -d 'check signatures against --base-url, as behind a badly set-up proxy'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l clock-offset -d 'how far the sandbox\'s clock is ahead'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l token-life -d 'life of an access token'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l oauth2-token-life -d 'life of an access token of OAuth 2.0, at every server'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l request-token-life -d 'life of a request token'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l token-days-max -d 'for how long at most a user may ask for a personal access token'
complete -c atl-sign -n '__atl_sign_at sandbox' -l tokens-must-expire -d 'refuse a personal access token without an end, as an administrator can demand it'
complete -c atl-sign -n '__atl_sign_at sandbox' -l no-signed-tokens -d 'refuse a signed request that makes a personal access token, except at Bitbucket'
complete -c atl-sign -n '__atl_sign_at sandbox' -x -l refusals -a 'both newline header body page' -d 'how an OAuth problem arrives'

complete -c atl-sign -n '__atl_sign_at help' -s h -l help -d 'print what the command does'
complete -c atl-sign -n '__atl_sign_at help 0' -a 'setup link key dance check token logout git header curl lease run status log why doctor lock unlock store vault serve stop restart service demo sandbox help'
# --- end of table ---
