package sqlite

import (
	"context"
	"fmt"

	"github.com/treekem/mls/store"
)

// applicationID is "MLS1": it tells a store from other files of SQLite.
const applicationID = 0x4d4c5331

// migrations lead from one version of the schema to the next, the first from
// nothing to version 1. A version is never changed once it was released.
//
// kv holds the values, c the checksum of each row; meta holds the number of rows,
// the exclusive or of their checksums, and the number of batches. In version 1
// values lay among the keys, so that a search read the large ones on its way;
// since version 2 an index holds the keys alone.
var migrations = []string{
	`CREATE TABLE kv (k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL, c BLOB NOT NULL) WITHOUT ROWID;
	CREATE TABLE meta (k TEXT NOT NULL PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;
	INSERT INTO meta (k, v) VALUES ('total', zeroblob(48));`,
	`ALTER TABLE kv RENAME TO kv1;
	CREATE TABLE kv (k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL, c BLOB NOT NULL);
	INSERT INTO kv (k, v, c) SELECT k, v, c FROM kv1 ORDER BY k;
	DROP TABLE kv1;`,
}

// migrate brings the schema to the version of this package, each step in one
// transaction. PRAGMA user_version holds the version.
func (d *DB) migrate(ctx context.Context, migrations []string) error {
	version, err := d.number(ctx, "PRAGMA user_version")
	if err != nil {
		return err
	}
	if version < 0 || version > int64(len(migrations)) {
		return fmt.Errorf("%w: %s has schema version %d, known is %d", store.ErrNewer, d.path, version, len(migrations))
	}
	if d.opt.ReadOnly {
		if version == 0 {
			return fmt.Errorf("%w: %s has no schema", store.ErrCorrupt, d.path)
		}
		return nil // rows are read in the same way in all versions
	}
	for ; version < int64(len(migrations)); version++ {
		err := d.transact(ctx, func() error {
			if err := d.exec(ctx, migrations[version]); err != nil {
				return err
			}
			return d.exec(ctx, fmt.Sprintf("PRAGMA user_version = %d", version+1))
		})
		if err != nil {
			return err
		}
	}
	return nil
}
