// Package qr draws claim codes as QR codes (ISO/IEC 18004): on a terminal, as
// PNG, as SVG, and as a sheet of labels to print. The code words come from
// rsc.io/qr/coding; the choice of size and mask and everything that draws is
// here.
package qr
