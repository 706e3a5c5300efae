package provisioning

import (
	"context"
	"fmt"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
)

// Service is a service's side of XEP-0324: it asks a provisioning server who
// may use it, and for what. Every method needs the token that the server gave
// the service.
//
//	token, err := tokens.Fetch(ctx, server)
//	svc := provisioning.Service{Session: session, Server: server, Token: token}
//	user, err := svc.Access(ctx, credentials) // "" when the user is refused
//	ok, err := svc.HasPrivilege(ctx, user, "Reports.Energy.Read")
type Service struct {
	Session Session
	Server  jid.JID
	Token   string
	// Tokens answers the server's challenges of the token. nil: it is not
	// challenged, or somebody else answers.
	Tokens *Tokens
}

func (s Service) ask(ctx context.Context, p xmpp.Payload, reply func(*xmpp.Stanza) error) error {
	if s.Tokens != nil {
		s.Tokens.Passed(s.Server, s.Token)
	}
	return s.Session.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: s.Server, Payload: p}, reply)
}

// Access asks whether somebody with these credentials may use the service and
// returns the user's token; it is empty for a refusal.
func (s Service) Access(ctx context.Context, shown []Credential) (userToken string, err error) {
	err = s.ask(ctx, CanAccess{ServiceToken: s.Token, Credentials: shown}, func(st *xmpp.Stanza) error {
		c := st.Child()
		yes, ok := flag(c, attrResult, false)
		if _, present := c.Attr(attrResult); c.Name() != NameCanAccessResponse || !present || !ok {
			return bad("no answer about access came")
		}
		if yes {
			if userToken = text(c, attrUserToken); userToken == "" { // 0324-R49
				return bad("the server lets the user in without a token")
			}
			if len(userToken) > 4*MaxText {
				return bad("the user's token is too long")
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("provisioning: access: %w", err)
	}
	return userToken, nil
}

// LoggedIn tells the server that a user has logged in (0324-R50). Nobody
// answers.
func (s Service) LoggedIn(ctx context.Context, userToken, userName string) error {
	if s.Tokens != nil {
		s.Tokens.Passed(s.Server, s.Token)
	}
	p := UserRequest{Name: NameUserLoggedIn, ServiceToken: s.Token, UserToken: userToken, UserName: userName}
	return s.Session.Send(ctx, xmpp.Stanza{Kind: xmpp.Message, To: s.Server, Payload: p})
}

// HasPrivilege asks about one privilege by its full id (0324-R51). Data of a
// request, such as the number of a customer, does not belong into an id
// (0324-R56): somebody has to grant each of them.
func (s Service) HasPrivilege(ctx context.Context, userToken, id string) (yes bool, err error) {
	if err := CheckPrivilege(id); err != nil {
		return false, err
	}
	q := UserRequest{Name: NameHasPrivilege, ServiceToken: s.Token, UserToken: userToken, Privilege: id}
	err = s.ask(ctx, q, func(st *xmpp.Stanza) error {
		v, present := st.Child().Attr(attrResult)
		b, ok := v.Bool()
		if st.Child().Name() != NameHasPrivilegeResponse || !present || !ok {
			return bad("no answer about the privilege came")
		}
		yes = b
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("provisioning: privilege %s: %w", id, err)
	}
	return yes, nil
}

// Privileges downloads a user's privileges; Privileges.Allows evaluates them.
func (s Service) Privileges(ctx context.Context, userToken string) (p Privileges, err error) {
	q := UserRequest{Name: NameDownloadPrivileges, ServiceToken: s.Token, UserToken: userToken}
	err = s.ask(ctx, q, func(st *xmpp.Stanza) (err error) {
		p, err = ParsePrivileges(st.Child())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("provisioning: privileges: %w", err)
	}
	return p, nil
}
