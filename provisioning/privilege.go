package provisioning

import (
	"strings"

	"postern/exi"
)

// Privilege is one entry of a list of privileges of a user.
type Privilege struct {
	ID      string // parts joined by full stops
	Exclude bool
}

// Privileges are walked in order; the first entry that is the privilege, or an
// ancestor of it, decides (XEP-0324 §3.14).
type Privileges []Privilege

// Allows reports whether a privilege is in the list. What no entry is about is
// denied (0324-R53, R54).
func (p Privileges) Allows(id string) bool {
	for _, e := range p {
		if e.ID == id || strings.HasPrefix(id, e.ID) && id[len(e.ID)] == '.' {
			return !e.Exclude
		}
	}
	return false
}

// CheckPrivilege says what is wrong with an id: non-empty parts, joined by full
// stops (0324-R51, D19).
func CheckPrivilege(id string) error {
	if id == "" || len(id) > MaxText {
		return bad("a privilege needs an id of at most 1023 octets")
	}
	for _, part := range strings.Split(id, ".") {
		if part == "" || strings.ContainsAny(part, " \t\r\n") {
			return bad("a privilege's id is made of parts that are not empty, joined by full stops")
		}
	}
	return nil
}

// Names of the payloads that services use (XEP-0324 §3.13, §3.14), for a Mux.
var (
	NameCanAccess                  = np("canAccess")
	NameCanAccessResponse          = np("canAccessResponse")
	NameUserLoggedIn               = np("userLoggedIn")
	NameHasPrivilege               = np("hasPrivilege")
	NameHasPrivilegeResponse       = np("hasPrivilegeResponse")
	NameDownloadPrivileges         = np("downloadPrivileges")
	NameDownloadPrivilegesResponse = np("downloadPrivilegesResponse")

	nameInclude     = np("include")
	nameExclude     = np("exclude")
	nameCredentials = np("credentials")

	attrPrivilege = at("privilegeId")
	attrUserName  = at("userName")
	attrBase64    = at("base64")
	attrKind      = at("type")
)

// CredentialKinds are the kinds of credentials of XEP-0324.
var CredentialKinds = [...]string{
	"jid", "ip4", "ip6", "hostName", "userName", "sso", "x509Certificate", "x509CertificateThumbprint",
	"longitude", "latitude", "altitude", "protocol",
}

// Credential is something that a user showed.
type Credential struct{ Kind, Value string }

// MaxCredentials bounds the credentials in one request.
const MaxCredentials = 32

// CanAccess asks whether a user may use a service (P13).
type CanAccess struct {
	ServiceToken string
	Credentials  []Credential
}

// AppendEvents writes the element (0324-R48, D6).
func (q CanAccess) AppendEvents(d *exi.Doc) {
	d.Start(NameCanAccess)
	d.Attr(attrServiceToken, exi.Str(q.ServiceToken))
	for _, c := range q.Credentials {
		d.Start(np(c.Kind))
		switch {
		case strings.HasPrefix(c.Kind, "x509"):
			d.Attr(attrBase64, exi.Str(c.Value))
		default:
			d.Attr(attrValue, exi.Str(c.Value))
		}
		d.End()
	}
	d.End()
}

// ParseCanAccess reads the element, in the form of the schema and that of the
// XEP's example (0324-D6).
func ParseCanAccess(c exi.Cursor) (q CanAccess, err error) {
	if q.ServiceToken = text(c, attrServiceToken); q.ServiceToken == "" {
		return q, bad("serviceToken is missing")
	}
	if len(q.ServiceToken) > 4*MaxText {
		return q, bad("token too long")
	}
	for k := range c.Children() {
		one := Credential{Kind: k.Name().Value().Local, Value: text(k, attrValue)}
		switch {
		case k.Name() == nameCredentials:
			one.Kind = text(k, attrKind)
		case k.Name().Value().Space != NS:
			continue
		case strings.HasPrefix(one.Kind, "x509"):
			one.Value = text(k, attrBase64)
		}
		if len(q.Credentials) == MaxCredentials || len(one.Value) > maxCertificate {
			return q, bad("too many or too long credentials")
		}
		for _, known := range CredentialKinds {
			if one.Kind == known && one.Value != "" {
				q.Credentials = append(q.Credentials, one)
			}
		}
	}
	return q, nil
}

// CanAccessResponse answers: UserToken only with Result.
type CanAccessResponse struct {
	Result    bool
	UserToken string
}

// AppendEvents writes the element.
func (a CanAccessResponse) AppendEvents(d *exi.Doc) {
	d.Start(NameCanAccessResponse)
	d.Attr(attrResult, exi.BoolValue(a.Result))
	optional(d, attrUserToken, a.UserToken)
	d.End()
}

// UserRequest is userLoggedIn, hasPrivilege or downloadPrivileges: what a
// service says or asks about a user.
type UserRequest struct {
	Name                    exi.Name
	ServiceToken, UserToken string
	UserName                string // userLoggedIn
	Privilege               string // hasPrivilege
}

// AppendEvents writes the element.
func (q UserRequest) AppendEvents(d *exi.Doc) {
	d.Start(q.Name)
	d.Attr(attrServiceToken, exi.Str(q.ServiceToken))
	d.Attr(attrUserToken, exi.Str(q.UserToken))
	switch q.Name {
	case NameUserLoggedIn:
		d.Attr(attrUserName, exi.Str(q.UserName))
	case NameHasPrivilege:
		d.Attr(attrPrivilege, exi.Str(q.Privilege))
	}
	d.End()
}

// ParseUserRequest reads one of these elements.
func ParseUserRequest(c exi.Cursor) (q UserRequest, err error) {
	q = UserRequest{Name: c.Name(), ServiceToken: text(c, attrServiceToken), UserToken: text(c, attrUserToken), UserName: text(c, attrUserName), Privilege: text(c, attrPrivilege)}
	switch {
	case q.ServiceToken == "" || q.UserToken == "":
		return q, bad("serviceToken and userToken are needed")
	case max(len(q.ServiceToken), len(q.UserToken)) > 4*MaxText:
		return q, bad("token too long")
	case len(q.UserName) > MaxText:
		return q, bad("the user's name is too long")
	case q.Name == NameHasPrivilege:
		return q, CheckPrivilege(q.Privilege)
	}
	return q, nil
}

// HasPrivilegeResponse answers hasPrivilege.
type HasPrivilegeResponse bool

// AppendEvents writes the element.
func (a HasPrivilegeResponse) AppendEvents(d *exi.Doc) {
	d.Start(NameHasPrivilegeResponse)
	d.Attr(attrResult, exi.BoolValue(bool(a)))
	d.End()
}

// AppendEvents writes downloadPrivilegesResponse, in its namespace (0324-D7).
func (p Privileges) AppendEvents(d *exi.Doc) {
	d.Start(NameDownloadPrivilegesResponse)
	for _, e := range p {
		name := nameInclude
		if e.Exclude {
			name = nameExclude
		}
		d.Start(name)
		d.Attr(attrID, exi.Str(e.ID))
		d.End()
	}
	d.End()
}

// MaxPrivileges bounds a list.
const MaxPrivileges = 4096

// ParsePrivileges reads downloadPrivilegesResponse, also without its namespace
// (0324-D7).
func ParsePrivileges(c exi.Cursor) (p Privileges, err error) {
	if c.Name().Value().Local != NameDownloadPrivilegesResponse.Value().Local {
		return nil, bad("no list of privileges came")
	}
	for k := range c.Children() {
		local := k.Name().Value().Local
		if local != "include" && local != "exclude" {
			continue
		}
		e := Privilege{ID: text(k, attrID), Exclude: local == "exclude"}
		if err := CheckPrivilege(e.ID); err != nil {
			return nil, err
		}
		if len(p) == MaxPrivileges {
			return nil, bad("too many privileges")
		}
		p = append(p, e)
	}
	return p, nil
}
