package local

import (
	"log/slog"
	"net/http"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// recorder keeps the status of an answer.
type recorder struct{ status int }

func (r *recorder) Header() http.Header         { return http.Header{} }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }
