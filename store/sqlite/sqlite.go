// Package sqlite is the durable [store.Store]: one SQLite file, by a driver in
// pure Go.
//
// A batch is on disk when Update returns: the file is in WAL mode with
// synchronous set to FULL. What is deleted is overwritten (secure_delete), and
// the write-ahead log, which holds older pages, is emptied every few batches, by
// [DB.Scrub] and by Close. The file is locked while it is open: a second process
// gets store.ErrLocked.
//
// Every row has a checksum that is verified when it is read, and all of them
// together have one that [DB.Check] verifies; Open does so too while the file is
// small, unless [Options] say otherwise. This finds damage. Against tampering,
// and against readers, use store.OpenSealed on top.
//
// The file is at the path given, and its log beside it under the same name with
// "-wal". To copy a store, close it first. A third file, with "-mark", holds the
// number of the last batch: if a store is older than its mark, because a backup
// was put in its place or its log was cut, Open fails with store.ErrRolledBack.
// Whoever knows what they do deletes the mark.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"modernc.org/sqlite"

	"github.com/treekem/mls/store"
)

// Options says how to open a store. The zero value is the default.
type Options struct {
	// MustExist fails with fs.ErrNotExist instead of making a new store.
	MustExist bool
	// ReadOnly is for looking into a store: updates fail, nothing is migrated,
	// no file is made or changed, and nothing is verified but what is read. Only
	// a log that a crash has left is emptied into the file. It takes no lock if
	// there is no log: an application that opens the file meanwhile is not kept
	// from it. It implies MustExist and Unchecked.
	ReadOnly bool
	// Unchecked opens a small file, too, without verifying the whole of it: to
	// find what is damaged, or to delete that.
	Unchecked bool
	// ScrubEvery is after how many batches the write-ahead log is emptied:
	// until then it can hold values that were deleted. Zero stands for
	// DefaultScrubEvery.
	ScrubEvery int
	// MaxBytes bounds the size of the file: beyond it updates fail with
	// store.ErrFull. Zero stands for no bound but the disk's.
	MaxBytes int64
}

const (
	// DefaultScrubEvery weighs how long deleted keys linger in the log against
	// two more syncs of the disk each time.
	DefaultScrubEvery = 64

	// checkedAtOpen is the size of the largest file that is read whole when it
	// is opened: tens of milliseconds.
	checkedAtOpen = 4 << 20

	pageSize = 4096
)

// DB is an open store.
type DB struct {
	db   *sql.DB
	conn *sql.Conn
	st   statements
	path string
	mark *os.File // nil until the store is open, or if it is read only
	opt  Options
	// immutable is set if the file is read as it is, without a log.
	immutable bool

	// lock is held by whoever uses the connection.
	lock   chan struct{}
	closed atomic.Bool

	scrubEvery, sinceScrub int
}

// statements are the prepared ones.
type statements struct {
	get, put, sum, remove, scan, meta, setMeta *sql.Stmt
}

// Open opens the store at path, or makes one. A nil opt is the zero Options.
func Open(ctx context.Context, path string, opt *Options) (*DB, error) {
	if opt == nil {
		opt = &Options{}
	}
	return open(ctx, path, *opt, migrations)
}

func open(ctx context.Context, path string, opt Options, migrations []string) (*DB, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) && !opt.MustExist && !opt.ReadOnly {
		if err = create(ctx, path, migrations); err == nil {
			info, err = os.Stat(path)
		}
	}
	if err == nil {
		err = checkFile(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	d, err := connect(ctx, path, opt)
	if err != nil {
		return nil, err
	}
	if err := d.start(ctx, info.Size(), migrations); err != nil {
		d.discard()
		return nil, err
	}
	return d, nil
}

// ErrNoStore: the file is another one than a store, or so damaged that it does
// not look like one. It is also a store.ErrCorrupt.
var ErrNoStore = fmt.Errorf("%w: not the file of a store", store.ErrCorrupt)

// checkFile refuses a file that is no store before anything is done to it. It
// reads by SQLite, which knows what else this process has open: closing a file
// would release the locks on it.
func checkFile(ctx context.Context, path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", uri(abs)+asItIs)
	if err != nil {
		return err
	}
	defer db.Close()
	var id int64
	err = db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id)
	var e *sqlite.Error
	switch {
	case errors.As(err, &e) && e.Code()&0xff == codeNotADB, err == nil && id != applicationID:
		return ErrNoStore
	case errors.As(err, &e) && e.Code()&0xff == codeCorrupt:
		// Without its log, a file looks damaged whose checkpoint a crash has
		// interrupted. Opening it with the log tells.
		return nil
	}
	return translate(err)
}

// asItIs opens a file to be read without a lock and without its log.
const asItIs = "?mode=ro&immutable=1"

// uri is what names a file for SQLite.
func uri(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
}

// create makes an empty store under another name and then gives it its name, so
// that whatever is at path is a store, or damaged.
func create(ctx context.Context, path string, migrations []string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*")
	if err != nil {
		return err
	}
	name := f.Name()
	defer os.Remove(name)
	if err := f.Close(); err != nil {
		return err
	}
	d, err := connect(ctx, name, Options{})
	if err != nil {
		return err
	}
	err = d.exec(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	if err == nil {
		err = d.migrate(ctx, migrations)
	}
	if err == nil {
		err = d.prepare(ctx)
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	// A link does not replace the store that another process made meanwhile.
	if err := os.Link(name, path); errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		if err := os.Rename(name, path); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a new name durable where the system can.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync() // not every system can sync a directory
	return nil
}

// connect opens the file and takes its lock.
func connect(ctx context.Context, path string, opt Options) (*DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name, immutable := uri(abs), false
	if _, err := os.Stat(path + "-wal"); opt.ReadOnly && errors.Is(err, os.ErrNotExist) {
		// Whoever has the file open has a log: nobody has.
		name, immutable = name+asItIs, true
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	d := &DB{db: db, path: path, opt: opt, immutable: immutable, lock: make(chan struct{}, 1), scrubEvery: opt.ScrubEvery}
	if d.scrubEvery <= 0 {
		d.scrubEvery = DefaultScrubEvery
	}
	if d.conn, err = db.Conn(ctx); err != nil {
		db.Close()
		return nil, translate(err)
	}
	for _, pragma := range pragmas(opt, immutable) {
		if err := d.exec(ctx, pragma); err != nil {
			d.discard()
			return nil, err
		}
	}
	return d, nil
}

// pragmas are the settings of the connection. The order counts: the lock is to
// be exclusive before WAL mode reads the file, so that no memory is shared.
func pragmas(opt Options, immutable bool) []string {
	list := []string{
		"PRAGMA busy_timeout = 0",
		"PRAGMA trusted_schema = OFF",
		"PRAGMA cell_size_check = ON",
		"PRAGMA temp_store = MEMORY",
	}
	if immutable {
		return append(list, "PRAGMA query_only = ON")
	}
	list = append(list,
		"PRAGMA locking_mode = EXCLUSIVE",
		"PRAGMA secure_delete = ON",
		fmt.Sprintf("PRAGMA page_size = %d", pageSize),
		"PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = FULL",
		"BEGIN EXCLUSIVE",
		"COMMIT",
	)
	if opt.MaxBytes > 0 {
		list = append(list, fmt.Sprintf("PRAGMA max_page_count = %d", max(opt.MaxBytes/pageSize, 1)))
	}
	return list
}

// start brings the schema up to date and verifies what can be verified.
func (d *DB) start(ctx context.Context, size int64, migrations []string) error {
	if err := d.migrate(ctx, migrations); err != nil {
		return err
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if err := d.checkMark(ctx); err != nil {
		return err
	}
	if size > checkedAtOpen || d.opt.Unchecked || d.opt.ReadOnly {
		return nil
	}
	return d.Check(ctx)
}

func (d *DB) prepare(ctx context.Context) error {
	for _, p := range []struct {
		st    **sql.Stmt
		query string
	}{
		{&d.st.get, "SELECT v, c FROM kv WHERE k = ?"},
		{&d.st.put, "INSERT INTO kv (k, v, c) VALUES (?, ?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v, c = excluded.c"},
		{&d.st.sum, "SELECT c FROM kv WHERE k = ?"},
		{&d.st.remove, "DELETE FROM kv WHERE k = ?"},
		{&d.st.scan, "SELECT k, v, c FROM kv WHERE k >= ? AND (? IS NULL OR k < ?) ORDER BY k LIMIT ?"},
		{&d.st.meta, "SELECT v FROM meta WHERE k = ?"},
		{&d.st.setMeta, "UPDATE meta SET v = ? WHERE k = ?"},
	} {
		var err error
		if *p.st, err = d.conn.PrepareContext(ctx, p.query); err != nil {
			return translate(err)
		}
	}
	return nil
}

func (d *DB) exec(ctx context.Context, query string) error {
	_, err := d.conn.ExecContext(ctx, query)
	return translate(err)
}

func (d *DB) number(ctx context.Context, query string) (int64, error) {
	var n int64
	err := d.conn.QueryRowContext(ctx, query).Scan(&n)
	return n, translate(err)
}

// acquire waits for the connection.
func (d *DB) acquire(ctx context.Context) (release func(), err error) {
	select {
	case d.lock <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	release = func() { <-d.lock }
	if err := ctx.Err(); err != nil {
		release()
		return nil, err
	}
	if d.closed.Load() {
		release()
		return nil, store.ErrClosed
	}
	return release, nil
}

// View implements [store.Store].
func (d *DB) View(ctx context.Context, f func(store.Reader) error) error {
	release, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	// Nobody else can write while the connection is ours.
	return f(&tx{db: d, ctx: ctx})
}

// Update implements [store.Store].
func (d *DB) Update(ctx context.Context, f func(store.Writer) error) error {
	if d.opt.ReadOnly {
		return errOpenedReadOnly
	}
	release, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	t := &tx{db: d, ctx: ctx, writable: true}
	if err := d.transact(ctx, func() error { return t.batch(f) }); err != nil {
		return err
	}
	d.writeMark(t.total.batches)
	if d.sinceScrub++; d.sinceScrub >= d.scrubEvery {
		// The batch is written: what fails here is tried again later.
		_ = d.scrub(context.WithoutCancel(ctx))
	}
	return nil
}

// batch is what happens within the transaction of an Update.
func (t *tx) batch(f func(store.Writer) error) error {
	if err := t.loadTotal(); err != nil {
		return err
	}
	if err := f(t); err != nil {
		return err
	}
	if err := t.ctx.Err(); err != nil {
		return err
	}
	return t.saveTotal()
}

// transact runs f in a transaction of SQLite. Its begin and end are not to be
// interrupted: whether they have happened would not be known.
func (d *DB) transact(ctx context.Context, f func() error) error {
	always := context.WithoutCancel(ctx)
	if err := d.exec(always, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // also when f panics
			_, _ = d.conn.ExecContext(always, "ROLLBACK") // fails if SQLite has done it
		}
	}()
	if err := f(); err != nil {
		return err
	}
	err := d.exec(always, "COMMIT")
	done = err == nil
	return err
}

// Scrub empties the write-ahead log, which may hold values that were deleted.
func (d *DB) Scrub(ctx context.Context) error {
	release, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return d.scrub(ctx)
}

func (d *DB) scrub(ctx context.Context) error {
	if d.immutable {
		return nil
	}
	var busy, log, moved int64
	err := d.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &moved)
	if err != nil {
		return translate(err)
	}
	if busy != 0 {
		return store.ErrLocked
	}
	d.sinceScrub = 0
	return nil
}

// Close implements [store.Store].
func (d *DB) Close() error {
	d.lock <- struct{}{}
	defer func() { <-d.lock }()
	if d.closed.Swap(true) {
		return nil
	}
	err := d.scrub(context.Background())
	return errors.Join(err, d.disconnect())
}

func (d *DB) disconnect() error {
	if d.mark != nil {
		d.mark.Close()
	}
	for _, st := range []*sql.Stmt{d.st.get, d.st.put, d.st.sum, d.st.remove, d.st.scan, d.st.meta, d.st.setMeta} {
		if st != nil {
			st.Close()
		}
	}
	return translate(errors.Join(d.conn.Close(), d.db.Close()))
}

// discard closes what could not be opened.
func (d *DB) discard() {
	d.closed.Store(true)
	_ = d.disconnect()
}

// Primary result codes of SQLite.
const (
	codeBusy     = 5
	codeLocked   = 6
	codeReadOnly = 8
	codeCorrupt  = 11
	codeFull     = 13
	codeNotADB   = 26

	// codeLockIO is an extended code: what cannot be written cannot be locked.
	codeLockIO = 10 | 15<<8
)

// translate gives errors of SQLite their meaning in package store.
func translate(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case codeBusy, codeLocked:
		return store.ErrLocked
	case codeCorrupt, codeNotADB:
		return fmt.Errorf("%w: %v", store.ErrCorrupt, err)
	case codeFull:
		return fmt.Errorf("%w: %v", store.ErrFull, err)
	}
	if e.Code()&0xff == codeReadOnly || e.Code() == codeLockIO {
		return fmt.Errorf("the file cannot be written: %w: %v", fs.ErrPermission, err)
	}
	return err
}
