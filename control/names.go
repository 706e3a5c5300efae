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

// Elements of forms.
var (
	nameField = exi.N(nsData, "field")
	nameValue = exi.N(nsData, "value")
)
