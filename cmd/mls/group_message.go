package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
)

func (a *app) groupSendCommand(f *groupFlags) *cobra.Command {
	var out, text, aad string
	cmd := &cobra.Command{
		Use:   "send [FILE]",
		Short: "Encrypt a message to the group",
		Long: `send encrypts a file, or standard input, to the members of the group's epoch. The
state is written before the message: the same key is never used twice.`,
		Example: `  echo hello | mls group send -o shared/m1
  mls group send photo.jpg -o shared/photo`,
		Args: cobra.MaximumNArgs(1),
	}
	outFlag(cmd, &out, "message")
	cmd.Flags().StringVar(&text, "text", "", "send this `text` instead of a file")
	cmd.Flags().StringVar(&aad, "aad", "", "`data` that travels in the clear, but authenticated")
	return verb(cmd, func(args []string) error {
		if text != "" && len(args) > 0 {
			return usagef(cmd, "either --text or a file")
		}
		if err := a.checkOutput(out); err != nil {
			return err
		}
		data := []byte(text)
		if text == "" {
			name := "-"
			if len(args) > 0 {
				name = args[0]
			}
			var err error
			if data, err = a.input(name); err != nil {
				return err
			}
		}
		return a.withJoined(f, func(ctx context.Context, g *held) error {
			message, err := g.Send(ctx, data, []byte(aad))
			if err != nil {
				return err
			}
			return a.output(out, message)
		})
	})
}

// receivedJSON is the machine-readable form of a received message.
type receivedJSON struct {
	From       string        `json:"from"`
	Leaf       mls.LeafIndex `json:"leaf"`
	Epoch      uint64        `json:"epoch"`
	Generation uint32        `json:"generation"`
	Data       []byte        `json:"data"` // base64
	AAD        []byte        `json:"authenticated_data"`
}

func (a *app) groupReceiveCommand(f *groupFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "receive FILE",
		Short: "Decrypt a message of the group",
		Long: `receive decrypts an application message to standard output; who sent it goes to
standard error. Its key is used up: the same file can't be read again.`,
		Example: `  mls group receive shared/m1
  mls group receive --json shared/m1`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print sender, epoch and data (in base64) as JSON")
	return verb(cmd, func(args []string) error {
		message, err := a.input(args[0])
		if err != nil {
			return err
		}
		// Printed in the batch that uses up the key: a message that could not be printed can still be read.
		opt := homeOptions{save: func(_ store.Writer, _ []byte, o client.Outcome) error {
			if m, ok := o.(*client.MessageReceived); ok {
				return a.printReceived(&m.Application, asJSON)
			}
			return nil
		}}
		return a.withGroupOptions(f, opt, func(ctx context.Context, g *held) error {
			if err := g.receive(ctx, message); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return nil
		})
	})
}

// receive reads an application message, and nothing else. One of an epoch to come is not held: when it
// could be read, nobody would be looking.
func (g *held) receive(ctx context.Context, message []byte) error {
	m, err := framing.Parse(message)
	if err != nil {
		return err
	}
	if m.Private == nil || m.Private.ContentType != framing.ContentApplication {
		return hinted(`"mls group process" takes proposals and commits; "mls inspect" shows what it is`, "not an application message")
	}
	if err := g.joined(); err != nil {
		return err
	}
	if g.info.Status == client.StatusActive && bytes.Equal(m.Private.GroupID, g.info.ID) && m.Private.Epoch > g.info.Epoch {
		return &mls.EpochError{Got: m.Private.Epoch, Want: g.info.Epoch}
	}
	o, err := g.Process(ctx, message)
	if err != nil {
		return err
	}
	switch o := o.(type) {
	case *client.MessageReceived:
		return nil
	case *client.Duplicate:
		return mls.ErrKeyConsumed
	case *client.Stale:
		return hinted("messages can be read for a few epochs; this one is gone", "a message of epoch %d, the group is in epoch %d", o.Epoch, o.Current)
	case *client.OwnEcho:
		return hinted("a sender keeps no key for what it has sent", "this is a message of your own")
	}
	return fmt.Errorf("nothing to do with %T", o)
}

func (a *app) printReceived(m *group.Application, asJSON bool) error {
	from := m.Credential.String()
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(receivedJSON{
			from, m.Sender, m.Epoch, m.Generation, append([]byte{}, m.Data...), append([]byte{}, m.AuthenticatedData...), // "", not null
		})
	}
	fmt.Fprintf(a.stderr, "from %s (leaf %d), epoch %d\n", from, m.Sender, m.Epoch)
	_, err := a.stdout.Write(m.Data)
	return err
}
