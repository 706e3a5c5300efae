package disco

import (
	"postern/exi"
	"postern/exi/xmltext"
)

func tryParse(xml string, d *exi.Doc) bool {
	return xmltext.ParseElement("<query xmlns='http://jabber.org/protocol/disco#info'>"+xml+"</query>", d) == nil
}
