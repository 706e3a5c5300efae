// Package systemd speaks to the service manager: it tells the state of a
// service, feeds its watchdog, and leaves descriptors with it that the next
// process of the service gets back (sd_notify(3), sd_listen_fds(3)). Without a
// manager everything here does nothing, so callers need not ask.
package systemd
