/** The command line as a function: arguments and the world in, exit code out. */
import { Command, CommanderError } from "commander";
import { BeyondCapacity } from "../compiler/capacity.ts";
import { InvalidSetting } from "../compiler/strategies/strategy.ts";
import { EXIT, InvalidInput, type Io, UsageError } from "./io.ts";
import { Session } from "./session.ts";
import { VERBS } from "./verbs.ts";
import { versionText } from "./version.ts";

/** Width of help where there is no terminal to ask. */
const HELP_COLUMNS = 100;

/**
 * Runs one command. Usage errors and bad input end in a message on stderr and exit code 2; anything else that is thrown
 * is a broken invariant of ours and is thrown on.
 */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  const session = new Session(io);
  // Commander writes while it parses, and does not wait; its text is held back and written in order.
  const held: { readonly to: "stdout" | "stderr"; readonly text: string }[] = [];
  const program = new Command("chainwalk").configureOutput({
    writeOut: (text) => held.push({ to: "stdout", text }),
    writeErr: (text) => held.push({ to: "stderr", text }),
    getOutHelpWidth: () => io.stdout.columns ?? HELP_COLUMNS,
    getErrHelpWidth: () => io.stderr.columns ?? HELP_COLUMNS,
    getOutHasColors: () => false,
    getErrHasColors: () => false,
  });
  declareVerbs(program, session);
  let code: number;
  try {
    await program.parseAsync(asked(argv), { from: "user" });
    await session.out.flush();
    code = session.exitCode;
  } catch (error) {
    await session.out.flush();
    code = EXIT.invalid;
    if (error instanceof CommanderError) code = error.exitCode === 0 ? EXIT.fine : EXIT.invalid;
    else if (isUsersMistake(error)) await session.error(error.message);
    else if (!(error instanceof InvalidInput)) throw error;
  }
  for (const { to, text } of held) await io[to].write(text);
  return io.interrupted.aborted ? EXIT.interrupted : code;
}

function isUsersMistake(error: unknown): error is Error {
  return [UsageError, InvalidSetting, BeyondCapacity].some((kind) => error instanceof kind);
}

/**
 * `help VERB` is `VERB --help`, which loads the verb's flags first. Of a verb that there is not no help is asked for: the
 * parser would give that of the whole, and say nothing.
 */
function asked(argv: readonly string[]): string[] {
  const [first, second, ...rest] = argv;
  const words = first === "help" && second !== undefined ? [second, ...rest, "--help"] : [...argv];
  const [verb = ""] = words;
  const isUnknown = !verb.startsWith("-") && verb !== "help" && !VERBS.some(({ name }) => name === verb);
  return isUnknown && words.length > 1 ? [verb] : words;
}

function declareVerbs(program: Command, session: Session): void {
  program
    .description("Walk a packet through your NetworkPolicies.")
    .exitOverride()
    // A verb with verbs of its own (bench targets) has flags that the inner one has as well.
    .enablePositionalOptions()
    .helpCommand("help [verb]", "what a verb does, and its flags")
    .version(versionText(session), "--version", "print the version")
    .showHelpAfterError(`allowed: ${VERBS.map(({ name }) => name).join(", ")}; 'chainwalk --help' says what they do`);
  for (const { name, summary } of VERBS) program.command(name).description(summary);
  program.hook("preSubcommand", async (_program, command) => {
    const verb = VERBS.find(({ name }) => name === command.name());
    if (verb === undefined) return;
    const { define } = await verb.load();
    define(command, session);
    const flags = command.options.map(({ long }) => long).join(", ");
    command.showHelpAfterError(`flags: ${flags}\n'chainwalk ${verb.name} --help' says what they take`);
  });
  program.hook("preAction", (_program, command) => session.settle(command.opts()));
}
