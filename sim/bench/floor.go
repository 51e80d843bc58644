package bench

import (
	"runtime"
	"sync"
	"time"

	"github.com/treekem/mls"
)

// work counts primitive operations.
type work struct {
	derive, seal, open int // HPKE: key pairs derived, encryptions, decryptions
	sign, verify       int // of what is as long as a leaf node
	// Of application messages: signatures of what is as long as one with its
	// frame, encryptions of the message.
	signMessage, verifyMessage, aeadSeal, aeadOpen int
	hash                                           int // of a leaf node
}

// messageSize is the size of application messages.
const messageSize = 1024

// framedMore is what the frame and the GroupContext add to what is signed of a
// message.
const framedMore = 150

// manyAlike is the number of like operations from which on their cost is that on
// all cores. Below it, handing work around is not worth its price, and the floor
// stays that of one core.
const manyAlike = 64

// label is that of the primitives' inputs; any will do.
const label = "Benchmark"

// A primitive is an operation that the floor consists of.
type primitive struct {
	name  string
	count int
	run   func() error
	times []time.Duration // of one
}

// floor measures the primitives of some work.
type floor struct {
	primitives []*primitive
}

// inputs are what the primitives work on, of the sizes that they have in
// commits.
type inputs struct {
	suite   *mls.Suite
	ikm     mls.Secret
	key     *mls.HPKEPrivateKey
	public  mls.HPKEPublicKey
	sealed  mls.HPKECiphertext
	signer  *mls.SignaturePrivateKey
	context []byte // as long as a GroupContext
	signed  []byte // as long as a leaf node
	sig     []byte
	// The same of a message, which goes with its GroupContext.
	framed, framedSig []byte

	aead    mls.Secret
	nonce   []byte
	message []byte
	cipher  []byte
}

func newInputs(s *mls.Suite) (*inputs, error) {
	in := &inputs{
		suite: s, ikm: mls.RandomSecret(s.HashSize()), context: make([]byte, 120), signed: make([]byte, 220),
		framed: make([]byte, messageSize+framedMore),
		aead:   mls.RandomSecret(s.KeySize()), nonce: make([]byte, s.NonceSize()), message: make([]byte, messageSize),
	}
	var err error
	if in.key, err = s.DeriveKeyPair(in.ikm); err != nil {
		return nil, err
	}
	in.public = in.key.Public()
	if in.sealed, err = s.EncryptWithLabel(in.public, label, in.context, in.ikm.UnsafeBytes()); err != nil {
		return nil, err
	}
	if in.signer, err = s.GenerateSigner(); err != nil {
		return nil, err
	}
	if in.sig, err = s.SignWithLabel(in.signer, label, in.signed); err != nil {
		return nil, err
	}
	if in.framedSig, err = s.SignWithLabel(in.signer, label, in.framed); err != nil {
		return nil, err
	}
	in.cipher, err = s.Seal(nil, in.aead, in.nonce, nil, in.message)
	return in, err
}

// newFloor prepares the primitives that w has.
func newFloor(s *mls.Suite, w work) (*floor, error) {
	in, err := newInputs(s)
	if err != nil {
		return nil, err
	}
	f := &floor{}
	for _, p := range in.primitives(w) {
		if p.count == 0 {
			continue
		}
		if err := p.run(); err != nil {
			return nil, err
		}
		f.primitives = append(f.primitives, p)
	}
	return f, nil
}

// primitives are all that there are, with the counts of w.
func (in *inputs) primitives(w work) []*primitive {
	s, public := in.suite, in.signer.Public()
	return []*primitive{
		{name: "derive a key pair", count: w.derive, run: func() error { _, err := s.DeriveKeyPair(in.ikm); return err }},
		{name: "HPKE seal", count: w.seal, run: func() error {
			_, err := s.EncryptWithLabel(in.public, label, in.context, in.ikm.UnsafeBytes())
			return err
		}},
		{name: "HPKE open", count: w.open, run: func() error {
			_, err := s.DecryptWithLabel(in.key, label, in.context, in.sealed)
			return err
		}},
		{name: "sign", count: w.sign, run: func() error { _, err := s.SignWithLabel(in.signer, label, in.signed); return err }},
		{name: "verify", count: w.verify, run: func() error { return s.VerifyWithLabel(public, label, in.signed, in.sig) }},
		{name: "sign a message of 1 KiB", count: w.signMessage, run: func() error {
			_, err := s.SignWithLabel(in.signer, label, in.framed)
			return err
		}},
		{name: "verify a message of 1 KiB", count: w.verifyMessage, run: func() error {
			return s.VerifyWithLabel(public, label, in.framed, in.framedSig)
		}},
		{name: "AEAD seal 1 KiB", count: w.aeadSeal, run: func() error { _, err := s.Seal(nil, in.aead, in.nonce, nil, in.message); return err }},
		{name: "AEAD open 1 KiB", count: w.aeadOpen, run: func() error { _, err := s.Open(in.aead, in.nonce, nil, in.cipher); return err }},
		{name: "hash a leaf", count: w.hash, run: func() error { s.Hash(in.signed); return nil }},
	}
}

// beside measures the primitives beside a run that took so long, for some per
// cent of that time, and returns what they add up to.
func (f *floor) beside(elapsed time.Duration) time.Duration {
	const most = 32
	f.reset()
	for start, n := time.Now(), 0; n == 0 || n < most && time.Since(start) < elapsed/20; n++ {
		f.round()
	}
	return f.total()
}

// round measures each primitive once more. The inputs are valid, so no run
// fails.
func (f *floor) round() {
	for _, p := range f.primitives {
		p.times = append(p.times, p.once())
	}
}

// once is the time of one operation: of some in a row, so that the clock's
// resolution does not matter, or of a share of many on all cores.
func (p *primitive) once() time.Duration {
	const inRow = 4
	start := time.Now()
	if p.count < manyAlike {
		for range inRow {
			p.run()
		}
		return time.Since(start) / inRow
	}
	var wg sync.WaitGroup
	cores := runtime.GOMAXPROCS(0)
	for range cores {
		wg.Go(func() {
			for range manyAlike {
				p.run()
			}
		})
	}
	wg.Wait()
	return time.Since(start) / time.Duration(cores*manyAlike)
}

// reset forgets what was measured.
func (f *floor) reset() {
	for _, p := range f.primitives {
		p.times = nil
	}
}

// total is the floor: the sum of the primitives' medians times their counts.
func (f *floor) total() time.Duration {
	var sum time.Duration
	for _, p := range f.primitives {
		sum += time.Duration(p.count) * median(p.times)
	}
	return sum
}
