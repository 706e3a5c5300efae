package local

import "context"

// AuditRequest chooses records of the audit. Zero fields choose all.
type AuditRequest struct {
	Since  string `json:"since,omitempty"` // RFC 3339
	Before string `json:"before,omitempty"`
	Node   string `json:"node,omitempty"`
	Limit  int    `json:"limit,omitempty"`
	Verify bool   `json:"verify,omitempty"` // verify the chains instead
}

// Audit asks a gateway for records of its audit, or to verify them. What it
// answers is read into out, whose type the audit room defines.
func (c *Client) Audit(ctx context.Context, r AuditRequest, out any) error {
	return c.call(ctx, "POST", "/v1/audit", r, out)
}
