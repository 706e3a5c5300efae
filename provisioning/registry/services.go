package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/provisioning"
	"postern/xmpp"
)

// tokensPerMinute bounds how often one account may ask for a token.
const tokensPerMinute = 10

// Service is a program that asks who may use it, and for what (XEP-0324
// §3.13). It is known by the token of its certificate.
type Service struct {
	Name  string `json:"name"`
	Token string `json:"token"` // given by getToken
	Users []User `json:"users,omitempty"`
	// Default are the privileges of users who are not in the list; without any,
	// they are refused (0324-R55).
	Default []string `json:"default,omitempty"`
	// Anonymous is the token of those.
	Anonymous string `json:"anonymous,omitempty"`
	// Asked are privileges that the service asked about and nobody was given
	// (0324-R67).
	Asked []string `json:"asked,omitempty"`
}

// User is somebody who uses a service.
type User struct {
	Name string `json:"name"`
	// Credentials must all be shown, each as KIND=VALUE: jid=a@b.example.
	Credentials []string `json:"credentials"`
	Denied      bool     `json:"denied,omitempty"`
	// Privileges are entries in order; an exclusion begins with a hyphen:
	// -Reports.Energy.Delete, Reports.
	Privileges []string  `json:"privileges,omitempty"`
	Token      string    `json:"token,omitempty"` // made here
	LoggedIn   time.Time `json:"logged_in,omitzero"`
}

var serviceBucket = bucket[Service]{Name: "registry.services"}

// Bounds of a service.
const (
	maxUsers      = 10_000
	maxAsked      = 200
	maxPrivileges = 1000
)

// serviceTable is the services by name.
type serviceTable struct {
	mu   *sync.Mutex
	list map[string]Service // by name; records do not change
}

func newServiceTable() serviceTable {
	return serviceTable{new(sync.Mutex), make(map[string]Service)}
}

func (s *Server) loadServices(tx Tx) error {
	for e := range serviceBucket.All(tx) {
		if e.Err != nil {
			return fmt.Errorf("service %q: %w", e.Key, e.Err)
		}
		s.services.list[e.Key] = e.Value
	}
	return nil
}

// ErrService says what is wrong with a service.
var ErrService = errors.New("registry: service")

// parsePrivileges parses entries in order.
func parsePrivileges(list []string) (p provisioning.Privileges, err error) {
	if len(list) > maxPrivileges {
		return nil, fmt.Errorf("%w: at most %d privileges", ErrService, maxPrivileges)
	}
	for _, text := range list {
		id, exclude := strings.CutPrefix(text, "-")
		if err := provisioning.CheckPrivilege(id); err != nil {
			return nil, fmt.Errorf("%w: privilege %q: parts that are not empty, joined by full stops, are wanted", ErrService, text)
		}
		p = append(p, provisioning.Privilege{ID: id, Exclude: exclude})
	}
	return p, nil
}

func (x *Service) check() error {
	if x.Name == "" || len(x.Name) > provisioning.MaxText || len(strings.Fields(x.Token)) != 1 {
		return fmt.Errorf("%w: it needs a name, and the token it was given", ErrService)
	}
	if len(x.Users) > maxUsers {
		return fmt.Errorf("%w: at most %d users", ErrService, maxUsers)
	}
	names := make(map[string]bool)
	for i := range x.Users {
		u := &x.Users[i]
		switch {
		case u.Name == "" || names[u.Name]:
			return fmt.Errorf("%w: user %q: each needs a name of its own", ErrService, u.Name)
		case len(u.Credentials) == 0 || len(u.Credentials) > provisioning.MaxCredentials:
			return fmt.Errorf("%w: user %q: at least one credential is wanted, at most %d", ErrService, u.Name, provisioning.MaxCredentials)
		}
		names[u.Name] = true
		for _, c := range u.Credentials {
			kind, value, ok := strings.Cut(c, "=")
			if !ok || value == "" || !slices.Contains(provisioning.CredentialKinds[:], kind) {
				return fmt.Errorf("%w: user %q: credential %q is not KIND=VALUE with one of %s", ErrService, u.Name, c, strings.Join(provisioning.CredentialKinds[:], " "))
			}
		}
		if _, err := parsePrivileges(u.Privileges); err != nil {
			return err
		}
	}
	_, err := parsePrivileges(x.Default)
	return err
}

// Services returns the services by name.
func (s *Server) Services() (list []Service) {
	s.services.mu.Lock()
	defer s.services.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.services.list)) {
		list = append(list, s.services.list[name])
	}
	return list
}

// PutService adds or replaces a service. Users keep the tokens they have.
func (s *Server) PutService(x Service) (Service, error) {
	if err := x.check(); err != nil {
		return x, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	t := &s.services
	t.mu.Lock()
	old, known := t.list[x.Name]
	full := len(t.list) >= s.lim.Services
	for _, o := range t.list {
		if o.Name != x.Name && o.Token == x.Token {
			t.mu.Unlock()
			return x, fmt.Errorf("%w: the token is that of %q", ErrService, o.Name)
		}
	}
	t.mu.Unlock()
	if !known && full {
		return x, fmt.Errorf("%w: there are %d already", ErrService, s.lim.Services)
	}
	x.Users = slices.Clone(x.Users)
	for i := range x.Users {
		u := &x.Users[i]
		u.Token = ""
		if j := slices.IndexFunc(old.Users, func(o User) bool { return o.Name == u.Name }); j >= 0 {
			u.Token = old.Users[j].Token
		}
		if u.Token == "" {
			u.Token = rand.Text()
		}
	}
	if x.Anonymous = old.Anonymous; x.Anonymous == "" {
		x.Anonymous = rand.Text()
	}
	return x, s.keepService(x)
}

// keepService commits a service and shows it then. s.writing is held.
func (s *Server) keepService(x Service) error {
	if err := s.cfg.Store.Update(func(tx Tx) error { return serviceBucket.Put(tx, x.Name, x) }); err != nil {
		return err
	}
	s.services.mu.Lock()
	defer s.services.mu.Unlock()
	s.services.list[x.Name] = x
	return nil
}

// RemoveService forgets a service and its users.
func (s *Server) RemoveService(name string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.services.mu.Lock()
	_, ok := s.services.list[name]
	s.services.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: there is none called %q", ErrService, name)
	}
	if err := s.cfg.Store.Update(func(tx Tx) error { return serviceBucket.Delete(tx, name) }); err != nil {
		return err
	}
	s.services.mu.Lock()
	defer s.services.mu.Unlock()
	delete(s.services.list, name)
	return nil
}

// service returns the service with one of the tokens.
func (s *Server) service(tokens []string) (Service, bool) {
	s.services.mu.Lock()
	defer s.services.mu.Unlock()
	for _, x := range s.services.list {
		if slices.Contains(tokens, x.Token) {
			return x, true
		}
	}
	return Service{}, false
}

// asService proves that a request comes from the holder of a service's token
// and answers it by f; others get no.
func (s *Server) asService(ctx context.Context, st *xmpp.Stanza, token string, no xmpp.Payload, f func(Service) xmpp.Payload) (xmpp.Payload, error) {
	tokens := s.valid(s.cfg.Now(), token)
	if _, ok := s.service(tokens); !ok {
		return no, nil // 0324-R64, R67
	}
	req := xmpp.Stanza{Kind: st.Kind, ID: st.ID, From: st.From, To: st.To}
	ctx = context.WithoutCancel(ctx)
	s.prove(ctx, st.From, "", tokens, func(proven []string) {
		x, ok := s.service(proven)
		switch {
		case ok && f != nil:
			if p := f(x); req.Kind == xmpp.IQ {
				s.later(ctx, req, p, nil)
			}
		case req.Kind == xmpp.IQ:
			s.later(ctx, req, no, nil)
		}
	})
	return nil, xmpp.ErrLater
}

// canAccess answers a service about somebody who wants to use it (P13).
func (s *Server) canAccess(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	q, err := provisioning.ParseCanAccess(st.Child())
	if err != nil {
		return nil, err
	}
	return s.asService(ctx, st, q.ServiceToken, provisioning.CanAccessResponse{}, func(x Service) xmpp.Payload {
		u, ok := x.user(q.Credentials)
		switch {
		case ok && !u.Denied:
			return provisioning.CanAccessResponse{Result: true, UserToken: u.Token}
		case !ok && len(x.Default) > 0:
			return provisioning.CanAccessResponse{Result: true, UserToken: x.Anonymous}
		}
		return provisioning.CanAccessResponse{}
	})
}

// user returns the user all of whose credentials were shown; of several, the
// one with the most.
func (x *Service) user(shown []provisioning.Credential) (best User, ok bool) {
	for _, u := range x.Users {
		all := len(u.Credentials) > len(best.Credentials)
		for _, c := range u.Credentials {
			kind, value, _ := strings.Cut(c, "=")
			all = all && slices.Contains(shown, provisioning.Credential{Kind: kind, Value: value})
		}
		if all {
			best, ok = u, true
		}
	}
	return best, ok
}

// privileges returns what the holder of a user token of this service may do.
// Tokens of other services mean nothing here (0324-R52).
func (x *Service) privileges(token string) provisioning.Privileges {
	var list []string
	tokens := provisioning.SplitTokens(token)
	if slices.Contains(tokens, x.Anonymous) {
		list = x.Default
	}
	for i := range x.Users {
		if u := &x.Users[i]; !u.Denied && slices.Contains(tokens, u.Token) {
			list = u.Privileges
		}
	}
	p, _ := parsePrivileges(list) // checked when it was put
	return p
}

// hasPrivilege answers about one privilege (P15).
func (s *Server) hasPrivilege(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	q, err := provisioning.ParseUserRequest(st.Child())
	if err != nil {
		return nil, err
	}
	return s.asService(ctx, st, q.ServiceToken, provisioning.HasPrivilegeResponse(false), func(x Service) xmpp.Payload {
		yes := x.privileges(q.UserToken).Allows(q.Privilege)
		if !yes {
			s.noteAsked(x.Name, q.Privilege)
		}
		return provisioning.HasPrivilegeResponse(yes)
	})
}

// noteAsked remembers a privilege that nobody has, for the operator.
func (s *Server) noteAsked(name, id string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.services.mu.Lock()
	x, ok := s.services.list[name]
	s.services.mu.Unlock()
	if !ok || len(x.Asked) >= maxAsked || slices.Contains(x.Asked, id) {
		return
	}
	x.Asked = append(slices.Clone(x.Asked), id)
	if err := s.keepService(x); err != nil {
		s.log.Error("a privilege that was asked for cannot be kept", "service", name, "err", err)
	}
}

// download answers with all privileges of a user (P16).
func (s *Server) download(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	q, err := provisioning.ParseUserRequest(st.Child())
	if err != nil {
		return nil, err
	}
	return s.asService(ctx, st, q.ServiceToken, provisioning.Privileges(nil), func(x Service) xmpp.Payload { return x.privileges(q.UserToken) })
}

// loggedIn notes a login (P14); there is no answer, whatever it says (0324-D22).
func (s *Server) loggedIn(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	q, err := provisioning.ParseUserRequest(st.Child())
	if err != nil || st.Type == xmpp.TypeError {
		return nil, nil
	}
	_, err = s.asService(ctx, st, q.ServiceToken, nil, func(x Service) xmpp.Payload {
		s.noteLogin(x.Name, q)
		return nil
	})
	if errors.Is(err, xmpp.ErrLater) {
		err = nil
	}
	return nil, err
}

func (s *Server) noteLogin(name string, q provisioning.UserRequest) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.services.mu.Lock()
	x, ok := s.services.list[name]
	s.services.mu.Unlock()
	if !ok {
		return
	}
	s.log.Info("a user logged in", "service", name, "user", q.UserName)
	i := slices.IndexFunc(x.Users, func(u User) bool { return slices.Contains(provisioning.SplitTokens(q.UserToken), u.Token) })
	if i < 0 {
		return
	}
	x.Users = slices.Clone(x.Users)
	x.Users[i].LoggedIn = s.cfg.Now().UTC()
	if err := s.keepService(x); err != nil {
		s.log.Error("a login cannot be kept", "service", name, "err", err)
	}
}
