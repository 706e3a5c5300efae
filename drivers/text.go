package drivers

// UnmarshalText reads a number out of a configuration file and keeps its
// digits: 0.10 stays 10 × 10^-2.
func (n *Number) UnmarshalText(text []byte) error {
	v, err := ParseNumber(string(text))
	if err != nil {
		return err
	}
	*n = v
	return nil
}

// MarshalText writes what String returns.
func (n Number) MarshalText() ([]byte, error) { return n.Append(nil), nil }
