// Package gateway builds the rooms of postern run out of a configuration and
// runs them: devices, nodes, sensors, control, the session and the local door.
// It is the one place that knows all of them.
package gateway
