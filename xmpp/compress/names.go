// Package compress is EXI compression of XMPP streams (XEP-0322): the proposal
// and its answer, the library of schemas, the state machines of both roles,
// and the codec that a connection switches to.
//
// On the ordinary port a stream starts as XML. Behind TLS and login the client
// proposes options and names schemas by namespace, size and MD5; the server
// lowers numbers and names what it does not have; once a proposal was accepted
// as it stood, both switch:
//
//	PLAIN ──setup──▶ PROPOSED ──agreement──▶ AGREED ──compress, compressed──▶ EXI
//	  ▲                │    ▲
//	  └── give up ── REFINE ┘ upload, lower, leave out
//
// Whatever fails on the way leaves the XML stream as it was.
package compress

import "postern/exi"

// Namespaces of XEP-0322 and XEP-0138.
const (
	NSFeature  = "http://jabber.org/features/compress"
	NSCompress = "http://jabber.org/protocol/compress"
	NSEXI      = "http://jabber.org/protocol/compress/exi"
	// NSPostern is the namespace of the one extension, the kept window.
	NSPostern = "urn:postern:exi:1"
)

// Method is the name of EXI compression among a server's methods.
const Method = "exi"

var (
	nameCompression = exi.N(NSFeature, "compression")
	nameMethod      = exi.N(NSFeature, "method")

	nameCompress    = exi.N(NSCompress, "compress")
	nameCompressed  = exi.N(NSCompress, "compressed")
	nameFailure     = exi.N(NSCompress, "failure")
	nameSetupFailed = exi.N(NSCompress, "setup-failed")
	nameUnsupported = exi.N(NSCompress, "unsupported-method")
	nameProcessing  = exi.N(NSCompress, "processing-failed")
	nameCMethod     = exi.N(NSCompress, "method")

	nameSetup         = exi.N(NSEXI, "setup")
	nameSetupResponse = exi.N(NSEXI, "setupResponse")
	nameSchema        = exi.N(NSEXI, "schema")
	nameMissing       = exi.N(NSEXI, "missingSchema")
	nameMap           = exi.N(NSEXI, "datatypeRepresentationMap")
	nameUpload        = exi.N(NSEXI, "uploadSchema")
	nameDownload      = exi.N(NSEXI, "downloadSchema")
	nameDownloaded    = exi.N(NSEXI, "downloadSchemaResponse")
	nameStreamStart   = exi.N(NSEXI, "streamStart")
	nameStreamEnd     = exi.N(NSEXI, "streamEnd")
	nameXMLNS         = exi.N(NSEXI, "xmlns")

	attrNS          = exi.N("", "ns")
	attrBytes       = exi.N("", "bytes")
	attrMD5         = exi.N("", "md5Hash")
	attrURL         = exi.N("", "url")
	attrResult      = exi.N("", "result")
	attrMessage     = exi.N("", "message")
	attrAgreement   = exi.N("", "agreement")
	attrConfig      = exi.N("", "configurationId")
	attrLocation    = exi.N("", "configurationLocation")
	attrContentType = exi.N("", "contentType")
	attrPrefix      = exi.N("", "prefix")
	attrNamespace   = exi.N("", "namespace")
	attrTo          = exi.N("", "to")
	attrFrom        = exi.N("", "from")
	attrID          = exi.N("", "id")
	attrStreamVer   = exi.N("", "version")
	attrLang        = exi.N(exi.NSXML, "lang")
	attrWindow      = exi.N(NSPostern, "window")
)
