package exi

import "errors"

var errUnfinished = errors.New("exi: the EXI codec is not built into this version yet; use XML")
