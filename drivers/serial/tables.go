package serial

import bug "go.bug.st/serial"

var parities = map[string]bug.Parity{"none": bug.NoParity, "even": bug.EvenParity, "odd": bug.OddParity}

var stopBits = map[string]bug.StopBits{"1": bug.OneStopBit, "2": bug.TwoStopBits}
