package cli

import (
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"postern/internal/cli/thing"
	"postern/internal/live"
	"postern/internal/node"
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

func readoutJSON(full string, res thing.Result, complete bool) jsonReadout {
	out := jsonReadout{Version: formatVersion, Thing: full, Complete: complete, Fields: []jsonField{}, Failures: []jsonFailure{}}
	for _, f := range res.Fields {
		out.Fields = append(out.Fields, jsonField{
			jsonNode: nodeJSON(f.Node), Name: f.Name, Kind: f.Kind, Value: valueJSON(f), Unit: f.Unit, DataType: f.DataType,
			Types: words(f.Types.String()), Quality: words(f.Quality.String()), Time: f.Time, Writable: f.Writable,
		})
	}
	for _, f := range res.Failures {
		out.Failures = append(out.Failures, jsonFailure{nodeJSON(f.Node), f.Time, f.Text})
	}
	return out
}

func words(s string) []string {
	if s == "" {
		return []string{}
	}
	return strings.Fields(s)
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// valueJSON gives numbers with the digits they came with, so that 21.50 stays
// 21.50; what JSON has no number for (INF, NaN) becomes a string.
func valueJSON(f thing.Field) json.RawMessage {
	if f.Quality&live.Missing != 0 {
		return json.RawMessage("null")
	}
	switch f.Kind {
	case "numeric", "int", "long", "double":
		if v := strings.TrimPrefix(f.Value, "+"); jsonNumber.MatchString(v) {
			return json.RawMessage(v)
		}
	case "boolean":
		switch f.Value {
		case "true", "1":
			return json.RawMessage("true")
		case "false", "0":
			return json.RawMessage("false")
		}
	}
	b, err := json.Marshal(f.Value)
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
