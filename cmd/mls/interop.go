package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance/interop"
)

func (a *app) interopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "interop",
		Short: "Run with other implementations: the working group's interop service",
		Long: `interop speaks the gRPC service by which the MLS working group runs implementations
against each other: serve offers this implementation to any runner, run is a runner
of its own, with scenarios in the binary, and matrix makes a page of its reports.`,
		Example: `  mls interop run --self
  mls interop run --self --client 127.0.0.1:50052`,
	}
	cmd.AddCommand(a.interopServeCommand(), a.interopRunCommand(), a.interopMatrixCommand())
	needSubcommand(cmd)
	return cmd
}

func (a *app) interopServeCommand() *cobra.Command {
	var port int
	var host string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve this implementation to an interop runner",
		Long: `serve answers the calls of an interop runner until it is interrupted. It is for
tests: it hands out private keys and trusts everybody, as the interface wants it.
It listens on the loopback interface unless --host says otherwise.

The address is printed once the port is open.`,
		Example: `  mls interop serve --port 50051`,
	}
	cmd.Flags().IntVar(&port, "port", 0, "TCP `port` to listen on (default any that is free)")
	cmd.Flags().StringVar(&host, "host", "127.0.0.1", "`address` to listen on")
	return verb(cmd, func([]string) error {
		if port < 0 || port > 65535 {
			return usagef(cmd, "--port %d: there is no such port", port)
		}
		l, err := interop.Listen(host, port)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.stdout, l.Addr())
		ctx, stop := untilStopped()
		defer stop()
		return interop.Serve(ctx, l)
	})
}

// interopFlags are the flags of "mls interop run".
type interopFlags struct {
	opt        interop.Options
	suites     []string
	handshakes string
	json       bool
	verbose    bool
}

func (a *app) interopRunCommand() *cobra.Command {
	var f interopFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Play scenarios with clients of the interop service",
		Long: `run plays every scenario with the given clients, for every cipher suite that all of
them have, with handshakes in the clear and encrypted, each client in every role.
After each step all members of a group must have the same epoch authenticator.

It prints a line for each scenario and the total. A play that fails because a
client says that it does not support something counts apart, as does one that
fails because of a bug of another implementation's that is known. The exit code is
1 if any other play fails.

deep_random does any valid step after another: --steps, --actors and --seed are for
it.`,
		Example: `  mls interop run --self
  mls interop run --self --scenario deep_random --steps 2000 --actors 50 --seed 7 --suites 1
  mls interop run --self --client 127.0.0.1:50052 --json > report.json`,
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.opt.Self, "self", false, "take this implementation as a client, served in process")
	flags.StringArrayVar(&f.opt.Clients, "client", nil, "`address` of a client (repeatable)")
	flags.StringSliceVar(&f.suites, "suites", nil, "cipher `suites`, by number or name (default all that the clients share)")
	flags.StringSliceVar(&f.opt.Scenarios, "scenario", nil, "`names` of scenarios (default all)")
	flags.StringVar(&f.handshakes, "handshakes", "both", "`framing` of handshakes: private, public or both")
	flags.BoolVar(&f.opt.NoGREASE, "no-grease", false, "keep extensions of GREASE types out of our own leaf nodes and key packages")
	flags.BoolVar(&f.opt.AllCasts, "all-casts", false, "let the clients play the actors in every combination")
	flags.IntVar(&f.opt.Steps, "steps", interop.DefaultSteps, "`length` of deep_random")
	flags.IntVar(&f.opt.Actors, "actors", interop.DefaultActors, "`number` of actors in deep_random")
	flags.Uint64Var(&f.opt.Seed, "seed", 1, "`seed` of deep_random")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "say on standard error what became of each play")
	cmd.RegisterFlagCompletionFunc("handshakes", cobra.FixedCompletions([]string{"both", "private", "public"}, cobra.ShellCompDirectiveNoFileComp))
	return verb(cmd, func([]string) error { return a.runInterop(cmd, &f) })
}

func (a *app) runInterop(cmd *cobra.Command, f *interopFlags) error {
	if !f.opt.Self && len(f.opt.Clients) == 0 {
		return usagef(cmd, "no client: give --client, or --self")
	}
	for _, text := range f.suites {
		s, err := parseSuite(cmd, text)
		if err != nil {
			return err
		}
		f.opt.Suites = append(f.opt.Suites, s.ID())
	}
	if f.handshakes != "both" {
		encrypted := f.handshakes == "private"
		if !encrypted && f.handshakes != "public" {
			return usagef(cmd, "--handshakes %s: private, public or both", f.handshakes)
		}
		f.opt.Encrypted = &encrypted
	}
	f.opt.Progress = a.interopProgress(f.verbose)
	ctx, stop := untilStopped()
	defer stop()
	report, err := interop.Run(ctx, f.opt)
	if err = interrupted(err); report == nil {
		return err
	}
	write := report.WriteText
	if f.json {
		write = report.WriteJSON
	}
	err = errors.Join(err, write(a.stdout))
	if report.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d plays failed", report.Failed))
	}
	return err
}

// interopProgress says what became of each play, or of each that did not pass.
func (a *app) interopProgress(verbose bool) func(interop.Result) {
	return func(r interop.Result) {
		if !verbose && r.Outcome != interop.Failed {
			return
		}
		handshakes := "public"
		if r.Encrypted {
			handshakes = "private"
		}
		fmt.Fprintf(a.stderr, "%s: %v, %s, %s, %d steps, %d ms: %s\n", r.Scenario, mls.CipherSuite(r.Suite), handshakes,
			strings.Join(r.Cast, "+"), r.Steps, r.Millis, r.Outcome)
	}
}

func (a *app) interopMatrixCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "matrix REPORT...",
		Short: "Make a page of reports: which client, suite and scenario",
		Long: `matrix reads reports of "mls interop run --json" and prints a page of Markdown with a
table for each: scenarios down, cipher suites across.`,
		Example: `  mls interop matrix self.json tsmls.json > docs/interop.md`,
		Args:    cobra.MinimumNArgs(1),
	}
	return verb(cmd, func(args []string) error {
		var reports []*interop.Report
		for _, name := range args {
			r, err := readInteropReport(name)
			if err != nil {
				return err
			}
			reports = append(reports, r)
		}
		return interop.WriteMatrix(a.stdout, reports)
	})
}

func readInteropReport(name string) (*interop.Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := interop.ReadReport(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
