// Command mls holds groups of RFC 9420 (Messaging Layer Security) from a shell: it simulates them,
// keeps them in a directory with messages as files, looks into messages, and measures the library.
//
// It contains no protocol logic: flags, printing and exit codes only.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
