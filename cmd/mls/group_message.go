package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
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
		g, unlock, err := a.openGroup(f)
		if err != nil {
			return err
		}
		defer unlock()
		message, err := g.Protect(data, []byte(aad))
		if err != nil {
			return err
		}
		if err := g.save(); err != nil {
			return err
		}
		return a.output(out, message)
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
		g, unlock, err := a.openGroup(f)
		if err != nil {
			return err
		}
		defer unlock()
		message, err := a.input(args[0])
		if err != nil {
			return err
		}
		m, err := g.receive(message)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if err := a.printReceived(m, asJSON); err != nil {
			return err
		}
		// Only now: a message that could not be printed can still be read.
		return g.save()
	})
}

// receive reads an application message, and nothing else.
func (g *held) receive(message []byte) (*group.Application, error) {
	m, err := framing.Parse(message)
	if err != nil {
		return nil, err
	}
	if m.Private == nil || m.Private.ContentType != framing.ContentApplication {
		return nil, hinted(`"mls group process" takes proposals and commits; "mls inspect" shows what it is`, "not an application message")
	}
	received, err := g.Process(message)
	if err != nil {
		return nil, err
	}
	switch r := received.(type) {
	case *group.Application:
		return r, nil
	case *group.Duplicate:
		return nil, mls.ErrKeyConsumed
	case *group.FutureEpoch:
		return nil, &mls.EpochError{Got: r.Got, Want: r.Want}
	case *group.StaleEpoch:
		return nil, hinted("messages can be read for a few epochs; this one is gone", "a message of epoch %d, the group is in epoch %d", r.Got, r.Want)
	case *group.OwnMessage:
		return nil, hinted("a sender keeps no key for what it has sent", "this is a message of your own")
	}
	return nil, fmt.Errorf("nothing to do with %T", received)
}

func (a *app) printReceived(m *group.Application, asJSON bool) error {
	from := m.Credential.String()
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(receivedJSON{from, m.Sender, m.Epoch, m.Generation, m.Data, m.AuthenticatedData})
	}
	fmt.Fprintf(a.stderr, "from %s (leaf %d), epoch %d\n", from, m.Sender, m.Epoch)
	_, err := a.stdout.Write(m.Data)
	return err
}
