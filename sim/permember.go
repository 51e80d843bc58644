package sim

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/wire"
)

// Labels of the protocol below, in the manner of RFC 9420, Section 5.1.
const (
	labelKeyPerMember = "Simulated key per member"
	keySize           = 32
)

// perMember re-keys a group without a tree: a fresh key, sealed to each other
// member with the suite's HPKE, in one signed message. It is what groups do
// that have no TreeKEM, with everything spared that can be.
type perMember struct {
	suite  *mls.Suite
	signer mls.Signer
	// public are the keys of all members, the sender's first; private those
	// of the first few of them, who will open what they get.
	public  []mls.HPKEPublicKey
	private []*mls.HPKEPrivateKey
}

// newPerMember makes a group of n members of whom all, or the first acting,
// read what is sent.
func newPerMember(suite *mls.Suite, n, acting int) (*perMember, error) {
	signer, err := suite.GenerateSigner()
	if err != nil {
		return nil, err
	}
	p := &perMember{suite: suite, signer: signer, public: make([]mls.HPKEPublicKey, n), private: make([]*mls.HPKEPrivateKey, n)}
	err = parallel.Each(n, 1, func(i int) error {
		key, err := suite.GenerateKeyPair()
		if err != nil {
			return err
		}
		p.public[i], p.private[i] = key.Public(), key
		return nil
	})
	p.private = p.private[:acting]
	return p, err
}

// rekeyMessage is what the sender broadcasts.
//
//	struct {
//	    uint64 epoch;
//	    uint32 sender;
//	    HPKECiphertext keys<V>;   // one for each other member, in order
//	    opaque signature<V>;      // over all of the above
//	} RekeyMessage;
type rekeyMessage struct {
	epoch     uint64
	sender    uint32
	keys      []mls.HPKECiphertext
	signature []byte
}

func (m *rekeyMessage) encodeTBS(b *wire.Builder) {
	b.U64(m.epoch)
	b.U32(m.sender)
	b.Vector(func(b *wire.Builder) {
		for i := range m.keys {
			m.keys[i].Encode(b)
		}
	})
}

// Encode writes the wire form.
func (m *rekeyMessage) Encode(b *wire.Builder) {
	m.encodeTBS(b)
	b.Opaque(m.signature)
}

// Decode reads the wire form.
func (m *rekeyMessage) Decode(r *wire.Reader) {
	*m = rekeyMessage{epoch: r.U64(), sender: r.U32()}
	r.Vector(func(r *wire.Reader) {
		var c mls.HPKECiphertext
		c.Decode(r)
		m.keys = append(m.keys, c)
	})
	m.signature = r.OpaqueCopy()
}

func (m *rekeyMessage) tbs() ([]byte, error) {
	var b wire.Builder
	m.encodeTBS(&b)
	return b.Bytes()
}

// rekey makes the message that gives everybody a fresh key.
func (p *perMember) rekey(epoch uint64) (message, key []byte, err error) {
	fresh := mls.RandomSecret(keySize)
	m := &rekeyMessage{epoch: epoch, keys: make([]mls.HPKECiphertext, len(p.public)-1)}
	err = parallel.Each(len(m.keys), 1, func(i int) error {
		var err error
		m.keys[i], err = p.suite.EncryptWithLabel(p.public[i+1], labelKeyPerMember, nil, fresh.UnsafeBytes())
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	tbs, err := m.tbs()
	if err != nil {
		return nil, nil, err
	}
	if m.signature, err = p.suite.SignWithLabel(p.signer, labelKeyPerMember, tbs); err != nil {
		return nil, nil, err
	}
	message, err = wire.Marshal(m)
	return message, fresh.UnsafeBytes(), err
}

// open is what member i does with the message.
func (p *perMember) open(i int, message []byte) (key []byte, err error) {
	m := new(rekeyMessage)
	if err := wire.Unmarshal(message, m); err != nil {
		return nil, err
	}
	tbs, err := m.tbs()
	if err != nil {
		return nil, err
	}
	if err := p.suite.VerifyWithLabel(p.signer.Public(), labelKeyPerMember, tbs, m.signature); err != nil {
		return nil, err
	}
	if i < 1 || i > len(m.keys) {
		return nil, fmt.Errorf("sim: no key for member %d", i)
	}
	return p.suite.DecryptWithLabel(p.private[i], labelKeyPerMember, nil, m.keys[i-1])
}

// cost re-keys the group a few times, has every member read it, and returns the
// median. Reading is not part of the cost.
func (p *perMember) cost(times int) (Cost, error) {
	var costs []Cost
	for epoch := range times {
		start := time.Now()
		message, key, err := p.rekey(uint64(epoch))
		elapsed := time.Since(start)
		if err != nil {
			return Cost{}, err
		}
		costs = append(costs, Cost{len(message), len(p.public) - 1, elapsed})
		if epoch > 0 {
			continue // once shows that it works
		}
		err = parallel.Each(len(p.private)-1, 1, func(i int) error {
			got, err := p.open(i+1, message)
			if err == nil && !bytes.Equal(got, key) {
				err = errors.New("sim: a member opened another key")
			}
			return err
		})
		if err != nil {
			return Cost{}, err
		}
	}
	return medianCost(costs), nil
}
