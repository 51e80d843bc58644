package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxInput bounds what is read from a file or pipe: the largest MLS vector, as package group's default.
const maxInput = 1<<30 - 1

// writeTemp writes data, synced, to a new file beside name and returns the file's name.
func writeTemp(name string, data []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// syncDir makes the names in dir durable, where that can be: a directory that may be written need not be
// readable, and some systems cannot sync one. What is in it counts as written all the same: others see it.
func syncDir(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	_ = d.Sync()
}

// unpublishedError marks the failure of an output of which nobody can have seen anything.
type unpublishedError struct{ err error }

func (e *unpublishedError) Error() string { return e.err.Error() }
func (e *unpublishedError) Unwrap() error { return e.err }

// isUnpublished reports whether nobody has seen the message that an output of it failed with err.
func isUnpublished(err error) bool {
	unpublished := (*unpublishedError)(nil)
	return errors.As(err, &unpublished)
}

// writeNew creates name with data. Of two processes that create the same name one succeeds, whatever
// the speed of either: that is how a commit wins its epoch in a shared folder. No reader ever sees a
// half-written file under the name. Once data is there under the name, it does not fail.
func writeNew(name string, data []byte) error {
	temp, err := writeTemp(name, data)
	if err != nil {
		return &unpublishedError{err}
	}
	defer os.Remove(temp)
	err = os.Link(temp, name)
	switch {
	case err == nil, sameFile(temp, name): // a network file system can report a link that was made as failed
		syncDir(filepath.Dir(name))
		return nil
	case errors.Is(err, fs.ErrExist):
		return &unpublishedError{outputExists(name)}
	}
	return writeExclusive(name, data) // a file system without hard links: exclusive creation is the next best
}

func sameFile(one, other string) bool {
	a, errA := os.Lstat(one)
	b, errB := os.Lstat(other)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// writeExclusive creates name with data, and leaves nothing behind if it cannot. A reader may then have
// seen some of it, which is no message; all of it only if it fails after the last byte.
func writeExclusive(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &unpublishedError{outputExists(name)}
	}
	if err != nil {
		return &unpublishedError{err}
	}
	if err := writeWhole(f, data); err != nil {
		os.Remove(name)
		return err
	}
	syncDir(filepath.Dir(name))
	return nil
}

// A sink is where a message is written: a file.
type sink interface {
	io.WriteCloser
	Sync() error
}

func writeWhole(f sink, data []byte) error {
	if n, err := f.Write(data); err != nil {
		f.Close()
		if n < len(data) {
			err = &unpublishedError{err}
		}
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func outputExists(name string) error {
	return &hintError{
		fmt.Errorf("%s exists: %w", name, fs.ErrExist),
		"a message is never overwritten; if this is the commit of another member for the same epoch, it was first: process it, then try again",
	}
}

// checkOutput refuses an output that is bound to fail, before any key is used for it.
func (a *app) checkOutput(name string) error {
	if name == "-" || name == "" {
		if isTerminal(a.stdout) {
			return hinted("name a file with -o, or redirect standard output", "refusing to write a binary message to a terminal")
		}
		return nil
	}
	if _, err := os.Lstat(name); err == nil {
		return outputExists(name)
	}
	if _, err := os.Stat(filepath.Dir(name)); err != nil {
		return err
	}
	return nil
}

// checkDistinct refuses one place for two messages. An empty name is none of them; the first one's is standard output.
func checkDistinct(first string, others ...string) error {
	if first == "" {
		first = "-"
	}
	taken := make(map[string]bool)
	for _, name := range append([]string{first}, others...) {
		if name == "" {
			continue
		}
		place := name
		if name != "-" {
			var err error
			if place, err = filepath.Abs(name); err != nil {
				return err
			}
		}
		if taken[place] {
			return hinted("name a file of its own for each", "two messages are to go to %s", name)
		}
		taken[place] = true
	}
	return nil
}

// output writes a message to the file name, or to standard output for "-". isUnpublished says of its
// error whether the message can be out.
func (a *app) output(name string, data []byte) error {
	if name == "-" || name == "" {
		n, err := a.stdout.Write(data)
		if err != nil && n == 0 {
			return &unpublishedError{err}
		}
		return err
	}
	return writeNew(name, data)
}

// input reads the file name, or standard input for "-".
func (a *app) input(name string) ([]byte, error) {
	in := a.stdin
	if name == "-" {
		if a.stdinTaken {
			return nil, hinted("name a file for one of them", "standard input is to be read twice")
		}
		a.stdinTaken = true
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("%s is larger than the largest message", name)
	}
	return data, err
}
