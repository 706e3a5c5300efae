// Package pairing holds the commands for whoever brings a gateway to its owner
// and decides who else may use it: pair shows a gateway's claim code on the
// device; claim, things, search, transfer, disown, rules, friends, approve and
// deny talk to the thing registry with the operator's own account (XEP-0347,
// and provisioning.NSOwner for what the XEPs have no words for).
package pairing
