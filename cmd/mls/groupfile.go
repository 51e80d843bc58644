package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
)

// held is a group of a state directory, read into memory.
type held struct {
	*group.Group
	home    *home
	pending *group.Staged
	file    groupFile
}

// groupFile is a file in groups.
type groupFile struct {
	Version uint         `cbor:"version"`
	ID      []byte       `cbor:"id"`      // the group's identifier
	State   []byte       `cbor:"state"`   // group.State
	Pending *pendingFile `cbor:"pending"` // own commit that nobody has accepted yet
	// Unconfirmed is the external commit by which we joined, until somebody is seen to have accepted it.
	Unconfirmed []byte `cbor:"unconfirmed"`
}

// pendingFile is an own commit that waits to be accepted.
type pendingFile struct {
	Staged  []byte `cbor:"staged"` // group.Staged.State
	Commit  []byte `cbor:"commit"`
	Welcome []byte `cbor:"welcome"`
	// WelcomeTo is where the Welcome goes once the commit is accepted, an absolute path.
	WelcomeTo string `cbor:"welcome_to"`
}

func (h *home) groupPath(id []byte) string {
	return filepath.Join(h.dir, "groups", fileName(id))
}

// hasGroup reports whether there is a state for a group.
func (h *home) hasGroup(id []byte) bool {
	_, err := os.Lstat(h.groupPath(id))
	return err == nil
}

// groupIDs returns the identifiers of all groups.
func (h *home) groupIDs() ([][]byte, error) {
	entries, err := os.ReadDir(filepath.Join(h.dir, "groups"))
	if err != nil {
		return nil, err
	}
	var ids [][]byte
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".cbor") {
			continue // what a crash may leave of a file being written
		}
		var f groupFile
		if err := readState(filepath.Join(h.dir, "groups", e.Name()), &f); err != nil {
			return nil, err
		}
		ids = append(ids, f.ID)
	}
	return ids, nil
}

// findGroup returns the identifier of the group called name, or of the only one if name is empty.
func (h *home) findGroup(name string) ([]byte, error) {
	ids, err := h.groupIDs()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, id := range ids {
		if name != "" && (label(id) == name || hex.EncodeToString(id) == name) {
			return id, nil
		}
		names = append(names, label(id))
	}
	slices.Sort(names)
	switch {
	case name != "":
		return nil, hinted("groups here: "+strings.Join(names, ", "), "no group %q in %s", name, h.dir)
	case len(ids) == 0:
		return nil, hinted(`"mls group create" makes one, "mls group join" enters one`, "no group in %s", h.dir)
	case len(ids) > 1:
		return nil, hinted("--name selects one of: "+strings.Join(names, ", "), "%d groups in %s", len(ids), h.dir)
	}
	return ids[0], nil
}

// loadGroup reads a group's state.
func (h *home) loadGroup(name string) (*held, error) {
	id, err := h.findGroup(name)
	if err != nil {
		return nil, err
	}
	g := &held{home: h}
	if err := readState(h.groupPath(id), &g.file); err != nil {
		return nil, err
	}
	if err := checkVersion(g.file.Version); err != nil {
		return nil, err
	}
	if g.Group, err = group.Restore(h.config(), g.file.State, h.signers...); err != nil {
		return nil, err
	}
	if p := g.file.Pending; p != nil {
		if g.pending, err = g.Group.RestoreStaged(p.Staged, h.signers...); err != nil {
			return nil, fmt.Errorf("the pending commit: %w", err)
		}
	}
	return g, nil
}

// adopt takes a new group into the directory, not yet on disk.
func (h *home) adopt(g *group.Group) *held { return &held{Group: g, home: h} }

// save writes the group's state. Nothing that the group made may leave the process before.
func (g *held) save() error {
	var err error
	g.file.Version, g.file.ID = stateVersion, g.ID()
	if g.file.State, err = g.Group.State(); err != nil {
		return err
	}
	return writeState(g.home.groupPath(g.ID()), &g.file)
}

// saveThenOutput saves the group and then hands out a commit that leads to the saved state. If the commit
// cannot be handed out, nobody has seen it, and the former state comes back.
func (g *held) saveThenOutput(a *app, out string, commit []byte) error {
	name := g.home.groupPath(g.ID())
	former, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := g.save(); err != nil {
		return err
	}
	if err := a.output(out, commit); err != nil {
		if former == nil {
			return errors.Join(err, os.Remove(name))
		}
		return errors.Join(err, writeAtomic(name, former, 0o600))
	}
	return nil
}

// setPending notes an own commit, to be saved with the group.
func (g *held) setPending(s *group.Staged, welcomeTo string) error {
	data, err := s.State()
	if err != nil {
		return err
	}
	if welcomeTo != "" {
		if welcomeTo, err = filepath.Abs(welcomeTo); err != nil {
			return err
		}
	}
	g.pending = s
	g.file.Pending = &pendingFile{Staged: data, Commit: s.Message(), Welcome: s.Welcome(), WelcomeTo: welcomeTo}
	return nil
}

// dropPending forgets the own commit; it reports whether there was one.
func (g *held) dropPending() bool {
	had := g.file.Pending != nil
	g.pending, g.file.Pending = nil, nil
	return had
}

// merge puts a commit in place, ours or another's. A pending own commit is then over: accepted or lost.
func (g *held) merge(s *group.Staged) error {
	if err := g.Merge(s); err != nil {
		return err
	}
	g.dropPending()
	g.file.Unconfirmed = nil
	return nil
}

// isPending reports whether message is the own commit that waits.
func (g *held) isPending(message []byte) bool {
	return g.file.Pending != nil && bytes.Equal(g.file.Pending.Commit, message)
}

// noPending refuses to go on while an own commit waits for its fate.
func (g *held) noPending() error {
	if g.file.Pending == nil {
		return nil
	}
	return hinted(`"mls group accept" if the others have taken it, "mls group discard" if not`, "a commit of your own is pending")
}

// remove deletes the group's state.
func (g *held) remove() error {
	name := g.home.groupPath(g.ID())
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// findMember returns the leaf of the member that who names: an identity, or leaf:N.
func (g *held) findMember(who string) (mls.LeafIndex, error) {
	var found []mls.LeafIndex
	for i, leaf := range g.Members() {
		if label(leaf.Credential.Identity) == who || fmt.Sprintf("leaf:%d", i) == who {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, hinted(`"mls group info" lists the members`, "no member %q", who)
	}
	return 0, hinted("name one by its leaf, as in leaf:"+fmt.Sprint(found[0]), "%d members are called %q", len(found), who)
}
