package control

import (
	"postern/drivers"
	"postern/exi"
)

func n(local string) exi.Name  { return exi.N(NS, local) }
func at(local string) exi.Name { return exi.N("", local) }

// Element and attribute names, interned once.
var (
	nameSet            = n("set")
	nameGetForm        = n("getForm")
	nameSetResponse    = n("setResponse")
	nameNode           = n("node")
	nameParameter      = n("parameter")
	nameParamError     = n("paramError")
	nameParameterGroup = n("parameterGroup")

	nameX = exi.N(nsData, "x")

	attrName         = at("name")
	attrValue        = at("value")
	attrVar          = at("var")
	attrType         = at("type")
	attrNodeID       = at("nodeId")
	attrSourceID     = at("sourceId")
	attrCacheType    = at("cacheType")
	attrServiceToken = at("serviceToken")
	attrDeviceToken  = at("deviceToken")
	attrUserToken    = at("userToken")
	attrResponseCode = at("responseCode") // before version 0.3

	// typedElements are the ten parameter elements and the misspelling of
	// Smack.
	typedElements = map[exi.Name]drivers.Kind{
		n("boolean"):  drivers.KindBool,
		n("bool"):     drivers.KindBool,
		n("int"):      drivers.KindInt,
		n("long"):     drivers.KindLong,
		n("double"):   drivers.KindNumber,
		n("string"):   drivers.KindString,
		n("date"):     drivers.KindDate,
		n("dateTime"): drivers.KindTime,
		n("time"):     drivers.KindClock,
		n("duration"): drivers.KindDuration,
		n("color"):    drivers.KindColor,
	}
)

// elementFor returns the element that carries a value of kind k.
func elementFor(k drivers.Kind) exi.Name {
	switch k {
	case drivers.KindEnum:
		return n("string")
	case drivers.KindTime:
		return n("dateTime")
	}
	return n(k.String())
}

// Elements of forms (XEP-0004, 0122, 0141, 0331, 0336).
var (
	nameField        = exi.N(nsData, "field")
	nameValue        = exi.N(nsData, "value")
	nameTitle        = exi.N(nsData, "title")
	nameInstructions = exi.N(nsData, "instructions")
	nameDesc         = exi.N(nsData, "desc")
	nameOption       = exi.N(nsData, "option")
	nameValidate     = exi.N(nsValidate, "validate")
	nameBasic        = exi.N(nsValidate, "basic")
	nameOpen         = exi.N(nsValidate, "open")
	nameRange        = exi.N(nsValidate, "range")
	nameRegex        = exi.N(nsValidate, "regex")
	namePage         = exi.N(nsLayout, "page")
	nameSection      = exi.N(nsLayout, "section")
	nameFieldref     = exi.N(nsLayout, "fieldref")
	nameReadOnly     = exi.N(nsDynamic, "readOnly")
	nameNotSame      = exi.N(nsDynamic, "notSame")
	namePostBack     = exi.N(nsDynamic, "postBack")
	nameDynError     = exi.N(nsDynamic, "error")
	nameDynSubmit    = exi.N(nsDynamic, "submit")
	nameDynCancel    = exi.N(nsDynamic, "cancel")
	nameUpdated      = exi.N(nsDynamic, "updated")

	attrLabel           = at("label")
	attrLang            = exi.N(exi.NSXML, "lang")
	attrSessionVariable = at("sessionVariable")
	attrDatatype        = at("datatype")
	attrMin             = at("min")
	attrMax             = at("max")
)

// sessionVar is the hidden field that names a form session by convention
// (D15).
const sessionVar = "xdd session"
