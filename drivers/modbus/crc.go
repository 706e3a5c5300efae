package modbus

// crc16 is the checksum of RTU frames (Modbus over Serial Line V1.02, 6.2.2):
// polynomial 0xA001 reflected, start 0xFFFF, sent low octet first. Bit by bit
// it costs some microseconds a frame, which is nothing beside the line.
func crc16(b []byte) uint16 {
	c := uint16(0xffff)
	for _, x := range b {
		c ^= uint16(x)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0xa001
			} else {
				c >>= 1
			}
		}
	}
	return c
}

// AppendFrame appends the RTU frame of a PDU to dst.
func AppendFrame(dst []byte, unit byte, pdu []byte) []byte {
	start := len(dst)
	dst = append(append(dst, unit), pdu...)
	c := crc16(dst[start:])
	return append(dst, byte(c), byte(c>>8))
}

// ValidFrame tells whether b is one RTU frame with a right checksum.
func ValidFrame(b []byte) bool {
	return len(b) >= 4 && crc16(b) == 0 // over a frame with its checksum the rest is zero
}
