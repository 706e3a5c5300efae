package main

import (
	"fmt"
	"strings"
)

// files tells what an argument is completed with: files, directories or
// nothing.
func files(arg string) string {
	switch arg {
	case "FILE", "F":
		return "file"
	case "DIR":
		return "dir"
	}
	return ""
}

func names(c command) string {
	out := append([]string{}, c.words...)
	for _, o := range c.options {
		out = append(out, o.names...)
	}
	return strings.Join(append(out, "--help"), " ")
}

// bash completes commands, options, sub-commands and files.
func bash(cmds []command) string {
	var b strings.Builder
	all := []string{"help"}
	for _, c := range cmds {
		all = append(all, c.name)
	}
	b.WriteString("# bash completion of postern, made from its help\n_postern() {\n" +
		"    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n" +
		"    COMPREPLY=()\n" +
		"    if [ \"$COMP_CWORD\" -eq 1 ] || { [ \"$COMP_CWORD\" -eq 2 ] && [ \"$prev\" = help ]; }; then\n")
	fmt.Fprintf(&b, "        COMPREPLY=($(compgen -W '%s' -- \"$cur\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n", strings.Join(all, " "))
	for _, c := range cmds {
		fmt.Fprintf(&b, "    %s)\n        words='%s'\n", c.name, names(c))
		var rows []string
		for _, o := range c.options {
			switch files(o.arg) {
			case "file":
				rows = append(rows, fmt.Sprintf("        %s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", strings.Join(o.names, "|")))
			case "dir":
				rows = append(rows, fmt.Sprintf("        %s) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n", strings.Join(o.names, "|")))
			default:
				if o.arg != "" {
					rows = append(rows, fmt.Sprintf("        %s) return ;;\n", strings.Join(o.names, "|")))
				}
			}
		}
		if len(rows) > 0 {
			b.WriteString("        case $prev in\n" + strings.Join(rows, "") + "        esac\n")
		}
		b.WriteString("        ;;\n")
	}
	b.WriteString("    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n" +
		"    if [ ${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- \"$cur\")); fi\n}\n" +
		"complete -o filenames -F _postern postern\n")
	return b.String()
}

// zsh completes the same, with what each option does.
func zsh(cmds []command) string {
	var b strings.Builder
	b.WriteString("#compdef postern\n# zsh completion of postern, made from its help\n_postern() {\n    local -a commands subs options\n    commands=(\n")
	for _, c := range cmds {
		fmt.Fprintf(&b, "        %s\n", quote(c.name+":"+c.summary))
	}
	b.WriteString("        'help:explain a command'\n    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n" +
		"    if (( CURRENT == 3 )) && [[ $words[2] == help ]]; then\n        _describe command commands\n        return\n    fi\n")
	b.WriteString("    subs=() options=()\n    case $words[2] in\n")
	for _, c := range cmds {
		fmt.Fprintf(&b, "    %s)\n        subs=(%s)\n        options=(\n", c.name, strings.Join(c.words, " "))
		for _, o := range c.options {
			for _, n := range o.names {
				spec := n + "[" + strings.NewReplacer("[", "(", "]", ")", ":", `\:`).Replace(short(o.text)) + "]"
				switch kind := files(o.arg); {
				case kind == "file":
					spec += ":file:_files"
				case kind == "dir":
					spec += ":directory:_files -/"
				case o.arg != "":
					spec += ":" + strings.ToLower(strings.NewReplacer(":", " ", "=", " ").Replace(o.arg)) + ":"
				}
				fmt.Fprintf(&b, "            %s\n", quote(spec))
			}
		}
		b.WriteString("            '--help[explain the command]'\n        )\n        ;;\n")
	}
	b.WriteString("    esac\n    shift words\n    (( CURRENT-- ))\n    if (( $#subs )); then\n        _arguments $options \"1:sub-command:($subs)\" '*:file:_files'\n" +
		"    else\n        _arguments $options '*:file:_files'\n    fi\n}\n_postern \"$@\"\n")
	return b.String()
}

// fish completes the same.
func fish(cmds []command) string {
	var b strings.Builder
	b.WriteString("# fish completion of postern, made from its help\ncomplete -c postern -n __fish_use_subcommand -f\n")
	for _, c := range cmds {
		fmt.Fprintf(&b, "complete -c postern -n __fish_use_subcommand -f -a %s -d %s\n", c.name, quote(c.summary))
	}
	b.WriteString("complete -c postern -n __fish_use_subcommand -f -a help -d 'explain a command'\n")
	for _, c := range cmds {
		on := fmt.Sprintf("complete -c postern -n '__fish_seen_subcommand_from %s'", c.name)
		if len(c.words) > 0 {
			fmt.Fprintf(&b, "%s -f -a '%s'\n", on, strings.Join(c.words, " "))
		}
		for _, o := range c.options {
			for _, n := range o.names {
				row := on + " -l " + strings.TrimPrefix(n, "--") + " -d " + quote(short(o.text))
				switch kind := files(o.arg); {
				case kind != "":
					row += " -r -F"
				case o.arg != "":
					row += " -x"
				default:
					row += " -f"
				}
				b.WriteString(row + "\n")
			}
		}
	}
	return b.String()
}

// short is the first clause of a description.
func short(s string) string {
	for _, end := range []string{"; ", ". ", " (", ", for example"} {
		s, _, _ = strings.Cut(s, end)
	}
	if r := []rune(s); len(r) > 60 {
		s = string(r[:59]) + "…"
	}
	return s
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
