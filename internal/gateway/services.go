package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/config"
	"postern/internal/store"
	"postern/provisioning"
	"postern/xmpp"
)

// services are the registry and the provisioning servers that the gateway
// trusts, and the search for them. The methods are safe for concurrent use.
type services struct {
	g     *Gateway
	cfg   *config.Provisioning
	owner func() string // of the gateway as a whole
	// use is told what is trusted after each search.
	use   func(ctx context.Context, t trusted) error
	again chan struct{} // look again

	changing sync.Mutex // held while a change is committed; before mu

	mu    sync.Mutex
	known trusted
	err   error // of the last search
}

// trusted is what was found, kept so that trust does not move to somebody else
// because a service is away: only a changed configuration, or the end of the
// ownership that it came by, starts a new search (0324-R06).
type trusted struct {
	Registry string   `json:",omitempty"`
	Servers  []string `json:",omitempty"`
	For      string   // the places that were configured
	// Owner is whose account the provisioning server is on, where it was found
	// because it is the gateway's owner; with the ownership this trust ends.
	Owner string `json:",omitempty"`
}

var trustedBucket = store.Bucket[trusted]{Name: "provisioning.trusted"}

const trustedKey = "services"

// load reads what was found before, unless the configuration says otherwise
// now.
func (s *services) load() error {
	want := fmt.Sprintf("%+v %+v", s.cfg.Registry.Place, s.cfg.Server.Place)
	err := s.g.db.View(func(tx *store.Tx) (err error) {
		s.known, _, err = trustedBucket.Get(tx, trustedKey)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return fmt.Errorf("provisioning: %w", err)
	}
	if err != nil || s.known.For != want {
		s.known = trusted{For: want}
	}
	return nil
}

func (s *services) trusted() trusted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// change keeps what f makes of what is trusted. An owner's provisioning server
// is taken out whenever it is not the owner's any more, in this run also when
// that cannot be kept.
func (s *services) change(f func(*trusted)) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	old := s.trusted()
	now := old
	f(&now)
	ended := now.Owner != "" && now.Owner != s.owner()
	if ended {
		now.Servers, now.Owner = nil, ""
	}
	if now.Registry == old.Registry && slices.Equal(now.Servers, old.Servers) && now.Owner == old.Owner {
		return nil
	}
	err := s.g.db.Update(func(tx *store.Tx) error { return trustedBucket.Put(tx, trustedKey, now) })
	if err == nil || ended {
		s.mu.Lock()
		s.known = now
		s.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("provisioning: what was found cannot be kept: %w", err)
	}
	return nil
}

// disowned ends the trust that came by a former owner.
func (s *services) disowned() {
	if s.trusted().Owner == "" {
		return
	}
	if err := s.change(func(*trusted) {}); err != nil {
		s.g.log.Error("that the former owner's provisioning server is not trusted any more", "err", err)
	}
	if err := s.use(context.Background(), s.trusted()); err != nil {
		s.g.log.Error("remembered permissions are not forgotten", "err", err)
	}
	s.look()
}

// look makes run look for services that are not known yet.
func (s *services) look() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// failure is why the last search did not find everything; empty when it did.
func (s *services) failure() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err.Error()
	}
	return ""
}

// Pauses between searches.
const (
	firstSearch = 15 * time.Second
	lastSearch  = 15 * time.Minute
)

// run looks for services until ctx is done.
func (s *services) run(ctx context.Context) error {
	pause := firstSearch
	for {
		var timer <-chan time.Time
		if s.g.session.State().Phase == xmpp.Online {
			err := s.find(ctx)
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			if err != nil {
				timer = time.After(pause)
				pause = min(2*pause, lastSearch)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.again:
			pause = firstSearch
		case <-timer:
		}
	}
}

// find looks for what is not known yet, keeps what it finds, and hands out
// what is known: again each time, because the last time may have failed.
func (s *services) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	now := s.trusted()
	if s.cfg.Registry.Use && now.Registry == "" {
		j, err := s.findOne(ctx, s.cfg.Registry.Place, provisioning.NSDiscovery)
		if err != nil {
			errs = append(errs, fmt.Errorf("thing registry: %w", err))
		} else {
			now.Registry = j.String()
		}
	}
	if s.cfg.Server.Use && len(now.Servers) == 0 {
		owner := s.owner()
		j, err := s.findOne(ctx, s.cfg.Server.Place, provisioning.NS, candidates(now.Registry, owner)...)
		if err != nil {
			errs = append(errs, fmt.Errorf("provisioning server: %w", err))
		} else {
			now.Servers = []string{j.String()}
			if j.String() == owner && j.String() != now.Registry && !s.configured(j) {
				now.Owner = owner
			}
		}
	}
	if err := s.change(func(t *trusted) { t.Registry, t.Servers, t.Owner = now.Registry, now.Servers, now.Owner }); err != nil {
		return err
	}
	return errors.Join(append(errs, s.use(ctx, s.trusted()))...)
}

// candidates are who else may be the provisioning server: the registry, then
// the owner (XEP-0347 §3.4).
func candidates(list ...string) (out []jid.JID) {
	for _, s := range list {
		if s != "" {
			out = append(out, parseJID(s))
		}
	}
	return out
}

func (s *services) places(at config.Place) provisioning.Places {
	places := provisioning.Places{Subdomain: at.Subdomain, User: at.User, Resolve: s.g.resolve}
	if strings.Contains(at.Address, "@") {
		places.Account = at.Address
	} else {
		places.Component = at.Address
	}
	return places
}

// configured reports whether the configuration names an account as the
// provisioning server.
func (s *services) configured(j jid.JID) bool {
	return slices.ContainsFunc(s.places(s.cfg.Server.Place).Accounts(s.g.session.LocalAddr()), j.Equal)
}

func (s *services) findOne(ctx context.Context, at config.Place, feature string, more ...jid.JID) (jid.JID, error) {
	places := s.places(at)
	places.Else = more
	own := s.g.session.LocalAddr()
	// An account can be asked once it is a contact (0324-R59, 0347-R06).
	for _, j := range places.Accounts(own) {
		if c, ok := s.g.roster.Contact(j); ok && (c.To() || c.Ask) {
			continue
		}
		if err := s.g.roster.Subscribe(ctx, j); err != nil {
			return jid.JID{}, err
		}
	}
	return provisioning.Find(ctx, s.g.session, own, feature, places)
}
