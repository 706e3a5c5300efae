package hil

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"
)

// qmp speaks QEMU's machine protocol (QEMU docs/interop/qmp-spec): one command
// at a time, with events between the answers.
type qmp struct {
	conn net.Conn
	dec  *json.Decoder

	turn   sync.Mutex // one command at a time
	mu     sync.Mutex
	events []string
	answer chan message
}

type message struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
}

func dialQMP(socket string) (*qmp, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	q := &qmp{conn: c, dec: json.NewDecoder(c), answer: make(chan message, 1)}
	var greeting json.RawMessage
	if err := q.dec.Decode(&greeting); err != nil {
		return nil, err
	}
	go q.read()
	_, err = q.do("qmp_capabilities", nil)
	return q, err
}

func (q *qmp) read() {
	defer close(q.answer)
	for {
		var m message
		if q.dec.Decode(&m) != nil {
			return // QEMU has ended
		}
		if m.Event == "" {
			q.answer <- m
			continue
		}
		q.mu.Lock()
		q.events = append(q.events, m.Event)
		q.mu.Unlock()
	}
}

func (q *qmp) do(command string, arguments any) (json.RawMessage, error) {
	q.turn.Lock()
	defer q.turn.Unlock()
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(q.conn).Encode(request); err != nil {
		return nil, err
	}
	select {
	case m, ok := <-q.answer:
		switch {
		case !ok:
			return nil, fmt.Errorf("hil: QEMU ended during %s", command)
		case m.Error != nil:
			return nil, fmt.Errorf("hil: %s: %s", command, m.Error.Desc)
		}
		return m.Return, nil
	case <-time.After(10 * time.Second):
		return nil, fmt.Errorf("hil: QEMU does not answer %s", command)
	}
}

func (q *qmp) seen(event string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.events {
		if e == event {
			return true
		}
	}
	return false
}
