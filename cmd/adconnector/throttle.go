package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"adconnector/connector"

	"github.com/urfave/cli/v3"
)

func throttleCommand() *cli.Command {
	return &cli.Command{
		Name: "throttle", Usage: "see who is kept out for wrong passwords, and let them try again",
		HideHelpCommand: true,
		OnUsageError:    usageError,
		Action:          noSuchCommand,
		Commands:        []*cli.Command{throttleListCommand(), throttleClearCommand()},
	}
}

func throttleListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "show the accounts and addresses with wrong passwords that still count",
		Description: `Asks the connector that is running with the file, over a socket in its data_dir: run this on the
same machine, as the service's account or as an administrator.

FAILED is how many wrong passwords count here, KNOWN how many of them came from addresses from which
the account has signed in before, DIRECTORY how many the directory counted at the last attempt and
how many lock the account there.

Exit code 0 if there is an answer, also an empty one, 2 if no connector is running or the usage is
wrong.`,
		Flags:        []cli.Flag{configFlag(), jsonFlag()},
		OnUsageError: usageError,
		Action: noArguments(func(ctx context.Context, cmd *cli.Command) error {
			c, err := loadConfig(cmd.String("config"))
			if err != nil {
				return err
			}
			r, err := connector.ThrottleReport(ctx, c)
			if err != nil {
				return &exitError{exitFault, err}
			}
			w := cmd.Root().Writer
			if cmd.Bool("json") {
				return connector.WriteJSON(w, r)
			}
			return printReport(w, r)
		}),
	}
}

func throttleClearCommand() *cli.Command {
	return &cli.Command{
		Name: "clear", Usage: "forget the wrong passwords of accounts or addresses", ArgsUsage: "NAME|ADDRESS...",
		Description: `Makes the connector that is running with the file forget wrong passwords: of an account, by any name
that is typed to sign in or by its ID; of an IPv4 address; of an IPv6 address, with the networks that
it is in. Whoever is attacked is open to further guesses then. What the directory itself has counted
stays: unlock the account there as well if it is locked.

Exit code 0 if something was forgotten, 1 if there was nothing, 2 if no connector is running or the
usage is wrong.`,
		Flags: []cli.Flag{
			configFlag(), jsonFlag(),
			&cli.BoolFlag{Name: "all", Usage: "forget everything"},
		},
		OnUsageError: usageError,
		Action: func(ctx context.Context, cmd *cli.Command) error {
			what := cmd.Args().Slice()
			if cmd.Bool("all") == (len(what) > 0) {
				return &exitError{exitUsage, errors.New("either names and addresses are needed, or --all\nSee 'adconnector throttle clear --help'")}
			}
			c, err := loadConfig(cmd.String("config"))
			if err != nil {
				return err
			}
			cleared, err := connector.ClearThrottle(ctx, c, what...)
			if err != nil {
				return &exitError{exitFault, err}
			}
			if len(what) == 0 {
				what = []string{"all"}
			}
			return printCleared(cmd.Root().Writer, what, cleared, cmd.Bool("json"))
		},
	}
}

// printReport writes a table with a line for each count.
func printReport(w io.Writer, r *connector.Throttled) error {
	if len(r.Counts) == 0 {
		_, _ = fmt.Fprintln(w, "Nothing is counted of any account or address.")
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "WHO\tFAILED\tKNOWN\tDIRECTORY\tLAST\tSTATE")
		for i := range r.Counts {
			n := &r.Counts[i]
			who, known, directory := strings.ReplaceAll(connector.Printable(n.Username), "\n", `\n`), fmt.Sprint(n.FailuresKnown), "-"
			if n.AccountID == "" {
				who, known = n.Network.String(), "-"
				if n.Network.IsSingleIP() {
					who = n.Network.Addr().String()
				}
			}
			if d := n.Directory; d != nil {
				directory = fmt.Sprintf("%d of %d", d.Failures, d.Threshold)
			}
			_, _ = fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", who, n.Failures, known, directory, clock(n.Last), state(n))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if r.Omitted > 0 {
		_, _ = fmt.Fprintf(w, "%d more are not shown.\n", r.Omitted)
	}
	if r.OtherNames > 0 {
		_, _ = fmt.Fprintf(w, "Names that led to no account: %d.\n", r.OtherNames)
	}
	return nil
}

// state says in words who is let try.
func state(n *connector.ThrottledCount) string {
	switch {
	case !n.Closed && !n.ClosedKnown:
		return "open"
	case n.AccountID == "" || n.Closed && n.ClosedKnown && n.Until.Equal(n.UntilKnown):
		return "closed" + until(n.Until)
	case !n.ClosedKnown:
		return "closed to unknown addresses" + until(n.Until)
	case !n.Closed:
		return "closed to known addresses" + until(n.UntilKnown)
	}
	return "closed to unknown addresses" + until(n.Until) + ", to known ones" + until(n.UntilKnown)
}

func until(t time.Time) string {
	if t.IsZero() {
		return " until it is cleared here and in the directory"
	}
	return " until " + clock(t)
}

// clock writes a moment as people on this machine read it.
func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// printCleared says how many counts are gone; it is a negative answer if none
// are.
func printCleared(w io.Writer, what []string, cleared []int, asJSON bool) error {
	total, byName := 0, map[string]int{}
	for i, n := range cleared {
		total += n
		byName[what[i]] = n
		switch {
		case asJSON:
		case n == 0:
			_, _ = fmt.Fprintf(w, "%s: nothing was counted\n", what[i])
		default:
			_, _ = fmt.Fprintf(w, "%s: cleared\n", what[i])
		}
	}
	if asJSON {
		if err := connector.WriteJSON(w, map[string]any{"cleared": byName}); err != nil {
			return err
		}
	}
	if total == 0 {
		return &exitError{code: exitNo}
	}
	return nil
}
