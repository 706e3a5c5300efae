package config

import (
	"slices"
	"strconv"
	"time"
)

// Provisioning says how the gateway is paired with its owner, and who is asked
// what others may do. Unless Use is true there is neither.
type Provisioning struct {
	Use      bool            `yaml:"use" default:"false" doc:"register with a thing registry (XEP-0347) and ask a provisioning server (XEP-0324); what access says holds besides"`
	Registry Registry        `yaml:"registry,omitempty" doc:"the thing registry; when no place is given, or none of them offers it, the components of the account's server are asked"`
	Server   ProvisionServer `yaml:"server,omitempty" doc:"the provisioning server; looked for as the registry is, the registry and the owner included"`
	Tags     Tags            `yaml:"tags,omitempty" doc:"what the owner and searchers are told about the gateway, by name: SN, MAN, MODEL, CITY, ROOM, V, LAT, LON, others of XEP-0347 or your own; nothing that changes"`
	SelfOwn  bool            `yaml:"self_owned" default:"false" doc:"the gateway belongs to nobody and is public"`
	Things   []Thing         `yaml:"things,omitempty" doc:"nodes that are registered and claimed each for itself"`
}

// Registry is where the thing registry is.
type Registry struct {
	Use   bool `yaml:"use" default:"true" doc:"register there"`
	Place `yaml:",inline"`
}

// ProvisionServer is where the provisioning server is, and how it is asked.
type ProvisionServer struct {
	Use          bool `yaml:"use" default:"true" doc:"ask it who may read and switch, and who may be a friend"`
	Place        `yaml:",inline"`
	Timeout      time.Duration `yaml:"timeout" default:"10s" min:"100ms" max:"2m" doc:"how long an answer may take; without one nothing is allowed that is not remembered"`
	Remember     int           `yaml:"remember" default:"1024" min:"0" max:"100000" doc:"answers that are remembered until the server revokes them; 0: none"`
	RememberFor  time.Duration `yaml:"remember_for,omitempty" max:"36500d" doc:"how long an answer is remembered at most; until it is revoked when left out"`
	CheckFriends bool          `yaml:"check_friends" default:"false" doc:"ask again before a friend that the server recommends is befriended"`
}

// Place is where a service was said to be, in the order in which the places
// are tried.
type Place struct {
	Address   string `yaml:"address,omitempty" format:"bare-jid" doc:"its address: a domain, or an account" example:"things.site.example"`
	Subdomain string `yaml:"subdomain,omitempty" max:"200" doc:"or what stands before the domain of the gateway's account" example:"things"`
	User      string `yaml:"user,omitempty" max:"200" doc:"or the name of its account at the gateway's server" example:"registry"`
}

// Tags are pieces of information by name.
type Tags map[string]string

// Thing is a node that is registered by itself.
type Thing struct {
	Node    string `yaml:"node" doc:"id of the node" example:"boiler"`
	Tags    Tags   `yaml:"tags,omitempty" doc:"what is told about it"`
	SelfOwn bool   `yaml:"self_owned" default:"false" doc:"it belongs to nobody and is public"`
}

// tagsAt checks tags at their place in the file.
func (l *loader) tagsAt(n *node, path string) {
	if n == nil || l.kinds.Tag == nil {
		return
	}
	for i, k := range n.keys {
		if err := l.kinds.Tag(k.text, n.items[i].text); err != nil {
			l.add(k, join(path, k.text), err.Error(), "")
		}
	}
}

// thingNodes checks the tags, and the nodes that are registered.
func (l *loader) thingNodes(root *node, names []string) {
	section := root.get("provisioning")
	l.tagsAt(section.get("tags"), "provisioning.tags")
	list := section.get("things")
	seen := map[string]bool{}
	for i, t := range l.cfg.Provisioning.Things {
		at := list
		if i < len(list.items) {
			l.tagsAt(list.items[i].get("tags"), "provisioning.things["+strconv.Itoa(i)+"].tags")
			if n := list.items[i].get("node"); n != nil {
				at = n
			}
		}
		path := "provisioning.things[" + strconv.Itoa(i) + "].node"
		switch {
		case !slices.Contains(names, t.Node):
			l.add(at, path, "there is no node "+quote(t.Node), suggest(t.Node, names))
		case seen[t.Node]:
			l.add(at, path, "the node "+quote(t.Node)+" stands here twice", "remove one of the two")
		}
		seen[t.Node] = true
	}
}
