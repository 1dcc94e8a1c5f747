package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"adconnector/connector"

	"github.com/urfave/cli/v3"
)

// defaultLimit is how many people or groups are listed if nobody says more.
const defaultLimit = 100

func usersCommand() *cli.Command {
	return &cli.Command{
		Name: "users", ArgsUsage: "SEARCH", Usage: "find people in the directory by a part of their name",
		Description: `Looks for people as the service account does, by a part of user name, name or mail address (or as
ldap.user_search says), and prints for each whether the account may sign in. An empty SEARCH ("")
lists everybody.

   adconnector users --config adconnector.yaml smith

Exit code 0 if somebody is found, 1 if nobody is, 2 if the directory cannot be asked or the usage is wrong.`,
		Flags:        lookupFlags(),
		OnUsageError: usageError,
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Len() != 1 {
				return &exitError{exitUsage, fmt.Errorf("say whom to look for: one part of a name, or \"\" for everybody\nSee '%s --help'", cmd.FullName())}
			}
			return lookup(cmd, func(c *connector.Config) (listing, int, bool, error) {
				p, err := connector.FindPeople(ctx, c, cmd.Args().First(), cmd.Int("limit"))
				if err != nil {
					return nil, 0, false, err
				}
				return p, len(p.Users), p.More, nil
			})
		},
	}
}

func groupsCommand() *cli.Command {
	return &cli.Command{
		Name: "groups", ArgsUsage: "[SEARCH]", Usage: "find groups in the directory by a part of their name",
		Description: `Looks for groups as the service account does, by a part of their name; without SEARCH it lists all.
The name is the one that is reported (ldap.groups.attribute).

   adconnector groups --config adconnector.yaml engineers

Exit code 0 if one is found, 1 if none is, 2 if the directory cannot be asked or the usage is wrong.`,
		Flags:        lookupFlags(),
		OnUsageError: usageError,
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Len() > 1 {
				return &exitError{exitUsage, fmt.Errorf("unexpected argument %q\nSee '%s --help'", cmd.Args().Get(1), cmd.FullName())}
			}
			return lookup(cmd, func(c *connector.Config) (listing, int, bool, error) {
				l, err := connector.FindGroups(ctx, c, cmd.Args().First(), cmd.Int("limit"))
				if err != nil {
					return nil, 0, false, err
				}
				return l, len(l.Groups), l.More, nil
			})
		},
	}
}

func lookupFlags() []cli.Flag {
	return []cli.Flag{
		configFlag(),
		&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, Value: defaultLimit, Usage: "list at most `NUMBER`"},
		jsonFlag(),
	}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON instead of text"} }

// A listing is an answer that can be printed.
type listing interface{ WriteText(io.Writer) error }

// lookup prints what find finds: how many, and whether there are more.
func lookup(cmd *cli.Command, find func(*connector.Config) (_ listing, n int, more bool, _ error)) error {
	if n := cmd.Int("limit"); n < 1 || n > connector.MaxLookup {
		return &exitError{exitUsage, fmt.Errorf("--limit must be from 1 to %d", connector.MaxLookup)}
	}
	c, err := loadConfig(cmd.String("config"))
	if err != nil {
		return err
	}
	found, n, more, err := find(c)
	if err != nil {
		return &exitError{exitFault, err}
	}
	if err := show(cmd, found); err != nil {
		return err
	}
	if more {
		_, _ = fmt.Fprintln(cmd.Root().ErrWriter, "There are more: write a longer part of the name, or raise --limit.")
	}
	if n == 0 {
		return &exitError{exitNo, errors.New("nothing found")}
	}
	return nil
}

// show prints an answer in the form that was asked for.
func show(cmd *cli.Command, answer listing) error {
	if cmd.Bool("json") {
		return connector.WriteJSON(cmd.Root().Writer, answer)
	}
	return answer.WriteText(cmd.Root().Writer)
}

func explainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "say whether somebody would be let in, and if not, why",
		Description: `Walks the way of a sign-in, with the same code, up to where a password or a certificate would be
looked at, and from there on as if it had been the right one. Prints every search with its server,
base, filter, answer and time, the state of the account, what the directory does about wrong
passwords, the groups, and the verdict. Nobody is signed in, and no password is tried.

   adconnector explain --config adconnector.yaml --user jon

With --cert it begins with a certificate (PEM or DER; the person's first, then those of its issuers that
the browser sends): the chain, every check, whether it has been revoked and who says so, each rule of
certificate.user_name and what it finds, and then the account. With --user as well it says whether the
certificate is that user's, with --ip whether browsers at that address are asked for one.

   adconnector explain --config adconnector.yaml --cert jon.crt --ip 10.1.2.3

   ✓ fine    ! look at it    ✗ keeps the person out    · what was done

Exit code 0 if the person would be let in, 1 if refused or if the certificate is somebody else's,
2 if the directory cannot be asked or the usage is wrong.`,
		Flags: []cli.Flag{
			configFlag(),
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "the `NAME` as it is typed into the form"},
			&cli.StringFlag{Name: "cert", TakesFile: true, Usage: "the `FILE` with a certificate, and those of its issuers"},
			&cli.StringFlag{Name: "ip", Usage: "the `ADDRESS` of the browser, with --cert"},
			jsonFlag(),
		},
		OnUsageError: usageError,
		Action: noArguments(func(ctx context.Context, cmd *cli.Command) error {
			q, err := certificateQuestion(cmd)
			if err != nil {
				return err
			}
			c, err := loadConfig(cmd.String("config"))
			if err != nil {
				return err
			}
			var x *connector.Explanation
			if q != nil {
				x, err = connector.ExplainCertificate(ctx, c, *q)
			} else {
				x, err = connector.Explain(ctx, c, cmd.String("user"))
			}
			if err != nil {
				return &exitError{exitFault, err}
			}
			if err := show(cmd, x); err != nil {
				return err
			}
			switch x.Result {
			case connector.LetIn:
				return nil
			case connector.Refused, connector.OtherAccount:
				return &exitError{code: exitNo}
			}
			return &exitError{code: exitFault}
		}),
	}
}

// certificateQuestion returns what is asked about a certificate, nil if nothing
// is.
func certificateQuestion(cmd *cli.Command) (*connector.CertificateQuestion, error) {
	if !cmd.IsSet("cert") {
		if cmd.IsSet("ip") || !cmd.IsSet("user") {
			return nil, &exitError{exitUsage, fmt.Errorf("say whom to explain: --user NAME, or --cert FILE, with which --ip goes\nSee '%s --help'", cmd.FullName())}
		}
		return nil, nil
	}
	q := &connector.CertificateQuestion{User: cmd.String("user")}
	var err error
	if cmd.IsSet("ip") {
		if q.From, err = netip.ParseAddr(cmd.String("ip")); err != nil {
			return nil, &exitError{exitUsage, fmt.Errorf("--ip must be an address, such as 10.1.2.3: %w", err)}
		}
		q.From = q.From.Unmap().WithZone("")
	}
	if q.Chain, err = connector.ReadChain(cmd.String("cert")); err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--cert: %w", err)}
	}
	return q, nil
}
