// Package bits reads and writes the bit strings of an EXI body (EXI 1.0 §7.1)
// through 64-bit registers. Errors are sticky: a reader that ran out of input
// goes on yielding zeros, so callers check Err once per event instead of once
// per field.
package bits
