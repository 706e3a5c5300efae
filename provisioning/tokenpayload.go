package provisioning

import (
	"encoding/pem"
	"strings"

	"postern/exi"
)

// Names of the payloads about tokens (XEP-0324 §3.2, §3.3), for a Mux.
var (
	NameGetToken                  = np("getToken")
	NameGetTokenChallenge         = np("getTokenChallenge")
	NameGetTokenChallengeResponse = np("getTokenChallengeResponse")
	NameGetTokenResponse          = np("getTokenResponse")
	NameTokenChallengeResponse    = np("tokenChallengeResponse")

	attrSeq   = at("seqnr")
	attrToken = at("token")
)

// Bounds of what peers send.
const (
	maxCertificate = 16 << 10 // octets
	maxChallenge   = 2 << 10
	maxToken       = 256
	maxTokens      = 16 // of one kind in one request
)

// GetToken asks for a token for a certificate (DER).
type GetToken struct{ Certificate []byte }

// AppendEvents writes the element.
func (g GetToken) AppendEvents(d *exi.Doc) {
	d.Element(NameGetToken, exi.BytesValue(exi.Base64, string(g.Certificate)))
}

// ParseGetToken reads the element; a certificate in PEM form is taken too
// (0324-D3).
func ParseGetToken(c exi.Cursor) (g GetToken, err error) {
	v := c.Text()
	g.Certificate, _ = v.Bytes(exi.Base64)
	if len(g.Certificate) == 0 {
		if text := v.String(); len(text) <= 2*maxCertificate && strings.Contains(text, "-----BEGIN CERTIFICATE-----") {
			if b, _ := pem.Decode([]byte(strings.TrimSpace(text))); b != nil {
				g.Certificate = b.Bytes
			}
		}
	}
	if len(g.Certificate) == 0 || len(g.Certificate) > maxCertificate {
		return g, bad("the certificate cannot be read: base64 of its DER form is wanted")
	}
	return g, nil
}

// Challenge is one of the payloads that carry a challenge or its answer. Seq
// is for getting a token, Token for proving that one has one.
type Challenge struct {
	Name  exi.Name
	Seq   int64
	Token string
	Data  []byte
}

// AppendEvents writes the element.
func (c Challenge) AppendEvents(d *exi.Doc) {
	d.Start(c.Name)
	if c.Name == NameGetTokenChallenge || c.Name == NameGetTokenChallengeResponse {
		d.Attr(attrSeq, exi.IntValue(c.Seq))
	}
	optional(d, attrToken, c.Token)
	d.Text(exi.BytesValue(exi.Base64, string(c.Data)))
	d.End()
}

// ParseChallenge reads any of these elements.
func ParseChallenge(k exi.Cursor) (c Challenge, err error) {
	c.Name, c.Token = k.Name(), text(k, attrToken)
	switch c.Name {
	case NameGetTokenChallenge, NameGetTokenChallengeResponse, NameTokenChallenge, NameTokenChallengeResponse:
	default:
		return c, bad("no challenge, and no answer to one")
	}
	if c.Name == NameGetTokenChallenge || c.Name == NameGetTokenChallengeResponse {
		v, present := k.Attr(attrSeq)
		n, ok := v.Int()
		if !present || !ok {
			return c, bad("seqnr is missing")
		}
		c.Seq = n
	}
	if c.Name == NameTokenChallenge && c.Token == "" {
		return c, bad("token is missing")
	}
	if len(c.Token) > maxToken {
		return c, bad("the token is too long")
	}
	var ok bool
	if c.Data, ok = k.Text().Bytes(exi.Base64); !ok || len(c.Data) > maxChallenge {
		return c, bad("base64 is wanted")
	}
	return c, nil
}

// Token is the content of getTokenResponse.
type Token string

// AppendEvents writes the element.
func (t Token) AppendEvents(d *exi.Doc) {
	d.Start(NameGetTokenResponse)
	d.Attr(attrToken, exi.Str(string(t)))
	d.End()
}

// ParseToken reads the element; white space cannot be in a token (0324-R10).
func ParseToken(c exi.Cursor) (Token, error) {
	t := text(c, attrToken)
	if t == "" || len(t) > maxToken || len(strings.Fields(t)) != 1 {
		return "", bad("no token came")
	}
	return Token(t), nil
}

// SplitTokens returns the tokens in an attribute (0324-D20), at most 16.
func SplitTokens(s string) []string {
	if len(s) > maxTokens*(maxToken+1) {
		s = s[:maxTokens*(maxToken+1)]
	}
	list := strings.Fields(s)
	return list[:min(len(list), maxTokens)]
}
