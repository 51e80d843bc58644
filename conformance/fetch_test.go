package conformance

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pinTestFiles makes Fetch expect files of this test's own, small ones, and
// returns them by name.
func pinTestFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	m := Manifest{Commit: "c0ffee", Directory: "test-vectors"}
	for _, kind := range Kinds() {
		data := fmt.Appendf(nil, `[{"kind":%q}]`, kind)
		files[kind+".json"] = data
		m.Files = append(m.Files, PinnedFile{
			Name: kind + ".json", Kind: kind, Bytes: int64(len(data)), SHA256: fmt.Sprintf("%x", sha256.Sum256(data)),
		})
	}
	saved := pinned
	pinned = func() Manifest { return m }
	t.Cleanup(func() { pinned = saved })
	return files
}

// A server serves files as the working group's repository does, each changed
// by what the test says.
func serve(t *testing.T, files map[string][]byte, change func(name string, w http.ResponseWriter) bool) (base string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/mirror/c0ffee/test-vectors/")
		*asked = append(*asked, name)
		switch {
		case !ok || files[name] == nil:
			http.NotFound(w, r)
		case change == nil || !change(name, w):
			w.Write(files[name])
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/mirror", asked
}

func TestFetch(t *testing.T) {
	files := pinTestFiles(t)
	base, asked := serve(t, files, nil)
	dir := filepath.Join(t.TempDir(), "new", "directory")
	var downloaded int
	opt := FetchOptions{BaseURL: base, Progress: func(_ PinnedFile, d bool) {
		if d {
			downloaded++
		}
	}}
	if err := Fetch(t.Context(), dir, opt); err != nil {
		t.Fatal(err)
	}
	if len(*asked) != 16 || downloaded != 16 {
		t.Errorf("%d requests and %d files, want 16 of each", len(*asked), downloaded)
	}
	checkDirectory(t, dir, files)

	// Again: only the file that was changed in the meantime.
	writeFile(t, filepath.Join(dir, "treekem.json"), []byte("[]"))
	*asked, downloaded = nil, 0
	if err := Fetch(t.Context(), dir, opt); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(*asked, []string{"treekem.json"}) || downloaded != 1 {
		t.Errorf("requests for %q, want one for treekem.json", *asked)
	}
	checkDirectory(t, dir, files)
}

// writeFile writes a file whose mode is not left to the umask.
func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, data, 0o644), os.Chmod(path, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// checkDirectory checks that dir holds exactly these files: no remains either.
func checkDirectory(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if want, ok := files[e.Name()]; !ok || string(data) != string(want) {
			t.Errorf("%s holds %q, want %q", e.Name(), data, want)
		}
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s has mode %v (%v), want 0644", e.Name(), info.Mode(), err)
		}
	}
	if len(entries) != len(files) {
		t.Errorf("%d files, want %d", len(entries), len(files))
	}
}

// TestFetchRefuses: what is not the pinned file never gets its name, the
// others do, and what was there before stays.
func TestFetchRefuses(t *testing.T) {
	const victim = "welcome.json"
	for _, tt := range []struct {
		name, want string
		change     func(data []byte, w http.ResponseWriter)
	}{
		{"another hash", "SHA-256", func(data []byte, w http.ResponseWriter) {
			data = slices.Clone(data)
			data[3] ^= 1
			w.Write(data)
		}},
		{"a longer file", "more than", func(data []byte, w http.ResponseWriter) { w.Write(append(slices.Clone(data), '\n')) }},
		{"a shorter file", "not the", func(data []byte, w http.ResponseWriter) { w.Write(data[:5]) }},
		{"a missing file", "404", func(_ []byte, w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }},
		{"a server that fails", "503", func(_ []byte, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"a download cut short", "after 5 of", func(data []byte, w http.ResponseWriter) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:5])
		}},
		{"a connection that breaks", "EOF", func([]byte, http.ResponseWriter) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := pinTestFiles(t)
			base, _ := serve(t, files, func(name string, w http.ResponseWriter) bool {
				if name == victim {
					tt.change(files[name], w)
				}
				return name == victim
			})
			for _, before := range [][]byte{nil, []byte("what was there")} {
				dir, want := t.TempDir(), make(map[string][]byte)
				for name, data := range files {
					want[name] = data
				}
				delete(want, victim)
				if before != nil {
					want[victim] = before
					writeFile(t, filepath.Join(dir, victim), before)
				}
				err := Fetch(t.Context(), dir, FetchOptions{BaseURL: base})
				if err == nil || !strings.Contains(err.Error(), victim) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one with %q and %q", err, victim, tt.want)
				}
				checkDirectory(t, dir, want)
			}
		})
	}
}

// TestFetchNamesEveryFailure: one run says all there is to say.
func TestFetchNamesEveryFailure(t *testing.T) {
	files := pinTestFiles(t)
	base, _ := serve(t, files, nil)
	delete(files, "treekem.json")
	delete(files, "messages.json")
	err := Fetch(t.Context(), t.TempDir(), FetchOptions{BaseURL: base})
	for _, name := range []string{"treekem.json", "messages.json"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not name %s", err, name)
		}
	}
}

func TestFetchOptions(t *testing.T) {
	files := pinTestFiles(t)
	base, asked := serve(t, files, nil)
	if err := Fetch(t.Context(), t.TempDir(), FetchOptions{BaseURL: base, Commit: "main"}); err == nil {
		t.Error("no error from a commit that the server lacks")
	}
	if len(*asked) != 16 {
		t.Errorf("%d requests, want 16", len(*asked))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Fetch(ctx, t.TempDir(), FetchOptions{BaseURL: base}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if err := Fetch(t.Context(), t.TempDir(), FetchOptions{BaseURL: ":"}); err == nil {
		t.Error("no error from a base URL that is none")
	}
}

// TestPinned: the manifest names the 16 files, in order.
func TestPinned(t *testing.T) {
	m := Pinned()
	if !strings.HasSuffix(DefaultBaseURL, strings.TrimPrefix(m.Repository, "https://github.com")) {
		t.Errorf("DefaultBaseURL %s is not the raw form of %s", DefaultBaseURL, m.Repository)
	}
	if m.Commit == "" || m.Directory == "" {
		t.Errorf("commit %q, directory %q", m.Commit, m.Directory)
	}
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Kind)
		if f.Name != f.Kind+".json" || len(f.SHA256) != 64 || f.Cases == 0 || f.Bytes == 0 {
			t.Errorf("%+v", f)
		}
		if (len(f.Suites) > 0) != (findKind(f.Kind).suites == suiteField) {
			t.Errorf("%s has suites %v", f.Name, f.Suites)
		}
	}
	if !slices.Equal(names, Kinds()) {
		t.Errorf("kinds %q, want %q", names, Kinds())
	}
}
