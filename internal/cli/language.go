package cli

import "strings"

// language is the language of messages by the environment, as xml:lang has it
// (de-AT of de_AT.UTF-8; POSIX.1 §8.2): what a thing is asked to answer in.
// Empty where nothing, or no language, is named.
func (e *Env) language() string {
	for _, name := range [...]string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		v := e.Getenv(name)
		if v == "" {
			continue
		}
		if i := strings.IndexAny(v, ".@"); i >= 0 {
			v = v[:i]
		}
		tag := strings.ReplaceAll(v, "_", "-")
		if len(tag) < 2 || tag == "POSIX" || len(tag) > 35 || strings.Trim(strings.ToLower(tag), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return "" // C is no language
		}
		return tag
	}
	return ""
}
