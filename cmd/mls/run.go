package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8/cwriter"
)

// Exit codes, as documented by the root command's help.
const (
	exitOK     = 0 // done
	exitFailed = 1 // the operation failed, or the message was refused
	exitUsage  = 2 // the command line makes no sense
)

// app is one invocation: where it reads and writes. Results go to stdout, talk to stderr.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	dir            string // --dir: the state directory
	passphraseFile string // --passphrase-file: what opens an encrypted store
	codePoints     string // --code-points: the numbers of cipher suites
	stdinTaken     bool   // standard input was read already
}

// run executes one command line and returns the exit code of the process.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if err == nil {
		return exitOK
	}
	failed, usage := (*failedError)(nil), (*usageError)(nil)
	switch {
	case errors.As(err, &usage):
	case errors.As(err, &failed):
		a.report(failed.err)
		return exitFailed
	default: // what cobra itself has to say is about the command line
		err = &usageError{err, cmd.CommandPath()}
	}
	a.report(err)
	return exitUsage
}

// report prints err as `mls: …` and, where there is something to do about it, what to do next.
func (a *app) report(err error) {
	fmt.Fprintf(a.stderr, "mls: %s\n", errorText(err))
	if hint := hintFor(err); hint != "" {
		fmt.Fprintf(a.stderr, "mls: hint: %s\n", hint)
	}
}

// errorText is the text of err without the prefix that the library's errors bear.
func errorText(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "mls: "), ": mls: ", ": ")
}

// rootCommand builds the whole command tree. The documentation is generated from it.
func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "mls",
		Short: "Messaging Layer Security (RFC 9420): simulate, hold, inspect and measure groups",
		Long: `mls works with groups of Messaging Layer Security (RFC 9420).

It simulates groups whose re-keying costs log(n) instead of n, holds real groups
in a directory with messages as files, shows what is inside a message, explains
why a message is refused, and measures the library against its floor.

Results go to standard output, everything said about them to standard error.
Exit codes: 0 done; 1 the operation failed or a message was refused; 2 the
command line is wrong.`,
		Example: `  mls sim
  mls init --name alice && mls group create garden
  mls inspect message.mls
  mls bench --members 16,1024`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().StringVar(&a.dir, "dir", defaultDir(), "state `directory` (default .mls, or $MLS_DIR)")
	root.PersistentFlags().Lookup("dir").DefValue = ""
	root.PersistentFlags().StringVar(&a.passphraseFile, "passphrase-file", "", "`file` with the passphrase of an encrypted store, - for standard input; a newline at its end is not part of it (or the passphrase in $MLS_PASSPHRASE)")
	a.codePointsFlag(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef(cmd, "%v", err)
	})
	root.AddCommand(
		a.simCommand(),
		a.initCommand(),
		a.keyPackageCommand(),
		a.pskCommand(),
		a.groupCommand(),
		a.inspectCommand(),
		a.explainCommand(),
		a.benchCommand(),
		a.conformanceCommand(),
		a.compareCommand(),
		a.interopCommand(),
		a.storeCommand(),
		a.versionCommand(),
		a.docsCommand(),
	)
	needSubcommand(root)
	return root
}

// defaultDir is where the state lives when --dir does not say.
func defaultDir() string {
	if dir := os.Getenv("MLS_DIR"); dir != "" {
		return dir
	}
	return ".mls"
}

// verb makes f the body of cmd. Whatever it returns counts as a failed operation (exit code 1) unless
// it is a usage error; errors that cobra makes before f runs are usage errors.
func verb(cmd *cobra.Command, f func(args []string) error) *cobra.Command {
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := f(args); err != nil {
			return &failedError{err}
		}
		return nil
	}
	if cmd.Args == nil {
		cmd.Args = cobra.NoArgs
	}
	args := cmd.Args
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if err := args(cmd, given); err != nil {
			return usagef(cmd, "%v", err)
		}
		return nil
	}
	return cmd
}

// needSubcommand makes a command that only groups others refuse to be called alone or with an unknown
// name; cobra by itself would print the help and succeed.
func needSubcommand(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef(cmd, "%q needs a command after it", cmd.CommandPath())
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usagef(cmd, "%s", text)
	}
	cmd.SuggestionsMinimumDistance = 2
}

// isTerminal reports whether f, a reader or writer, is a terminal.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && cwriter.IsTerminal(int(file.Fd()))
}
