/** `--open`: what a command has printed, shown in the page, which is served until Ctrl-C. */
import type { Command } from "commander";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { SharedState } from "../web/sharedState.ts";
import type { ImportFlags, InputFlags, StrategyFlags } from "./flags.ts";
import { UsageError } from "./io.ts";
import { choicesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

export interface OpenFlags {
  readonly open?: boolean;
}

export function addOpenFlag(command: Command): Command {
  return command.option(
    "--open",
    "show it in the browser too: the page is served on the loopback address until Ctrl-C",
  );
}

/** Flags that the page has nothing for, and whether they were given. */
type Unshown = readonly (readonly [flag: string, isGiven: boolean])[];

/** Ends the command, before it has printed anything, where the page could not show the same. */
export function requireShown(flags: OpenFlags & StrategyFlags, unshown: Unshown): void {
  if (flags.open !== true) return;
  const found = [["--set", flags.set.length > 0] as const, ...unshown].find(([, isGiven]) => isGiven);
  if (found !== undefined)
    throw new UsageError(`--open and ${found[0]} exclude each other: the page would show something else`);
}

/** The page looks through one strategy's eyes at a time; it has a picker for the others. */
export function firstStrategy(flags: StrategyFlags): string {
  const [first] = choicesOf(flags);
  return first?.kind === "strategy" ? first.strategy.name : "reference";
}

/** The node's saves, as the page has them when they are pasted. */
export async function shownSaves(
  flags: ImportFlags & OpenFlags & StrategyFlags,
  cluster: ResolvedCluster,
  session: Session,
): Promise<Pick<SharedState, "saved">> {
  if (flags.open !== true) return {};
  const { asksForImport, nodeOf, readSaves } = await import("./imported.ts");
  if (!asksForImport(flags)) return {};
  const { iptablesSave, ip6tablesSave, ipsetSave, interfaces } = await readSaves(flags, session.io);
  return {
    saved: {
      node: nodeOf(flags, cluster),
      strategy: firstStrategy(flags),
      iptablesSave: iptablesSave?.text ?? "",
      ip6tablesSave: ip6tablesSave?.text ?? "",
      ipsetSave: ipsetSave?.text ?? "",
      ...(interfaces !== undefined && { interfaces: interfaces.text }),
    },
  };
}

export interface Shown {
  readonly state: Omit<SharedState, "version" | "origin">;
  /** Of manifests, where they are not those of `-f`. */
  readonly paths?: readonly string[];
  readonly scenario?: string;
}

/** The files of `-f STORY`, for a page that has them by themselves. */
export async function shownStory(
  session: Session,
  filename: readonly string[],
): Promise<Required<Pick<Shown, "paths">> & Pick<Shown, "scenario">> {
  const { storyFiles } = await import("./story.ts");
  const files = await storyFiles(session, filename);
  if (files.kind === "watched")
    throw new UsageError(
      "--open takes a scenario folder or a folder of snapshots: the page does not read watch events",
    );
  if (files.kind === "scenario") return { paths: [files.cluster], scenario: files.scenario };
  return { paths: [...files.snapshots.map(({ path }) => path), ...(files.texts === undefined ? [] : [files.texts])] };
}

/** Serves the page with `shown` in its address, says where, and opens it. */
export async function openShown(flags: OpenFlags & InputFlags, shown: Shown, session: Session): Promise<void> {
  if (flags.open !== true || session.io.interrupted.aborted) return;
  const { state, paths = flags.filename, scenario } = shown;
  // Loaded only now: the page's server and its links are a hundred modules that most commands never need.
  const [{ openAddress, startPage }, { encodeState }] = await Promise.all([
    import("./serve.ts"),
    import("../web/share.ts"),
  ]);
  const { address, end } = await startPage(session, { port: 0, paths, ...(scenario !== undefined && { scenario }) });
  const link = `${address}/#${await encodeState({ version: 1, origin: { kind: "served" }, ...state })}`;
  await session.out.flush();
  // Among the messages, so that standard output stays what it is without the flag; and also when quiet.
  await session.io.stderr.write(`${link}\n`);
  await session.note("the page is served until Ctrl-C");
  await openAddress(session, link);
  await end;
}
