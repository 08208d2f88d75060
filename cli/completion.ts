/** `completion`: a script that makes a shell know the verbs and flags. */
import { Argument, type Command } from "commander";
import { UsageError } from "./io.ts";
import type { Session } from "./session.ts";
import { VERBS } from "./verbs.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

export function define(command: Command, session: Session): void {
  command
    .addArgument(new Argument("<shell>", "whose completion").choices(SHELLS))
    .addHelpText("after", "\nbash: source <(chainwalk completion bash)   fish: chainwalk completion fish | source")
    .action((shell: Shell) => completion(shell, command, session));
}

interface VerbWords {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly FlagWords[];
}

interface FlagWords {
  readonly long: string;
  readonly short: string | undefined;
  readonly summary: string;
  readonly values: readonly string[];
  readonly takesValue: boolean;
}

async function completion(shell: Shell, self: Command, session: Session): Promise<void> {
  const verbs: VerbWords[] = [];
  for (const { name, summary, load } of VERBS) {
    const command = self.parent?.commands.find((candidate) => candidate.name() === name);
    if (command === undefined) throw new UsageError(`no verb ${name}`);
    if (command !== self) (await load()).define(command, session);
    verbs.push({ name, summary, flags: flagsOf(command) });
  }
  for (const line of SCRIPT[shell](verbs)) await session.out.line(line);
}

function flagsOf(command: Command): readonly FlagWords[] {
  return command.options.map(({ long, short, description, argChoices, required, optional }) => ({
    long: long ?? "",
    short,
    summary: description,
    values: argChoices ?? [],
    takesValue: required || optional,
  }));
}

/** Both names under which the command is installed. */
const PROGRAMS = ["chainwalk", "kubectl-chainwalk"] as const;

const SCRIPT: Readonly<Record<Shell, (verbs: readonly VerbWords[]) => readonly string[]>> = {
  bash: (verbs) => [
    "_chainwalk() {",
    `  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" verb="\${COMP_WORDS[1]}"`,
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W "${verbs.map(({ name }) => name).join(" ")}" -- "$word"))`,
    "    return",
    "  fi",
    '  case "$verb $before" in',
    ...verbs.flatMap(({ name, flags }) =>
      flags
        .filter(({ values }) => values.length > 0)
        .map(
          ({ long, short, values }) =>
            `    ${[long, short].flatMap((flag) => (flag === undefined ? [] : [`"${name} ${flag}"`])).join("|")}) COMPREPLY=($(compgen -W "${values.join(" ")}" -- "$word")); return ;;`,
        ),
    ),
    "  esac",
    '  if [[ "$word" == -* ]]; then',
    '    case "$verb" in',
    ...verbs.map(
      ({ name, flags }) =>
        `      ${name}) COMPREPLY=($(compgen -W "${flags.map(({ long }) => long).join(" ")}" -- "$word")) ;;`,
    ),
    "    esac",
    "  else",
    '    COMPREPLY=($(compgen -f -- "$word"))',
    "  fi",
    "}",
    `complete -o filenames -F _chainwalk ${PROGRAMS.join(" ")}`,
  ],
  zsh: (verbs) => [
    `#compdef ${PROGRAMS.join(" ")}`,
    "_chainwalk() {",
    "  local -a verbs",
    `  verbs=(${verbs.map(({ name, summary }) => single(`${name}:${summary}`)).join(" ")})`,
    "  if (( CURRENT == 2 )); then _describe verb verbs; return; fi",
    '  case "$words[2]" in',
    ...verbs.map(({ name, flags }) => `    ${name}) _arguments ${flags.map(zshFlag).join(" ")} '*:file:_files' ;;`),
    "  esac",
    "}",
    'if [ "$funcstack[1]" = "_chainwalk" ]; then _chainwalk "$@"; else compdef _chainwalk ' +
      `${PROGRAMS.join(" ")}; fi`,
  ],
  fish: (verbs) => PROGRAMS.flatMap((program) => fishLines(program, verbs)),
};

function single(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function zshFlag({ long, summary, values, takesValue }: FlagWords): string {
  const text = summary.replace(/[[\]:]/g, "\\$&");
  const value = !takesValue ? "" : values.length > 0 ? `:value:(${values.join(" ")})` : ":value:_files";
  return single(`*${long}[${text}]${value}`);
}

function fishLines(program: string, verbs: readonly VerbWords[]): readonly string[] {
  const names = verbs.map(({ name }) => name).join(" ");
  return [
    ...verbs.map(
      ({ name, summary }) =>
        `complete -c ${program} -f -n 'not __fish_seen_subcommand_from ${names}' -a ${name} -d ${single(summary)}`,
    ),
    ...verbs.flatMap(({ name, flags }) =>
      flags.map(({ long, short, summary, values, takesValue }) => {
        const letters = short === undefined ? "" : ` -s ${short.slice(1)}`;
        const value = values.length > 0 ? ` -x -a ${single(values.join(" "))}` : takesValue ? " -r" : "";
        return `complete -c ${program} -n '__fish_seen_subcommand_from ${name}' -l ${long.slice(2)}${letters}${value} -d ${single(summary)}`;
      }),
    ),
  ];
}
