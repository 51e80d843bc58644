package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/treekem/mls/client"
	"github.com/treekem/mls/store"
)

// welcomeNotes is the prefix of the notes of a group, and welcomeNote the one for the Welcome that leads into an
// epoch. Keys are not encrypted, so that the group is in them by a hash.
func welcomeNotes(group []byte) string {
	sum := sha256.Sum256(group)
	return keyWelcome + hex.EncodeToString(sum[:16]) + "/"
}

func welcomeNote(group []byte, epoch uint64) string { return fmt.Sprint(welcomeNotes(group), epoch) }

// noteWelcome returns what notes, in the batch of a commit that is to be made, that its Welcome goes to file; ""
// for none. Notes of commits that came to nothing go then.
func (g *held) noteWelcome(ctx context.Context, file string) (func(store.Writer, *client.Outgoing) error, error) {
	list, err := g.waitingWelcomes(ctx)
	if err != nil {
		return nil, err
	}
	needed := make(map[string]bool)
	for _, o := range list {
		needed[welcomeNote(o.Group, o.Epoch)] = true
	}
	if file != "" && file != "-" {
		if file, err = filepath.Abs(file); err != nil {
			return nil, err
		}
	}
	return func(tx store.Writer, o *client.Outgoing) error {
		if o.Kind != client.KindCommit {
			return nil
		}
		if err := deleteNotes(tx, welcomeNotes(o.Group), needed); err != nil || file == "" {
			return err
		}
		return tx.Put([]byte(welcomeNote(o.Group, o.Epoch+1)), []byte(file))
	}, nil
}

// deleteNotes deletes the notes with a prefix but those to keep.
func deleteNotes(tx store.Writer, prefix string, keep map[string]bool) error {
	var keys [][]byte
	for e, err := range tx.Scan([]byte(prefix)) {
		if err != nil {
			return err
		}
		if !keep[string(e.Key)] {
			keys = append(keys, e.Key)
		}
	}
	for _, key := range keys {
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// forgetWelcomes deletes all notes of a group.
func (h *home) forgetWelcomes(ctx context.Context, group []byte) error {
	return h.Update(ctx, func(tx store.Writer) error { return deleteNotes(tx, welcomeNotes(group), nil) })
}

// waitingWelcomes lists the Welcomes of the group that may not have left yet.
func (g *held) waitingWelcomes(ctx context.Context) (welcomes []client.Outgoing, err error) {
	list, err := g.waiting(ctx)
	for _, o := range list {
		if o.Kind == client.KindWelcome {
			welcomes = append(welcomes, o)
		}
	}
	return welcomes, err
}

// deliverWelcome writes the Welcome into an epoch, if it waits, to file or where the commit said.
func (a *app) deliverWelcome(ctx context.Context, g *held, epoch uint64, file string) error {
	list, damage := g.waitingWelcomes(ctx)
	for _, o := range list {
		if o.Epoch != epoch {
			continue
		}
		if err := a.writeWelcome(ctx, g, o, file); err != nil {
			return &hintError{err, fmt.Sprintf(`the commit is accepted, and its Welcome is kept: "mls group outbox %d -o FILE" writes it`, o.ID)}
		}
	}
	return damage // of something else that waits, or of that Welcome
}

// deliverWelcomes writes the Welcomes that a crash, or an output that failed, has left. One file takes one of them.
func (a *app) deliverWelcomes(ctx context.Context, g *held, list []client.Outgoing, file string) error {
	if file != "" && len(list) > 1 {
		return hinted(`"mls group outbox" lists them, and writes one again`, "%d Welcomes wait, for different members", len(list))
	}
	var errs []error
	for _, o := range list {
		errs = append(errs, a.deliverWelcome(ctx, g, o.Epoch, file))
	}
	return errors.Join(errs...)
}

// writeWelcome writes a Welcome to file or where the commit said. It can be repeated: a file that is there already
// with the same contents was written before a crash.
func (a *app) writeWelcome(ctx context.Context, g *held, o client.Outgoing, file string) error {
	if file == "" {
		var err error
		file, err = g.home.note(ctx, welcomeNote(o.Group, o.Epoch))
		if errors.Is(err, store.ErrNotFound) {
			return errors.New("no file for the Welcome")
		}
		if err != nil {
			return err
		}
	}
	if file == "-" {
		if err := a.checkOutput(file); err != nil { // the standard output is another one than when it was named
			return err
		}
	}
	if old, err := os.ReadFile(file); file == "-" || err != nil || !bytes.Equal(old, o.Message) {
		if err := a.output(file, o.Message); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.stderr, "Welcome for the new members: %s\n", file)
	return g.sentWelcome(ctx, o)
}

// sentWelcome takes a Welcome out of the outbox, and then its note, which nobody looks up without it.
func (g *held) sentWelcome(ctx context.Context, o client.Outgoing) error {
	if err := g.home.Sent(ctx, o.ID); err != nil {
		return err
	}
	return g.home.Update(ctx, func(tx store.Writer) error { return tx.Delete([]byte(welcomeNote(o.Group, o.Epoch))) })
}
