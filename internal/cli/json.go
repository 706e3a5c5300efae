package cli

import (
	"encoding/json"
	"io"
	"strings"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/sensors"
)

// formatVersion is the version of the JSON that commands print. Members may be
// added within a version; none is renamed or removed.
const formatVersion = 1

type jsonNode struct {
	Node   string `json:"node"`
	Source string `json:"source,omitempty"`
	Cache  string `json:"cacheType,omitempty"`
}

func nodeJSON(r node.Ref) jsonNode { return jsonNode{r.ID, r.Source, r.Cache} }

type jsonField struct {
	jsonNode
	Name     string          `json:"field"`
	Kind     string          `json:"kind"`
	Value    json.RawMessage `json:"value"` // null when missing
	Unit     string          `json:"unit,omitempty"`
	DataType string          `json:"dataType,omitempty"`
	Types    []string        `json:"types"`
	Quality  []string        `json:"quality"`
	Time     string          `json:"time"`
	Writable *bool           `json:"writable,omitempty"`
}

type jsonFailure struct {
	jsonNode
	Time string `json:"time"`
	Text string `json:"text"`
}

type jsonReadout struct {
	Version  int           `json:"version"`
	Thing    string        `json:"thing"`
	Complete bool          `json:"complete"`
	Fields   []jsonField   `json:"fields"`
	Failures []jsonFailure `json:"failures"`
}

func readoutJSON(full string, res sensors.Result, complete bool) jsonReadout {
	out := jsonReadout{Version: formatVersion, Thing: full, Complete: complete, Fields: []jsonField{}, Failures: []jsonFailure{}}
	for i := range res.Items {
		out.Fields = append(out.Fields, fieldJSONOf(&res.Items[i]))
	}
	for _, f := range res.Faults {
		out.Failures = append(out.Failures, jsonFailure{nodeJSON(f.Ref), stampText(f.Time, false), f.Text})
	}
	return out
}

func fieldJSONOf(f *sensors.Item) jsonField {
	j := jsonField{
		jsonNode: nodeJSON(f.Ref), Name: f.Name, Kind: fieldKind(f.Value), Value: valueJSON(f), Unit: f.Unit, DataType: f.DataType,
		Types: words(f.Types.String()), Quality: words(f.Quality.String()), Time: stampText(f.Time, f.NoZone),
	}
	if f.Writable != sensors.Unknown {
		yes := f.Writable == sensors.Yes
		j.Writable = &yes
	}
	return j
}

func words(s string) []string {
	if s == "" {
		return []string{}
	}
	return strings.Fields(s)
}

// valueJSON gives numbers with the digits they came with, so that 21.50 stays
// 21.50; what JSON has no number for (INF, NaN) is a text.
func valueJSON(f *sensors.Item) json.RawMessage {
	if f.Quality&live.Missing != 0 {
		return json.RawMessage("null")
	}
	if _, ok := f.Value.Number(); ok || f.Value.Kind() == drivers.KindBool {
		return json.RawMessage(f.Value.String())
	}
	b, err := json.Marshal(f.Value.String())
	if err != nil { // a string always can be written
		return json.RawMessage("null")
	}
	return b
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeJSONLine writes one document on one line, for streams of them.
func writeJSONLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
