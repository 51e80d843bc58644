package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
)

func (a *app) initCommand() *cobra.Command {
	var name, suiteName string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a state directory with a fresh identity",
		Long: `init makes the state directory (--dir, $MLS_DIR, or .mls) with a fresh signature
key, in a file that "mls store" can look into. The name goes into a basic
credential: it is what others see, and nothing proves it.

Everything in the directory is secret. With --passphrase-file, or a passphrase in
$MLS_PASSPHRASE, it is encrypted, and every later command needs the same.`,
		Example: `  mls init --name alice
  mls init --name alice --passphrase-file ~/.mls-passphrase
  mls init --name bob --dir bob --suite P256_AES128GCM_SHA256_P256`,
	}
	cmd.Flags().StringVar(&name, "name", "", "the `name` that other members see (required)")
	suiteFlag(cmd, &suiteName)
	return verb(cmd, func([]string) error {
		if name == "" {
			return usagef(cmd, "--name is required: the name that other members see")
		}
		if !printable(name) {
			return usagef(cmd, "the name is not printable text")
		}
		suite, err := parseSuite(cmd, suiteName)
		if err != nil {
			return err
		}
		key, err := a.createHome(a.dir, name, suite)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "%s: %s, key %s, %s\n", a.dir, name, key, suite)
		return nil
	})
}

// suiteFlag defines --suite.
func suiteFlag(cmd *cobra.Command, value *string) {
	cmd.Flags().StringVar(value, "suite", "1", "cipher `suite`, by number or name (RFC 9420, Section 17.1)")
	cmd.RegisterFlagCompletionFunc("suite", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, s := range mls.Suites() {
			names = append(names, fmt.Sprintf("%d\t%s", s.ID(), s))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// givenSuite is parseSuite for a flag that can be left out: then it is nil.
func givenSuite(cmd *cobra.Command, text string) (*mls.Suite, error) {
	if text == "" {
		return nil, nil
	}
	return parseSuite(cmd, text)
}

// parseSuite finds a cipher suite by its number, its name, or the part of the name after MLS_128_DHKEM
// and the like.
func parseSuite(cmd *cobra.Command, text string) (*mls.Suite, error) {
	if n, err := strconv.ParseUint(text, 0, 16); err == nil {
		s, err := mls.LookupSuite(mls.CipherSuite(n))
		if err != nil {
			return nil, usagef(cmd, "no cipher suite %s", text)
		}
		return s, nil
	}
	var names []string
	for _, s := range mls.Suites() {
		if strings.EqualFold(s.String(), text) || len(text) > 4 && strings.HasSuffix(strings.ToUpper(s.String()), strings.ToUpper(text)) {
			return s, nil
		}
		names = append(names, fmt.Sprintf("%d %s", s.ID(), s))
	}
	return nil, usagef(cmd, "no cipher suite %q; there are:\n  %s", text, strings.Join(names, "\n  "))
}
