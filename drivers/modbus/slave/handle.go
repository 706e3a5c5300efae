package slave

import (
	"encoding/binary"

	"postern/drivers/modbus"
)

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

func refuse(fn byte, e modbus.Exception) []byte { return []byte{fn | 0x80, byte(e)} }

// Handle answers one request PDU from an image (Modbus Application Protocol
// V1.1b3, chapter 6). It never panics, whatever pdu holds.
func Handle(m *modbus.Image, pdu []byte) []byte {
	if len(pdu) == 0 {
		return refuse(0, modbus.IllegalFunction)
	}
	fn := pdu[0]
	if n := modbus.RequestLength(pdu); n < 0 {
		return refuse(fn, modbus.IllegalFunction)
	} else if n == 0 || len(pdu) != n {
		return refuse(fn, modbus.IllegalValue)
	}
	switch fn {
	case 1, 2:
		return readBits(m, modbus.Table(fn-1), pdu)
	case 3:
		return readRegisters(m, modbus.Holdings, pdu)
	case 4:
		return readRegisters(m, modbus.Inputs, pdu)
	case 5:
		return writeCoil(m, pdu)
	case 6:
		return writeRegisters(m, pdu, be16(pdu[1:]), pdu[3:5])
	case 15:
		return writeCoils(m, pdu)
	case 16:
		if n := int(be16(pdu[3:])); n < 1 || n > 123 || int(pdu[5]) != 2*n {
			return refuse(fn, modbus.IllegalValue)
		}
		return writeRegisters(m, pdu, be16(pdu[1:]), pdu[6:])
	case 22:
		return maskWrite(m, pdu)
	case 23:
		return readWrite(m, pdu)
	case 43:
		return identify(pdu)
	}
	return refuse(fn, modbus.IllegalFunction)
}

func readBits(m *modbus.Image, t modbus.Table, pdu []byte) []byte {
	n := int(be16(pdu[3:]))
	if n < 1 || n > 2000 {
		return refuse(pdu[0], modbus.IllegalValue)
	}
	bits, ok := m.Bits(t, be16(pdu[1:]), n)
	if !ok {
		return refuse(pdu[0], modbus.IllegalAddress)
	}
	out := make([]byte, 2+(n+7)/8)
	out[0], out[1] = pdu[0], byte((n+7)/8)
	for i, b := range bits {
		if b {
			out[2+i/8] |= 1 << (i % 8)
		}
	}
	return out
}

func readRegisters(m *modbus.Image, t modbus.Table, pdu []byte) []byte {
	n := int(be16(pdu[3:]))
	if n < 1 || n > 125 {
		return refuse(pdu[0], modbus.IllegalValue)
	}
	regs, ok := m.Registers(t, be16(pdu[1:]), n)
	if !ok {
		return refuse(pdu[0], modbus.IllegalAddress)
	}
	return appendRegisters([]byte{pdu[0], byte(2 * n)}, regs)
}

func appendRegisters(b []byte, regs []uint16) []byte {
	for _, r := range regs {
		b = binary.BigEndian.AppendUint16(b, r)
	}
	return b
}

func writeCoil(m *modbus.Image, pdu []byte) []byte {
	addr, v := be16(pdu[1:]), be16(pdu[3:])
	if v != 0 && v != 0xff00 {
		return refuse(pdu[0], modbus.IllegalValue)
	}
	if _, ok := m.Bits(modbus.Coils, addr, 1); !ok {
		return refuse(pdu[0], modbus.IllegalAddress)
	}
	m.SetBits(modbus.Coils, addr, v != 0)
	return pdu
}

func writeCoils(m *modbus.Image, pdu []byte) []byte {
	addr, n := be16(pdu[1:]), int(be16(pdu[3:]))
	if n < 1 || n > 1968 || int(pdu[5]) != (n+7)/8 {
		return refuse(pdu[0], modbus.IllegalValue)
	}
	if _, ok := m.Bits(modbus.Coils, addr, n); !ok {
		return refuse(pdu[0], modbus.IllegalAddress)
	}
	bits := make([]bool, n)
	for i := range bits {
		bits[i] = pdu[6+i/8]&(1<<(i%8)) != 0
	}
	m.SetBits(modbus.Coils, addr, bits...)
	return pdu[:5]
}

func writeRegisters(m *modbus.Image, pdu []byte, addr uint16, data []byte) []byte {
	regs := make([]uint16, len(data)/2)
	for i := range regs {
		regs[i] = be16(data[2*i:])
	}
	if _, ok := m.Registers(modbus.Holdings, addr, len(regs)); !ok {
		return refuse(pdu[0], modbus.IllegalAddress)
	}
	m.SetRegisters(modbus.Holdings, addr, regs...)
	return pdu[:5]
}

func maskWrite(m *modbus.Image, pdu []byte) []byte {
	addr, and, or := be16(pdu[1:]), be16(pdu[3:]), be16(pdu[5:])
	old, ok := m.Registers(modbus.Holdings, addr, 1)
	if !ok {
		return refuse(pdu[0], modbus.IllegalAddress)
	}
	m.SetRegisters(modbus.Holdings, addr, old[0]&and|or&^and)
	return pdu
}

func readWrite(m *modbus.Image, pdu []byte) []byte {
	n, w := int(be16(pdu[3:])), int(be16(pdu[7:]))
	if n < 1 || n > 125 || w < 1 || w > 121 || int(pdu[9]) != 2*w {
		return refuse(pdu[0], modbus.IllegalValue)
	}
	if _, ok := m.Registers(modbus.Holdings, be16(pdu[1:]), n); !ok {
		return refuse(pdu[0], modbus.IllegalAddress)
	}
	if got := writeRegisters(m, pdu, be16(pdu[5:]), pdu[10:]); got[0] != pdu[0] {
		return got
	}
	regs, _ := m.Registers(modbus.Holdings, be16(pdu[1:]), n)
	return appendRegisters([]byte{pdu[0], byte(2 * n)}, regs)
}

// identify answers the basic identification in one go (function 43/14).
func identify(pdu []byte) []byte {
	if pdu[1] != 14 || pdu[2] < 1 || pdu[2] > 4 {
		return refuse(pdu[0], modbus.IllegalValue)
	}
	out := []byte{43, 14, pdu[2], 1, 0, 0, 0}
	for id, text := range []string{"Postern", "simulated unit", "1"} {
		if byte(id) < pdu[3] || pdu[2] == 4 && byte(id) != pdu[3] {
			continue
		}
		out = append(append(out, byte(id), byte(len(text))), text...)
		out[6]++
	}
	if out[6] == 0 {
		return refuse(pdu[0], modbus.IllegalAddress)
	}
	return out
}
