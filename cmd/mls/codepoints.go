package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
)

// codePointsEnv says what --code-points does not.
const codePointsEnv = "MLS_CODE_POINTS"

// codePointsFlag defines --code-points, for the whole process.
func (a *app) codePointsFlag(root *cobra.Command) {
	root.PersistentFlags().StringVar(&a.codePoints, "code-points", os.Getenv(codePointsEnv),
		"`numbers` of the post-quantum cipher suites: \"published\" for those of the published vectors (8, 9, 10), or as in 0xf601=0xf123,0xf602=0xf124 (default those of docs/suites.md, or $MLS_CODE_POINTS)")
	root.PersistentFlags().Lookup("code-points").DefValue = ""
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		numbers, err := parseCodePoints(a.codePoints)
		if err == nil && numbers != nil {
			err = mls.SetCodePoints(numbers)
		}
		if err != nil {
			return usagef(cmd, "--code-points: %s", errorText(err))
		}
		return nil
	}
}

// parseCodePoints reads a numbering; nil stands for the usual one.
func parseCodePoints(text string) (map[mls.CipherSuite]mls.CipherSuite, error) {
	switch text {
	case "":
		return nil, nil
	case "published":
		return mls.PublishedCodePoints(), nil
	}
	numbers := make(map[mls.CipherSuite]mls.CipherSuite)
	for pair := range strings.SplitSeq(text, ",") {
		from, to, ok := strings.Cut(pair, "=")
		was, err := strconv.ParseUint(from, 0, 16)
		is, err2 := strconv.ParseUint(to, 0, 16)
		if !ok || err != nil || err2 != nil {
			return nil, fmt.Errorf("%q is neither \"published\" nor a list of pairs as in 0xf601=0xf123", text)
		}
		numbers[mls.CipherSuite(was)] = mls.CipherSuite(is)
	}
	return numbers, nil
}
