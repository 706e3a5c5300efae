package modbus

import (
	"encoding/binary"
	"fmt"

	"postern/drivers"
)

// Function codes (Modbus Application Protocol V1.1b3, chapter 6).
const (
	fnReadCoils         = 1
	fnReadDiscretes     = 2
	fnReadHolding       = 3
	fnReadInput         = 4
	fnWriteCoil         = 5
	fnWriteRegister     = 6
	fnWriteCoils        = 15
	fnWriteRegisters    = 16
	fnReportID          = 17
	fnMaskWrite         = 22
	fnReadWrite         = 23
	fnEncapsulated      = 43
	meiIdentification   = 14
	exceptionFlag       = 0x80
	maxPDU              = 253
	maxReadRegisters    = 125
	maxReadBits         = 2000
	maxWriteRegisters   = 123
	maxWriteBits        = 1968
	maxReadWriteRegs    = 121
	coilOn              = 0xff00
	identificationLimit = 64 // objects and answers taken of one identification
)

// Table is one of the four tables of a unit.
type Table uint8

// The tables.
const (
	Coils Table = iota
	Discretes
	Inputs
	Holdings
)

var tableNames = [...]string{"coil", "discrete", "input", "holding"}

// String returns the configuration's name of the table.
func (t Table) String() string {
	if int(t) < len(tableNames) {
		return tableNames[t]
	}
	return "table?"
}

// Bits tells whether the table holds bits and not registers.
func (t Table) Bits() bool { return t == Coils || t == Discretes }

func (t Table) readFunction() byte {
	return [...]byte{fnReadCoils, fnReadDiscretes, fnReadInput, fnReadHolding}[t]
}

// Exception is the refusal of a unit (chapter 7).
type Exception uint8

// The exceptions that have a meaning for callers.
const (
	IllegalFunction Exception = 1
	IllegalAddress  Exception = 2
	IllegalValue    Exception = 3
	DeviceFailure   Exception = 4
	Busy            Exception = 6
	NoPath          Exception = 10 // a gateway cannot reach the unit's line
	NoAnswer        Exception = 11 // a gateway got no answer from the unit
)

var exceptionTexts = map[Exception]string{
	IllegalFunction: "illegal function: the unit does not know this request",
	IllegalAddress:  "illegal data address: the unit has no such register",
	IllegalValue:    "illegal data value: the unit does not accept the value or the count",
	DeviceFailure:   "device failure",
	5:               "acknowledged, still working",
	Busy:            "busy",
	8:               "memory parity error",
	NoPath:          "gateway has no path to the unit",
	NoAnswer:        "gateway got no answer from the unit",
}

// Error implements error.
func (e Exception) Error() string {
	if s, ok := exceptionTexts[e]; ok {
		return fmt.Sprintf("exception %d, %s", uint8(e), s)
	}
	return fmt.Sprintf("exception %d", uint8(e))
}

// Is maps what a gateway says about a unit behind it to the drivers' errors.
func (e Exception) Is(target error) bool {
	switch e {
	case NoAnswer, Busy:
		return target == drivers.ErrTimeout
	case NoPath:
		return target == drivers.ErrGone
	}
	return false
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

func request(fn byte, words ...uint16) []byte {
	b := make([]byte, 1, 5)
	b[0] = fn
	for _, w := range words {
		b = binary.BigEndian.AppendUint16(b, w)
	}
	return b
}

func garbage(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, drivers.ErrProtocol)...)
}

// answer checks that pdu answers function fn: it returns an Exception as
// error, and otherwise what follows the function code.
func answer(fn byte, pdu []byte) ([]byte, error) {
	switch {
	case len(pdu) == 2 && pdu[0] == fn|exceptionFlag:
		return nil, Exception(pdu[1])
	case len(pdu) < 2 || pdu[0] != fn:
		return nil, garbage("answer % x does not belong to function %d", head(pdu), fn)
	}
	return pdu[1:], nil
}

func head(b []byte) []byte { return b[:min(len(b), 8)] }

// counted checks an answer whose first octet counts the rest.
func counted(fn byte, pdu []byte, want int) ([]byte, error) {
	b, err := answer(fn, pdu)
	if err != nil {
		return nil, err
	}
	if int(b[0]) != len(b)-1 || int(b[0]) != want {
		return nil, garbage("answer holds %d octets and says %d, expected are %d", len(b)-1, b[0], want)
	}
	return b[1:], nil
}

// echoed checks the answer to a write, which repeats the head of the request.
func echoed(req, pdu []byte, n int) error {
	b, err := answer(req[0], pdu)
	if err != nil {
		return err
	}
	if string(b) != string(req[1:n]) {
		return garbage("answer to the write is % x and not % x", head(b), req[1:n])
	}
	return nil
}

func unpackRegisters(b []byte) []uint16 {
	regs := make([]uint16, len(b)/2)
	for i := range regs {
		regs[i] = be16(b[2*i:])
	}
	return regs
}

func appendRegisters(b []byte, regs []uint16) []byte {
	for _, r := range regs {
		b = binary.BigEndian.AppendUint16(b, r)
	}
	return b
}

// unpackBits takes n bits, the first one in the lowest bit of the first octet.
func unpackBits(b []byte, n int) []bool {
	bits := make([]bool, n)
	for i := range bits {
		bits[i] = b[i/8]&(1<<(i%8)) != 0
	}
	return bits
}

func appendBits(b []byte, bits []bool) []byte {
	start := len(b)
	b = append(b, make([]byte, (len(bits)+7)/8)...)
	for i, on := range bits {
		if on {
			b[start+i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// AnswerLength returns how many octets an answer PDU has, as far as its head b
// tells: 0 when b is too short to know, −1 when the function is unknown.
// Framing on a serial line needs it, since frames carry no length.
func AnswerLength(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	if b[0]&exceptionFlag != 0 {
		return 2
	}
	switch b[0] {
	case fnReadCoils, fnReadDiscretes, fnReadHolding, fnReadInput, fnReportID, fnReadWrite:
		if len(b) < 2 {
			return 0
		}
		return 2 + int(b[1])
	case fnWriteCoil, fnWriteRegister, fnWriteCoils, fnWriteRegisters:
		return 5
	case fnMaskWrite:
		return 7
	case fnEncapsulated:
		return identificationLength(b)
	}
	return -1
}

// RequestLength is AnswerLength for requests; a slave needs it.
func RequestLength(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case fnReadCoils, fnReadDiscretes, fnReadHolding, fnReadInput, fnWriteCoil, fnWriteRegister:
		return 5
	case fnWriteCoils, fnWriteRegisters:
		if len(b) < 6 {
			return 0
		}
		return 6 + int(b[5])
	case fnReportID:
		return 1
	case fnMaskWrite:
		return 7
	case fnReadWrite:
		if len(b) < 10 {
			return 0
		}
		return 10 + int(b[9])
	case fnEncapsulated:
		return 4
	}
	return -1
}

// identificationLength: 43, 14, code, conformity, more, next, count, then
// objects of id, length, text (chapter 6.21).
func identificationLength(b []byte) int {
	if len(b) < 7 {
		return 0
	}
	n := 7
	for range int(b[6]) {
		if len(b) < n+2 {
			return 0
		}
		if n += 2 + int(b[n+1]); n > maxPDU {
			return -1
		}
	}
	return n
}
