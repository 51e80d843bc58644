package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/treekem/mls/store"
)

// Kind is the kind of an outgoing message.
type Kind uint8

// The kinds. They are stored: their numbers stay.
const (
	// KindProposal goes to the members.
	KindProposal Kind = 1
	// KindCommit goes to the delivery service, for its epoch, and from there to
	// the members.
	KindCommit Kind = 2
	// KindWelcome goes to the clients that a commit added.
	KindWelcome Kind = 3
	// KindApplication is an application message. It is not kept in the outbox.
	KindApplication Kind = 4
)

// String returns the kind in a word.
func (k Kind) String() string {
	switch k {
	case KindProposal:
		return "proposal"
	case KindCommit:
		return "commit"
	case KindWelcome:
		return "welcome"
	case KindApplication:
		return "application"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Outgoing is a message of ours for the delivery service.
type Outgoing struct {
	// ID is what Client.Sent takes; 0 if there is no need.
	ID    uint64
	Group []byte
	Kind  Kind
	// Epoch is that of the message; for a Welcome the one that it leads to.
	Epoch uint64
	// Message is an encoded MLSMessage.
	Message []byte
}

// Outbox lists the messages that may not have reached the delivery service:
// those that were handed out since, or not even that, and not followed by Sent.
// The error names each that cannot be read, by its number, and the list has the
// others.
func (c *Client) Outbox(ctx context.Context) (list []Outgoing, err error) {
	var damage []error
	err = c.store.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan([]byte(keyOutbox)) {
			if err != nil && e.Key == nil {
				return err
			}
			o, err := outgoing(e, err)
			if err != nil {
				damage = append(damage, err)
				continue
			}
			list = append(list, *o)
		}
		return nil
	})
	return list, errors.Join(append(damage, err)...)
}

// outgoing reads an entry of the outbox, which the store could not read if
// damage says so.
func outgoing(e store.Entry, damage error) (*Outgoing, error) {
	if len(e.Key) != len(keyOutbox)+8 {
		return nil, fmt.Errorf("%w: an entry of the outbox under a wrong key", store.ErrCorrupt)
	}
	o := &Outgoing{ID: binary.BigEndian.Uint64(e.Key[len(keyOutbox):])}
	var r outboxRecord
	if damage == nil {
		damage = decode(e.Value, &r)
	}
	if damage != nil {
		return nil, fmt.Errorf("client: number %d of the outbox, which Client.Sent takes out: %w", o.ID, damage)
	}
	o.Group, o.Kind, o.Epoch, o.Message = r.Group, Kind(r.Kind), r.Epoch, r.Message
	return o, nil
}

// Sent takes messages out of the outbox: the delivery service has them.
func (c *Client) Sent(ctx context.Context, ids ...uint64) error {
	return c.store.Update(ctx, func(tx store.Writer) error {
		for _, id := range ids {
			if id == 0 {
				continue
			}
			if err := tx.Delete(outboxKey(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// enqueue puts a message into the outbox, gives it its number, and lets the
// application note something about it.
func (c *Client) enqueue(tx store.Writer, o *Outgoing) error {
	var meta metaRecord
	if err := get(tx, []byte(keyMeta), &meta); err != nil {
		return must(err, "the client's mark")
	}
	o.ID = meta.NextOutbox
	meta.NextOutbox++
	if err := put(tx, []byte(keyMeta), &meta); err != nil {
		return err
	}
	err := put(tx, outboxKey(o.ID), &outboxRecord{Group: o.Group, Kind: uint8(o.Kind), Epoch: o.Epoch, Message: o.Message})
	if err != nil || c.cfg.SaveOutgoing == nil {
		return err
	}
	return c.cfg.SaveOutgoing(prefixed{tx}, o)
}

// anyEpoch is after all epochs.
const anyEpoch = math.MaxUint64

// dequeue takes the proposals and commits of a group out of the outbox that were
// made for an epoch before the given one: it is over. An entry that cannot be read
// stays, for Outbox to name.
func dequeue(tx store.Writer, group []byte, before uint64) error {
	var old [][]byte
	for e, err := range tx.Scan([]byte(keyOutbox)) {
		if err != nil && e.Key == nil {
			return err
		}
		o, err := outgoing(e, err)
		if err == nil && bytes.Equal(o.Group, group) && o.Kind != KindWelcome && o.Epoch < before {
			old = append(old, e.Key)
		}
	}
	for _, key := range old {
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}
