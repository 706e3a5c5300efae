//go:build fleet

package postgres

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrAddress marks errors that the operator mends where the address of the
// database stands.
var ErrAddress = errors.New("the address of the database")

// settings are what an address may say. A password is not among them: others
// would read it in the list of processes, or in the configuration.
var settings = []string{"host", "port", "user", "database", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation",
	"channel_binding", "require_auth", "connect_timeout", "target_session_attrs", "search_path", "passfile"}

// maxMessage bounds what the server may send at once.
const maxMessage = 64 << 20

// parse reads an address as libpq reads it, PG* variables and password file
// included. Its errors hold no part of the address that could be a password.
//
// Two defaults are other than libpq's: a server that is reached by network
// needs a certificate for its name (sslmode=verify-full), and of several hosts
// the one that can be written to is taken, unless readOnly.
func parse(address string, readOnly bool) (*pgconn.Config, error) {
	if !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") {
		return nil, fmt.Errorf("%w has to look like postgres://USER@HOST/DATABASE", ErrAddress)
	}
	c, err := parseOnce(address)
	if err != nil {
		return nil, err
	}
	var more []string
	if !has(address, "sslmode", "ssl") && os.Getenv("PGSSLMODE") == "" && remote(c) {
		more = append(more, "sslmode=verify-full")
	}
	if !readOnly && !has(address, "target_session_attrs") && os.Getenv("PGTARGETSESSIONATTRS") == "" {
		more = append(more, "target_session_attrs=read-write")
	}
	if len(more) == 0 {
		return c, nil
	}
	sep := "?"
	if strings.Contains(address, "?") {
		sep = "&"
	}
	return parseOnce(address + sep + strings.Join(more, "&"))
}

func parseOnce(address string) (*pgconn.Config, error) {
	c, err := pgconn.ParseConfigWithOptions(address, pgconn.ParseConfigOptions{ConnStringAllowedKeys: settings})
	if err == nil {
		c.MaxProtocolMessageBodyLen = maxMessage
		return c, nil
	}
	// The text is "cannot parse `ADDRESS`: REASON", and only REASON is safe.
	text := err.Error()
	reason := text[strings.LastIndex(text, "`")+1:]
	switch {
	case strings.Contains(reason, `key "password"`), strings.Contains(reason, `key "sslpassword"`):
		return nil, fmt.Errorf("%w must not hold the password, which ps and logs would show: put it into a file of mode 0600 and name that, "+
			"or use PGPASSFILE", ErrAddress)
	case strings.HasPrefix(reason, `: connection string key "`):
		key, _, _ := strings.Cut(strings.TrimPrefix(reason, `: connection string key "`), `"`)
		return nil, fmt.Errorf("%w has the setting %q, which is not taken; what is: %s", ErrAddress, key, strings.Join(settings, ", "))
	case strings.HasPrefix(reason, ": failed to configure TLS"), strings.HasPrefix(reason, ": unknown"), strings.HasPrefix(reason, ": invalid"):
		return nil, fmt.Errorf("%w cannot be used%s", ErrAddress, reason)
	}
	return nil, fmt.Errorf("%w cannot be read; it has to look like postgres://USER@HOST/DATABASE", ErrAddress)
}

// has reports whether an address has one of some settings.
func has(address string, names ...string) bool {
	_, query, _ := strings.Cut(address, "?")
	q, _ := url.ParseQuery(query)
	for _, n := range names {
		if q.Has(n) {
			return true
		}
	}
	return false
}

// remote reports whether a host is neither a socket nor this machine.
func remote(c *pgconn.Config) bool {
	hosts := []string{c.Host}
	for _, f := range c.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	for _, h := range hosts {
		if network, _ := pgconn.NetworkAddress(h, 1); network == "unix" || h == "localhost" {
			continue
		}
		if ip, err := netip.ParseAddr(h); err != nil || !ip.IsLoopback() {
			return true
		}
	}
	return false
}
