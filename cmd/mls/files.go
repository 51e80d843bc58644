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

// syncDir makes the names in dir durable. Some systems cannot sync a directory; that is no error here.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}

// writeNew creates name with data. Of two processes that create the same name one succeeds, whatever
// the speed of either: that is how a commit wins its epoch in a shared folder. No reader ever sees a
// half-written file under the name.
func writeNew(name string, data []byte) error {
	temp, err := writeTemp(name, data)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	err = os.Link(temp, name)
	if errors.Is(err, fs.ErrExist) {
		return outputExists(name)
	}
	if err != nil { // a file system without hard links: exclusive creation is the next best
		return writeExclusive(name, data)
	}
	return syncDir(filepath.Dir(name))
}

func writeExclusive(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return outputExists(name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
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

// output writes a message to the file name, or to standard output for "-".
func (a *app) output(name string, data []byte) error {
	if name == "-" || name == "" {
		_, err := a.stdout.Write(data)
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
