// Package archtest holds the table of which room may import which, and the
// test that reads the truth from go list. The table repeats
// docs/architecture.md §1 in a form that a machine can check; a new arrow
// belongs in both, with its reason.
package archtest
