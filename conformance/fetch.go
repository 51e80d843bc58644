package conformance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// DefaultBaseURL is where [Fetch] finds the working group's repository, raw: a
// commit or a branch, a directory and a file's name follow.
const DefaultBaseURL = "https://raw.githubusercontent.com/mlswg/mls-implementations"

// fetchTimeout bounds the download of one file, of at most a few megabytes.
const fetchTimeout = 2 * time.Minute

// FetchOptions say what [Fetch] does. The zero value downloads what [Pinned]
// says from [DefaultBaseURL].
type FetchOptions struct {
	// BaseURL replaces DefaultBaseURL, for a mirror.
	BaseURL string
	// Commit replaces the manifest's commit.
	Commit string
	// Client makes the requests; nil means one of Fetch's own, with a timeout.
	Client *http.Client
	// Progress, if not nil, is called for each file that is in place, with
	// whether it had to be downloaded.
	Progress func(file PinnedFile, downloaded bool)
}

// Fetch puts the working group's 16 files into dir, which it makes if need be.
//
// Each file is held against its SHA-256 in [Pinned], whatever the server and
// the commit, before it gets its name: a download that is cut short, or is not
// the file that is pinned, leaves dir as it was. A file that is already there
// and right is not downloaded again. Fetch goes on after a failure, and its
// error names every file that failed.
func Fetch(ctx context.Context, dir string, opt FetchOptions) error {
	manifest := Pinned()
	if opt.BaseURL == "" {
		opt.BaseURL = DefaultBaseURL
	}
	if opt.Commit == "" {
		opt.Commit = manifest.Commit
	}
	if opt.Client == nil {
		opt.Client = &http.Client{Timeout: fetchTimeout}
	}
	base, err := url.JoinPath(opt.BaseURL, opt.Commit, manifest.Directory)
	if err != nil {
		return fmt.Errorf("conformance: base URL: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("conformance: %w", err)
	}
	var failed []error
	for _, file := range manifest.Files {
		if ctx.Err() != nil {
			return errors.Join(append(failed, ctx.Err())...)
		}
		path := filepath.Join(dir, file.Name)
		downloaded := !file.isAt(path)
		if downloaded {
			if err := file.download(ctx, opt.Client, base+"/"+file.Name, path); err != nil {
				failed = append(failed, fmt.Errorf("conformance: fetch %s: %w", file.Name, err))
				continue
			}
		}
		if opt.Progress != nil {
			opt.Progress(file, downloaded)
		}
	}
	return errors.Join(failed...)
}

// isAt reports whether the file of that path is the pinned one.
func (p PinnedFile) isAt(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return p.copy(io.Discard, f) == nil
}

// copy copies the pinned file and fails if what it copied is another.
func (p PinnedFile) copy(w io.Writer, r io.Reader) error {
	h := sha256.New()
	// One byte past the size is enough to tell, and bounds what a server can
	// make of a disk.
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, p.Bytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("after %d of %d bytes: %w", n, p.Bytes, err)
	case n > p.Bytes:
		return fmt.Errorf("more than the %d bytes pinned", p.Bytes)
	case n < p.Bytes:
		return fmt.Errorf("%d bytes, not the %d pinned", n, p.Bytes)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.SHA256 {
		return fmt.Errorf("SHA-256 %s, not the %s pinned", got, p.SHA256)
	}
	return nil
}

// download gets the file and renames it into place once it is known to be the
// pinned one.
func (p PinnedFile) download(ctx context.Context, client *http.Client, from, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", from, response.Status)
	}
	return writeAtomically(path, func(w io.Writer) error { return p.copy(w, response.Body) })
}

// writeAtomically gives the file of that path new contents, or, if write or
// anything else fails, leaves what was there.
func writeAtomically(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
