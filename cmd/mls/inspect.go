package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

func (a *app) inspectCommand() *cobra.Command {
	var asJSON bool
	var as, suiteName string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what is inside a message, key package, GroupInfo, Welcome or tree",
		Long: `inspect prints any structure of RFC 9420 for a reader: an MLSMessage of any kind, or
the bare encoding of a key package, GroupInfo, Welcome, ratchet tree, commit,
proposal or leaf node, in binary or in hex. - is standard input.

Only an MLSMessage says what it is. Of anything else inspect takes the first kind
that fits whole; --as names another. Nothing is verified: see "mls explain".
Secrets are never shown.

Kinds for --as:
` + wrap(kindNames(), 78) + `.`,
		Example: `  mls inspect shared/garden.0
  mls inspect --json shared/bob.kp
  xxd -p tree.bin | mls inspect - --as ratchet_tree --suite 2`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with all bytes in hex")
	cmd.Flags().StringVar(&as, "as", "", "the `kind` of structure, if it can't be told")
	cmd.Flags().StringVar(&suiteName, "suite", "", "cipher `suite` for hashes, if it can't be told")
	cmd.RegisterFlagCompletionFunc("as", cobra.FixedCompletions(kindNames(), cobra.ShellCompDirectiveNoFileComp))
	return verb(cmd, func(args []string) error {
		in := &inspector{}
		if suiteName != "" {
			var err error
			if in.suite, err = parseSuite(cmd, suiteName); err != nil {
				return err
			}
		}
		if as != "" && findKind(as) == nil {
			return usagef(cmd, "no kind %q; there are: %s", as, strings.Join(kindNames(), ", "))
		}
		data, err := a.input(args[0])
		if err != nil {
			return err
		}
		o, err := in.inspect(unhex(data), as)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if asJSON {
			return a.printJSON(o)
		}
		return o.writeText(a.stdout)
	})
}

// wrap joins words by commas, in lines of at most width characters.
func wrap(words []string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range words {
		if i > 0 {
			b.WriteByte(',')
			if column++; column+1+len(word) > width {
				b.WriteByte('\n')
				column = 0
			} else {
				b.WriteByte(' ')
				column++
			}
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// unhex decodes data if it is hex digits and white space, and returns it as it is otherwise.
func unhex(data []byte) []byte {
	digits := bytes.Join(bytes.Fields(data), nil)
	if len(digits) == 0 {
		return data
	}
	out := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(out, digits); err != nil {
		return data
	}
	return out
}

// An inspector describes structures. suite is the cipher suite as far as it is known, for hashes.
type inspector struct {
	suite *mls.Suite
}

// A structure is a kind of input that inspect knows.
type structure struct {
	name     string
	describe func(in *inspector, data []byte) (outline, error)
}

// describer makes a structure of a type that decodes and of what describes it.
func describer[T any, P interface {
	*T
	wire.Decoder
}](name string, describe func(*inspector, P) outline) structure {
	return structure{name, func(in *inspector, data []byte) (outline, error) {
		v := P(new(T))
		if err := wire.Unmarshal(data, v); err != nil {
			return nil, err
		}
		return describe(in, v), nil
	}}
}

// structures lists what can be inspected, the more telling encodings first: a structure of four bytes or
// of one vector fits many inputs.
func structures() []structure {
	return []structure{
		describer("message", (*inspector).message),
		describer("key_package", (*inspector).keyPackage),
		describer("group_info", (*inspector).groupInfo),
		{"group_context", (*inspector).bareGroupContext},
		describer("welcome", (*inspector).welcome),
		{"ratchet_tree", (*inspector).ratchetTree},
		describer("leaf_node", (*inspector).leafNode),
		describer("group_secrets", (*inspector).groupSecrets),
		describer("authenticated_content", (*inspector).authenticatedContent),
		describer("proposal", (*inspector).proposal),
		describer("update_path", (*inspector).updatePath),
		describer("commit", (*inspector).commit),
		describer("psk_id", (*inspector).psk),
		describer("re_init", (*inspector).reInit),
		describer("remove", (*inspector).remove),
		describer("group_context_extensions", (*inspector).groupContextExtensions),
		describer("external_init", (*inspector).externalInit),
	}
}

func kindNames() []string {
	var names []string
	for _, s := range structures() {
		names = append(names, s.name)
	}
	return names
}

func findKind(name string) *structure {
	for _, s := range structures() {
		if s.name == name {
			return &s
		}
	}
	return nil
}

// inspect describes data as the kind named, or as the first kind that it is the whole encoding of.
func (in *inspector) inspect(data []byte, as string) (outline, error) {
	if len(data) == 0 {
		return nil, errors.New("the file is empty")
	}
	for _, s := range structures() {
		if as != "" && s.name != as {
			continue
		}
		o, err := s.describe(in, data)
		if err == nil {
			return append(outline{{"kind", s.name}, {"bytes", len(data)}}, o...), nil
		}
		if as != "" {
			return nil, err
		}
	}
	return nil, hinted("the state of a group is shown by \"mls group info\"", "no structure of RFC 9420 that I know")
}

func (in *inspector) message(m *framing.Message) outline {
	o := outline{{"version", m.Version.String()}, {"wire_format", m.WireFormat.String()}}
	switch {
	case m.Public != nil:
		o.add("public_message", in.publicMessage(m.Public))
	case m.Private != nil:
		o.add("private_message", in.privateMessage(m.Private))
	case m.Welcome != nil:
		o.add("welcome", in.welcome(m.Welcome))
	case m.GroupInfo != nil:
		o.add("group_info", in.groupInfo(m.GroupInfo))
	case m.KeyPackage != nil:
		o.add("key_package", in.keyPackage(m.KeyPackage))
	}
	return o
}

func (in *inspector) publicMessage(m *framing.PublicMessage) outline {
	o := in.content(&m.Content)
	o.add("signature", raw(m.Signature))
	if m.ConfirmationTag != nil {
		o.add("confirmation_tag", raw(m.ConfirmationTag))
	}
	if m.MembershipTag != nil {
		o.add("membership_tag", raw(m.MembershipTag))
	}
	return o
}

func (in *inspector) authenticatedContent(c *framing.AuthenticatedContent) outline {
	o := outline{{"wire_format", c.WireFormat.String()}}
	o = append(o, in.content(&c.Content)...)
	o.add("signature", raw(c.Signature))
	if c.ConfirmationTag != nil {
		o.add("confirmation_tag", raw(c.ConfirmationTag))
	}
	return o
}

func (in *inspector) content(c *framing.FramedContent) outline {
	o := outline{{"group_id", label(c.GroupID)}, {"epoch", c.Epoch}, {"sender", senderText(c.Sender)}}
	if len(c.AuthenticatedData) > 0 {
		o.add("authenticated_data", raw(c.AuthenticatedData))
	}
	o.add("content_type", c.ContentType.String())
	switch {
	case c.Proposal != nil:
		o.add("proposal", in.proposal(c.Proposal))
	case c.Commit != nil:
		o.add("commit", in.commit(c.Commit))
	default:
		o.add("application_data", raw(c.Application))
	}
	return o
}

func senderText(s framing.Sender) string {
	switch s.Type {
	case framing.SenderMember:
		return fmt.Sprintf("member at leaf %d", s.Leaf)
	case framing.SenderExternal:
		return fmt.Sprintf("external sender %d", s.SenderIndex)
	}
	return s.Type.String()
}

func (in *inspector) privateMessage(m *framing.PrivateMessage) outline {
	o := outline{{"group_id", label(m.GroupID)}, {"epoch", m.Epoch}, {"content_type", m.ContentType.String()}}
	if len(m.AuthenticatedData) > 0 {
		o.add("authenticated_data", raw(m.AuthenticatedData))
	}
	o.add("encrypted_sender_data", raw(m.EncryptedSenderData))
	o.add("ciphertext", raw(m.Ciphertext))
	return o
}

func (in *inspector) welcome(w *framing.Welcome) outline {
	refs := make([]raw, len(w.Secrets))
	for i := range w.Secrets {
		refs[i] = w.Secrets[i].NewMember
	}
	return outline{
		{"cipher_suite", w.CipherSuite.String()},
		{"new_members", refs},
		{"encrypted_group_info", raw(w.EncryptedGroupInfo)},
	}
}

func (in *inspector) groupInfo(g *framing.GroupInfo) outline {
	o := outline{{"group_context", in.groupContext(&g.GroupContext)}}
	o.add("extensions", in.extensions(g.Extensions))
	o.add("confirmation_tag", raw(g.ConfirmationTag))
	o.add("signer", uint32(g.Signer))
	o.add("signature", raw(g.Signature))
	return o
}

func (in *inspector) groupContext(c *keyschedule.GroupContext) outline {
	if s, err := mls.LookupSuite(c.CipherSuite); err == nil {
		in.suite = s
	}
	return outline{
		{"version", c.Version.String()}, {"cipher_suite", c.CipherSuite.String()},
		{"group_id", label(c.GroupID)}, {"epoch", c.Epoch},
		{"tree_hash", raw(c.TreeHash)}, {"confirmed_transcript_hash", raw(c.ConfirmedTranscriptHash)},
		{"extensions", in.extensions(c.Extensions)},
	}
}

// bareGroupContext describes a group context that comes by itself: one of another version is none.
func (in *inspector) bareGroupContext(data []byte) (outline, error) {
	c := new(keyschedule.GroupContext)
	if err := wire.Unmarshal(data, c); err != nil {
		return nil, err
	}
	if c.Version != mls.MLS10 {
		return nil, fmt.Errorf("a group context of version %s", c.Version)
	}
	return in.groupContext(c), nil
}

// groupSecrets tells what is there, not what it is.
func (in *inspector) groupSecrets(g *framing.GroupSecrets) outline {
	defer g.Destroy()
	o := outline{{"joiner_secret", fmt.Sprintf("%d bytes, not shown", g.JoinerSecret.Len())}}
	if g.PathSecret.IsZero() {
		o.add("path_secret", "none")
	} else {
		o.add("path_secret", fmt.Sprintf("%d bytes, not shown", g.PathSecret.Len()))
	}
	psks := make([]outline, len(g.PSKs))
	for i := range g.PSKs {
		psks[i] = in.psk(&g.PSKs[i])
	}
	o.add("psks", psks)
	return o
}

func (in *inspector) keyPackage(k *treekem.KeyPackage) outline {
	o := outline{{"version", k.Version.String()}, {"cipher_suite", k.CipherSuite.String()}}
	if s, err := mls.LookupSuite(k.CipherSuite); err == nil {
		in.suite = s
		o.add("reference", raw(k.Ref(s)))
	}
	o.add("init_key", raw(k.InitKey))
	o.add("leaf_node", in.leafNode(&k.LeafNode))
	o.add("extensions", in.extensions(k.Extensions))
	o.add("signature", raw(k.Signature))
	return o
}
