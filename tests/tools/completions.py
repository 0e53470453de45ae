"""The completions' tables, made of the table of commands."""

import re
from collections.abc import Iterator

from atl_sign.commands.table.calls import COMMANDS
from atl_sign.commands.table.rows import JSON, Command, Form, Option, aliases_of, plain

_WORDS = "--help --version --json"


def _names() -> list[str]:
    return [row.name for row in COMMANDS]


def _all_aliases() -> list[tuple[str, str]]:
    return [pair for row in COMMANDS for pair in aliases_of(row)]


def _options(form: Form) -> list[Option]:
    return [option for option in form.options if not option.is_hidden]


def _is_json(row: Command) -> bool:
    return row.has_json


# --- bash ---


def for_bash() -> str:
    """Return functions with what stands where."""
    lines = [f"_atl_sign_commands=({' '.join(_names())})"]
    lines += [
        f"_atl_sign_aliases=({' '.join(alias for alias, _ in _all_aliases())})",
        "",
        "# Sets command, verb and place to what an alias stands for.",
    ]
    lines += ["_atl_sign_alias() {", "\tcase $command in"]
    for alias, full in _all_aliases():
        command, _, verb = full.partition(" ")
        lines.append(f"\t{alias}) command={command}{f' verb={verb} place=1' if verb else ''} ;;")
    lines += ["\tesac", "}", "", "_atl_sign_has_value() {", "\tcase $command:$1 in"]
    for row in COMMANDS:
        if valued := [f"{row.name}:{option.name}" for option in row.options if option.value and not option.value.startswith("[")]:
            lines.append(f"\t{' | '.join(valued)}) ;;")
    lines += ["\t*) return 1 ;;", "\tesac", "}", "", "_atl_sign_options() {", "\tcase $command:$verb in"]
    for row in COMMANDS:
        if row.name != "curl":
            lines += _bash_options(row)
    lines += ["\tesac", "}", ""]
    lines += ["# _atl_sign_value OPTION TEXT PREFIX PROGRAM: what may follow that option, behind PREFIX in the same word"]
    lines += ["_atl_sign_value() {", "\tlocal current=$2 index", "\tcase $command:$1 in"]
    for row in COMMANDS:
        for option in row.options:
            if option.takes:
                lines.append(f"\t{row.name}:{option.name}) {_bash_offer(option.takes, '$4')} ;;")
    lines += ["\tesac", '\tfor index in "${!candidates[@]}"; do candidates[index]=$3${candidates[index]}; done', "}", ""]
    lines += ["# _atl_sign_argument PROGRAM: what may stand where no option does"]
    lines += ["_atl_sign_argument() {", "\tcase $command:$place:$verb in"]
    for row in COMMANDS:
        lines += _bash_arguments(row)
    return "\n".join([*lines, "\tesac", "}"])


def _bash_options(row: Command) -> Iterator[str]:
    common = [JSON.name] if row.has_json else []
    for form in row.forms:
        names = [option.name for option in _options(form)]
        if form.verb and names:
            yield f"\t{row.name}:{form.verb}) _atl_sign_offer {' '.join([*names, *common, '--help'])} ;;"
    names = [] if row.verbs else [option.name for option in _options(row.forms[0])]
    verb = "" if row.starts_program else "*"  # behind the program's name the options are its own
    yield f"\t{row.name}:{verb}) _atl_sign_offer {' '.join([*names, *common, '--help'])} ;;"


def _bash_arguments(row: Command) -> Iterator[str]:
    if row.name == "curl":
        return
    if row.verbs:
        yield f"\t{row.name}:0:) _atl_sign_offer {' '.join(row.verbs)} ;;"
    for form in row.forms:
        for place, argument in enumerate(form.arguments, 1 if form.verb else 0):
            if argument.takes:
                places = f"[{place}-9]" if argument.may_repeat and not row.starts_program else place
                yield f"\t{row.name}:{places}:{form.verb or ('*' if place else '')}) {_bash_offer(argument.takes, '$1')} ;;"


def _bash_offer(takes: str, program: str) -> str:
    return {
        "links": f'_atl_sign_links "{program}"',
        "leases": f'_atl_sign_leases "{program}"',
        "programs": "_atl_sign_programs",
        "urls": f'_atl_sign_urls "{program}"',
        "files": "_atl_sign_files",
        "form": "[[ $current != @* ]] || _atl_sign_files",
        "commands": '_atl_sign_offer "${_atl_sign_commands[@]}"',
    }.get(takes, f"_atl_sign_offer {takes}")


# --- zsh ---


def for_zsh() -> str:
    """Return the cases of `$words[1]`."""
    lines = ["\tcase $words[1] in"]
    for alias, full in _all_aliases():
        command, _, verb = full.partition(" ")
        lines.append(f"\t{alias})")
        lines.append(
            f'\t\twords=({command} {verb} "${{(@)words[2,-1]}}")\n\t\t((CURRENT++))' if verb else f"\t\twords[1]={command}"
        )
        lines.append("\t\t;;")
    lines += ["\tesac", "\tcase $words[1] in"]
    for row in COMMANDS:
        lines += ["\tcurl) _atl-sign_curl ;;"] if row.name == "curl" else _zsh_case(row)
    return "\n".join([*lines, "\t*) _message 'no such command' ;;", "\tesac"])


def for_zsh_table() -> str:
    """Return the function that offers the commands."""
    lines = ["_atl-sign_commands() {", "\tlocal -a commands=("]
    lines += [f"\t\t{_zsh_pair(row.name, row.summary)}" for row in COMMANDS]
    lines += ["\t)", "\t_describe -t commands command commands", "}", "", "_atl-sign_aliases() {", "\tlocal -a aliases=("]
    lines += [f"\t\t{_zsh_pair(alias, f'the same as {full}')}" for alias, full in _all_aliases()]
    return "\n".join([*lines, "\t)", "\t_describe -t aliases command aliases", "}"])


def _zsh_case(row: Command) -> Iterator[str]:
    yield f"\t{row.name})"
    common = ["$json", "$help"] if row.has_json else ["$help"]
    if not row.verbs:
        yield f"\t\t_arguments -S -s {' '.join([*common, *_zsh_words(row.forms[0])])}"
    else:
        yield "\t\tif ((CURRENT == 2)) && [[ $words[2] != -* ]]; then"
        pairs = " ".join(_zsh_pair(form.verb, form.help) for form in row.forms if form.verb)
        yield f"\t\t\tlocal -a verbs=({pairs})"
        yield "\t\t\t_describe -t verbs action verbs"
        yield "\t\t\treturn"
        yield "\t\tfi"
        yield "\t\tlocal verb=$words[2]"
        yield "\t\tif [[ $verb != -* ]]; then"
        yield "\t\t\tshift words"
        yield "\t\t\t((CURRENT--))"
        yield "\t\tfi"
        yield "\t\tcase $verb in"
        for form in row.forms:
            if form.verb:
                yield f"\t\t{form.verb}) _arguments -S -s {' '.join([*common, *_zsh_words(form)])} ;;"
        yield f"\t\t*) _arguments -S -s {' '.join(common)} ;;"
        yield "\t\tesac"
    yield "\t\t;;"


def _zsh_words(form: Form) -> Iterator[str]:
    partners = {option.excludes: option.name for option in form.options if option.excludes}
    for option in _options(form):
        other = option.excludes or partners.get(option.name, "")
        start = "*" if option.may_repeat else f"({other})" if other else ""
        text = f"[{_zsh_text(option.help)}]"
        if not option.value:
            yield _zsh_quote(f"{start}{option.name}{text}")
        else:
            colons = "::" if option.value.startswith("[") else ":"
            value = _zsh_text(option.value.strip("[]").lower())
            yield _zsh_quote(f"{start}{option.name}={text}{colons}{value}:{_zsh_action(option.takes)}")
    for place, argument in enumerate(form.arguments, 1):
        if argument.takes == "programs":
            yield _zsh_quote("(-)1:program:_command_names -e")
            yield _zsh_quote("*::argument:_normal")
            continue
        if argument.may_repeat:
            yield _zsh_quote(f"*:{argument.name.lower()}:{_zsh_action(argument.takes)}")
            continue
        yield _zsh_quote(f"{place}:{argument.name.lower()}:{_zsh_action(argument.takes)}")


def _zsh_action(takes: str) -> str:
    known = {
        "links": "_atl-sign_links",
        "leases": "_atl-sign_leases",
        "urls": "_atl-sign_urls",
        "files": "_files",
        "form": "_atl-sign_form",
        "commands": "_atl-sign_commands",
    }
    return known.get(takes, "({})".format(takes.replace(":", r"\:")) if takes else "")


def _zsh_text(text: str) -> str:
    return re.sub(r"([\[\]:])", r"\\\1", plain(text))


def _zsh_pair(name: str, text: str) -> str:
    return _zsh_quote(f"{name}:{_zsh_text(text)}")


def _zsh_quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# --- fish ---


def for_fish_words() -> str:
    """Return what an alias stands for, within `__atl_sign_words`, and the options with a value."""
    lines = ["set -g __atl_sign_valued " + " ".join(dict.fromkeys(_valued())), "", "function __atl_sign_alias"]
    lines += ["    switch $argv[1]"]
    for alias, full in _all_aliases():
        lines += [f"        case {alias}", f"            string join \\n -- {full} $argv[2..-1]"]
    return "\n".join([*lines, "        case '*'", "            string join \\n -- $argv", "    end", "end"])


def _valued() -> Iterator[str]:
    for row in COMMANDS:
        yield from (option.name for option in row.options if option.value and not option.value.startswith("["))


def for_fish() -> str:
    """Return the lines of `complete`."""
    lines = [_fish("-", f"-a {row.name}", row.summary) for row in COMMANDS]
    lines += [_fish("-", f"-a {alias}", f"the same as {full}") for alias, full in _all_aliases()]
    lines += [_fish("-", "-l version", "print the version"), _fish("-", "-s h -l help", "print the commands")]
    lines.append(_fish("-", "-l json", JSON.help))
    for row in COMMANDS:
        if row.name == "curl":
            lines.append("complete -c atl-sign -n '__atl_sign_at curl' -a '(__atl_sign_curl)'")
            continue
        where = f"{row.name} 0" if row.starts_program else row.name
        lines += ["", _fish(where, "-s h -l help", "print what the command does")]
        if row.has_json:
            lines.append(_fish(row.name, "-l json", JSON.help))
        for form in row.forms:
            lines += _fish_form(row, form)
    return "\n".join(lines)


def _fish_form(row: Command, form: Form) -> Iterator[str]:
    name = row.name
    if form.verb:
        yield _fish(f"{name} 0", f"-a {form.verb}", form.help)
    for option in _options(form):
        where = f"{name} any {form.verb}" if form.verb else f"{name} 0" if row.starts_program else name
        kind = "-rF " if option.takes == "files" and not option.value.startswith("[") else "-x " if option.value else ""
        if option.value.startswith("["):
            kind = "-F "
        action = _fish_action(option.takes)
        yield _fish(where, f"{kind}-l {option.name[2:]}{f' -a {action}' if action else ''}", option.help)
    for place, argument in enumerate(form.arguments, 1 if form.verb else 0):
        if action := _fish_action(argument.takes):
            where = "any" if argument.may_repeat and form.verb else str(place)
            yield f"complete -c atl-sign -n '__atl_sign_at {name} {where}{f' {form.verb}' if form.verb else ''}' -a {action}"


def _fish_action(takes: str) -> str:
    known = {
        "links": "'(__atl_sign_links)'",
        "leases": "'(__atl_sign_leases)'",
        "programs": "'(__fish_complete_command)'",
        "urls": "'(__atl_sign_urls)'",
        "files": "",
        "form": "'(__atl_sign_form)'",
        "commands": f"'{' '.join(_names())}'",
    }
    return known.get(takes, f"'{takes}'" if takes else "")


def _fish(where: str, what: str, text: str) -> str:
    quoted = plain(text).replace("\\", "\\\\").replace("'", "\\'")
    return f"complete -c atl-sign -n '__atl_sign_at {where}' {what} -d '{quoted}'"
