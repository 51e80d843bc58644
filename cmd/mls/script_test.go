package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md and what scripts compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mls": main})
}

// TestScripts runs the user stories in testdata/script, each in a directory of its own.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ROOT", root)
			e.Setenv("MLS_DIR", "") // whatever the caller's says
			e.Setenv(codePointsEnv, "")
			return setPort(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"flip": flip, "mode": mode, "damage": damage, "foreign": foreign},
	})
}

// setPort gives a script the number of a port that nobody listens on.
func setPort(e *testscript.Env) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e.Setenv("PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	return l.Close()
}

// flip changes a bit in the middle of a file: "flip FILE" or "flip FILE NEW".
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: flip FILE [NEW]")
	}
	data := []byte(ts.ReadFile(args[0]))
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[len(args)-1]), data, 0o600))
}

// damage changes a byte in the rows of a store, in their values, whose key matches: "damage FILE REGEXP".
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE REGEXP")
	}
	ctx, path := context.Background(), ts.MkAbs(args[0])
	key, err := regexp.Compile(args[1])
	ts.Check(err)
	s, err := sqlite.Open(ctx, path, &sqlite.Options{ReadOnly: true})
	ts.Check(err)
	var values [][]byte
	ts.Check(s.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan(nil) {
			ts.Check(err)
			if key.Match(e.Key) {
				values = append(values, e.Value[min(20, len(e.Value)/4):min(80, len(e.Value))]) // what is in one piece
			}
		}
		return nil
	}))
	ts.Check(s.Close())
	if len(values) == 0 {
		ts.Fatalf("no row %s", key)
	}
	file, err := os.ReadFile(path)
	ts.Check(err)
	for _, v := range values {
		file[bytes.Index(file, v)+len(v)/2] ^= 1
	}
	ts.Check(os.WriteFile(path, file, 0o600))
}

// foreign makes a database that is no store: "foreign FILE".
func foreign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: foreign FILE")
	}
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec("CREATE TABLE t (x)")
	ts.Check(errors.Join(err, db.Close()))
}

// mode checks the permissions of files: "mode 0600 FILE...".
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode PERM FILE...")
	}
	for _, pattern := range args[1:] {
		names, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if len(names) == 0 {
			ts.Fatalf("no file %s", pattern)
		}
		for _, name := range names {
			info, err := os.Stat(name)
			ts.Check(err)
			if got := info.Mode().Perm().String(); got != args[0] {
				ts.Fatalf("%s: %s, want %s", name, got, args[0])
			}
		}
	}
}
