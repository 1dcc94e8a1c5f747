// Command adconnector signs people in by client certificate or password
// against a company's directory and reports who they are to the applications
// upstream.
//
// Exit codes: 0 fine, 1 a negative answer or a failure while running, 2 wrong
// usage or configuration. Commands that put a question to the directory exit
// with 2 as well if they get no answer, so that 1 is always a negative one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"adconnector/connector"

	"github.com/urfave/cli/v3"
)

// version is set by the linker in a release.
var version = ""

// Exit codes.
const (
	exitNo    = 1 // a negative answer, or a failure while running
	exitUsage = 2 // wrong usage or configuration
	exitFault = 2 // no answer, where 1 is one
)

// exitError is an error that ends the program with a code of its own. A nil
// err means that everything has been said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}

// run runs the program with its arguments and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &cli.Command{
		Name:            "adconnector",
		Usage:           "sign people in by client certificate or password and report who they are",
		Version:         versionText(),
		HideHelpCommand: true,
		Suggest:         true,
		Writer:          stdout,
		ErrWriter:       stderr,
		OnUsageError:    usageError,
		ExitErrHandler:  func(context.Context, *cli.Command, error) {}, // run does it, at one place
		Description: `adconnector stands between a directory (Active Directory or any LDAP server) and the
applications that want to know who somebody is. It serves one HTTPS address: browsers from the
configured IP ranges are asked for a client certificate, everybody else gets a password form.

Try it without any set-up:       adconnector demo
See whether your file works:     adconnector check --config adconnector.yaml
Then run it:                     adconnector run --config adconnector.yaml
Somebody is not let in:          adconnector explain --config adconnector.yaml --user NAME
Or have the system run it:       adconnector install --config adconnector.yaml
Come from Auth0's connector:     adconnector import --from FOLDER --out FOLDER`,
		Action: noSuchCommand,
		Commands: []*cli.Command{
			runCommand(), checkCommand(), explainCommand(), usersCommand(), groupsCommand(), provisionCommand(), throttleCommand(), certsCommand(), testcaCommand(), demoCommand(), configCommand(), importCommand(), benchCommand(), versionCommand(), helpCommand(),
		},
	}
	app.Commands = append(app.Commands, serviceCommands()...)
	err := unknownCommand(app, args)
	if err == nil {
		err = app.Run(ctx, args)
	}
	if err == nil {
		return 0
	}
	code := exitNo
	if e, ok := errors.AsType[*exitError](err); ok {
		code, err = e.code, e.err
	}
	if e, ok := errors.AsType[*connector.ConfigError](err); ok {
		// Lines that begin with file:line:column are what editors jump to.
		_, _ = fmt.Fprintln(stderr, e)
	} else if err != nil {
		_, _ = fmt.Fprintf(stderr, "adconnector: %s\n", connector.Printable(err.Error()))
	}
	return code
}

// usageError turns what the command line parser complains of into a short
// message with exit code 2.
func usageError(_ context.Context, cmd *cli.Command, err error, _ bool) error {
	return &exitError{exitUsage, fmt.Errorf("%w\nSee '%s --help'", err, cmd.FullName())}
}

// unknownCommand finds a first word that is no command before the parser, which
// takes "--help" behind it for a request that it can answer.
func unknownCommand(app *cli.Command, args []string) error {
	if len(args) < 2 || strings.HasPrefix(args[1], "-") || app.Command(args[1]) != nil {
		return nil
	}
	return unknown(app, args[1])
}

func unknown(cmd *cli.Command, name string) error {
	hint := ""
	if s := cli.SuggestCommand(cmd.Commands, name); s != "" && s != "help" {
		hint = fmt.Sprintf(" Did you mean %q?", s)
	}
	return &exitError{exitUsage, fmt.Errorf("there is no command %q.%s\nSee 'adconnector --help'", name, hint)}
}

// noSuchCommand answers when the first word is no command; without any word it
// shows the help, which is a wrong usage as well.
func noSuchCommand(_ context.Context, cmd *cli.Command) error {
	if name := cmd.Args().First(); name != "" {
		return unknown(cmd, name)
	}
	if err := cli.ShowSubcommandHelp(cmd); err != nil {
		return err
	}
	return &exitError{code: exitUsage}
}

// helpCommand is for those who type "help" first.
func helpCommand() *cli.Command {
	return &cli.Command{
		Name: "help", Usage: "show this text, or that of a command", ArgsUsage: "[COMMAND]", Hidden: true,
		OnUsageError: usageError,
		Action: func(_ context.Context, cmd *cli.Command) error {
			root := cmd.Root()
			name := cmd.Args().First()
			if name == "" {
				return cli.ShowRootCommandHelp(root)
			}
			c := root.Command(name)
			if c == nil {
				return unknown(root, name)
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

// noArguments refuses words that a command has no use for: a forgotten
// "--config" in front of a file name must not go unnoticed.
func noArguments(action cli.ActionFunc) cli.ActionFunc {
	return func(ctx context.Context, cmd *cli.Command) error {
		if cmd.Args().Present() {
			return &exitError{exitUsage, fmt.Errorf("unexpected argument %q\nSee '%s --help'", cmd.Args().First(), cmd.FullName())}
		}
		return action(ctx, cmd)
	}
}

func configFlag() *cli.StringFlag {
	return &cli.StringFlag{
		Name: "config", Aliases: []string{"c"}, Required: true, TakesFile: true,
		Usage: "the configuration `FILE` (YAML; config.example.yaml explains every key)",
	}
}

// loadConfig reads the configuration; whatever is wrong with the file is a wrong
// usage.
func loadConfig(path string) (*connector.Config, error) {
	c, err := connector.LoadConfig(path)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return c, nil
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print version, platform and Go release",
		OnUsageError: usageError,
		Action: noArguments(func(_ context.Context, cmd *cli.Command) error {
			_, err := fmt.Fprintf(cmd.Root().Writer, "adconnector %s %s/%s %s\n", versionText(), runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		}),
	}
}

// versionText is the release, or what the build knows of its origin.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}

func configCommand() *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "look at the configuration",
		HideHelpCommand: true,
		OnUsageError:    usageError,
		Action:          noSuchCommand,
		Commands: []*cli.Command{{
			Name: "show", Usage: "print the effective configuration, defaults filled in and secrets masked",
			Flags: []cli.Flag{configFlag()}, OnUsageError: usageError,
			Action: noArguments(func(_ context.Context, cmd *cli.Command) error {
				c, err := loadConfig(cmd.String("config"))
				if err != nil {
					return err
				}
				return c.Show(cmd.Root().Writer)
			}),
		}},
	}
}
