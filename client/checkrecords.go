package client

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

var errOtherName = errors.New("a record under another's name")

// keyPackage checks a key package, its name and its private keys.
func (k *checker) keyPackage(e store.Entry) error {
	var r keyPackageRecord
	if err := decode(e.Value, &r); err != nil {
		return err
	}
	defer r.clear()
	id, ok := k.identities[r.Identity]
	if !ok {
		return errors.New("a key package of no identity")
	}
	if id == nil {
		return nil // the identity is reported
	}
	kp, err := treekem.ParseKeyPackage(r.KeyPackage)
	if err != nil {
		return err
	}
	switch {
	case kp.CipherSuite != id.suite.ID() || !bytes.Equal(kp.LeafNode.SignatureKey, id.Signer.Public()):
		return errors.New("a key package of another identity")
	case string(e.Key) != keyPackageKey(kp.Ref(id.suite)):
		return errOtherName
	case r.NotAfter != kp.LeafNode.Lifetime.NotAfter || r.LastResort != kp.LastResort():
		return errors.New("a key package of another lifetime or use")
	}
	for _, pair := range []struct {
		private []byte
		public  mls.HPKEPublicKey
	}{{r.InitKey, kp.InitKey}, {r.LeafKey, kp.LeafNode.EncryptionKey}} {
		private, err := id.suite.NewPrivateKey(mls.NewSecret(pair.private))
		if err != nil {
			return err
		}
		if !private.Matches(pair.public) {
			return errors.New("a key package with another's private keys")
		}
		private.Destroy()
	}
	return nil
}

func checkPSK(e store.Entry) error {
	var r pskRecord
	err := decode(e.Value, &r)
	clear(r.Secret)
	if err == nil && !bytes.Equal(e.Key, pskKey(r.ID)) {
		err = errOtherName
	}
	return err
}

// checkWelcome checks that the name can be that of a Welcome; the Welcome itself
// is not kept.
func checkWelcome(e store.Entry) error {
	if name, err := hex.DecodeString(string(e.Key[len(keyWelcome):])); err != nil || len(name) != hashSize {
		return errors.New("a Welcome under a wrong key")
	}
	return decode(e.Value, new(welcomeRecord))
}

func checkLog(e store.Entry, name string) error {
	if _, ok := epochOf(e.Key, name, partLog); !ok {
		return errors.New("an entry of the log under a wrong key")
	}
	value, err := raw(e.Value)
	if err == nil && (len(value) != 1 || value[0] != logReceived && value[0] != logOwn) {
		err = errors.New("an entry of the log of no known kind")
	}
	return err
}

// checkOutgoing holds a message of the outbox against what is noted of it.
func checkOutgoing(o *Outgoing) error {
	m, err := framing.Parse(o.Message)
	if err != nil {
		return err
	}
	if o.Kind == KindWelcome {
		if m.Welcome == nil {
			err = fmt.Errorf("a %v in the place of a Welcome", m.WireFormat)
		}
		return err
	}
	e, err := envelopeOf(m)
	if err != nil {
		return err
	}
	want := KindCommit
	if e.kind == framing.ContentProposal {
		want = KindProposal
	}
	if o.Kind != want || e.epoch != o.Epoch || !bytes.Equal(e.group, o.Group) {
		return errors.New("a message of another kind, epoch or group than is noted")
	}
	return nil
}

// checkPending holds the pending commit of a group against its entry in the
// outbox, if that is there still.
func (k *checker) checkPending(g *Group) error {
	var number uint64
	var message []byte
	switch {
	case g.joining != nil:
		number, message = g.joining.record.Outbox, g.joining.record.Message
	case g.pending != nil:
		number, message = g.pending.record.Outbox, g.pending.staged.Message()
	default:
		return nil
	}
	if number == 0 || number >= k.meta.NextOutbox {
		return errors.New("the pending commit has a number of the outbox that was not given out yet")
	}
	for id, o := range k.outgoing {
		if (id == number) != bytes.Equal(o.Message, message) {
			return fmt.Errorf("the pending commit is number %d of the outbox, which has something else there, or has it as %d", number, id)
		}
	}
	return nil
}
