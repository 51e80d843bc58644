package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
)

// Check reads the whole store of a client and lists what is wrong with it: a
// record that cannot be read or is under another's name, a tree that is not its
// group's, something that belongs to nothing. What it cannot tell is whether
// something was deleted that nothing else promises, such as a key package or a
// message of the outbox. The error is for a store that cannot be read at all.
func Check(ctx context.Context, s store.Store) (problems []string, err error) {
	k := &checker{groups: make(map[string]*headRecord), held: make(map[string]uint64), nodes: make(map[string][][]byte), bytes: make(map[string]uint64), identities: make(map[string]*identity), outgoing: make(map[uint64]*Outgoing)}
	err = s.View(ctx, func(tx store.Reader) error {
		if err := get(tx, []byte(keyMeta), &k.meta); errors.Is(err, store.ErrNotFound) {
			return errors.New("client: the store is not a client's")
		} else if err != nil {
			return err
		}
		// Heads and identities first: everything else belongs to one of them.
		for _, prefix := range []string{keyHead, keyIdentity, ""} {
			for e, err := range tx.Scan([]byte(prefix)) {
				if err != nil && e.Key == nil {
					return err
				}
				k.record(e, err, prefix != "")
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	k.checkGroups(ctx, s)
	return k.problems, nil
}

// checker is a check under way.
type checker struct {
	meta       metaRecord
	groups     map[string]*headRecord // by name
	held       map[string]uint64
	bytes      map[string]uint64
	nodes      map[string][][]byte  // names of the records of trees
	identities map[string]*identity // nil for those that cannot be read
	outgoing   map[uint64]*Outgoing // the outbox
	problems   []string
}

func (k *checker) report(key []byte, format string, args ...any) {
	k.problems = append(k.problems, fmt.Sprintf("%q: ", key)+fmt.Sprintf(format, args...))
}

// record checks one record, which the store could not read if err says so; roots
// are the heads and identities.
func (k *checker) record(e store.Entry, err error, roots bool) {
	key := string(e.Key)
	switch {
	case err != nil:
		if !roots && (strings.HasPrefix(key, keyHead) || strings.HasPrefix(key, keyIdentity)) {
			return // reported already
		}
	case strings.HasPrefix(key, keyHead):
		if roots {
			err = k.head(e)
		}
	case strings.HasPrefix(key, keyIdentity):
		if roots {
			var id *identity
			id, err = readIdentity(e, nil)
			k.identities[key[len(keyIdentity):]] = id
		}
	case strings.HasPrefix(key, keyKeyPackage):
		err = k.keyPackage(e)
	case strings.HasPrefix(key, keyPSK):
		err = checkPSK(e)
	case strings.HasPrefix(key, keyWelcome):
		err = checkWelcome(e)
	case strings.HasPrefix(key, keyOutbox):
		err = k.outbox(e)
	case strings.HasPrefix(key, keyGroup):
		err = k.part(e)
	case key == keyMeta, strings.HasPrefix(key, keyApplication):
	default:
		err = errors.New("belongs to nothing")
	}
	if err != nil {
		k.report(e.Key, "%v", err)
	}
}

func (k *checker) head(e store.Entry) error {
	var head headRecord
	if err := decode(e.Value, &head); err != nil {
		return err
	}
	name := string(e.Key[len(keyHead):])
	if name != groupName(head.Group) {
		return errors.New("a group under another's name")
	}
	k.groups[name] = &head
	return nil
}

func (k *checker) outbox(e store.Entry) error {
	o, err := outgoing(e, nil)
	switch {
	case err != nil:
		return err
	case k.groups[groupName(o.Group)] == nil:
		return errors.New("a message of no group")
	case o.ID >= k.meta.NextOutbox:
		return errors.New("a message with a number that was not given out yet")
	}
	k.outgoing[o.ID] = o
	return checkOutgoing(o)
}

// part checks where a part of a group is; what is in it is checked with the
// group.
func (k *checker) part(e store.Entry) error {
	name, part, ok := strings.Cut(string(e.Key[len(keyGroup):]), "/")
	head := k.groups[name]
	if !ok || head == nil {
		return errors.New("a part of no group")
	}
	switch {
	case part == partCore, part == partTree:
		ok = Status(head.Status) != StatusJoining
	case strings.HasPrefix(part, partNodes):
		k.nodes[name] = append(k.nodes[name], e.Key[len(partKey(name, partNodes)):])
	case part == partPending, part == partPendingDiff, part == partPendingTree:
		ok = head.Pending
	case part == partJoin, part == partJoinTree:
		ok = head.Joining
	case strings.HasPrefix(part, partHeld):
		h := readHeld(e, nil, head.Group)
		k.held[name]++
		k.bytes[name] += uint64(len(h.message))
		return h.bad
	case strings.HasPrefix(part, partLog):
		return checkLog(e, name)
	default:
		ok = false
	}
	if !ok {
		return errors.New("a part that the group does not have")
	}
	return checkVersion(e.Value)
}

// checkGroups restores every group.
func (k *checker) checkGroups(ctx context.Context, s store.Store) {
	c := &Client{store: s, identities: make(map[IdentityID]*identity), groups: make(map[string]*Group)}
	c.cfg.Group.Authenticate = group.InsecureAnyCredential
	if err := c.loadIdentities(ctx); err != nil {
		return // reported with the record
	}
	for name, head := range k.groups {
		key := headKey(name)
		if k.held[name] != head.HeldCount || k.bytes[name] != head.HeldBytes {
			k.report(key, "%d messages of %d bytes are held, the group counts %d of %d", k.held[name], k.bytes[name], head.HeldCount, head.HeldBytes)
		}
		g, err := c.handle(head.Group)
		if err == nil {
			err = g.load(ctx)
		}
		if err == nil {
			err = k.checkPending(g)
		}
		if err == nil {
			err = g.checkTrees(ctx, k.nodes[name])
		}
		if err != nil {
			k.report(key, "%v", err)
		}
	}
	slices.Sort(k.problems)
}

// checkTrees reads all of a group's trees. names are those of the records of the
// one in force.
func (g *Group) checkTrees(ctx context.Context, names [][]byte) error {
	if g.stored == nil && len(names) > 0 {
		return fmt.Errorf("%w: records of a tree that the group does not have", store.ErrCorrupt)
	}
	if g.stored != nil {
		if err := g.stored.Check(slices.Values(names)); err != nil {
			return fmt.Errorf("the tree: %w", treeFailure(err))
		}
	}
	if err := g.checkPending(ctx, slices.Values(names)); err != nil {
		return fmt.Errorf("the tree of the pending commit: %w", treeFailure(err))
	}
	return nil
}

// checkPending does so for the tree of the pending commit.
func (g *Group) checkPending(ctx context.Context, names iter.Seq[[]byte]) error {
	var saved []byte
	err := g.c.store.View(ctx, func(tx store.Reader) (err error) {
		saved, err = getIfThere(tx, partKey(g.name, partPendingDiff))
		return err
	})
	if err != nil || saved == nil {
		return err // one that is stored whole was checked when it was parsed
	}
	stored, diff, err := g.openPending(mls.CipherSuite(g.head.Suite), saved)
	if err != nil {
		return err
	}
	return stored.Check(diff.Names(names))
}

// Dump prints what a store holds, without anything secret.
func Dump(ctx context.Context, s store.Store, w io.Writer) error {
	return s.View(ctx, func(tx store.Reader) error {
		var tree dumpedTree
		for e, err := range tx.Scan(nil) {
			if err != nil && e.Key == nil {
				return err
			}
			line := ""
			if err == nil {
				if tree.add(e) {
					continue
				}
				line, err = describe(e)
			}
			if err != nil {
				line = err.Error()
			}
			if _, err := fmt.Fprintf(w, "%s%s  %s\n", tree.take(), printableKey(e.Key), line); err != nil {
				return err
			}
		}
		_, err := io.WriteString(w, tree.take())
		return err
	})
}

// A dumpedTree sums up the records of a tree, which are many.
type dumpedTree struct {
	prefix         string
	records, bytes int
}

// add takes a record of the tree of a group, the same as the last one's.
func (d *dumpedTree) add(e store.Entry) bool {
	key := string(e.Key)
	start := len(keyGroup) + 2*hashSize + 1
	if !strings.HasPrefix(key, keyGroup) || len(key) < start || !strings.HasPrefix(key[start:], partNodes) {
		return false
	}
	prefix := key[:start+len(partNodes)]
	if d.records > 0 && d.prefix != prefix {
		return false
	}
	d.prefix = prefix
	d.records++
	d.bytes += len(e.Value)
	return true
}

// take returns the line of the tree, if there was one, and forgets it.
func (d *dumpedTree) take() string {
	if d.records == 0 {
		return ""
	}
	line := fmt.Sprintf("%s  a ratchet tree, %d records of %d bytes\n", d.prefix, d.records, d.bytes)
	*d = dumpedTree{}
	return line
}

// printableKey shows a key with what is binary in it in hex.
func printableKey(key []byte) string {
	for i, b := range key {
		if b < ' ' || b > '~' {
			start := bytes.LastIndexByte(key[:i], '/') + 1
			return fmt.Sprintf("%s%x", key[:start], key[start:])
		}
	}
	return string(key)
}

// describe says what a record is.
func describe(e store.Entry) (string, error) {
	key := string(e.Key)
	switch {
	case key == keyMeta:
		var r metaRecord
		err := decode(e.Value, &r)
		return fmt.Sprintf("client, next number in the outbox %d", r.NextOutbox), err
	case strings.HasPrefix(key, keyIdentity):
		id, err := readIdentity(e, nil)
		if err != nil {
			return "", err
		}
		_, elsewhere := id.Signer.(absentSigner)
		return fmt.Sprintf("identity %s, suite %v, signature key %x, kept elsewhere: %t", id.Credential, id.suite.ID(), []byte(id.Signer.Public()), elsewhere), nil
	case strings.HasPrefix(key, keyKeyPackage):
		var r keyPackageRecord
		err := decode(e.Value, &r)
		r.clear()
		return fmt.Sprintf("key package of identity %s, until %s, last resort: %t", r.Identity, time.Unix(int64(r.NotAfter), 0).UTC().Format(time.RFC3339), r.LastResort), err
	case strings.HasPrefix(key, keyPSK):
		var r pskRecord
		err := decode(e.Value, &r)
		return fmt.Sprintf("pre-shared key %q", r.ID), err
	case strings.HasPrefix(key, keyWelcome):
		var r welcomeRecord
		err := decode(e.Value, &r)
		return fmt.Sprintf("used Welcome of group %x", r.Group), err
	case strings.HasPrefix(key, keyOutbox):
		o, err := outgoing(e, nil)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("outgoing %v of group %x, epoch %d, %d bytes", o.Kind, o.Group, o.Epoch, len(o.Message)), nil
	case strings.HasPrefix(key, keyHead):
		var r headRecord
		err := decode(e.Value, &r)
		return fmt.Sprintf("group %x, %v, epoch %d, batch %d, pending: %t, joining: %t, held: %d", r.Group, Status(r.Status), r.Epoch, r.Counter, r.Pending, r.Joining, r.HeldCount), err
	}
	return fmt.Sprintf("%d bytes", len(e.Value)), nil
}
