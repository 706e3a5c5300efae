package hci

import (
	"encoding/binary"
	"errors"
)

var le = binary.LittleEndian

// Packet types of the UART transport, which the kernel's channel uses as well
// (Bluetooth Core 5.4, volume 4, part A, 2).
const (
	packetCommand = 0x01
	packetData    = 0x02
	packetEvent   = 0x04
)

// Events (volume 4, part E, 7.7).
const (
	eventDisconnected    = 0x05
	eventCommandComplete = 0x0e
	eventCommandStatus   = 0x0f
	eventHardwareError   = 0x10
	eventPacketsDone     = 0x13
	eventLE              = 0x3e

	leConnected = 0x01
	leReport    = 0x02
)

// Report is one advertisement, or one scan response, as it was heard.
type Report struct {
	Address  [6]byte // the first octet first, as it is printed
	Random   bool    // the address is random, not public
	Response bool    // what a device answered to an active scan
	RSSI     int8    // dBm; 127: not known
	Data     []byte  // at most 31 octets; only valid during the call
}

var errReport = errors.New("advertising report is cut short")

// parseReports takes an LE Advertising Report apart (7.7.65.2): the number of
// reports, then for each its type, kind of address, address, length, data and
// signal strength.
func parseReports(b []byte, each func(Report)) error {
	if len(b) < 1 {
		return errReport
	}
	n := int(b[0])
	b = b[1:]
	for range n {
		if len(b) < 9 {
			return errReport
		}
		size := int(b[8])
		if len(b) < 9+size+1 {
			return errReport
		}
		each(Report{
			Address: reversed(b[2:8]), Random: b[1]&1 != 0, Response: b[0] == 4,
			RSSI: int8(b[9+size]), Data: b[9 : 9+size],
		})
		b = b[9+size+1:]
	}
	return nil
}

func reversed(b []byte) (a [6]byte) {
	for i := range a {
		a[i] = b[5-i]
	}
	return a
}

// frames puts the fragments of one connection together again: a length of two
// octets, a channel of two, the payload (volume 3, part A, 3.1).
type frames struct {
	buf  []byte
	want int
}

const (
	channelATT = 4
	// maxFrame is the longest attribute packet that is asked for.
	maxFrame = 517
)

// add takes a fragment and returns an attribute packet when it is complete.
// What is too long or for other channels is dropped.
func (f *frames) add(first bool, b []byte) []byte {
	if first {
		f.buf = f.buf[:0]
	} else if len(f.buf) == 0 {
		return nil // the beginning was dropped
	}
	if len(f.buf)+len(b) > maxFrame+4 {
		f.buf = f.buf[:0]
		return nil
	}
	f.buf = append(f.buf, b...)
	if len(f.buf) < 4 {
		return nil
	}
	f.want = 4 + int(le.Uint16(f.buf))
	if len(f.buf) < f.want {
		return nil
	}
	whole, channel := f.buf[4:f.want], le.Uint16(f.buf[2:])
	f.buf = f.buf[:0]
	if channel != channelATT {
		return nil
	}
	return whole
}
