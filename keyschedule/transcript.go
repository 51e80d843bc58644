package keyschedule

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// ConfirmedTranscriptHash returns the confirmed transcript hash of an epoch
// (RFC 9420, Section 8.2). interim is the interim transcript hash of the epoch
// before, input the serialized ConfirmedTranscriptHashInput of the Commit that
// starts the epoch. In epoch 0, which no Commit starts, the confirmed hash is
// the empty string and this function is not used.
func ConfirmedTranscriptHash(s *mls.Suite, interim, input []byte) []byte {
	var hash []byte
	err := wire.WithScratch(len(interim)+len(input), func(b *wire.Builder) error {
		b.Raw(interim)
		b.Raw(input)
		return nil
	}, func(joined []byte) error {
		hash = s.Hash(joined)
		return nil
	})
	if err != nil {
		panic("mls: internal error: " + err.Error())
	}
	return hash
}

// InterimTranscriptHash returns the interim transcript hash of an epoch (RFC
// 9420, Section 8.2) from its confirmed transcript hash and the confirmation
// tag of the Commit that starts it. Epoch 0 has an interim hash too, over the
// empty confirmed hash and the creator's own tag (RFC 9420, Section 11).
//
//	struct {
//	    MAC confirmation_tag;
//	} InterimTranscriptHashInput;
func InterimTranscriptHash(s *mls.Suite, confirmed, confirmationTag []byte) []byte {
	var b wire.Builder
	b.Opaque(confirmationTag)
	return s.Hash(confirmed, mustBytes(&b))
}

// mustBytes returns what was built from parts that are bounded far below the
// codec's limit of 2^30 bytes.
func mustBytes(b *wire.Builder) []byte {
	p, err := b.Bytes()
	if err != nil {
		panic("mls: internal error: " + err.Error())
	}
	return p
}
