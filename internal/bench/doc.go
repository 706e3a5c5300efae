// Package bench measures the gateway beside a bare responder: a program that
// answers the same read requests with the same stanzas and does nothing else.
// Neither the load generator nor the bare responder uses the product's stream
// or codec, so that a slow stack cannot hide behind itself.
//
// make bench runs TestFloors, which starts real servers, alternates between
// the two and checks the ratios that docs/benchmarks.md promises.
package bench
