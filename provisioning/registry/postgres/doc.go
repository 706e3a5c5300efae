// Package postgres keeps the data of a thing registry in PostgreSQL, for a
// fleet whose operators have a database with back-ups and a stand-by already.
// It has code with the build tag fleet only.
//
// The registry keeps everything in memory and reads the database when it
// starts, so what it needs of one is that a change is there, whole, once it is
// acknowledged. All values are in one table, by bucket and key, and all goes
// over one connection, which holds an advisory lock for as long as it lives:
// two registries on one database would not hear of each other's changes.
//
//	postern_registry       bucket, key, value (JSON)
//	postern_registry_meta  version of the tables; epoch, which every registry
//	                       that takes over increases; commits, which every
//	                       transaction increases
//
// A connection that breaks loses the lock. So each transaction begins by
// increasing commits where epoch and commits are still what this registry knows;
// somebody else in between makes that fail for good (ErrSuperseded).
//
// A connection that breaks during a commit leaves open whether it took place.
// The number of commits tells, as soon as the database can be asked: at once,
// and then Update says the truth; or later, and then Update has failed, the
// registry goes on without the change, and it is taken back.
package postgres
