/** `bench peers`: others that answer the same question, measured in the same run. */
import type { Command } from "commander";
import { installCyclonus } from "../bench/peers/cyclonus.ts";
import { PEERS } from "../bench/peers/registry.ts";
import { comparePeer, type PeerRow } from "../bench/peers/run.ts";
import { formatPeers } from "../format/bench/peers.ts";
import { addMannerFlags, addOutputFlag, type MannerFlags, wholeNumber } from "./flags.ts";
import { EXIT, UsageError } from "./io.ts";
import type { Session } from "./session.ts";

/** Longer than a turn of the event loop. */
const SIGNAL_MS = 20;

interface PeerFlags extends MannerFlags {
  readonly only: readonly string[];
  readonly seed: number;
  readonly install?: boolean;
  readonly output: "table" | "json" | "md";
}

export function definePeers(command: Command, session: Session): void {
  addOutputFlag(addMannerFlags(command), ["table", "json", "md"])
    .description("others that answer the same question, in pairs in the same run; one that is not here is skipped")
    .option("--only <TEXT...>", "peers whose name has this in it", [])
    .option("--install", "build cyclonus first, with go, into our cache")
    .option("--seed <N>", "of clusters and traffic", wholeNumber(0, 0xffff_ffff), 1)
    .action((flags: PeerFlags) => peers(flags, session));
}

async function peers(flags: PeerFlags, session: Session): Promise<void> {
  const { io } = session;
  const chosen =
    flags.only.length === 0 ? PEERS : PEERS.filter(({ name }) => flags.only.some((text) => name.includes(text)));
  if (chosen.length === 0) {
    const names = PEERS.map(({ name }) => `"${name}"`).join(", ");
    throw new UsageError(`no peer has ${flags.only.join(" or ")} in its name; there are: ${names}`);
  }
  if (flags.install === true) {
    try {
      installCyclonus();
    } catch (error) {
      await session.error(`cyclonus cannot be built: ${error instanceof Error ? error.message : String(error)}`);
      return session.end(EXIT.incapable);
    }
  }
  const progress = session.progress("peers", chosen.length);
  const rows: PeerRow[] = [];
  for (const peer of chosen) {
    if (io.interrupted.aborted) break;
    try {
      rows.push(await comparePeer(peer, { seed: flags.seed, clock: () => io.now(), runSelf: io.runSelf }));
    } catch (error) {
      // Ctrl-C reaches the peer as well, whose end is no failure then; what is done is kept. While it is waited for
      // nothing else runs: our own signal has yet to be heard.
      await new Promise((resolve) => setTimeout(resolve, SIGNAL_MS));
      if (!io.interrupted.aborted) throw error;
    }
    await progress.step();
  }
  await progress.done();
  for (const line of formatPeers(rows, flags.output, session.paint)) await session.out.line(line);
}
