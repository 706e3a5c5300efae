//go:build !fleet

package daemon

import (
	"context"
	"fmt"
	"log/slog"
)

// openDatabase says which build has PostgreSQL.
func openDatabase(context.Context, registryDatabase, purpose, *slog.Logger) (*registryDB, error) {
	return nil, fmt.Errorf("%w: this build, for boards, keeps a registry's state in a file; PostgreSQL needs the fleet build, "+
		"postern-fleet-… of make cross (go build -tags fleet ./cmd/postern)", errConfig)
}

func databaseAway(error) bool { return false }
